"""A file of results: gone on with wherever it stopped, no row lost, none done twice; another kind of file is left alone."""

import contextlib
import sqlite3
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from counted import Counted
from evaluations import FAST, call, close_rows, same_rows, tiny

import nibkit as nk
from nibkit.evaluation import runner
from nibkit.evaluation import store as storage
from nibkit.evaluation.digests import RESULTS, fingerprint
from nibkit.evaluation.store import read_results

# --- resuming ---------------------------------------------------------------------------------------------------------


def test_a_second_call_does_nothing_twice(clip, pairs, tmp_path):
    first, second = Counted(), Counted()
    done = call(clip, pairs, {"nib": first}, tmp_path / "r.sqlite")
    same_rows(call(clip, pairs, {"nib": second}, tmp_path / "r.sqlite"), done)
    assert first.pairs == 9 and second.calls == 0


@pytest.mark.parametrize("stop_at", range(1, 6))
def test_interrupted_anywhere_and_resumed_it_is_the_same(clip, pairs, whole, tmp_path, stop_at):
    """Call 1 and 2 warm up, then comes one a batch."""
    out = tmp_path / "r.sqlite"
    methods = lambda stop: {"nib": Counted(stop), "m2ib": FAST["m2ib"]}  # noqa: E731
    with pytest.raises(SystemExit):
        call(clip, pairs, methods(stop_at), out)
    assert len(read_results(out)) == 4 * max(0, stop_at - 3)  # whole batches of both methods
    table = call(clip, pairs, methods(0), out)
    same_rows(table, whole)
    same_rows(read_results(out), whole)


def test_ctrl_c_says_how_to_go_on(clip, pairs, whole, tmp_path):
    out = tmp_path / "r.sqlite"
    with pytest.raises(KeyboardInterrupt, match=r"stopped; 10 results are kept in .*r.sqlite: repeat the call to go on"):
        call(clip, pairs, {"m2ib": FAST["m2ib"], "nib": Counted(5, KeyboardInterrupt)}, out)
    with pytest.raises(KeyboardInterrupt, match="stopped; nothing is kept"):
        call(clip, pairs, {"nib": Counted(5, KeyboardInterrupt)})
    methods = {"m2ib": FAST["m2ib"], "nib": Counted(error=KeyboardInterrupt)}
    table = call(clip, pairs, methods, out)
    order = [2 * i + k for i in range(6) for k in (1, 0)]
    same_rows(table, whole.iloc[order].reset_index(drop=True))


def test_more_pairs_and_more_methods_may_be_added(clip, pairs, whole, tmp_path):
    out = tmp_path / "r.sqlite"
    call(clip, pairs[:3], {"nib": FAST["nib"]}, out)
    call(clip, pairs[3:], {"nib": FAST["nib"]}, out)
    table = call(clip, pairs, FAST, out)
    close_rows(table, whole)
    assert list(table["pair"]) == list(whole["pair"])
    assert list(call(clip, pairs[1:2], {"nib": FAST["nib"]}, out)["pair"]) == ["scene 1"]  # the file has more than is asked for
    assert len(read_results(out)) == 12


@pytest.mark.parametrize(
    "how, message",
    [
        (dict(seed=1), "other settings .seed 0 there, 1 here"),
        (dict(protocol="eos"), "protocol paper there, eos here"),
        (dict(curve_steps=2), "curve_steps None there, 2 here"),
        (dict(batch_size=3, timing=2), "batch_size 2 there, 3 here; timing 1 there, 2 here"),
        (
            dict(methods={"nib": ("nib", {"num_steps": 3})}),
            'other methods .nib nib {"num_steps": 2} there, nib {"num_steps": 3} here',
        ),
    ],
)
def test_other_settings_are_refused(clip, pairs, tmp_path, how, message):
    out = tmp_path / "r.sqlite"
    call(clip, pairs[:2], {"nib": FAST["nib"]}, out)
    before = out.read_bytes()
    with pytest.raises(ValueError, match=message):
        call(clip, pairs[:2], **{"methods": {"nib": FAST["nib"]}, "out": out} | how)
    assert out.read_bytes() == before


def test_another_model_is_refused_the_same_under_another_name_is_not(clip, pairs, tmp_path):
    out, other, renamed = tmp_path / "r.sqlite", tiny(), tiny()
    other.model.visual_projection.weight[0, 0] += 1e-3
    renamed.name = "elsewhere"
    assert fingerprint(other) != fingerprint(clip) == fingerprint(renamed)
    done = call(clip, pairs[:2], ["nib"], out)
    with pytest.raises(ValueError, match="weights .* there, .* here"):
        call(other, pairs[:2], ["nib"], out)
    same_rows(call(renamed, pairs[:2], ["nib"], out), done)


def test_other_versions_are_refused(clip, pairs, tmp_path, monkeypatch):
    call(clip, pairs[:2], ["nib"], tmp_path / "r.sqlite")
    monkeypatch.setattr("nibkit.evaluation.evaluate.version", lambda: "99")
    with pytest.raises(ValueError, match="nibkit .* there, 99 here"):
        call(clip, pairs[:2], ["nib"], tmp_path / "r.sqlite")


def test_other_pairs_of_the_same_ids_are_refused(clip, pairs, tmp_path):
    call(clip, pairs[:2], ["nib"], tmp_path / "r.sqlite")
    other = SimpleNamespace(id="scene 0", image=pairs[0].image, caption="a blue ring")
    with pytest.raises(ValueError, match="holds another pair of id 'scene 0' .*'a blue ring' here"):
        call(clip, [other], ["nib"], tmp_path / "r.sqlite")


# --- written as a whole -----------------------------------------------------------------------------------------------


def test_the_lock_of_systems_without_fcntl(clip, pairs, tmp_path, monkeypatch):
    monkeypatch.setattr(storage, "fcntl", None)
    out = tmp_path / "r.sqlite"

    def second(clip, inputs):
        with pytest.raises(BlockingIOError, match="is being written by another run"):
            call(clip, pairs, ["nib"], out)
        return nk.nib(clip, inputs, num_steps=1)

    monkeypatch.setattr(storage, "PATIENCE", 0.01)
    assert len(call(clip, pairs[:2], {"second": second}, out)) == 2
    assert len(call(clip, pairs[:4], {"second": second}, out)) == 4


def test_a_batch_that_fails_while_it_is_written_leaves_nothing(clip, pairs, whole, tmp_path, monkeypatch):
    out, rows = tmp_path / "r.sqlite", runner.Runner.explain

    def spoiled(self, method, inputs, batch):
        found, skipped = rows(self, method, inputs, batch)
        if batch[0].id == "scene 2" and method.label == "m2ib":
            found[1]["image_drop"] = object()  # SQLite can't take it: the second row of the batch
        return found, skipped

    with monkeypatch.context() as patch, pytest.raises((sqlite3.Error, TypeError)):
        patch.setattr(runner.Runner, "explain", spoiled)
        call(clip, pairs, out=out)
    assert len(read_results(out)) == 6
    same_rows(call(clip, pairs, out=out), whole)


# --- files ------------------------------------------------------------------------------------------------------------


def make_bad_files(folder: Path) -> dict[str, tuple[Path, type[Exception], str]]:
    (folder / "notes.txt").write_text("these are my notes, not a database")
    with contextlib.closing(sqlite3.connect(folder / "other.sqlite")) as file:
        file.execute("CREATE TABLE results (a)")
    return {
        "folder": (folder, ValueError, "is a folder: give a file name in it"),
        "no folder": (folder / "a" / "r.sqlite", FileNotFoundError, "there is no folder"),
        "text": (folder / "notes.txt", ValueError, "is a file of another kind: it is left as it is"),
        "other database": (folder / "other.sqlite", ValueError, "is another program's database: it is left as it is"),
    }


@pytest.mark.parametrize("kind", ["folder", "no folder", "text", "other database"])
def test_bad_files_are_refused_before_any_work_and_left_as_they_are(clip, pairs, tmp_path, kind):
    path, error, message = make_bad_files(tmp_path)[kind]
    before, method = path.read_bytes() if path.is_file() else None, Counted()
    with pytest.raises(error, match=message):
        call(clip, pairs, {"nib": method}, path)
    assert method.calls == 0 and before == (path.read_bytes() if path.is_file() else None)
    if kind != "folder":
        with pytest.raises((ValueError, FileNotFoundError)):
            read_results(path)


def test_a_damaged_file_is_refused(clip, pairs, tmp_path):
    out = tmp_path / "r.sqlite"
    call(clip, pairs, out=out)
    out.write_bytes(out.read_bytes()[:-5000])
    with pytest.raises(ValueError, match="r.sqlite is damaged .*: move it away, or give another file"):
        call(clip, pairs, out=out)


def test_a_file_of_a_later_schema_is_refused(clip, pairs, tmp_path):
    out = tmp_path / "r.sqlite"
    call(clip, pairs[:2], out=out)
    with contextlib.closing(sqlite3.connect(out)) as file:
        file.execute("PRAGMA user_version = 7")
    with pytest.raises(ValueError, match="of schema 7, this nibkit writes 3"):
        call(clip, pairs[:2], out=out)


def test_the_file_tells_what_it_was_made_with(clip, pairs, tmp_path):
    call(clip, pairs[:2], {"nib": FAST["nib"]}, tmp_path / "r.sqlite", seed=3)
    with contextlib.closing(sqlite3.connect(tmp_path / "r.sqlite")) as file:
        settings = dict(file.execute("SELECT * FROM settings"))
        assert file.execute("SELECT * FROM methods").fetchall() == [("nib", 'nib {"num_steps": 2}')]
        assert file.execute("SELECT caption FROM pairs").fetchall() == [(pair.caption,) for pair in pairs[:2]]
    expected = {"model": "tiny", "weights": fingerprint(clip), "dtype": "torch.float32", "device": "cpu", "protocol": "paper",
                "seed": "3", "batch_size": "2", "timing": "1", "curve_steps": "None",
                "nibkit": nk.__version__, "results": str(RESULTS), "torch": torch.__version__, "attention": "sdpa",
                "image_processor": "CLIPImageProcessorPil", "image_processor.size": '{"shortest_edge": 224}'}  # fmt: skip
    assert {name: settings[name] for name in expected} == expected
    rest = {name for name in settings if name not in expected and not name.startswith("image_processor.")}
    assert rest == {"architecture", "tokenizer"} and "image_processor.image_mean" in settings
