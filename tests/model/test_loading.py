"""Loading: a folder, the hub, neither; every failure one line that names the mend, and no code from a pickle is ever run."""

import json
import pickle
import re
import shutil
import time

import pytest
import torch
from helpers import no_network, relative, tiny_clip, tiny_inputs, tiny_model
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer, CLIPImageProcessorPil

import nibkit as nk
from nibkit.model import loading
from nibkit.resources import data_dir


@pytest.fixture
def folder(tmp_path):
    """A random CLIP as transformers saves it: config and safetensors."""
    tiny_model().save_pretrained(tmp_path / "clip")
    return tmp_path / "clip"


def fails_with(error, message: str, *args, **options) -> str:
    """``load_clip`` raises this, in one line."""
    with pytest.raises(error, match=message) as caught:
        nk.load_clip(*args, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def same_model(clip: nk.Clip) -> bool:
    return all(torch.equal(w, v) for w, v in zip(clip.model.parameters(), tiny_clip().model.parameters(), strict=True))


# --- folders ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [str, lambda path: path], ids=["string", "path"])
def test_a_saved_model_loads(folder, kind, monkeypatch):
    """Config and safetensors suffice, with no network; frozen, in evaluation mode; tokens are the ids."""
    no_network(monkeypatch)
    clip = nk.load_clip(kind(folder), device="cpu")
    assert same_model(clip) and clip.name == str(folder)
    assert not any(module.training for module in clip.model.modules()) and not any(
        w.requires_grad for w in clip.model.parameters()
    )
    att = nk.nib(clip, tiny_inputs((4,)))
    assert att.tokens[0][0] == "98" and att.words is None
    assert relative(att.image, nk.nib(tiny_clip(), tiny_inputs((4,))).image) < 1e-5
    with pytest.raises(ValueError, match="came without tokenizer and image processor"):
        clip.prepare(Image.new("RGB", (9, 9)), "a ring")


def test_a_saved_model_with_tokenizer_and_processor_loads(folder):
    AutoTokenizer.from_pretrained(data_dir() / "shapes-clip", local_files_only=True).save_pretrained(folder)
    CLIPImageProcessorPil(size={"shortest_edge": 48}, crop_size=48).save_pretrained(folder)
    clip = nk.load_clip(folder, device="cpu")
    inputs = clip.prepare(Image.new("RGB", (99, 50)), "a red circle")
    assert inputs.pixel_values.shape == (1, 3, 48, 48)
    assert [word for word, _ in nk.nib(clip, inputs).words_of(0)] == ["a", "red", "circle"]


def test_a_tokenizer_as_vocabulary_and_merges_loads(folder):
    """OpenAI's older layout: vocab.json and merges.txt; a word made of two tokens stays one word."""
    letters = [chr(c) for c in range(97, 123)]
    words = letters + [letter + "</w>" for letter in letters] + ["ca", "cat</w>", "<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({word: i for i, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\nc a\nca t</w>\n")
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "CLIPTokenizer", "model_max_length": 77}))
    CLIPImageProcessorPil(size={"shortest_edge": 48}, crop_size=48).save_pretrained(folder)
    clip = nk.load_clip(folder, device="cpu")
    inputs = clip.prepare(Image.new("RGB", (50, 50)), "Cat dog")
    assert inputs.input_ids[0].tolist() == [
        words.index(w) for w in ("<|startoftext|>", "cat</w>", "d", "o", "g</w>", "<|endoftext|>")
    ]
    assert [word for word, _ in nk.nib(clip, inputs, num_steps=1).words_of(0)] == ["Cat", "dog"]


def test_weights_in_torchs_own_format_load(folder):
    """``pytorch_model.bin`` holds tensors only and is read as such."""
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    assert same_model(nk.load_clip(folder, device="cpu"))


def test_safetensors_are_preferred(folder):
    (folder / "pytorch_model.bin").write_bytes(b"not looked at")
    assert same_model(nk.load_clip(folder, device="cpu"))


class Trap:
    """Unpickling this makes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_no_code_from_a_pickle_is_run(folder, tmp_path):
    (folder / "model.safetensors").unlink()
    torch.save({"logit_scale": Trap(tmp_path / "sprung")}, folder / "pytorch_model.bin")
    fails_with(ValueError, r"holds no readable CLIP weights \(.*\): download or save them again", folder)
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("protocol", [2, 4])
def test_a_pickle_of_another_kind_is_one_error_without_torchs_own_remarks(folder, tmp_path, protocol):
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps({"logit_scale": Trap(tmp_path / "sprung")}, protocol))
    fails_with(ValueError, "holds no readable CLIP weights .a pickle that is damaged or holds more than tensors", folder)
    assert not (tmp_path / "sprung").exists()


def test_pictures_that_are_normalised_but_not_scaled_are_told(folder):
    processor = CLIPImageProcessorPil(do_rescale=False)
    processor.save_pretrained(folder)
    with pytest.warns(UserWarning, match="clip has an image processor with do_rescale false, which makes numbers some hundred"):
        nk.load_clip(folder, device="cpu")
    processor.image_mean, processor.image_std = [122.8, 116.7, 104.1], [68.5, 66.6, 70.3]  # of bytes as they are
    processor.save_pretrained(folder)
    nk.load_clip(folder, device="cpu")


def test_a_file_is_no_model(folder):
    fails_with(ValueError, "model.safetensors is a file: give a folder with config.json", folder / "model.safetensors")


def test_a_folder_without_config_is_no_clip(tmp_path):
    fails_with(ValueError, "holds no CLIP: it has no config.json", tmp_path)


@pytest.mark.parametrize("content", ["", "{", "[]", "3", "[" * 10**5, '{"a":' * 10**5])
def test_a_broken_config_is_named(folder, content):
    (folder / "config.json").write_text(content)
    fails_with(ValueError, r"config.json is not readable as JSON", folder)


@pytest.mark.parametrize("kind", ["bert", "clip_vision_model", None, ["clip"], {"clip": 1}, 3.5])
def test_another_model_is_no_clip(folder, kind):
    (folder / "config.json").write_text(json.dumps({"model_type": kind}))
    fails_with(ValueError, re.escape(f'holds no CLIP: its model_type is {kind!r}, "clip" is needed'), folder)


def test_a_folder_without_weights_says_so(folder):
    (folder / "model.safetensors").unlink()
    fails_with(ValueError, "holds no weights: it needs model.safetensors", folder)


def test_weights_that_lack_a_part_are_refused(folder):
    """transformers would draw the missing ones at random and only log it: a wrong answer in silence."""
    weights = load_file(folder / "model.safetensors")
    del weights["text_projection.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    fails_with(ValueError, "lacks weights, text_projection.weight among them: download or save them again", folder)


def test_weights_of_another_shape_are_refused(folder):
    weights = load_file(folder / "model.safetensors")
    weights["text_projection.weight"] = torch.zeros(3, 3)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    fails_with(ValueError, r"holds no readable CLIP weights \(.*\): download or save them again", folder)


@pytest.mark.parametrize("name", ["text_projection.weight", "text_model.encoder.layers.0.mlp.fc1.bias"])
def test_what_does_not_fit_is_told_once_without_transformers_own_table(folder, capfd, name):
    from transformers.utils import logging

    before = logging.get_verbosity()
    weights = load_file(folder / "model.safetensors")
    weights["text_model.more"] = weights.pop(name)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match="lacks weights"):
        nk.load_clip(folder, device="cpu")
    assert capfd.readouterr() == ("", "") and logging.get_verbosity() == before


@pytest.mark.parametrize("size", [0, 100, 20_000])
def test_truncated_weights_are_refused(folder, size):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:size])
    fails_with(ValueError, r"holds no readable CLIP weights \(.*header.*\): download or save them again", folder)


def test_a_broken_tokenizer_is_refused(folder):
    (folder / "tokenizer.json").write_text("{}")
    fails_with(ValueError, r"holds a tokenizer that can't be read \(\w+\): save it again", folder)


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


# --- the hub ----------------------------------------------------------------------------------------------------------

NAME = "nobody/no-such-clip"


@pytest.fixture
def empty_cache(monkeypatch, tmp_path):
    """No model of the hub on this machine."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def hub(monkeypatch, empty_cache, folder):
    """A hub that has the folder's model; ``hub["files"]`` is what it says it has, ``hub["asked"]`` what was downloaded."""
    from huggingface_hub.errors import LocalEntryNotFoundError

    notes = {"files": ["config.json", "model.safetensors", "pytorch_model.bin"], "asked": [], "cached": False, "questions": 0}

    class Info:
        def __init__(self, name):
            self.rfilename = name

    def model_info(*_, **__):
        notes["questions"] += 1
        if isinstance(notes["files"], Exception):
            raise notes["files"]
        return type("Answer", (), {"siblings": [Info(name) for name in notes["files"]]})()

    def download(name, local_files_only=False, allow_patterns=None, **_):
        if local_files_only and not notes["cached"]:
            raise LocalEntryNotFoundError("not here")
        if not local_files_only:
            notes["asked"].append(allow_patterns)
        return str(folder)

    monkeypatch.setattr("huggingface_hub.HfApi.model_info", model_info)
    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    return notes


UNREACHABLE = "is not on this machine and the model hub can't be reached: connect once and call again, or give a local folder"


def test_without_network_a_hub_name_fails_fast_with_the_two_ways_out(monkeypatch, empty_cache):
    no_network(monkeypatch)
    started = time.monotonic()
    fails_with(FileNotFoundError, f"{NAME} {UNREACHABLE}", NAME)
    assert time.monotonic() - started < 10


def test_a_hub_that_never_answers_is_given_up(monkeypatch, empty_cache):
    """Waiting is bounded, whatever the library does (here: it hangs)."""
    assert loading.PATIENCE <= 8.5
    monkeypatch.setattr(loading, "PATIENCE", 0.2)
    monkeypatch.setattr("huggingface_hub.HfApi.model_info", lambda *_, **__: time.sleep(5))
    started = time.monotonic()
    fails_with(FileNotFoundError, UNREACHABLE, NAME)
    assert time.monotonic() - started < 3


@pytest.mark.parametrize("name", ["no/such/folder/here", "/nowhere/at/all", "what is this?"])
def test_what_is_neither_folder_nor_hub_name_is_told_so(name, empty_cache):
    fails_with(FileNotFoundError, "there is no folder .*, and it is no hub name either", name)


def test_a_name_that_the_hub_does_not_know(hub):
    import httpx
    from huggingface_hub.errors import RepositoryNotFoundError

    hub["files"] = RepositoryNotFoundError(
        "404", response=httpx.Response(404, request=httpx.Request("GET", "http://example.invalid"))
    )
    fails_with(FileNotFoundError, f"there is no folder '{NAME}' and no such model on the hub: check the spelling", NAME)


def test_a_model_of_the_hub_is_downloaded_once_as_safetensors(hub):
    assert same_model(nk.load_clip(NAME, device="cpu"))
    (patterns,) = hub["asked"]
    assert "model.safetensors" in patterns and not any("bin" in pattern or pattern == "*" for pattern in patterns)


def test_where_the_hub_has_no_safetensors_torchs_format_is_taken(hub):
    hub["files"] = ["config.json", "pytorch_model.bin", "flax_model.msgpack", "tf_model.h5"]
    nk.load_clip(NAME, device="cpu")
    (patterns,) = hub["asked"]
    assert "pytorch_model.bin" in patterns and "model.safetensors" not in patterns


def test_a_cached_model_needs_no_hub(hub):
    hub["cached"] = True
    assert nk.load_clip(NAME, device="cpu").name == NAME
    assert hub["questions"] == 0 and hub["asked"] == []


def test_an_interrupted_download_is_taken_up_again(hub, folder):
    """A cached folder without weights is not taken for the model."""
    hub["cached"] = True
    kept = folder / "model.safetensors"
    shutil.move(kept, folder.parent / "kept")
    with pytest.raises(ValueError, match="holds no weights"):  # the pretended download brings nothing new
        nk.load_clip(NAME, device="cpu")
    assert hub["questions"] == 1 and len(hub["asked"]) == 1


def test_a_download_that_breaks_off_is_told_in_one_line(hub, monkeypatch):
    from huggingface_hub.errors import LocalEntryNotFoundError

    def broken(name, local_files_only=False, **_):
        raise LocalEntryNotFoundError("not here") if local_files_only else ConnectionError("reset by peer\nsecond line")

    monkeypatch.setattr("huggingface_hub.snapshot_download", broken)
    fails_with(FileNotFoundError, rf"{NAME} could not be downloaded \(reset by peer\): call again", NAME)


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


# --- weights and configuration of two models ----------------------------------------------------------------------------------


def rewrite(folder, change):
    """The folder's weights, changed."""
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def configure(folder, **settings):
    """The folder's config.json with other settings; "vision_config__x" is x in its vision_config."""
    config = json.loads((folder / "config.json").read_text())
    for path, value in settings.items():
        *parts, name = path.split("__")
        place = config
        for part in parts:
            place = place[part]
        place[name] = value
    (folder / "config.json").write_text(json.dumps(config))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_refused(folder, value):
    rewrite(folder, lambda weights: weights["visual_projection.weight"][2].fill_(value))
    fails_with(ValueError, "visual_projection.weight holds NaN or infinity: the weights in .* are damaged", folder)


def test_a_shape_of_another_model_is_named(folder):
    rewrite(folder, lambda weights: weights.update({"text_projection.weight": torch.zeros(3, 3)}))
    fails_with(ValueError, r"\(text_projection.weight is \[3, 3\], by config.json it is \[\d+, \d+\]\): download", folder)


@pytest.mark.parametrize("tower", ["vision", "text"])
def test_a_configuration_of_fewer_or_more_blocks_is_refused(folder, tower):
    depth = json.loads((folder / "config.json").read_text())[f"{tower}_config"]["num_hidden_layers"]
    configure(folder, **{f"{tower}_config__num_hidden_layers": depth - 1})
    said = rf"holds weights that its config.json has no place for, {tower}_model.encoder.layers.{depth - 1}\."
    fails_with(ValueError, said, folder)
    configure(folder, **{f"{tower}_config__num_hidden_layers": depth + 1})
    fails_with(ValueError, rf"lacks weights, {tower}_model.encoder.layers.{depth}\.", folder)


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"quantization_config": {"quant_method": "bitsandbytes", "load_in_8bit": True}}, "bitsandbytes"),
        ({"vision_config__num_attention_heads": 7}, "heads"),
        ({"text_config__num_attention_heads": 0}, "."),
        ({"text_config__eos_token_id": None}, "eos_token_id"),
        ({"vision_config__hidden_act": "nosuch"}, "nosuch"),
        ({"vision_config__image_size": "large"}, "."),
        ({"text_config": 3}, "."),
        ({"projection_dim": -1}, "."),
        ({"vision_config__patch_size": 0}, "."),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_strange_configuration_is_one_line(folder, settings, message):
    configure(folder, **settings)
    with pytest.raises(ValueError, match=message) as caught:
        nk.load_clip(folder, device="cpu")
    assert "\n" not in str(caught.value)


def test_another_family_is_refused_by_name(folder):
    configure(folder, model_type="siglip")
    fails_with(ValueError, "its model_type is 'siglip', \"clip\" is needed. nibkit does not explain SigLIP: .* Instead, ", folder)


def test_metaclip_2_is_opened(folder, tmp_path):
    from transformers import MetaClip2Config, MetaClip2Model

    shared = dict(hidden_size=32, intermediate_size=64, num_attention_heads=2, num_hidden_layers=2)
    text, vision = shared | dict(vocab_size=100, eos_token_id=2), shared | dict(image_size=48, patch_size=16)
    with torch.random.fork_rng():
        model = MetaClip2Model(MetaClip2Config(text_config=text, vision_config=vision, projection_dim=16))
    model.save_pretrained(tmp_path / "metaclip")
    clip = nk.load_clip(tmp_path / "metaclip", device="cpu")
    assert type(clip.model) is MetaClip2Model and not clip.text.highest
