"""The summary of a benchmark: tests of known value, and intervals that cover."""

import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt
from scipy import stats
from three_methods import table

from nibkit.evaluation.report import format_summary, plot_summary
from nibkit.evaluation.summary import holm, interval, is_binary, mcnemar, summarise, wilcoxon

ROOT = Path(__file__).parents[2]


# --- the tests, against published values ------------------------------------------------------------------------------


def test_wilcoxon_on_hollander_and_wolfe():
    """Depression scores of nine patients before and after (1973, p. 29), R's example: p = .01953 one-sided."""
    first = [1.83, 0.50, 1.62, 2.48, 1.68, 1.88, 1.55, 3.06, 1.30]
    second = [0.878, 0.647, 0.598, 2.05, 1.06, 1.29, 1.06, 3.14, 1.29]
    assert wilcoxon(first, second) == pytest.approx(2 * 0.01953125, abs=1e-12)
    assert wilcoxon(second, first) == wilcoxon(first, second)


def test_wilcoxon_leaves_equal_pairs_out():
    first, second = np.array([3.0, 1, 4, 1, 5, 9]), np.array([2.0, 3, 1, 5, 4, 2]) + 0.1
    padded = [np.concatenate([values, np.full(20, 7.0)]) for values in (first, second)]
    assert wilcoxon(*padded) == wilcoxon(first, second)
    assert wilcoxon([1, 2], [1, 2]) == 1


@pytest.mark.parametrize("only, other, p", [(1, 9, 22 / 1024), (5, 12, 2 * 9402 / 2**17), (0, 6, 2 / 64), (4, 4, 1), (0, 0, 1)])
def test_mcnemar_counts_the_discordant_pairs_alone(only, other, p):
    """By hand: twice the binomial tail at ½, as R's ``binom.test``; pairs that agree change nothing."""
    for agreeing in (0, 40):
        ours = np.array([100.0] * only + [0.0] * other + [100.0] * agreeing + [0.0] * agreeing)
        theirs = np.array([0.0] * only + [100.0] * other + [100.0] * agreeing + [0.0] * agreeing)
        assert mcnemar(ours, theirs) == pytest.approx(p, rel=1e-12)
        assert mcnemar(theirs, ours) == pytest.approx(p, rel=1e-12)


def test_holm_on_textbook_examples():
    """The usual example of four, and R's ``p.adjust(c(.01, .02, .03, .04, .05), "holm")``."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.01, 0.02, 0.03, 0.04, 0.05]) == pytest.approx([0.05, 0.08, 0.09, 0.09, 0.09])


def test_holm_leaves_nan_out_of_the_family():
    found = holm([np.nan, 0.01, 0.9, np.nan])
    assert np.isnan(found[[0, 3]]).all() and found[[1, 2]] == pytest.approx([0.02, 0.9])
    assert holm([0.7, 0.8]).max() == 1 and len(holm([])) == 0


def test_interval_covers_the_mean_as_often_as_it_says():
    draw = np.random.RandomState(0)
    held = [low <= 1 <= high for low, high in (interval(draw.exponential(size=40), 0.9, 499) for _ in range(300))]
    assert 0.85 <= np.mean(held) <= 0.95  # of a skewed law: .9 asked for, standard error .017


def test_interval_of_differences_is_scipys_paired_bootstrap():
    first, second = np.random.RandomState(0).exponential(size=(2, 60))
    how = dict(paired=True, n_resamples=999, method="BCa", rng=np.random.default_rng(5))
    theirs = stats.bootstrap((first, second), lambda a, b, axis: np.mean(a - b, axis), **how).confidence_interval
    assert interval(first - second, resamples=999, seed=5) == pytest.approx(tuple(theirs), rel=1e-9)


def test_interval_where_there_is_little_to_draw_from():
    assert interval(np.full(9, 2.5)) == (2.5, 2.5) and np.isnan(interval([1.0])).all()
    low, high = interval([0.0] * 19 + [100.0])
    assert 0 <= low < 5 < high  # one success in twenty


@pytest.mark.parametrize(
    "values, yes", [([0, 100, np.nan], True), ([0, 1], True), ([0, 0.5, 1], False), ([0, 1, 100], False), ([np.nan], False)]
)
def test_binary(values, yes):
    assert is_binary(np.array(values, dtype=float)) is yes


# --- the summary --------------------------------------------------------------------------------------------------------


def test_summary_by_hand():
    data = table()
    summary = summarise(data).set_index(["metric", "method"])
    for method in ("nib", "worse", "same"):
        values = data.loc[data["method"] == method, "image_drop"]
        row = summary.loc[("image_drop", method)]
        assert (row["n"], row["mean"]) == (30, pytest.approx(values.mean()))
        assert list(row[["q25", "median", "q75"]]) == pytest.approx(list(values.quantile([0.25, 0.5, 0.75])))
        assert row["low"] < row["mean"] < row["high"]
    worse = summary.loc[("image_drop", "worse")]
    assert worse["difference"] == pytest.approx(1.145) and worse["difference_low"] > 1 and worse["test"] == "wilcoxon"
    assert worse["p"] == pytest.approx(2 / 2**30) and worse["p_holm"] == pytest.approx(4 * worse["p"])  # of four tests
    same = summary.loc[("image_drop", "same")]
    assert (same["difference"], same["difference_low"], same["p"]) == (0, 0, 1)
    increase = summary.loc[("image_increase", "worse")]
    lost = int(((data["method"] == "nib") & (data["image_increase"] > 0) & data["pair"].isin([f"p{i}" for i in range(15)])).sum())
    assert increase["test"] == "mcnemar" and increase["p"] == pytest.approx(2 * 0.5**lost) and increase["binary"]


def test_paired_intervals_are_narrower_than_their_parts():
    """The pairs differ much, the methods little: only the paired interval sees it."""
    summary = summarise(table()).set_index(["metric", "method"]).loc[("image_drop", "worse")]
    assert summary["difference_high"] - summary["difference_low"] < 0.2 < summary["high"] - summary["low"]


def test_costs_are_not_tested_and_raw_cosines_not_summarised():
    summary = summarise(table())
    assert list(dict.fromkeys(summary["metric"])) == ["image_drop", "image_increase", "seconds", "forward"]
    costs = summary[summary["metric"].isin(["seconds", "forward"])]
    assert costs[["low", "high", "p", "p_holm", "difference"]].isna().all(axis=None) and (costs["n"] == 30).all()
    assert list(summarise(table(), metrics=["image_before"])["metric"]) == ["image_before"] * 3


def test_missing_values_leave_the_pair_out_of_that_comparison():
    data = table()
    data.loc[(data["method"] == "worse") & (data["pair"] == "p0"), "image_drop"] = np.nan
    data = data[~((data["method"] == "same") & data["pair"].isin(["p1", "p2"]))]
    summary = summarise(data).set_index(["metric", "method"]).loc["image_drop"]
    assert list(summary["n"]) == [30, 29, 28] and list(summary["pairs"][1:]) == [29, 28]
    assert summary.loc["same", "difference"] == 0
    data["image_drop"] = data["image_drop"].where(data["method"] != "same")
    none = summarise(data).set_index(["metric", "method"]).loc[("image_drop", "same")]
    assert none["n"] == 0 and none["pairs"] == 0 and math.isnan(none["mean"]) and math.isnan(none["p_holm"])


def test_the_order_of_rows_does_not_matter():
    data = table()
    shuffled = pd.concat([data.head(3), data.iloc[3:].sample(frac=1, random_state=0)])
    pd.testing.assert_frame_equal(summarise(data), summarise(shuffled))


def test_another_reference_or_none():
    assert summarise(table(), against="worse").set_index(["metric", "method"]).loc[("image_drop", "nib"), "difference"] < -1
    alone = summarise(table(), against=None)
    assert "p" not in alone and "|" in format_summary(alone) and "Holm" not in format_summary(alone)


@pytest.mark.parametrize(
    "options, message",
    [
        (dict(against="rise"), "against='rise' is not in the table"),
        (dict(metrics=["iou"]), "no metric 'iou' in the table"),
        (dict(level=1), "level must be a finite number within 0 … 1, 0 and 1 left out; got 1"),
        (dict(resamples=0), "resamples must be a whole number, 1 or more; got 0"),
        (dict(resamples=True), "resamples must be a whole number, 1 or more; got True"),
        (dict(seed=-1), "seed must be a whole number, 0 or more; got -1"),
    ],
)
def test_bad_arguments_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        summarise(table(), **options)


def test_numpys_numbers_are_numbers():
    ours = summarise(table(), level=np.float32(0.5), resamples=np.int64(99), seed=np.int64(3))
    pd.testing.assert_frame_equal(ours, summarise(table(), level=0.5, resamples=99, seed=3))
    columns = [len(plot_summary(ours, columns=n).axes) for n in (np.int64(1), 1)]
    plt.close("all")
    assert columns == [2, 2]


def test_reading_results_loads_no_models_code():
    """Who only reads and sums up a table waits for neither torch nor transformers; for matplotlib only where it draws."""
    names = "nibkit.evaluation." + pd.Series(["summary", "store", "report"])
    command = f"import {', '.join(names)}, sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", command], cwd=ROOT, capture_output=True, text=True, check=True)
    assert {*names} <= set(done.stdout.split()) and not {"torch", "transformers", "matplotlib"} & set(done.stdout.split())


def test_bad_tables_are_named():
    with pytest.raises(ValueError, match="two rows of pair 'p0' and method 'nib'"):
        summarise(pd.concat([table(), table().head(1)]))
    for bad in (pd.DataFrame({"a": [1]}), table().head(0)):
        with pytest.raises(ValueError, match="columns pair and method"):
            summarise(bad)
