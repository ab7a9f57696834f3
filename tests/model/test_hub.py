"""Loading by a name of the hub: downloaded once, and without it a line that says so soon."""

import shutil
import time

import pytest
from helpers import no_network
from loaded import fails_with, same_model

import nibkit as nk
from nibkit.model.hub import PATIENCE

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
    assert PATIENCE <= 8.5
    monkeypatch.setattr("nibkit.model.hub.PATIENCE", 0.2)
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
