"""``make fuzz``: a slice of it with a fixed seed, and its own promises: what is broken is found, kept, and can be run again."""

import os
import subprocess
import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest
from fuzz import cases
from fuzz.__main__ import ENVIRONMENT, main, table
from fuzz.cases import Fault, Outcome, World, run
from fuzz.kinds import KINDS

SLICE = {"pictures": 12, "captions": 8, "tables": 10, "results": 3, "models": 4, "lines": 4}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NIBKIT_DEVICE", "cpu")
        patch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)  # the variable was read when it was imported
        yield World(tmp_path_factory.mktemp("world"))


@pytest.mark.parametrize("kind", KINDS)
def test_a_slice_of_each_kind_keeps_its_promises(world, tmp_path, kind):
    outcomes = [run(kind, 0, number, KINDS, world, tmp_path / "kept") for number in range(SLICE[kind])]
    assert not any(outcome.fault for outcome in outcomes), table(outcomes, 0, 0)
    assert sum(outcome.calls for outcome in outcomes) >= SLICE[kind]


def divides(case):
    case.ask(lambda: 1 / 0)


def refuses_in_anothers_words(case):
    case.ask(lambda: int("x"))


def refuses_what_is_fine(case):
    case.ask(lambda: case.world.clip.prepare(case.world.picture, ""), refused=False)


def loses_a_file(case):
    (case.folder / "given").write_text("precious")
    with case.unchanged("new"):
        (case.folder / "new").touch()
        (case.folder / "given").unlink()


def waits(case):
    while True:
        time.process_time()


BROKEN = {
    divides: "ZeroDivisionError: division by zero",
    refuses_in_anothers_words: "not raised by nibkit: ValueError: invalid literal",
    refuses_what_is_fine: "what is fine is refused: caption 0 is empty",
    loses_a_file: r"changed or lost: ['given']; that are added: []",
    waits: "no end within",
}


@pytest.mark.parametrize("kind", BROKEN, ids=lambda kind: kind.__name__)
def test_a_broken_promise_is_found_and_kept(world, tmp_path, monkeypatch, kind):
    monkeypatch.setattr(cases, "SECONDS", 0.2)
    outcome = run("x", 5, 7, {"x": kind}, world, tmp_path)
    assert outcome.name == "x-5-7" and BROKEN[kind] in outcome.fault
    assert kind.__name__ in (tmp_path / "x-5-7" / "trace.txt").read_text()
    assert "| x | 1 |" in table([outcome], 5, 1) and outcome.fault[:50] in table([outcome], 5, 1)


def test_a_case_is_the_same_whenever_it_is_run(world, tmp_path):
    def draws(case):
        return str([case.whole(0, 10**9), case.chance(0.5), case.one(*"abc"), case.some(range(9))])

    one, same, other, of_another = (
        run(kind, 3, number, {"x": draws, "y": draws}, world, None).what
        for kind, number in [("x", 1), ("x", 1), ("x", 2), ("y", 1)]
    )
    assert one == same and len({one, other, of_another}) == 3


def test_numbers_that_differ_are_a_fault():
    values = cases.torch.tensor([1.0, 2.0])
    cases.check_equal("a map", values, values + 1e-6)
    for other in (values + 1e-3, values[:1]):
        with pytest.raises(Fault, match="a map"):
            cases.check_equal("a map", values, other)
    with pytest.raises(Fault, match="a map holds NaN"):
        cases.check_finite("a map", None, cases.torch.tensor(np.nan))


def test_the_command_prints_a_table_and_runs_one_case_again(tmp_path, monkeypatch, capsys):
    seen = []
    (tmp_path / "running-1").write_text("another run's\n")
    monkeypatch.setattr("fuzz.__main__.World", lambda folder: SimpleNamespace())
    monkeypatch.setattr("fuzz.__main__.run", lambda *what: seen.append(what[:3]) or Outcome("tables-4-0", "loaded", 2))
    for arguments in (["--seed", "4", "--minutes", "0.0001", "--kinds", "tables"], ["--case", "tables-4-0"]):
        monkeypatch.setattr("sys.argv", ["fuzz", "--keep", str(tmp_path), *arguments])
        assert main() == 0
    printed = capsys.readouterr().out
    assert "seed 4, 0.0001 minutes" in printed and "| tables |" in printed and printed.endswith("tables-4-0: loaded\n")
    assert set(seen[-1:]) == {("tables", 4, 0)}
    assert [path.name for path in tmp_path.iterdir()] == ["running-1"]


@pytest.mark.parametrize(
    "line, message",
    [
        ("--case foo", "--case 'foo': give KIND-SEED-NUMBER"),
        ("--case pictures-0", "--case 'pictures-0': give KIND-SEED-NUMBER"),
        ("--case bogus-0-1", "of a kind in pictures, captions, tables"),
        ("--case=", "--case '': give"),
        ("--minutes -1", "--minutes -1 --seed 0: minutes are above 0"),
        ("--minutes nan", "--minutes nan"),
        ("--seed -1", "a seed is 0 or more"),
        (f"--keep {__file__}", "test_fuzz.py: File exists"),
    ],
)
def test_what_the_command_does_not_understand_is_said_in_a_line(tmp_path, monkeypatch, capsys, line, message):
    monkeypatch.setattr("sys.argv", ["fuzz", "--keep", str(tmp_path / "kept"), *line.split()])
    with pytest.raises(SystemExit):
        main()
    assert message in capsys.readouterr().err and not (tmp_path / "kept").exists()


def test_the_libraries_are_offline_and_quiet_when_it_runs():
    """They read their variables when they are imported; a process that imports the command for its parts is left as it is."""
    code = """if True:
        import contextlib, os, runpy, sys
        sys.argv = ["fuzz", "--help"]
        with contextlib.suppress(SystemExit):
            runpy.run_module("fuzz", run_name=sys.stdin.read(), alter_sys=True)
        import huggingface_hub, nibkit, tqdm
        print(huggingface_hub.is_offline_mode(), tqdm.tqdm([]).disable, os.environ.get("NIBKIT_DEVICE"))"""
    variables = {name: value for name, value in os.environ.items() if name not in {*ENVIRONMENT, "TRANSFORMERS_OFFLINE"}}
    variables["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
    for name, expected in (("__main__", "True True cpu"), ("parts", "False False None")):
        done = subprocess.run([sys.executable, "-c", code], input=name, env=variables, capture_output=True, text=True, check=True)
        assert done.stdout.splitlines()[-1] == expected
