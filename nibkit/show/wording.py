"""A caption's words on their colours, set within the axes they are given."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.text import Text

from ..methods.attribution import Attribution
from .lettering import is_right_to_left, letter

COLORMAP = "RdBu_r"


def draw_words(attribution: Attribution, pair: int, ax: Axes, limit: float | None = None) -> Axes:
    """``plots.words`` on given axes, without its warning."""
    values = attribution.words_of(pair)
    limit = limit or largest(values)
    ax.set_axis_off()
    ax.figure.canvas.figure.draw_without_rendering()  # a layout engine may still move the axes
    *sizes, smallest = (15.0, 12.0, 9.5, 7.5, 6.0, 4.5, 3.5)
    for size in sizes:
        texts, fits = _set_words(ax, values, limit, size)
        if fits:
            return ax
        for text in texts:
            text.remove()
    _set_words(ax, values, limit, smallest)
    return ax


def _set_words(ax: Axes, values: Sequence[tuple[str, float]], limit: float, size: float) -> tuple[list[Text], bool]:
    """Words and values at one font size (in points); do they lie within the axes?"""
    scale, frame, dpi = color_scale(limit), ax.get_window_extent(), ax.figure.dpi
    texts: list[Text] = []
    mirrored = is_right_to_left("".join(word for word, _ in values))
    x, y, line = 0.01, 0.96, 5.2 * size * dpi / 100 / frame.height
    gap = 0.9 * size * dpi / 72 / frame.width  # the boxes reach .25 of a size over their words, left and right
    for word, value in values:
        color = scale.to_rgba(np.asarray(value))
        ink = "white" if np.dot(color[:3], (0.299, 0.587, 0.114)) < 0.5 else "black"
        box = dict(boxstyle="round,pad=0.25", facecolor=color, edgecolor="0.8", linewidth=0.6)
        style: dict[str, Any] = dict(transform=ax.transAxes, va="top", ha="center")
        shown, fonts = letter(word)
        text = ax.text(x, y, shown, fontsize=size, color=ink, bbox=box, **style, **fonts)
        note = ax.text(x, y, signed(value), fontsize=0.67 * size, **style)
        text_width, note_width = (part.get_window_extent().width / frame.width for part in (text, note))
        width = max(text_width, note_width)
        if x + width > 1 and x > 0.02:
            x, y = 0.01, y - line
        middle = 1 - x - width / 2 if mirrored else x + width / 2
        text.set_position((middle, y))
        note.set_position((middle, y - 0.52 * line))
        x += width + gap
        texts += [text, note]
    extents = [part.get_window_extent() for part in texts]
    inside = (extent.y0 >= frame.y0 and extent.x0 >= frame.x0 - 1 and extent.x1 <= frame.x1 + 1 for extent in extents)
    return texts, all(inside)


def largest(values: Sequence[tuple[str, float]]) -> float:
    """The largest |value| of a caption's words; 1 where all are 0."""
    return max((abs(value) for _, value in values), default=0.0) or 1.0


def signed(value: float) -> str:
    """Three decimals with a true minus sign, and no minus before 0."""
    return f"{round(value, 3) + 0.0:+.3f}".replace("-", "−")


def color_scale(limit: float) -> ScalarMappable:
    """Values as colours: blue at −limit, white at 0, red at limit."""
    return ScalarMappable(Normalize(-limit, limit), COLORMAP)
