"""Alternative text: what a figure shows, in words, for readers who listen and for pages whose pictures are missing.

It is read off the figure: titles (which say the message), axes, legends, and what is drawn. ``announce`` makes a notebook store
it beside each figure, in the output's metadata.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable
from typing import Any

import matplotlib as mpl
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.container import BarContainer, ErrorbarContainer
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.text import Text

MOST = 600  # characters: screen readers can't skip within an alternative text


def alt_text(figure: Figure) -> str:
    """The figure in words: its title, then each panel's (alike ones once); at most ``MOST`` characters."""
    bars = {bar.ax for ax in figure.axes for bar in _color_bars(ax)}
    panels = [_panel(ax) for ax in figure.axes if ax not in bars]
    shared = ["; ".join(_names(legend)) for legend in figure.legends]
    told = list(dict.fromkeys(filter(None, [_plain(figure.get_suptitle()), *panels, *shared])))
    ended = [part if part.endswith(("?", "!", "…")) else part.rstrip(".") + "." for part in told]
    text = " ".join(ended) or f"A figure of {len(panels)} panel{'s' * (len(panels) != 1)} without words."
    return text if len(text) <= MOST else text[: MOST - 1].rsplit(" ", 1)[0] + "…"


def announce() -> None:
    """Let IPython, where it runs, store ``alt_text`` with each figure that it shows as PNG; elsewhere nothing happens."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    if shell is None:
        return
    plt.switch_backend(mpl.get_backend())  # loads the backend, which sets its own way of drawing first
    png = shell.display_formatter.formatters["image/png"]
    if (draw := png.type_printers.get(Figure)) and not hasattr(draw, "with_alt"):
        png.for_type(Figure, _with_alt(draw))


def _with_alt(draw: Callable[[Figure], Any]) -> Callable[[Figure], Any]:
    """The way of drawing, its metadata with the text."""

    def drawn(figure: Figure) -> Any:
        result = draw(figure)
        data, metadata = result if isinstance(result, tuple) else (result, {})
        return data and (data, {**metadata, "alt": alt_text(figure)})

    drawn.with_alt = True  # type: ignore[attr-defined]
    return drawn


def _color_bars(ax: Axes) -> Iterable[Any]:
    """The bars of the axes' pictures and points."""
    return filter(None, (getattr(artist, "colorbar", None) for artist in [*ax.images, *ax.collections]))


def _panel(ax: Axes) -> str:
    """One panel: title, "y against x" with what is drawn, the legend's names; words that stand alone in it."""
    title, x, y = (_plain(text) for text in (ax.get_title(), ax.get_xlabel(), ax.get_ylabel()))
    axes = f"{y} against {x}" if x and y else x or y
    drawn = ": ".join(filter(None, [_kind(ax), ", ".join(_names(ax.get_legend()))]))
    words = "" if title or axes else " ".join(_plain(text.get_text()) for text in ax.texts if isinstance(text, Text))
    return ": ".join(filter(None, [title, f"{axes} ({drawn})" if axes and drawn else axes or drawn, words]))


def _names(legend: Legend | None) -> list[str]:
    """What a legend names."""
    return list(filter(None, (_plain(text.get_text()) for text in legend.get_texts()))) if legend else []


def _kind(ax: Axes) -> str:
    """What is drawn in a panel with axes that are seen; "" for a picture, whose title says what it is."""
    if not ax.axison or ax.images:
        return ""
    if any(isinstance(collection, PathCollection) for collection in ax.collections):
        return "points"
    if any(isinstance(container, BarContainer) for container in ax.containers):
        return "bars"
    if any(isinstance(container, ErrorbarContainer) for container in ax.containers):
        return "points with intervals"
    return "lines" if ax.lines else ""


def _plain(text: str) -> str:
    """Text without line breaks; formulas between dollars read as words: $\\hat\\lambda$ is "hat lambda", $10^{-3}$ is "10^-3"."""
    words = re.sub(r"(?<!\\)\$(.+?)(?<!\\)\$", lambda formula: _spoken(formula[1]), text)
    return " ".join(words.replace("\\$", "$").split())


def _spoken(formula: str) -> str:
    """TeX without its signs: commands are words, those of type faces and sizes nothing."""
    spoken = re.sub(r"\\(?:math\w+|text|left|right|[,;! ])", "", formula.replace("}{", "} {"))
    return re.sub(r"[{}]", "", re.sub(r"\\(\w+)", r" \1 ", spoken))
