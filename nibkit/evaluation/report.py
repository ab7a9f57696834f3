"""A summary as a table (markdown, LaTeX, CSV) and as a figure."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from ..metrics.costs import COSTS
from .summary import better

REFERENCE, OTHERS = "#D55E00", "#0072B2"  # the colours of a figure's reference method and of all else
STYLES = ("markdown", "latex", "csv")
SHOWN_COSTS = ("fps", "peak_memory", "forward", "backward")
LATEX = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"} | {c: f"\\{c}" for c in "&%$#_{}"}


def format_summary(
    summary: pd.DataFrame, style: str = "markdown", metrics: Sequence[str] | None = None, significance: float = 0.05
) -> str:
    """A summary as text that can be printed, pasted or written to a file.

    "markdown", "latex" (a booktabs tabular): a row per method, a column per metric with ↓ where less is better and ↑ where more
    is; mean [interval], the best mean in bold, a star where it differs from the reference method's with p_holm below
    ``significance``; costs are medians. A last line says so. "csv": the summary unrounded, a row per metric and method.

    Raises ValueError on an unknown style or metric.
    """
    if style not in STYLES:
        raise ValueError(f"style must be one of {', '.join(STYLES)}; got {style!r}")
    chosen = choose(summary, metrics)
    if style == "csv":
        return summary[summary["metric"].isin(chosen if metrics is not None else list(summary["metric"]))].to_csv(index=False)
    methods = list(dict.fromkeys(summary["method"]))
    columns = {metric: summary[summary["metric"] == metric].set_index("method") for metric in chosen}
    cells = {metric: cells_of(metric, column, significance, style) for metric, column in columns.items()}
    arrows = {"markdown": {-1: " ↓", 0: "", 1: " ↑"}, "latex": {-1: r" $\downarrow$", 0: "", 1: r" $\uparrow$"}}[style]
    head = ["method", *(escape(metric, style) + arrows[better(metric)] for metric in chosen)]
    body = [[escape(method, style), *(cells[metric].get(method, "–") for metric in chosen)] for method in methods]
    note = footnote(summary[summary["metric"].isin(chosen)], significance)
    if style == "markdown":
        lines = [head, ["---", *["---:"] * len(chosen)], *body]
        return "\n".join("| " + " | ".join(line) + " |" for line in lines) + f"\n\n{note}\n"
    head, *body = (" & ".join(line).replace("–", "--") + r" \\" for line in (head, *body))
    begin = rf"\begin{{tabular}}{{l{'r' * len(chosen)}}}"
    lines = [begin, r"\toprule", head, r"\midrule", *body, r"\bottomrule", r"\end{tabular}", f"% {note}"]
    return "\n".join(lines) + "\n"


def choose(summary: pd.DataFrame, metrics: Sequence[str] | None) -> list[str]:
    """The metrics to show: those asked for, or all that some method has a number for and the main costs."""
    there = list(dict.fromkeys(summary["metric"]))
    if metrics is None:
        said = set(summary.loc[summary["n"] > 0, "metric"])
        return [metric for metric in there if metric in said and (metric not in COSTS or metric in SHOWN_COSTS)]
    if unknown := [metric for metric in metrics if metric not in there]:
        raise ValueError(f"no metric {unknown[0]!r} in the summary: it has {', '.join(there)}")
    return list(metrics)


def cells_of(metric: str, column: pd.DataFrame, significance: float, style: str) -> dict[str, str]:
    """Each method's cell, of one metric's rows of the summary."""
    value = column["median"] if metric in COSTS else column["mean"]
    decimals = decimals_of(value)
    best = {1: value.max(), -1: value.min()}.get(better(metric), math.nan)
    found = {}
    for method, row in column.iterrows():
        if math.isnan(value[method]):
            continue
        text = f"{value[method]:.{decimals}f}"
        if not math.isnan(best) and round(value[method], decimals) == round(best, decimals):
            text = rf"\textbf{{{text}}}" if style == "latex" else f"**{text}**"
        if row.get("p_holm", math.nan) < significance:
            text += r"$^{*}$" if style == "latex" else r"\*"
        if not math.isnan(row["low"]):
            text += f" [{row['low']:.{decimals}f}, {row['high']:.{decimals}f}]"
        found[method] = text
    return found


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
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("*", "\\*").replace("_", "\\_")


def plot_summary(summary: pd.DataFrame, metrics: Sequence[str] | None = None, columns: int = 4) -> Figure:
    """A panel per metric: each method's mean and its interval (dot and bar), the quartiles (thin line, median as a tick).

    The reference method has a colour of its own, and its mean is a dotted line through the panel. Costs are
    shown by their quartiles alone, around the median. metrics: which ones; by default all but the costs. columns: panels in a
    row.

    Raises ValueError on an unknown metric.
    """
    metrics = choose(summary, metrics) if metrics is not None else [m for m in choose(summary, None) if m not in COSTS]
    if not metrics:
        raise ValueError("the summary has costs alone: name those to be shown, metrics=['fps'] for example")
    methods = list(dict.fromkeys(summary["method"]))
    colors = {method: REFERENCE if method == summary.attrs.get("against") else OTHERS for method in methods}
    rows, columns = -(-len(metrics) // columns), min(columns, len(metrics))
    size = (3.1 * columns + 1.2, rows * (1.1 + 0.36 * len(methods)))
    fig, axes = plt.subplots(rows, columns, figsize=size, sharey=True, squeeze=False, layout="constrained")
    for ax, metric in zip(axes.flat, metrics):
        column = summary[summary["metric"] == metric].set_index("method")
        center = "median" if metric in COSTS else "mean"
        for i, method in enumerate(methods):
            if method in column.index:
                row = column.loc[method]
                if not row["binary"]:  # quartiles of yes and no say nothing
                    ax.plot([row["q25"], row["q75"]], [i, i], color=colors[method], lw=1, alpha=0.6)
                    ax.plot(row["median"], i, "|", color=colors[method], ms=9)
                ax.plot([row["low"], row["high"]], [i, i], color=colors[method], lw=4, alpha=0.5, solid_capstyle="butt")
                ax.plot(row[center], i, "o", color=colors[method], ms=6)
        if (against := summary.attrs.get("against")) in column.index:
            ax.axvline(column.loc[against, center], color="0.4", ls=":", lw=1, zorder=0)
        ax.set_yticks(range(len(methods)), methods)
        ax.set_xlabel(metric + {-1: " (less is better)", 0: "", 1: " (more is better)"}[better(metric)])
    axes[0, 0].set_ylim(len(methods) - 0.5, -0.5)  # shared: the first method on top
    for ax in axes.flat[len(metrics) :]:
        ax.set_axis_off()
    return fig
