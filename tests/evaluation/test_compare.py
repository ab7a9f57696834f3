"""``nibkit compare``: the summary on stdout, all else on stderr, and a status that says what happened."""

import contextlib
import os
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
from PIL import Image

import nibkit as nk
from nibkit.__main__ import main
from nibkit.evaluation import arguments, compare
from nibkit.evaluation.store import read_results

ROOT = Path(__file__).parents[2]
QUICK = ["--n", 4, "--methods", "nib:num_steps=1", "m2ib:num_steps=1,draws=1", "--batch-size", 2, "--against", "nib:num_steps=1"]


@pytest.fixture(autouse=True)
def tidy(monkeypatch, tmp_path):
    """The CPU; a folder of its own; warnings as in a fresh process."""
    monkeypatch.setenv("NIBKIT_DEVICE", "cpu")
    monkeypatch.chdir(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        yield


def run(*arguments) -> int:
    return main(["compare", *map(str, arguments)])


def test_as_a_command_of_its_own(tmp_path):
    command = [sys.executable, "-m", "nibkit", "compare", *map(str, QUICK), "--n", "1", "--device", "cpu"]
    command += ["--out", tmp_path / "r.sqlite"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, encoding="utf-8")
    assert done.returncode == 0 and "2/2" in done.stderr and "arning" not in done.stderr
    assert done.stdout.startswith("| method | image_drop ↓ |") and f"2 rows in {tmp_path / 'r.sqlite'}" in done.stderr
    assert len(read_results(tmp_path / "r.sqlite")) == 2


def test_summaries_and_figure_of_a_file_that_is_there(capfd):
    assert run(*QUICK, "--out", "r.sqlite", "--summary", "csv", "--figure", "s.png") == 0
    csv, err = capfd.readouterr()
    assert csv.startswith("metric,method,binary,n,mean") and "figure: s.png" in err
    with Image.open("s.png") as figure:
        assert figure.format == "PNG" and figure.size[0] > 800
    before = Path("r.sqlite").read_bytes()
    assert run("--read", "--out", "r.sqlite", "--summary", "csv", "--against", "nib:num_steps=1") == 0
    assert capfd.readouterr().out == csv and Path("r.sqlite").read_bytes() == before
    assert run("--read", "--out", "r.sqlite", "--summary", "latex") == 0
    assert capfd.readouterr().out.startswith(r"\begin{tabular}")


def test_options_reach_where_they_belong(monkeypatch, capfd):
    given = {}
    catch = lambda *args, **options: given.update(args=args, **options) or sys.exit(0)  # noqa: E731
    monkeypatch.setattr("nibkit.evaluation.evaluate.evaluate", catch)
    with pytest.raises(SystemExit):
        run("--n", 9, "--limit", 3, "--seed", 4, "--protocol", "eos", "--timing", 2, "--curve-steps", 7,
            "--out", "r.sqlite", "--batch-size", 5,
            "--methods", "nib", "nib:layer=(6,9),rule=gauss", "--data-options", "captions=some", "objects=(2,3)")  # fmt: skip
    clip, pairs, methods, out = given.pop("args")
    assert clip.name == "shapes" and len(pairs) == 3 and out == Path("r.sqlite")
    scenes = nk.shapes.sample(3, 4, "some", objects=(2, 3))
    assert [pair.caption for pair in pairs] == [scene.caption for scene in scenes]
    assert methods == {"nib": ("nib", {}), "nib:layer=(6,9),rule=gauss": ("nib", {"layer": (6, 9), "rule": "gauss"})}
    assert given == dict(batch_size=5, protocol="eos", seed=4, timing=2, curve_steps=7, retry_skipped=False, engine=None)


def test_a_folder_with_damaged_pictures(capfd):
    pictures = Path("pictures")
    pictures.mkdir()
    for i, scene in enumerate(nk.shapes.sample(3, seed=1)):
        scene.image.save(pictures / f"{i}.png")
        (pictures / f"{i}.txt").write_text(scene.caption)
    data = (pictures / "1.png").read_bytes()
    (pictures / "1.png").write_bytes(data[: len(data) // 2])
    options = ["--data", "folder", "--path", pictures, "--methods", "nib", "--batch-size", 2]
    assert run(*options) == 0
    out, err = capfd.readouterr()
    assert "n = 2 pairs" in out and "skipped: 1.png: unreadable picture: " in err
    assert run(*options, "--data-options", "check=False") == 0  # then the damage is met later
    out, err = capfd.readouterr()
    assert "n = 2 pairs" in out and "skipped: 1.png: " in err


def test_rows_that_cannot_be_used_are_listed_up_to_eight(capfd):
    compare.list_skipped([(f"{i}.jpg", "missing\npicture") for i in range(10)], "look there")
    lines = capfd.readouterr().err.splitlines()
    assert len(lines) == 9 and lines[0] == "skipped: 0.jpg: missing picture" and lines[-1] == "skipped: … and 2 more: look there"


def test_nothing_that_can_be_explained_is_status_1(capfd):
    Path("a.txt").write_text("a ring")
    Path("a.png").write_bytes(b"no picture")
    assert run("--data", "folder", "--path", ".", "--methods", "nib", "--data-options", "check=False") == 1
    assert capfd.readouterr().err.endswith("\nerror: no pair could be explained\n")


def test_ctrl_c_is_status_130_and_the_same_command_goes_on(monkeypatch, capfd):
    calls = []

    def stopped(clip, inputs):
        calls.append(len(inputs))
        if len(calls) == 4:
            os.kill(os.getpid(), signal.SIGINT)
        return nk.nib(clip, inputs, num_steps=1)

    monkeypatch.setitem(nk.METHODS, "stopped", stopped)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job starts with it ignored
    command = ["--n", 6, "--methods", "stopped", "--batch-size", 2, "--out", "r.sqlite"]
    try:
        assert run(*command) == 130
    finally:
        signal.signal(signal.SIGINT, before)
    out, err = capfd.readouterr()
    assert out == "" and err.splitlines()[-1] == "stopped; 2 results are kept in r.sqlite: repeat the call to go on"
    assert run(*command) == 0
    assert calls == [1, 2, 2, 2, 1, 2, 2, 2] and len(read_results("r.sqlite")) == 6  # each time first the warm-up


BAD = {
    "method": (["--methods", "lime"], "unknown method 'lime': the methods are nib"),
    "method's option": (["--methods", "nib:steps=3"], "method 'nib:steps=3' can't be called with these options"),
    "option without value": (["--methods", "nib:steps"], "'steps' is no option: write name=value"),
    "method to compare with": (["--methods", "nib", "--against", "m2ib"], "--against m2ib is not among the methods: nib"),
    "method twice": (["--methods", "nib", "nib"], "--methods names one twice"),
    "option twice": (["--methods", "nib:num_steps=5,num_steps=6"], "num_steps is given twice (5 and '6'): give it once"),
    "data option twice": (["--data-options", "size=9", "size=9"], "size is given twice (9 and '9')"),
    "value of no kind": (
        ["--methods", "nib:num_steps={[]:1}"],
        "the value of num_steps, '{[]:1}', can't be read (TypeError: ",
    ),
    "batch size": (["--batch-size", "0"], "--batch-size must be a whole number, 1 or more; got 0"),
    "seed": (["--seed", "-1"], "--seed must be a whole number within 0 … 9223372036854775807; got -1"),
    "limit": (["--limit", "0"], "--limit must be a whole number, 1 or more; got 0"),
    "many steps": (
        ["--methods", "nib:num_steps=100000000"],
        "num_steps of --methods nib:num_steps=100000000 must be",
    ),
    "no path": (["--data", "folder"], "--data folder needs --path"),
    "no folder": (["--data", "folder", "--path", "nowhere"], "there is no folder 'nowhere'"),
    "no scenes": (["--n", "0"], "--n must be a whole number, 1 or more; got 0"),
    "a path for no data": (["--path", "."], "--path . needs --data: what lies there?"),
    "scenes of a folder": (
        ["--data", "folder", "--path", ".", "--n", "3"],
        "--n is for shapes alone: of folder draw",
    ),
    "unknown data option": (["--data-options", "sides=3"], "--data-options sides: shapes takes no such option here"),
    "data that are not there": (["--data", "flickr8k", "--path", "."], "help('nibkit.data.flickr8k') in Python shows the layout"),
    "data option": (["--data-options", "size"], "'size' is no option: write name=value"),
    "out is a folder": (["--out", "."], "out='.' is a folder"),
    "out is something else": (["--out", __file__], "is a file of another kind"),
    "no folder for out": (["--out", "nowhere/r.sqlite"], "there is no folder 'nowhere' for out"),
    "figure": (["--figure", "s.xyz"], "--figure s.xyz is no file name of a figure"),
    "no folder for the figure": (["--figure", "nowhere/s.png"], "there is no folder 'nowhere' for --figure"),
    "nothing to read": (["--read"], "--read needs --out"),
    "no file to read": (["--read", "--out", "r.sqlite"], "there is no file 'r.sqlite'"),
    "clip": (["--clip", "."], "holds no CLIP"),
    "device": (["--device", "tpu"], "unknown device 'tpu'"),
}


@pytest.mark.parametrize("arguments, message", BAD.values(), ids=BAD)
def test_bad_input_is_one_line_and_status_2(tmp_path, capfd, arguments, message):
    assert run(*arguments) == 2
    out, err = capfd.readouterr()
    assert out == "" and err.startswith("error: ") and message in err and err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("arguments", [["--data", "mnist"], ["--summary", "html"], ["--protocol", "mine"], ["--n", "many"]])
def test_misuse_shows_the_usage(arguments, capsys):
    with pytest.raises(SystemExit) as stopped:
        run(*arguments)
    assert stopped.value.code == 2 and capsys.readouterr().err.startswith("usage: nibkit compare ")


@pytest.mark.parametrize("error", [TypeError, MemoryError, RecursionError])
def test_a_value_that_python_cannot_take_is_named_in_a_short_line(monkeypatch, error):
    """Which of them a very long value raises is up to Python's version."""

    def fail(text):
        raise error

    monkeypatch.setattr(arguments.ast, "literal_eval", fail)
    with pytest.raises(ValueError, match=rf"^the value of lr, '-+, can't be read \({error.__name__}\)$") as raised:
        arguments.read_options(["lr=" + "-" * 10**6 + "1"])
    assert len(str(raised.value)) < 130


def test_long_values_are_named_too():
    for value in ("-" * 10**6 + "1", "(" * 10**5, "[" * 10**5 + "]" * 10**5):
        with contextlib.suppress(ValueError):
            assert arguments.read_options([f"lr={value}"]) == {"lr": value}


def test_help_tells_the_statuses(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit) as stopped:
        run("--help")
    out = capsys.readouterr().out
    about = out.split("\n\n")[1]
    assert about.startswith("Methods compared") and max(map(len, about.splitlines())) <= 80 and "`" not in out
    out = " ".join(out.split())
    assert "2 bad input or another failure (one line says what)" in out
    assert stopped.value.code == 0 and "130 stopped by Ctrl-C" in out and all(name in out for name in arguments.DATA)
