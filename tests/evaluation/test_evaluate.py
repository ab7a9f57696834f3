"""``nk.evaluate``: right rows, and bad arguments are named before any work."""

import itertools
import re
from types import SimpleNamespace

import helpers
import numpy as np
import pandas as pd
import pytest
from counted import Counted
from evaluations import FAST, MEASURED, call, close_rows, same_rows

import nibkit as nk
from nibkit.evaluation.store import read_results
from nibkit.methods import controls
from nibkit.metrics.confidence import confidence
from nibkit.metrics.localisation import localisation, named_masks
from nibkit.metrics.names import COSTS


def raising(clip, inputs):
    raise KeyError("stop")


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
