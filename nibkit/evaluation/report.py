"""A summary as a table (markdown, LaTeX, CSV) and as a figure."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import pandas as pd

from ..checks import check_choice, check_number, check_whole, listed
from ..metrics.names import COSTS, better

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

REFERENCE, OTHERS = "#D55E00", "#0072B2"  # the colours of a figure's reference method and of all else
STYLES = ("markdown", "latex", "csv")
SHOWN_COSTS = ("fps", "peak_memory", "forward", "backward")
ARROWS = {"markdown": {-1: " ↓", 0: "", 1: " ↑"}, "latex": {-1: r" $\downarrow$", 0: "", 1: r" $\uparrow$"}}
LATEX = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"} | {c: f"\\{c}" for c in "&%$#_{}"}


def format_summary(
    summary: pd.DataFrame, style: str = "markdown", metrics: Sequence[str] | None = None, significance: float = 0.05
) -> str:
    """A summary as text that can be printed, pasted or written to a file.

    "markdown", "latex" (a booktabs tabular): a row per method, a column per metric with ↓ where less is better and ↑ where more
    is; mean [interval], the best mean in bold, a star where it differs from the reference method's with p_holm below
    ``significance``; costs are medians. A last line says so. "csv": the summary unrounded, a row per metric and method.

    Raises ValueError on an unknown style or metric, or a significance that is not within 0 … 1.
    """
    check_choice("style", style, STYLES)
    significance = check_number("significance", significance, least=0, most=1)
    chosen = choose(summary, metrics)
    if style == "csv":
        return (summary if metrics is None else summary[summary["metric"].isin(chosen)]).to_csv(index=False)
    rows_of = {metric: summary[summary["metric"] == metric].set_index("method") for metric in chosen}
    cells = {metric: cells_of(metric, rows, significance, style) for metric, rows in rows_of.items()}
    head = ["method", *(escape(metric, style) + ARROWS[style][better(metric)] for metric in chosen)]
    methods = summary["method"].unique()
    body = [[escape(method, style), *(cells[metric].get(method, "–") for metric in chosen)] for method in methods]
    note = footnote(summary[summary["metric"].isin(chosen)], significance)
    if style == "markdown":
        lines = ["| " + " | ".join(line) + " |" for line in (head, ["---", *["---:"] * len(chosen)], *body)]
        return "\n".join(lines) + f"\n\n{note}\n"
    first, *others = (" & ".join(line).replace("–", "--") + r" \\" for line in (head, *body))
    begin = rf"\begin{{tabular}}{{l{'r' * len(chosen)}}}"
    lines = [begin, r"\toprule", first, r"\midrule", *others, r"\bottomrule", r"\end{tabular}", f"% {note}"]
    return "\n".join(lines) + "\n"


def choose(summary: pd.DataFrame, metrics: Sequence[str] | None) -> list[str]:
    """The metrics to show: those asked for, or all that some method has a number for and the main costs."""
    known = summary["metric"].unique().tolist()
    if metrics is None:
        counted = set(summary.loc[summary["n"] > 0, "metric"])
        return [metric for metric in known if metric in counted and (metric not in COSTS or metric in SHOWN_COSTS)]
    if unknown := [metric for metric in metrics if metric not in known]:
        raise ValueError(f"no metric {unknown[0]!r} in the summary: it has {listed(known)}")
    return list(metrics)


def cells_of(metric: str, rows: pd.DataFrame, significance: float, style: str) -> dict[str, str]:
    """Each method's cell, of one metric's rows of the summary."""
    center = "median" if metric in COSTS else "mean"
    decimals = decimals_of(rows[center])
    best = {1: rows[center].max(), -1: rows[center].min()}.get(better(metric), math.nan)
    cells = {}
    for method, row in rows.to_dict("index").items():
        if math.isnan(value := row[center]):
            continue
        text = f"{value:.{decimals}f}"
        if not math.isnan(best) and round(value, decimals) == round(best, decimals):
            text = rf"\textbf{{{text}}}" if style == "latex" else f"**{text}**"
        if row.get("p_holm", math.nan) < significance:
            text += r"$^{*}$" if style == "latex" else "*"
        if not math.isnan(row["low"]):
            text += f" [{row['low']:.{decimals}f}, {row['high']:.{decimals}f}]"
        cells[str(method)] = text
    return cells


def decimals_of(values: pd.Series) -> int:
    """How many decimals show three digits of the smallest, at most three; none for whole numbers."""
    sizes = values.abs()[values != 0].dropna()
    if (sizes % 1 == 0).all():
        return 0
    return min(3, max(0, 2 - math.floor(math.log10(sizes.min()))))


def footnote(summary: pd.DataFrame, significance: float) -> str:
    """What the table's numbers are."""
    against, level = summary.attrs.get("against"), summary.attrs.get("level", 0.95)
    least, most = summary["n"].min(), summary["n"].max()
    tested = against is not None and "p_holm" in summary
    star = f"; *: differs from {against} on the same pairs, Holm-corrected p < {significance:g}" if tested else ""
    count = f"{least}" if least == most else f"{least} to {most}"
    costs = "; costs: medians" if summary["metric"].isin(list(COSTS)).any() else ""
    return f"n = {count} pairs; mean [{level:.0%} bootstrap interval]{star}{costs}."


def escape(text: str, style: str) -> str:
    """Text that markdown and LaTeX print as it is."""
    if style == "latex":
        return "".join(LATEX.get(letter, letter) for letter in text)
    return re.sub(r"[\\|*`<]|(?<![a-zA-Z0-9])_|_(?![a-zA-Z0-9])", r"\\\g<0>", text)  # inside a word "_" is a plain letter


def plot_summary(summary: pd.DataFrame, metrics: Sequence[str] | None = None, columns: int = 4) -> Figure:
    """A panel per metric: each method's mean and its interval (dot and bar), the quartiles (thin line, median as a tick).

    The reference method has a colour of its own, and its mean is a dotted line through the panel. Costs are shown by their
    quartiles alone, around the median. metrics: which ones; by default all but the costs. columns: panels in a row.

    Raises ValueError on an unknown metric, or columns that are no whole number, 1 or more.
    """
    from matplotlib import pyplot as plt

    columns = check_whole("columns", columns)
    metrics = choose(summary, metrics) if metrics is not None else [m for m in choose(summary, None) if m not in COSTS]
    if not metrics:
        raise ValueError("the summary has costs alone: name those to be shown, metrics=['fps'] for example")
    methods = summary["method"].unique().tolist()
    rows, columns = -(-len(metrics) // columns), min(columns, len(metrics))
    size = (3.1 * columns + 1.2, rows * (1.1 + 0.36 * len(methods)))
    fig, axes = plt.subplots(rows, columns, figsize=size, sharey=True, squeeze=False, layout="constrained")
    for ax, metric in zip(axes.flat, metrics):
        draw_panel(ax, metric, summary[summary["metric"] == metric].set_index("method"), methods, summary.attrs.get("against"))
    axes[0, 0].set_ylim(len(methods) - 0.5, -0.5)  # shared: the first method on top
    for ax in axes.flat[len(metrics) :]:
        ax.set_axis_off()
    return fig


def draw_panel(ax: Axes, metric: str, rows: pd.DataFrame, methods: Sequence[str], against: str | None) -> None:
    """One metric's panel: ``rows`` are its rows of the summary, by method; ``against`` is the reference method."""
    center, by_method = "median" if metric in COSTS else "mean", rows.to_dict("index")
    for i, method in enumerate(methods):
        if (row := by_method.get(method)) is not None:
            color = REFERENCE if method == against else OTHERS
            if not row["binary"]:  # quartiles of yes and no say nothing
                ax.plot([row["q25"], row["q75"]], [i, i], color=color, lw=1, alpha=0.6)
                ax.plot(row["median"], i, "|", color=color, ms=9)
            ax.plot([row["low"], row["high"]], [i, i], color=color, lw=4, alpha=0.5, solid_capstyle="butt")
            ax.plot(row[center], i, "o", color=color, ms=6)
    if against in by_method:
        ax.axvline(by_method[against][center], color="0.4", ls=":", lw=1, zorder=0)
    ax.set_yticks(range(len(methods)), methods)
    ax.set_xlabel(metric + {-1: " (less is better)", 0: "", 1: " (more is better)"}[better(metric)])
