"""What ``make bench`` measured, as tables in markdown (``make pages`` makes docs/speed.md of data/bench) and as a figure."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nibkit.show.plots import use_style

SIDES = ("image", "text", "both")


def by_way(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of part "ways": seconds, indexed by geometry, pairs and side ("both" added), a column per way."""
    ways = rows[rows["part"] == "ways"]
    table = ways.pivot(index=["geometry", "pairs", "side"], columns="way", values="seconds")
    both = table.groupby(level=[0, 1]).sum().assign(side="both").set_index("side", append=True)
    order = [*ways["geometry"].unique(), *SIDES]
    return pd.concat([table, both]).sort_index(key=lambda level: level.map(lambda key: order.index(key) if key in order else key))


def markdown(rows: pd.DataFrame) -> str:
    """What was measured, part by part; a part that was not is left out."""
    pieces = [f"Measured on {rows['machine'].iloc[0]}."]
    writers = {
        "ways": ways_table,
        "stages": stages_table,
        "methods": methods_table,
        "gap": gap_table,
        "precision": precision_table,
    }
    for name, write in writers.items():
        if len(part := rows[rows["part"] == name]):
            pieces += write(part)
    slopes = rows[rows["part"].str.startswith("slope ")].drop_duplicates("part")
    if len(slopes):
        fits = ", ".join(f"{row.part.removeprefix('slope ')} {row.ratio:.4f}" for row in slopes.itertuples())
        pieces.append(f"How straight a line cost is (R²; 1 is straight), against {fits}.")
    if len(memory := rows[rows["part"] == "memory"]):
        peaks = ", ".join(f"{row.megabytes:.0f} MB at {row.x:.0f} steps" for row in memory.itertuples())
        pieces.append(f"Peak memory above the model's with `batch_size=8`: {peaks}.")
    return "\n\n".join(pieces)


def ways_table(part: pd.DataFrame) -> list[str]:
    """NIB against the plain loop, Captum and the floor."""
    lines = []
    for (geometry, pairs, side), row in by_way(part).iterrows():
        ours, ms = row["nibkit"], 1e3 * row["nibkit"] / pairs
        others = (f"{row[way] / ours:.2f} ×" for way in others_of(part))
        lines.append(
            [geometry, f"{pairs:.0f}", side, f"{ms:.0f}" if ms >= 100 else f"{ms:.3g}", *others, f"{row['floor'] / ours:.0%}"]
        )
    caption = "NIB, ten steps: milliseconds a pair, how many times as long the others take, and the floor's share of its time."
    return [caption, table(["geometry", "pairs", "side", "nibkit, ms", *others_of(part), "floor"], lines, left=3)]


def others_of(part: pd.DataFrame) -> list[str]:
    """The ways that nibkit's is compared with."""
    return [way for way in part["way"].unique() if way not in ("nibkit", "floor")]


def stages_table(part: pd.DataFrame) -> list[str]:
    """Where NIB's time goes, against what the operations and the reading of the weights would take."""
    caption = (
        "Where the time goes (ViT-B/32, milliseconds a call), against two floors: the operations at the rate of large matrix "
        "products, and reading the stage's weights from memory once (the gradients: forward and backward)."
    )
    columns = ["seconds", "flops", "reading"]
    lines = [
        [row["side"], f"{row['pairs']:.0f}", row["way"], *(f"{1e3 * row[column]:.3g}" for column in columns)]
        for _, row in part.iterrows()
    ]
    return [caption, table(["side", "pairs", "stage", "takes", "operations", "reading"], lines, left=3)]


def methods_table(part: pd.DataFrame) -> list[str]:
    """All methods."""
    first = part.iloc[0]
    caption = (
        f"All methods, {first['geometry']}, picture and caption, {first['pairs']:.0f} pairs batched alike, per pair. RISE with "
        "the published code's 6000 masks (200 for a caption), reckoned from a hundredth of them (about 1 % low)."
    )
    head = ["method", "seconds", "× nib", "rows forward", "rows backward", "peak memory, MB"]
    counts = ["forward", "backward", "megabytes"]
    lines = [
        [row["way"], f"{row['seconds']:.3g}", f"{row['ratio']:.2f}", *(f"{row[count]:.0f}" for count in counts)]
        for _, row in part.iterrows()
    ]
    return [caption, table(head, lines)]


def gap_table(part: pd.DataFrame) -> list[str]:
    """Gradients and time to a completeness gap of 1 %."""
    caption = (
        "The fewest gradients, a pair and side, to a completeness gap of 1 % on the bundled model (2 to 32, 40, 48, 64 … 1024 "
        "tried; *adaptive*: a pair's mean), and seconds for 16 pairs. On [.05, 1] what lies below .05 is reported apart, as the "
        "null term."
    )
    lines = [
        [row.way, *((f"{row.x:.0f}", f"{row.seconds:.2g}", f"{row.ratio:.1f}") if row.x == row.x else ("more", "–", "–"))]
        for row in part.itertuples()
    ]
    return [caption, table(["rule and interval", "gradients", "seconds, 16 pairs", "× log-gauss"], lines)]


def precision_table(part: pd.DataFrame) -> list[str]:
    """What fewer bits do to a map."""
    caption = (
        f"Fewer bits, bundled model, {part['pairs'].iloc[0]:.0f} pairs: rank correlation of a pair's values with float32's; "
    )
    caption += "a time above 1 is slower."
    lines = [
        [row.way, row.side, f"{row.rank_median:.4f}", f"{row.rank_lowest:.4f}", f"{row.ratio:.2f}"] for row in part.itertuples()
    ]
    return [caption, table(["", "side", "median", "lowest", "time, × float32"], lines, left=2)]


def table(head: list[str], lines: Iterable[list], left: int = 1) -> str:
    """A markdown table, the first ``left`` columns set left."""
    rows = [head, ["---"] * left + ["--:"] * (len(head) - left), *lines]
    return "\n".join("| " + " | ".join(str(cell) for cell in row) + " |" for row in rows)


def figure(rows: pd.DataFrame) -> Figure:
    """Ratios by geometry and batch; cost against steps, pairs, layer and tokens; gradients to a small gap."""
    use_style()
    fig, axes = plt.subplots(2, 3, figsize=(13, 7.4), layout="constrained")
    fig.suptitle(f"NIB's cost, measured on {rows['machine'].iloc[0]}")
    if (rows["part"] == "ways").any():
        bars(axes[0, 0], by_way(rows).xs("both", level="side"))
    units = {"num_steps": "number of steps n", "pairs": "pairs", "layer": "layer of the cut", "tokens": "tokens of a caption"}
    for ax, (name, label) in zip((axes[0, 1], axes[0, 2], axes[1, 0], axes[1, 1]), units.items()):
        points = rows[rows["part"] == f"slope {name}"]
        if len(points):
            line = np.polyfit(points["x"], points["seconds"], 1)
            ax.plot(points["x"], points["seconds"], "o")
            ax.plot(points["x"], np.polyval(line, points["x"]), color="gray", linestyle=":")
            ax.set_title(f"{points['geometry'].iloc[0]}: R² of the line {points['ratio'].iloc[0]:.3f}")
        ax.set(xlabel=label, ylabel="seconds", ylim=(0, None))
    gaps, ax = rows[rows["part"] == "gap"], axes[1, 2]
    if len(gaps):
        ax.barh(gaps["way"], gaps["x"].fillna(1024), color=np.where(gaps["x"].isna(), "lightgray", "C0"))
        ax.invert_yaxis()
    ax.set(xscale="log", xlabel="gradients to 1 % (grey: more)", title="Bundled model")
    return fig


def bars(ax: Axes, times: pd.DataFrame) -> None:
    """Times of the other ways and of the floor over nibkit's, both sides together."""
    shown = [way for way in ("plain loop", "captum", "captum, our tail", "floor") if way in times]
    ratios = times[shown].div(times["nibkit"], axis=0)
    positions, width = np.arange(len(ratios)), 0.8 / len(shown)
    for k, name in enumerate(shown):
        ax.bar(positions + width * (k - (len(shown) - 1) / 2), ratios[name], width, label=name)
    ax.axhline(1, color="black", linewidth=1)
    labels = [f"{geometry.removeprefix('ViT-')}\n{pairs:.0f}" for geometry, pairs in ratios.index]
    ax.set(xticks=positions, xticklabels=labels, xlabel="geometry and pairs")
    ax.set(ylabel="time over nibkit's", title="Picture and caption")
    ax.set_ylim(0, 1.5 * ratios.to_numpy().max())
    if ratios.to_numpy().max() > 10:
        ax.set(yscale="log", ylim=(0.01, 20 * ratios.to_numpy().max()))
    ax.legend(ncols=2, loc="upper center", fontsize=9)
