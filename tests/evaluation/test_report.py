"""The summary shown: tables and a figure that say what the numbers are."""

import html
import io
import math
import re

import pandas as pd
import pytest
from markdown_it import MarkdownIt
from matplotlib import pyplot as plt
from three_methods import table

from nibkit.evaluation.report import format_summary, plot_summary
from nibkit.evaluation.summary import summarise
from nibkit.metrics.names import better


@pytest.fixture(scope="module")
def summary():
    return summarise(table(), resamples=999)


def test_markdown(summary):
    lines = format_summary(summary).splitlines()
    assert lines[0] == "| method | image_drop ↓ | image_increase ↑ | forward ↓ |"
    assert lines[1] == "| --- | ---: | ---: | ---: |"
    assert lines[2].startswith("| nib | **") and lines[3].startswith("| worse | 2.") and "* [" in lines[3]
    assert "* [" not in lines[4].replace("** [", "") and all(line.count("|") == 5 for line in lines[:5])
    assert lines[6].startswith("n = 30 pairs; mean [95% bootstrap interval]; *: differs from nib")


@pytest.mark.parametrize("label", ["nib:num_steps=5", "_mine_", "a|b", "*", "`x`", "back\\slash", "<b>"])
def test_markdown_shows_every_label_letter_by_letter(summary, label):
    """Also the star behind a bold number; in a terminal no backslash stands where none is needed."""
    text = format_summary(summary.assign(method=summary["method"].replace("worse", label)), "markdown")
    cells = re.findall("<td[^>]*>(.*?)</td>", MarkdownIt("commonmark").enable("table").render(text))
    plain = [html.unescape(re.sub("</?strong>", "", cell)) for cell in cells]
    assert label in plain and not any("**" in cell for cell in plain) and any(re.match(r"[\d.]+\* \[", cell) for cell in plain)
    assert ("\\" in text) == (label != "nib:num_steps=5")


def test_the_best_is_the_least_drop_and_the_most_increase(summary):
    nib, worse = (format_summary(summary, metrics=["image_drop", "image_increase"]).splitlines()[i] for i in (2, 3))
    assert nib.count("**") == 4 and worse.count("**") == 0


def test_latex_compiles_in_principle(summary):
    renamed = summary.assign(method=summary["method"].replace("worse", "100% & more_{x}"))
    text = format_summary(renamed, "latex")
    body = text.splitlines()
    assert body[0] == r"\begin{tabular}{lrrr}" and body[-2] == r"\end{tabular}" and body[-1].startswith("% n = 30")
    assert r"100\% \& more\_\{x\}" in text and r"image\_drop $\downarrow$" in text and "$^{*}$" in text
    assert all(line.count(" & ") == 3 and line.endswith(r"\\") for line in body[4:7] + body[2:3])
    assert text.count("{") == text.count("}")


def test_csv_is_the_whole_summary(summary):
    back = pd.read_csv(io.StringIO(format_summary(summary, "csv")))
    pd.testing.assert_frame_equal(back, summary, check_dtype=False)
    only = pd.read_csv(io.StringIO(format_summary(summary, "csv", metrics=["seconds"])))
    assert list(only["metric"]) == ["seconds"] * 3


def test_unknown_styles_and_metrics_are_named(summary):
    with pytest.raises(ValueError, match='style must be "markdown", "latex" or "csv"; got \'html\''):
        format_summary(summary, "html")
    with pytest.raises(ValueError, match="significance must be a finite number within 0 … 1; got 5"):
        format_summary(summary, significance=5)
    with pytest.raises(ValueError, match="columns must be a whole number, 1 or more; got 0"):
        plot_summary(summary, columns=0)
    for call in (format_summary, plot_summary):
        with pytest.raises(ValueError, match="no metric 'iou' in the summary: it has image_drop"):
            call(summary, metrics=["iou"])


def test_infinite_values_are_left_out_and_told():
    damaged = table(6)
    damaged.loc[[0, 4], "image_drop"] = math.inf, -math.inf
    with pytest.warns(UserWarning, match="image_drop is infinite in 2 rows: they are left out"):
        summary = summarise(damaged)
    rows = summary[summary["metric"] == "image_drop"].set_index("method")
    assert rows["n"].to_dict() == {"nib": 5, "worse": 5, "same": 6} and rows.loc["worse", "pairs"] == 4
    assert rows.loc["nib", "mean"] == pytest.approx(damaged["image_drop"][3::3].mean()) and "inf" not in format_summary(summary)


def test_directions():
    names = ["image_drop", "text_increase", "image_insertion_auc", "image_deletion_auc", "pointing", "iou", "average_precision",
             "fps", "seconds", "forward_image", "image_before", "text_position"]  # fmt: skip
    assert [better(name) for name in names] == [-1, 1, 1, -1, 1, 1, 1, 1, -1, -1, 0, 0]


def test_figure_shows_means_intervals_and_quartiles(summary):
    figure = plot_summary(summary)
    drop, increase = figure.axes
    assert drop.get_xlabel() == "image_drop (less is better)" and increase.get_xlabel() == "image_increase (more is better)"
    assert [label.get_text() for label in drop.get_yticklabels()] == ["nib", "worse", "same"]
    rows = summary[summary["metric"] == "image_drop"]
    drawn = [tuple(line.get_xdata()) for line in drop.lines]
    for _, row in rows.iterrows():
        assert {(row["low"], row["high"]), (row["q25"], row["q75"]), (row["mean"],), (row["median"],)} <= set(drawn)
    assert (rows["mean"].iloc[0],) * 2 in drawn[-1:]  # the reference's line
    assert len(increase.lines) == 3 * 2 + 1  # no quartiles of yes and no
    assert drop.get_ylim()[0] > drop.get_ylim()[1]
    plt.close(figure)


def test_figure_of_costs(summary):
    figure = plot_summary(summary, metrics=["seconds"])
    assert len(figure.axes) == 1
    plt.close(figure)
    with pytest.raises(ValueError, match="costs alone"):
        plot_summary(summary[summary["metric"] == "seconds"])
