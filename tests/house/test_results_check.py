"""``make results-check``: what is stored is measured again as it was made, and a figure that is another one is found."""

import sys
from pathlib import Path

import pytest

import nibkit as nk

sys.path.insert(0, str(Path(__file__).parents[2] / "data" / "recipes"))

import check_results  # noqa: E402


@pytest.mark.parametrize("name", check_results.RUNS)
def test_every_setting_is_drawn_but_those_that_are_rounding(name):
    table = check_results.meaningful(nk.results(name), name)
    rows = check_results.drawn(table, 0.02, seed=1)
    labels = {label for label in check_results.RUNS[name][2] if label.split(",")[-1] != "11" or name not in ("layers", "grid")}
    assert set(rows["method"]) == labels and len(rows) < len(table)
    assert not rows.equals(check_results.drawn(table, 0.02, seed=2))


def test_rows_are_measured_again_and_a_changed_figure_is_found():
    clip, table = nk.load_clip("shapes"), nk.results("grid")
    rows = table[table["method"].isin(["3,9", "5,6"])].iloc[4:7].reset_index(drop=True)
    now = check_results.measured(clip, "grid", rows)
    assert check_results.differences(rows, now, 1e-3).empty
    changed = rows.copy()
    changed.loc[1, "average_precision"] += 0.002
    changed.loc[2, "text_drop"] += 0.2
    changed.loc[0, "backward_text"] += 1
    found = check_results.differences(changed, now, 1e-3)
    assert set(found["column"]) == {"average_precision", "text_drop", "backward_text"} and len(found) == 3


def test_rows_of_other_models_are_measured_again_by_those_models():
    table = nk.results("model_scores")
    rows = check_results.drawn(table, 0.001, seed=1)
    labels = set(check_results.measure_scores.callables(nk.load_clip("emoji")))
    assert {(model, label) for model in nk.MODELS for label in labels} == set(zip(rows["model"], rows["method"]))
    rows = rows[rows["model"].isin(["emoji", "shapes"]) & rows["method"].isin(["nib", "cplrp"])].reset_index(drop=True)
    now = check_results.measured(nk.load_clip("shapes"), "model_scores", rows)
    assert check_results.differences(rows, now, 1e-3).empty
    changed = rows.assign(model=rows["model"].iloc[::-1].to_numpy())  # rows of one model under the other's name
    assert not check_results.differences(changed, check_results.measured(None, "model_scores", changed), 1e-3).empty
    changed = rows.copy()
    changed.loc[0, "text_drop_m2ib"] += 0.2
    found = check_results.differences(changed, now, 1e-3)
    assert found[["model", "column"]].values.tolist() == [[rows["model"][0], "text_drop_m2ib"]]
