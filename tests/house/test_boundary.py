"""The command line's boundary: inputs are never outputs, and whatever fails is one last line, "error: …", with status 2."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from matplotlib import pyplot as plt
from PIL import Image

import nibkit as nk
from nibkit.__main__ import main
from nibkit.resources import data_dir

ROOT = Path(__file__).parents[2]
CAPTION = "a ring"


@pytest.fixture(autouse=True)
def tidy(monkeypatch, tmp_path):
    """The CPU, and a folder of its own with a picture, ``dog.png``."""
    monkeypatch.setenv("NIBKIT_DEVICE", "cpu")
    monkeypatch.chdir(tmp_path)
    nk.shapes.sample(1, seed=3)[0].image.save("dog.png")
    with plt.rc_context():
        yield
        plt.close("all")


def explain(*arguments) -> int:
    return main(["explain", *map(str, arguments), "--steps", "1"])


def error_of(capfd) -> str:
    """The one line on standard error; standard output has none."""
    out, err = capfd.readouterr()
    assert out == "" and err.startswith("error: ") and err.count("\n") == 1, err
    return err


def in_a_process(*arguments, **options) -> subprocess.CompletedProcess:
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
    command = [sys.executable, "-m", "nibkit", "explain", *arguments, "--steps", "1"]
    return subprocess.run(command, text=True, env=os.environ | {"PYTHONPATH": str(ROOT)}, **options)


# --- inputs are never outputs -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("picture, out", [("dog.png", "dog.png"), ("dog.png", "here/dog.png"), ("here/dog.png", "dog.png")])
def test_the_picture_is_no_output(capfd, picture, out):
    Path("here").symlink_to(".")
    before = Path("dog.png").read_bytes()
    assert explain(picture, CAPTION, "--out", out) == 2
    assert f"--out {out} is an input, too ({picture})" in error_of(capfd) and Path("dog.png").read_bytes() == before


def test_the_default_name_is_made_from_the_pictures(capsys):
    """So that no picture's name is taken, whatever it is; and our own figure of another day is replaced."""
    shutil.copy("dog.png", "map.png")
    for picture, out in {"map.png": "map-explained.png", "map-explained.png": "map-explained-explained.png"}.items():
        before = Path(picture).read_bytes()
        assert explain(picture, CAPTION) == 0 and capsys.readouterr().out.endswith(f"figure: {out}\n")
        assert Path(picture).read_bytes() == before and Path(out).is_file()
    assert explain("map.png", CAPTION) == 0
    with Image.open("map-explained.png") as figure:
        assert figure.info["Software"] == "nibkit"


def test_by_default_nobody_elses_file_is_replaced(capfd):
    Path("dog-explained.png").write_bytes(b"precious")
    assert explain("dog.png", CAPTION) == 2
    assert "dog-explained.png is there already, and nibkit did not make it: say by --out where" in error_of(capfd)
    assert Path("dog-explained.png").read_bytes() == b"precious"


@pytest.mark.parametrize("name", ["holiday.png", "holiday.jpg"])
def test_nobody_elses_file_is_replaced_unless_that_is_allowed(capfd, monkeypatch, name):
    with Image.open("dog.png") as dog:
        dog.save(name)
    before = Path(name).read_bytes()
    with monkeypatch.context() as no_model:
        no_model.setattr("nibkit.model.loading.load_clip", lambda *_, **__: pytest.fail("the model was loaded"))
        assert explain("dog.png", CAPTION, "--out", name) == 2
    assert (
        f"{name} is there already, and nibkit did not make it: say by --out" in (line := error_of(capfd)) and "--replace" in line
    )
    assert Path(name).read_bytes() == before
    assert explain("dog.png", CAPTION, "--out", name, "--replace") == 0 and Path(name).read_bytes() != before


def test_an_empty_file_is_filled_as_mktemp_makes_it():
    Path("new.png").touch()
    assert explain("dog.png", CAPTION, "--out", "new.png") == 0 and Path("new.png").stat().st_size > 10_000


def test_a_drawing_that_fails_leaves_the_old_figure(capfd, monkeypatch):
    Path("old.png").write_bytes(b"old")
    monkeypatch.setattr("matplotlib.figure.Figure.savefig", lambda *_, **__: 1 / 0)
    assert explain("dog.png", CAPTION, "--out", "old.png", "--replace") == 2
    assert "error: ZeroDivisionError: division by zero (with NIBKIT_TRACEBACK=1 it shows where)" in error_of(capfd)
    assert Path("old.png").read_bytes() == b"old" and sorted(os.listdir()) == ["dog.png", "old.png"]


# --- one line ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [KeyError, AttributeError, RuntimeError, MemoryError, RecursionError, AssertionError, OSError])
def test_an_error_of_any_kind_is_one_line(capfd, monkeypatch, kind):
    def fail(*_, **__):
        raise kind("first\nsecond\x1b[2J")

    monkeypatch.setattr("nibkit.model.loading.load_clip", fail)
    assert explain("dog.png", CAPTION) == 2
    assert r"first" in (line := error_of(capfd)) and "\x1b" not in line and (kind is OSError or kind.__name__ in line)
    monkeypatch.setenv("NIBKIT_TRACEBACK", "1")
    with pytest.raises(kind):
        explain("dog.png", CAPTION)


def copy_of_shapes(**change) -> str:
    """A copy of the bundled model with another configuration: ``vision_config.num_attention_heads=7``."""
    shutil.copytree(data_dir() / "shapes-clip", "model")
    config = json.loads(Path("model/config.json").read_text())
    for name, value in change.items():
        part, _, key = name.partition("__")
        (config[part] if key else config)[key or part] = value
    Path("model/config.json").write_text(json.dumps(config))
    return "model"


@pytest.mark.parametrize(
    "change",
    [
        {"quantization_config": {"quant_method": "bitsandbytes", "load_in_8bit": True}},
        {"vision_config__num_attention_heads": 7},
        {"text_config__eos_token_id": None},
        {"vision_config": 3},
        {"projection_dim": "wide"},
        {"vision_config__hidden_size": -96},
    ],
    ids=str,
)
def test_a_strange_configuration_is_one_line(capfd, change):
    assert explain("dog.png", CAPTION, "--clip", copy_of_shapes(**change)) == 2
    out, err = capfd.readouterr()
    assert out == "" and err.splitlines()[-1].startswith("error: ") and "Traceback" not in err


def test_weights_that_are_no_numbers_are_one_line(capfd):
    from safetensors.torch import load_file, save_file

    weights = load_file(f"{copy_of_shapes()}/model.safetensors")
    weights["visual_projection.weight"][:] = torch.nan
    save_file(weights, "model/model.safetensors", {"format": "pt"})
    assert explain("dog.png", CAPTION, "--clip", "model") == 2
    assert "NaN" in error_of(capfd) and not Path("dog-explained.png").exists()


@pytest.mark.parametrize("name", ["nosuch model", "/nowhere", "dog.png"])
def test_the_variable_is_heeded(capfd, monkeypatch, name):
    monkeypatch.setenv("NIBKIT_CLIP", name)
    assert explain("dog.png", CAPTION) == 2 and name in error_of(capfd)


def test_the_picture_and_the_options_are_looked_at_before_the_model(capfd, monkeypatch):
    monkeypatch.setattr("nibkit.model.loading.load_clip", lambda *_, **__: pytest.fail("the model was loaded"))
    Path("half.png").write_bytes(Path("dog.png").read_bytes()[:500])
    for arguments in (["half.png"], ["nowhere.png"], ["dog.png", "--layer", "-3"], ["dog.png", "--out", "/proc/x.png"]):
        assert explain(*arguments[:1], CAPTION, *arguments[1:]) == 2 and error_of(capfd)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_standard_output_that_takes_nothing_is_one_line_and_the_figure_is_there():
    with open("/dev/full", "w") as full:
        done = in_a_process("dog.png", CAPTION, stdout=full)
    assert done.returncode == 2 and Path("dog-explained.png").is_file()
    reason = "standard output was closed or is full (No space left on device): send it elsewhere and call again"
    assert done.stderr == f"error: {reason}\n"


def test_a_closed_pipe_is_one_line_and_the_figure_is_there():
    read, write = os.pipe()
    os.close(read)
    done = in_a_process("dog.png", CAPTION, stdout=write)
    os.close(write)
    assert done.returncode == 2 and done.stderr.startswith("error: standard output was closed") and done.stderr.count("\n") == 1
    assert Path("dog-explained.png").is_file()


def test_a_caption_that_is_no_utf_8_is_refused(capfd):
    """A file may have any name (below); a caption must be text."""
    assert explain("dog.png", "caf\udce9") == 2
    assert error_of(capfd).startswith("error: caption 0 is no whole text (a lone surrogate, '\\udce9'")


def test_names_that_are_no_utf_8_and_a_terminal_that_lacks_a_letter(monkeypatch):
    """The letter gets its number."""
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    name = b"caf\xe9.png".decode("utf-8", "surrogateescape")
    shutil.copy("dog.png", name)
    done = in_a_process(name, "a café")
    assert done.returncode == 0 and "caf\\xe9" in done.stdout, done.stderr
    assert done.stdout.endswith("figure: caf\\udce9-explained.png\n")
