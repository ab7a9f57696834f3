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
