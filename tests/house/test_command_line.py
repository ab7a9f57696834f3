"""``nibkit explain``: the similarity, the words and a figure; or one line that says what is wrong."""

import importlib
import re
import subprocess
import sys
import tomllib
import warnings
from pathlib import Path

import matplotlib
import pytest
from matplotlib import pyplot as plt
from PIL import Image

import nibkit as nk
from nibkit.__main__ import main

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def scene():
    return nk.shapes.sample(1, seed=3, objects=2)[0]


@pytest.fixture
def picture(scene, tmp_path):
    scene.image.save(tmp_path / "scene.png")
    return tmp_path / "scene.png"


@pytest.fixture(autouse=True)
def tidy(monkeypatch):
    """The CPU; warnings as in a fresh process; no figure outlives its test."""
    monkeypatch.setenv("NIBKIT_DEVICE", "cpu")
    with plt.rc_context(), warnings.catch_warnings():
        warnings.simplefilter("default")
        yield
        plt.close("all")


def explain(*arguments) -> int:
    return main(["explain", *map(str, arguments)])


def test_as_a_command_of_its_own(picture, scene, tmp_path):
    """In a fresh process, from another folder: status 0, nothing on stderr, the PNG where it was asked for."""
    done = subprocess.run(
        [sys.executable, "-m", "nibkit", "explain", picture, scene.caption, "--out", tmp_path / "map.png", "--device", "cpu"],
        cwd=ROOT, capture_output=True, text=True, encoding="utf-8",
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("similarity ")
    with Image.open(tmp_path / "map.png") as figure:
        assert figure.format == "PNG" and figure.size[0] >= 1000


def test_it_prints_the_similarity_and_every_word_and_writes_the_figure(picture, scene, tmp_path, capsys):
    assert explain(picture, scene.caption, "--out", tmp_path / "map.png") == 0
    out, err = capsys.readouterr()
    first, *words, last = out.splitlines()
    clip = nk.load_clip("shapes", device="cpu")
    att = nk.nib(clip, clip.prepare(picture, scene.caption))
    assert re.match(r"similarity (-?\d\.\d{3}) ", first)[1] == f"{float(att.similarity[0]):.3f}" and "shapes" in first
    assert words == [f"{value:+.4f}  {word}" for word, value in att.words_of(0)]
    assert last == f"figure: {tmp_path / 'map.png'}" and err == ""
    assert (tmp_path / "map.png").stat().st_size > 10_000


def test_options_reach_the_method(picture, scene, tmp_path, capsys):
    explain(picture, scene.caption, "--layer", 6, "--rule", "log-gauss", "--steps", 4, "--out", tmp_path / "m.png")
    clip = nk.load_clip("shapes", device="cpu")
    att = nk.nib(clip, clip.prepare(picture, scene.caption), layer=6, num_steps=4, rule="log-gauss")
    assert f"{att.words_of(0)[1][1]:+.4f}" in capsys.readouterr().out


def test_a_folder_can_be_named(picture, scene, tmp_path, capsys):
    from nibkit.resources import data_dir

    folder = data_dir() / "shapes-clip"
    assert explain(picture, scene.caption, "--clip", folder, "--steps", 1, "--out", tmp_path / "m.png") == 0
    assert str(folder) in capsys.readouterr().out


def test_by_default_the_figure_lies_where_one_stands(picture, scene, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert explain(picture, scene.caption, "--steps", 1) == 0 and (tmp_path / "scene-explained.png").is_file()


def test_unknown_words_are_a_remark_not_an_error(picture, tmp_path, capsys):
    assert explain(picture, "a zebra ring", "--steps", 1, "--out", tmp_path / "m.png") == 0
    out, err = capsys.readouterr()
    assert err == "warning: caption 0: this model does not know 'zebra'\n" and "  zebra\n" in out


BAD = {
    "missing picture": (["nowhere.png", "a ring"], "there is no file 'nowhere.png'"),
    "no picture": ([__file__, "a ring"], "is no readable picture: it is damaged, or of a kind that is not known"),
    "empty caption": (["PICTURE", " "], "caption 0 is empty"),
    "long caption": (["PICTURE", "red " * 90], "caption 0 has 92 tokens, the model reads at most 77"),
    "layer": (["PICTURE", "a ring", "--layer", "13"], "--layer must be a whole number within 0 … 12"),
    "layer below": (["PICTURE", "a ring", "--layer", "-1"], "--layer must be a whole number, 0 or more; got -1"),
    "steps": (["PICTURE", "a ring", "--steps", "0"], "--steps must be a whole number within 1 … 10000; got 0"),
    "many steps": (["PICTURE", "a ring", "--steps", "100000000"], "--steps must be a whole number within 1 … 10000"),
    "device": (["PICTURE", "a ring", "--device", "tpu"], "unknown device 'tpu'"),
    "no clip": (["PICTURE", "a ring", "--clip", "."], "holds no CLIP: it has no config.json"),
    "no folder": (["PICTURE", "a ring", "--clip", "/nowhere/at/all"], "there is no folder"),
    "no place for the figure": (["PICTURE", "a ring", "--out", "nowhere/map.png"], "there is no folder 'nowhere' for --out"),
    "unknown kind of figure": (["PICTURE", "a ring", "--out", "map.xyz"], "--out map.xyz is no file name of a figure"),
    "a figure that needs LaTeX": (["PICTURE", "a ring", "--out", "map.pgf"], "--out map.pgf is no file name of a figure"),
    "figure is a folder": (["PICTURE", "a ring", "--out", "."], "--out"),
}


@pytest.mark.parametrize("arguments, message", BAD.values(), ids=BAD)
def test_bad_input_is_one_line_and_status_2(picture, tmp_path, monkeypatch, capfd, arguments, message):
    monkeypatch.chdir(tmp_path)
    assert explain(*[picture if argument == "PICTURE" else argument for argument in arguments]) == 2
    out, err = capfd.readouterr()
    assert out == "" and err.startswith("error: ") and message in err and err.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["scene.png"]


def test_a_caption_with_dollars_is_drawn(picture, tmp_path, capsys):
    assert explain(picture, "a $\\foo$ ring", "--out", tmp_path / "m.png") == 0


@pytest.mark.parametrize(
    "arguments, usage",
    [
        ([], "usage: nibkit [-h] [--version] COMMAND"),
        (["other"], "usage: nibkit [-h] [--version] COMMAND"),
        (["explain"], "usage: nibkit explain "),
        (["explain", "x.png"], "usage: nibkit explain "),
        (["explain", "x.png", "a", "--rule", "simpson"], "usage: nibkit explain "),
        (["compare", "--data", "mnist"], "usage: nibkit compare "),
    ],
)
def test_misuse_shows_the_usage(arguments, usage, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    shown = capsys.readouterr().err
    assert stopped.value.code == 2 and shown.startswith(usage) and shown.splitlines()[-1].startswith("error: ")


def test_help_lists_the_commands_and_waits_for_no_model():
    """Nothing heavy is imported before it is needed: not even numpy."""
    command = (
        "from nibkit.__main__ import main\ntry: main(['--help'])\nfinally:\n import sys\n print(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", command], cwd=ROOT, capture_output=True, text=True, encoding="utf-8")
    assert done.returncode == 0 and re.findall(r"^    (\w+) ", done.stdout, re.M) == ["explain", "compare"]
    assert "nibkit.__main__" in done.stderr.split() and not {"numpy", "torch", "pandas", "matplotlib"} & set(done.stderr.split())


def test_the_console_script_is_this_function():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    module, name = project["scripts"]["nibkit"].split(":")
    assert getattr(importlib.import_module(module), name) is main


def test_the_model_may_be_named_by_the_environment(picture, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("NIBKIT_CLIP", "/nowhere/at/all")
    assert explain(picture, "a ring", "--out", tmp_path / "m.png") == 2
    assert "there is no folder '/nowhere/at/all'" in capsys.readouterr().err
    assert explain(picture, "a ring", "--steps", 1, "--clip", "shapes", "--out", tmp_path / "m.png") == 0


def test_the_version(capsys):
    for command in (["-m", "nibkit"], ["-c", "import sys; from nibkit.__main__ import main; sys.exit(main())"]):
        done = subprocess.run([sys.executable, *command, "--version"], cwd=ROOT, capture_output=True, text=True)
        assert (done.returncode, done.stdout, done.stderr) == (0, f"nibkit {nk.__version__}\n", "")


def test_ctrl_c_is_status_130(picture, monkeypatch, capsys):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("nibkit.model.loading.load_clip", stop)
    assert explain(picture, "a ring") == 130 and capsys.readouterr().err == "stopped before anything was explained\n"


def test_help_names_every_option(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["explain", "--help"])
    out = capsys.readouterr().out
    assert stopped.value.code == 0 and all(
        o in out for o in ("--clip", "--layer", "--rule", "--steps", "--device", "--out", *nk.quadrature.RULES)
    )


def test_it_leaves_warnings_and_figures_as_they_were(picture, scene, tmp_path, capsys):
    """``main`` may be called from a program, too."""
    show, style = warnings.showwarning, dict(matplotlib.rcParams)
    explain(picture, scene.caption, "--steps", 1, "--out", tmp_path / "m.png")
    assert warnings.showwarning is show and plt.get_fignums() == [] and dict(matplotlib.rcParams) == style
