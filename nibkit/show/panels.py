"""The explorer's figure: picture, maps and words above; how λ, bill and painting over come out below."""

from __future__ import annotations

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..methods.attribution import Attribution
from . import plots
from .explanation import LAM, Explanation
from .lettering import letter, wrap
from .wording import signed

WIDTH, HEIGHT = 12.0, 8.0  # inches: 960 × 640 pixels, which a page shows whole
BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "0.45"


def draw(
    explanation: Explanation,
    title: str,
    lam: float = 1.0,
    other: Attribution | None = None,
    chosen: int | None = None,
) -> Figure:
    """One figure of an explanation.

    title: its headline. lam: where the valve stands: the map is drawn as far as it is summed there. other: a second method's
    result. chosen: which removal is shown as a picture (None: no panel for it).
    """
    with plt.style.context(plots.STYLE):
        fig = plt.figure(figsize=(WIDTH, HEIGHT))
        shown, style = letter(title)
        wrap(fig.suptitle(shown, x=0.02, y=0.985, ha="left", fontsize=14, **style), 0.96 * fig.bbox.width)
        plots.words(explanation.attribution, 0, fig.add_axes((0.03, 0.41, 0.94, 0.1)))  # measures: quick on an empty figure
        _draw_pictures(fig, explanation, lam, other, chosen)
        _draw_way(fig.add_axes((0.07, 0.09, 0.24, 0.27)), explanation, lam)
        _draw_bill(fig.add_axes((0.49, 0.09, 0.155, 0.27)), explanation)
        if explanation.removals:
            _draw_removals(fig.add_axes((0.79, 0.09, 0.195, 0.27)), explanation, chosen)
    return fig


def describe(
    explanation: Explanation,
    title: str,
    lam: float = 1.0,
    other: Attribution | None = None,
    chosen: int | None = None,
) -> str:
    """The figure of ``draw`` in words and numbers: its alternative text."""
    att = explanation.up_to(lam)
    row, column = divmod(int(att.image[0].argmax()), att.image.shape[2])
    where = f"row {row}, column {column} (counted from 0, of {att.image.shape[1]} × {att.image.shape[2]})"
    told = [title, f"NIB's map up to λ = {lam:.2g}: sum {signed(float(att.image.sum()))}, highest at {where}"]
    told += [f"Beside it {_named(other)}'s map"] if other is not None else []
    told += [f"Beside it the picture without {explanation.removals[chosen].phrase}"] if chosen is not None else []
    told.append("Words: " + ", ".join(f"{word} {signed(value)}" for word, value in explanation.attribution.words_of(0)))
    told.append("The bill: " + ", ".join(f"{name} {signed(value)}" for name, value in explanation.bill().items()))
    losses = [f"{r.phrase}: the map says {signed(r.predicted)}, F loses {signed(r.real)}" for r in explanation.removals]
    told += ["Painted over: " + "; ".join(losses)] if losses else []
    return ". ".join(told) + "."


def _named(other: Attribution) -> str:
    """The method, with its variant where it has one."""
    variant = (other.options or {}).get("variant")
    return other.method + (f" ({variant})" if variant else "")


def _draw_pictures(fig: Figure, explanation: Explanation, lam: float, other: Attribution | None, chosen: int | None) -> None:
    """The upper row: four places, filled from the left."""
    places = iter([fig.add_axes((0.02 + 0.245 * i, 0.555, 0.225, 0.34)) for i in range(4)])
    views = explanation.attribution.views
    plots.show(explanation.picture, next(places), "the picture", views[0] if views else None)
    limit, far = _largest(explanation.attribution), "" if lam >= 1 else f" so far, up to λ = {lam:.2g}"
    _note(
        plots.overlay(explanation.picture, explanation.up_to(lam), 0, next(places), limit, f"NIB{far}"),
        f"full colour: ±{limit:.2g} (cosine similarity)",
    )
    if other is not None:
        limit = _largest(other)
        _note(
            plots.overlay(explanation.picture, other, 0, next(places), limit, _named(other)),
            f"full colour: ±{limit:.0f}, its own unit" if limit >= 100 else f"full colour: ±{limit:.2g}, its own unit",
        )
    if chosen is not None:
        removal = explanation.removals[chosen]
        plots.show(removal.painted, next(places), f"without {removal.phrase}", None)
    for ax in places:
        ax.set_axis_off()


def _largest(attribution: Attribution) -> float:
    """The map's largest |value|; 1 where all are 0."""
    return float(attribution.heatmap(224, normalize=None).abs().max()) or 1.0


def _note(ax: Axes, text: str) -> None:
    ax.set_xlabel(text, fontsize=10, color=GREY, labelpad=3)


def _draw_way(ax: Axes, explanation: Explanation, lam: float) -> None:
    """F and the map's sum while the valve opens, and where it stands."""
    risen = explanation.scores - explanation.scores[0]
    ax.plot(LAM[1:], risen[1:], color="0.1", label="F(λz) − F(closed)")
    nodes = np.concatenate([[LAM[1]], explanation.lam.clip(LAM[1]), [1.0]])
    sums = np.concatenate([[0.0], explanation.running_sums()])
    ax.plot(nodes, np.append(sums, sums[-1]), color=BLUE, drawstyle="steps-post", label="map's sum so far")
    ax.axvline(lam, color=ORANGE, linewidth=1.5)
    now = float(sums[np.searchsorted(explanation.lam, lam * (1 + 1e-9), side="right")])
    ax.set(xscale="log", xlim=(1e-5, 1.3), xlabel="λ (closed … open)", ylabel="cosine similarity")
    ax.set_title(f"λ = {lam:.2g}: F {signed(float(np.interp(lam, LAM, risen)))}, map {signed(now)}", fontsize=11)
    ax.legend(fontsize=9, loc="best", framealpha=0.8, edgecolor="none")
    ax.tick_params(labelsize=9)


def _draw_bill(ax: Axes, explanation: Explanation) -> None:
    """The four parts and their sum."""
    bill = explanation.bill()
    names = [f"+ {name}" if 0 < i < 4 else f"= {name}" if i == 4 else name for i, name in enumerate(bill)]
    colors = [BLUE, "#56B4E9", "0.7", "#E69F00", "0.1"]
    _bars(ax, names, list(bill.values()), colors)
    ax.set_title("The bill (picture, cosine)", fontsize=11, x=0.1)


def _draw_removals(ax: Axes, explanation: Explanation, chosen: int | None) -> None:
    """What the map says of each object, and what F loses without it."""
    removals, place = explanation.removals, np.arange(len(explanation.removals), dtype=float)
    ax.barh(place - 0.19, [r.predicted for r in removals], 0.36, color=BLUE, label="map's sum on it")
    ax.barh(place + 0.19, [r.real for r in removals], 0.36, color="0.3", label="F really loses")
    for i, removal in enumerate(removals):
        for shift, value in ((-0.19, removal.predicted), (0.19, removal.real)):
            _value(ax, value, i + shift)
    ax.set_yticks(place, [r.phrase for r in removals], fontsize=10)
    if chosen is not None:
        ax.get_yticklabels()[chosen].set_fontweight("bold")
    _finish_bars(ax, [value for r in removals for value in (r.predicted, r.real)])
    ax.set_ylim(len(removals) - 0.4, -0.6)
    ax.set_title("Painted over (cosine)", fontsize=11, x=0.2)
    ax.legend(
        fontsize=9, loc="upper center", bbox_to_anchor=(0.2, -0.06), ncols=2, frameon=False, columnspacing=1.0, handlelength=1.2
    )


def _bars(ax: Axes, names: list[str], values: list[float], colors: list[str]) -> None:
    ax.barh(range(len(names)), values, color=colors)
    for i, value in enumerate(values):
        _value(ax, value, i)
    ax.set_yticks(range(len(names)), names, fontsize=10)
    ax.invert_yaxis()
    _finish_bars(ax, values)


def _value(ax: Axes, value: float, place: float) -> None:
    """A bar's value, beside its end."""
    side = 1 if value >= 0 else -1
    ax.annotate(
        signed(value),
        (value, place),
        (4 * side, 0),
        textcoords="offset points",
        ha="left" if side > 0 else "right",
        va="center",
        fontsize=9,
    )


def _finish_bars(ax: Axes, values: list[float]) -> None:
    """Room for the values, a line at 0."""
    low, high = min(0.0, *values), max(0.0, *values)
    span = (high - low) or 1.0
    ax.set_xlim(low - (0.6 * span if low < 0 else 0.02 * span), high + 0.6 * span)
    ax.axvline(0, color="0.3", linewidth=1)
    ax.set_xticks([])
    ax.spines[["bottom", "left"]].set_visible(False)
    ax.tick_params(axis="y", length=0)
