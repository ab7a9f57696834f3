"""What a load is asked for: device, type and attention, and the model that is the default."""

import pytest
import torch
from loaded import fails_with, same_model

import nibkit as nk
from nibkit.model import loading

# --- options ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("device", ["tpu", "gpu", "cuda:x", "", "cpu:cpu"])
def test_unknown_devices_are_refused(folder, device):
    fails_with(ValueError, f"unknown device {device!r}: use", folder, device=device)


@pytest.mark.parametrize("device", ["cuda:99", "meta", "xpu"])
def test_devices_that_are_not_there_are_refused(folder, device):
    fails_with(ValueError, f"device {device!r} is not on this machine", folder, device=device)


def test_device_comes_from_the_environment(monkeypatch):
    monkeypatch.setenv("NIBKIT_DEVICE", "cpu")
    assert (
        loading.choose_device()
        == torch.device("cpu")
        == loading.choose_device("cpu")
        == loading.choose_device(torch.device("cpu"))
    )
    monkeypatch.setenv("NIBKIT_DEVICE", "nowhere")
    with pytest.raises(ValueError, match="unknown device 'nowhere'"):
        loading.choose_device()
    assert loading.choose_device("cpu").type == "cpu"  # the argument wins
    monkeypatch.delenv("NIBKIT_DEVICE")
    assert loading.choose_device().type == ("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.parametrize("dtype", ["float33", torch.int64, 32])
def test_unknown_types_are_refused(folder, dtype):
    fails_with(ValueError, "dtype must be torch.float32, float64, bfloat16 or float16; got", folder, device="cpu", dtype=dtype)


def test_the_variable_chooses_the_type_where_no_argument_does(folder, monkeypatch):
    monkeypatch.setenv("NIBKIT_DTYPE", "float64")
    assert nk.load_clip(folder, device="cpu").dtype == torch.float64
    assert nk.load_clip(folder, device="cpu", dtype=torch.float32).dtype == torch.float32
    monkeypatch.setenv("NIBKIT_DTYPE", "double")
    fails_with(ValueError, "dtype must be .*; got 'double'", folder, device="cpu")
    monkeypatch.delenv("NIBKIT_DTYPE")
    assert nk.load_clip(folder, device="cpu").dtype == torch.float32


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_types(folder, dtype):
    clip = nk.load_clip(folder, device="cpu", dtype=dtype)
    assert clip.dtype == dtype and {w.dtype for w in clip.model.parameters()} == {dtype}


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_attention(folder, attention):
    clip = nk.load_clip(folder, device="cpu", attention=attention)
    assert clip.model.vision_model.config._attn_implementation == clip.model.text_model.config._attn_implementation == attention


def test_unknown_attention_is_refused(folder):
    fails_with(ValueError, 'attention must be "sdpa" or "eager"; got \'flash\'', folder, device="cpu", attention="flash")


def test_loading_writes_nothing_on_the_screen(folder, capfd):
    nk.load_clip(folder, device="cpu")
    assert capfd.readouterr() == ("", "")


# --- the default ------------------------------------------------------------------------------------------------------


def test_the_data_folder_can_be_named(monkeypatch, folder, tmp_path):
    folder.rename(tmp_path / "shapes-clip")
    monkeypatch.setenv("NIBKIT_DATA", str(tmp_path))
    assert same_model(nk.load_clip(device="cpu"))


def test_a_missing_data_folder_says_how_to_get_it(monkeypatch, tmp_path):
    monkeypatch.setenv("NIBKIT_DATA", str(tmp_path / "nowhere"))
    fails_with(FileNotFoundError, "NIBKIT_DATA names .*nowhere.*, which is no folder: correct it, or leave it unset")


def test_the_default_model_can_be_named(monkeypatch, folder):
    """``NIBKIT_CLIP`` names the model that ``load_clip()`` takes."""
    monkeypatch.setenv("NIBKIT_CLIP", str(folder))
    assert same_model(nk.load_clip(device="cpu"))
