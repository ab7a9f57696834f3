"""``nk.evaluate``: right rows, none lost, none done twice, whatever happens on the way."""

import contextlib
import itertools
import re
import sqlite3
from pathlib import Path
from types import SimpleNamespace

import helpers
import numpy as np
import pandas as pd
import pytest
import torch
from evaluations import FAST, MEASURED, call, close_rows, same_rows, some_pairs, tiny

import nibkit as nk
from nibkit.evaluation import runner
from nibkit.evaluation import store as storage
from nibkit.evaluation.digests import RESULTS, fingerprint
from nibkit.evaluation.store import read_results
from nibkit.methods import controls
from nibkit.metrics.confidence import confidence
from nibkit.metrics.localisation import localisation, named_masks
from nibkit.metrics.names import COSTS


class Counted:
    """A method that remembers how many pairs it explained, and can be made to raise at one of its calls.

    All that it holds but its error changes as it runs, so it is one method for a file, wherever it stops."""

    def __init__(self, stop_at: int = 0, error: type[BaseException] = SystemExit):
        self.calls, self.pairs, self.left, self.error = 0, 0, stop_at, error

    def __call__(self, clip, inputs, num_steps: int = 2):
        self.calls += 1
        self.pairs += len(inputs)
        self.left -= 1
        if self.left == 0:
            raise self.error("stop")
        return nk.nib(clip, inputs, num_steps=num_steps)


def raising(clip, inputs):
    raise KeyError("stop")


@pytest.fixture(scope="module")
def pairs():
    return some_pairs()


@pytest.fixture(scope="module")
def whole(clip, pairs):
    """The table that every other way must give, too."""
    return call(clip, pairs)


# --- the table --------------------------------------------------------------------------------------------------------


def test_a_row_per_pair_and_method_in_their_order(whole, pairs):
    assert list(zip(whole["pair"], whole["method"])) == list(itertools.product([pair.id for pair in pairs], FAST))
    assert list(whole.columns[:6]) == ["pair", "method", "image_drop", "image_increase", "text_drop", "text_increase"]
    assert list(whole.columns[-9:]) == list(COSTS) and whole.attrs["skipped"] == []
    assert all(whole[column].dtype == np.float64 for column in whole.columns[2:])
    assert (whole[MEASURED[:2]] > 0).all(axis=None) and np.allclose(whole["seconds"] * whole["fps"], 1)


@pytest.mark.parametrize("protocol", ["paper", "eos"])
def test_the_metrics_are_those_of_each_pair_alone(clip, pairs, protocol):
    table = call(clip, pairs[:4], ["nib"], protocol=protocol, batch_size=3)
    for pair, row in zip(pairs, table.to_dict("records")):
        inputs = clip.prepare(pair.image, pair.caption)
        expected = confidence(clip, inputs, nk.nib(clip, inputs), protocol=protocol).iloc[0]
        assert [row[name] for name in expected.index] == pytest.approx(list(expected), rel=1e-5, abs=1e-5, nan_ok=True)


def test_areas_are_those_of_each_pair_alone(clip, pairs):
    table = call(clip, pairs[:3], ["nib"], curve_steps=2)
    for pair, row in zip(pairs, table.to_dict("records")):
        inputs = clip.prepare(pair.image, pair.caption)
        expected = nk.insertion_deletion(clip, inputs, nk.nib(clip, inputs), steps=2).iloc[0]
        assert len(expected) == 4
        assert [row[name] for name in expected.index] == pytest.approx(list(expected), rel=1e-5, abs=1e-5)


def test_batches_change_no_metric(clip, pairs, whole):
    close_rows(call(clip, pairs, batch_size=5), whole)


def test_passes_are_those_of_a_pair(whole):
    nib, m2ib = (whole[whole["method"] == method] for method in FAST)
    assert (
        nib[["forward", "backward", "forward_image", "forward_text", "backward_image", "backward_text"]] == [8, 4, 4, 4, 2, 2]
    ).all(axis=None)
    assert (m2ib[["forward", "backward"]] == [6, 4]).all(axis=None)


def test_repeats_for_timing_do_not_count_twice(clip, pairs, whole):
    method = Counted()
    table = call(clip, pairs, {"nib": method}, timing=3)
    assert method.pairs == 6 * 3 + 1 + 2  # each batch three times; the warm-up: one pair, then the first batch
    other = whole[whole["method"] == "nib"].reset_index(drop=True)
    same_rows(table, other)


def test_pairs_may_come_one_by_one_and_ids_be_numbers(clip, pairs, whole):
    numbered = [SimpleNamespace(**vars(pair) | {"id": i}) for i, pair in enumerate(pairs)]
    table = call(clip, (pair for pair in numbered))
    assert list(table["pair"]) == [i // 2 for i in range(12)]
    pd.testing.assert_frame_equal(table.drop(columns=["pair", *MEASURED]), whole.drop(columns=["pair", *MEASURED]))


def test_numpys_whole_numbers_are_ids_and_options(clip, pairs, tmp_path):
    """A pair id from pandas is the same id as Python's: stored, resumed, and given back as one."""
    numbered = [SimpleNamespace(**vars(pair) | {"id": id}) for pair, id in zip(pairs, pd.Series([1, 2, 7]).to_numpy())]
    options = dict(batch_size=np.int64(2), seed=np.int64(1), timing=np.int32(1), curve_steps=np.int64(2))
    method, again = Counted(), Counted()
    table = call(clip, numbered, {"nib": method}, tmp_path / "r.sqlite", **options)
    assert list(table["pair"]) == [1, 2, 7] and read_results(tmp_path / "r.sqlite")["pair"].dtype == np.int64
    plain = [SimpleNamespace(**vars(pair) | {"id": int(pair.id)}) for pair in numbered]
    options = {name: int(value) for name, value in options.items()}
    for same in (plain, numbered):  # settings and ids are the same text and the same numbers in the file
        same_rows(call(clip, same, {"nib": again}, tmp_path / "r.sqlite", **options), table)
    assert method.pairs == 6 and again.calls == 0
    other = SimpleNamespace(id=1, image=pairs[0].image, caption=pairs[0].caption)
    with pytest.raises(ValueError, match="pairs 0 and 3 have the same id 1"):
        call(clip, iter([*numbered, other]), {"nib": again})


def test_the_same_method_with_other_options_is_another_row(clip, pairs):
    table = call(clip, pairs[:2], {"nib": "nib", "nib n=5": ("nib", {"num_steps": 5})}, options={"nib": {"num_steps": 3}})
    assert list(table["forward_image"]) == [5, 7] * 2 and list(table["method"]) == ["nib", "nib n=5"] * 2


def test_the_seed_reaches_the_methods_that_draw(clip, pairs):
    first, again, other = (call(clip, pairs[:2], ["m2ib"], seed=seed, options={"m2ib": {"num_steps": 3}}) for seed in (0, 0, 1))
    same_rows(first, again)
    assert (first["image_after"] != other["image_after"]).any()  # the noise moves it a little
    own = call(clip, pairs[:2], ["m2ib"], seed=1, options={"m2ib": {"num_steps": 3, "seed": 0}})
    assert list(own["image_after"]) == list(first["image_after"])


def test_all_methods_by_default(clip, pairs):
    table = call(clip, pairs[:2], None, options={"rise": {"num_masks": 20}})
    assert list(table["method"]) == list(nk.METHODS) * 2 and table.attrs["skipped"] == []
    assert not table[["image_drop", "image_increase", "text_drop", "text_increase", *COSTS]].isna().any(axis=None)
    passes = table.set_index("method")[["forward", "backward"]].head(len(nk.METHODS))
    assert (passes["forward"] >= 2).all() and list(passes.index[passes["backward"] == 0]) == ["rise"]


def test_controls_stand_beside_the_methods(clip, pairs):
    table = call(clip, pairs[:2], {"ones": controls.ones_map, "random": controls.random_map})
    assert (table.loc[table["method"] == "ones", ["image_drop", "image_increase", "text_drop", "text_increase"]] == 0).all(
        axis=None
    )


def with_truth(n: int = 3) -> list[SimpleNamespace]:
    """Scenes of two or three objects, of which the caption names some."""
    scenes = nk.shapes.sample(n, seed=5, captions="some", objects=(2, 3))
    return [SimpleNamespace(id=i, image=s.image, caption=s.caption, masks=s.masks, scene=s) for i, s in enumerate(scenes)]


def test_localisation_is_scored_where_the_truth_is_known(clip, pairs):
    known = with_truth()
    only_masks = SimpleNamespace(**vars(known[0]) | {"id": "masks", "scene": None})
    table = call(clip, [known[0], pairs[0], only_masks, *known[1:]], {"nib": FAST["nib"]}).set_index("pair")
    masks, distractors = named_masks([pair.scene for pair in known])
    for i, pair in enumerate(known):
        att = nk.nib(clip, clip.prepare(pair.image, pair.caption), num_steps=2)
        expected = localisation(att, masks[i : i + 1], distractors[i : i + 1]).iloc[0]
        assert list(table.loc[i, expected.index]) == pytest.approx(list(expected), rel=1e-4)
    assert not table.loc[[0, 1, 2], ["pointing", "iou", "average_precision", "beats"]].isna().any(axis=None)
    assert table.loc["masks", "chance"] == known[0].masks.any(0).mean()  # all masks count as named
    assert table.loc["masks", ["beats", "against"]].isna().all() and table.loc["scene 0", ["pointing", "iou"]].isna().all()


def test_a_caption_that_is_false_in_all_has_nothing_to_find(clip):
    scene = nk.shapes.sample(1, seed=0, captions="wrong", objects=1)[0]
    table = call(clip, [SimpleNamespace(id=0, image=scene.image, caption=scene.caption, masks=scene.masks, scene=scene)], ["nib"])
    assert "pointing" not in table or table["pointing"].isna().all()


def test_the_oracle_gets_the_truth_and_finds_it(clip, pairs):
    known = with_truth()
    table = call(clip, known, {"oracle": controls.oracle_map, "nib": FAST["nib"]}).set_index("method")
    assert (table.loc["oracle", ["pointing", "iou", "average_precision", "beats"]] == 1).all(axis=None)
    assert (table.loc["nib", "iou"] < 1).all()
    with pytest.warns(UserWarning, match="'scene 0': 'oracle' needs true masks, which this pair has not"):
        table = call(clip, [known[0], pairs[0]], {"oracle": controls.oracle_map})
    assert list(table["pair"]) == [0]


def test_nothing_is_left_on_the_model(clip, pairs):
    before = helpers.state(clip)
    call(clip, pairs[:3])
    with pytest.raises(SystemExit):
        call(clip, pairs, {"nib": Counted(stop_at=4)})
    with pytest.raises(ValueError, match="fails on every pair of its first batch: KeyError: 'stop'"):
        call(clip, pairs, {"nib": raising})
    assert helpers.same(before, helpers.state(clip))


def test_the_bar_is_full_at_the_end(clip, pairs, tmp_path, capsys):
    bad = [*pairs, SimpleNamespace(id="bad", image="nowhere.png", caption="a ring")]
    for _ in range(2):  # done now, done before
        with pytest.warns(UserWarning, match="1 of 7 pairs"):
            call(clip, bad, out=tmp_path / "r.sqlite", progress=True)
        assert "14/14" in capsys.readouterr().err


# --- what can't be explained ------------------------------------------------------------------------------------------


def test_bad_pairs_are_listed_with_their_reason(clip, pairs, whole, tmp_path):
    (tmp_path / "text.png").write_text("no picture")
    bad = [
        SimpleNamespace(id="gone", image=str(tmp_path / "gone.png"), caption="a ring"),
        SimpleNamespace(id="text", image=str(tmp_path / "text.png"), caption="a ring"),
        SimpleNamespace(id="long", image=pairs[0].image, caption="red " * 90),
        SimpleNamespace(id="empty", image=pairs[0].image, caption=" "),
        SimpleNamespace(id="none", image=pairs[0].image, caption=None),
    ]
    mixed = [one for both in zip(bad, pairs) for one in both]
    with pytest.warns(UserWarning, match=r"5 of 10 pairs were skipped.*the first is 'gone': image: there is no file"):
        table = call(clip, mixed, out=tmp_path / "r.sqlite")
    skipped = pd.DataFrame(table.attrs["skipped"])
    assert list(skipped["pair"]) == [pair.id for pair in bad] and set(skipped["method"]) == {""}
    for reason, part in zip(skipped["reason"], ["no file", "no readable picture", "caption has 92 tokens", "caption is empty",
                                                "caption must be a string"]):  # fmt: skip
        assert part in reason
    close_rows(table, whole.head(10))
    with contextlib.closing(sqlite3.connect(tmp_path / "r.sqlite")) as file:
        assert file.execute("SELECT count(*), count(DISTINCT reason) FROM skipped").fetchone() == (5, 5)


def test_what_was_skipped_is_tried_again_on_request_only(clip, pairs, tmp_path):
    picture, out = tmp_path / "late.png", tmp_path / "r.sqlite"
    mixed = [pairs[0], SimpleNamespace(id="late", image=str(picture), caption="a red ring"), pairs[1]]
    with pytest.warns(UserWarning, match="1 of 3"):
        first = call(clip, mixed, out=out)
    pairs[2].image.save(picture)
    with pytest.warns(UserWarning, match="1 of 3"):
        same_rows(call(clip, mixed, out=out), first)
    table = call(clip, mixed, out=out, retry_skipped=True)
    assert list(table["pair"]) == ["scene 0"] * 2 + ["late"] * 2 + ["scene 1"] * 2 and table.attrs["skipped"] == []
    same_rows(read_results(out), table)


def test_a_map_with_nan_is_skipped_for_that_method_alone(clip, pairs, whole):
    marked = clip.prepare(pairs[3].image, pairs[3].caption).pixel_values

    def spoiled(clip, inputs, side="image"):
        att = nk.nib(clip, inputs, num_steps=2)
        hit = [torch.equal(pixels, marked[0]) for pixels in inputs.pixel_values]
        getattr(att, side)[hit] = float("nan")
        return att

    for side in ("image", "text"):
        with pytest.warns(UserWarning, match="'scene 3': the map holds NaN or infinity"):
            table = call(clip, pairs, FAST | {"spoiled": (spoiled, {"side": side})})
        assert table.attrs["skipped"] == [{"pair": "scene 3", "method": "spoiled", "reason": "the map holds NaN or infinity"}]
        assert list(table.loc[table["pair"] == "scene 3", "method"]) == list(FAST) and len(table) == 17
        rest, nib = (table[table["method"] == method].set_index("pair") for method in ("spoiled", "nib"))
        assert (rest["image_drop"] == nib["image_drop"].drop("scene 3")).all()


def test_a_method_that_refuses_one_pair_keeps_the_others(clip, pairs):
    refused = clip.prepare(pairs[1].image, pairs[1].caption).pixel_values

    def picky(clip, inputs):
        if any(torch.equal(pixels, refused[0]) for pixels in inputs.pixel_values):
            raise ValueError("I do not like this picture")
        return nk.nib(clip, inputs, num_steps=2)

    with pytest.warns(UserWarning, match="1 of 6"):
        table = call(clip, pairs, {"picky": picky})
    assert table.attrs["skipped"] == [{"pair": "scene 1", "method": "picky", "reason": "I do not like this picture"}]
    assert list(table["pair"]) == [f"scene {i}" for i in (0, 2, 3, 4, 5)]


def test_a_method_that_never_works_ends_the_run(clip, pairs):
    with pytest.raises(
        ValueError, match="method 'nib' fails on every pair of its first batch: layer must be a whole number within 0 … 5"
    ):
        call(clip, pairs, ["nib"], options={"nib": {"layer": 99}})


# --- bad arguments, before any work -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options, error, message",
    [
        (dict(methods=["nib", "lime"]), ValueError, "unknown method 'lime': the methods are nib"),
        (dict(methods=[]), ValueError, "methods is empty"),
        (dict(methods=["nib", "nib"]), ValueError, "names nib twice"),
        (dict(methods={3: "nib"}), TypeError, "label must be text; got 3"),
        (dict(methods={"nib": ("nib", {"steps": 5})}), TypeError, "method 'nib' can't be called.*'steps'"),
        (dict(options={"rise": {}}), ValueError, "options for rise, which is not among the methods"),
        (dict(batch_size=0), ValueError, "batch_size must be a whole number"),
        (dict(timing=1.5), ValueError, "timing must be a whole number"),
        (dict(curve_steps=0), ValueError, "curve_steps must be a whole number within 1 … .*, or None; got 0"),
        (dict(seed=-1), ValueError, "seed must be a whole number, 0 or more; got -1"),
        (dict(protocol="mine"), ValueError, 'protocol must be "paper", "eos" or "m2ib"'),
        (dict(engine="ray"), ValueError, 'engine must be "dask" or None'),
        (dict(client="localhost"), TypeError, "client must be a distributed.Client"),
    ],
)
def test_bad_arguments_are_named(clip, pairs, tmp_path, options, error, message):
    with pytest.raises(error, match=message):
        call(clip, pairs, **{"methods": ["nib"], "out": tmp_path / "r.sqlite"} | options)
    assert "r.sqlite" not in {path.name for path in tmp_path.iterdir()}


def test_bad_pairs_are_named(clip, pairs):
    with pytest.raises(TypeError, match="clip must be an nk.Clip, as nk.load_clip returns it"):
        call("shapes", pairs)
    with pytest.raises(TypeError, match="pair 0 must have id, image and caption.*got Scene"):
        call(clip, nk.shapes.sample(1))
    for bad in (0.5, np.float64(1), True, np.True_, None):
        with pytest.raises(TypeError, match=f"the id of pair 0 must be text or a whole number; got {re.escape(repr(bad))}"):
            call(clip, [SimpleNamespace(id=bad, image=pairs[0].image, caption="a ring")])
    for nothing in ([], iter([])):
        with pytest.raises(ValueError, match="no pairs"):
            call(clip, nothing)


def test_a_repeated_id_is_refused(clip, pairs, tmp_path):
    twice = [*pairs, pairs[2]]
    method = Counted()
    with pytest.raises(ValueError, match="pairs 2 and 6 have the same id 'scene 2'"):
        call(clip, twice, {"nib": method}, tmp_path / "r.sqlite")
    assert method.calls == 0  # a list is looked through before any work
    with pytest.raises(ValueError, match="pairs 2 and 6 have the same id 'scene 2'"):
        call(clip, iter(twice), {"nib": method}, tmp_path / "r.sqlite")
    assert len(read_results(tmp_path / "r.sqlite")) == 6  # what came before it is kept


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
