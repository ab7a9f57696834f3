"""Figures: the signed map over its picture, the words in the colour of their importance, and both together.

Signed values are shown on a diverging, colour-blind-safe scale centred on 0: red above, blue below. (NIB's sign is that of a mean
slope, not what happens if a patch or word is removed: notebook 06.) Colours of one figure share one scale unless said otherwise.
"""

from __future__ import annotations

import html
import os
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image, ImageFilter, ImageOps

from ..checks import check_whole
from ..methods.attribution import Attribution
from ..model.pictures import to_rgb

if TYPE_CHECKING:
    try:
        from IPython.display import HTML
    except ImportError as error:
        raise ImportError("words_html needs IPython, which is not installed: pip install 'nibkit[notebooks]'") from error

Picture: TypeAlias = str | os.PathLike | Image.Image | np.ndarray  # anything that ``clip.prepare`` takes as one picture
COLORMAP = "RdBu_r"
UNIT = "importance (cosine similarity)"
STYLE: dict[str, Any] = {
    "figure.dpi": 80,
    "savefig.dpi": 80,
    "font.size": 12,
    "axes.titlesize": 13,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "image.interpolation": "nearest",
    "axes.prop_cycle": plt.cycler(color=["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000"]),
}


def use_style() -> None:
    """The series' look (Okabe and Ito's colours, readable from the back row): call it once, in a notebook's setup cell."""
    plt.style.use(STYLE)


def overlay(
    image: Picture, attribution: Attribution, pair: int = 0, ax: Axes | None = None, limit: float | None = None, title: str = ""
) -> Axes:
    """The picture in grey, the signed map over it: the stronger the value, the stronger the colour.

    image: the picture of that pair. limit: the value at full colour, in cosine units; by default the map's own largest |value|.
    The axes keep the colour scale as ``ax.images[-1]``.
    """
    ax = ax or plt.subplots(figsize=(4, 4))[1]
    values = attribution[pair].cpu().heatmap(224, normalize=None)[0].numpy()
    limit = limit or float(np.abs(values).max()) or 1.0
    smooth = ImageOps.fit(to_rgb(image), values.shape[::-1]).filter(ImageFilter.GaussianBlur(1.5))  # without its fine grain
    picture = np.asarray(smooth, dtype=float).mean(-1, keepdims=True) / 255  # grey, so that all colour is the map's
    strength = np.clip(np.abs(values) / limit, 0, 1)[..., None] ** 0.7 * 0.85
    ax.imshow((1 - strength) * (0.35 + 0.6 * picture) + strength * _scale(limit).to_rgba(values)[..., :3])
    ax.imshow(values, cmap=COLORMAP, vmin=-limit, vmax=limit, alpha=0)  # carries the colour scale, draws nothing
    _frameless(ax, title)
    return ax


def color_bar(fig: Figure, ax: Axes | Sequence[Axes], limit: float | None = None) -> None:
    """A colour bar for ``overlay``'s axes, in units of cosine similarity."""
    first = ax if isinstance(ax, Axes) else ax[0]
    limit = limit or first.images[-1].get_clim()[1]
    bar = fig.colorbar(_scale(limit), ax=ax, fraction=0.046, pad=0.03)
    bar.set_label(UNIT)
    bar.outline.set_visible(False)


def maps(
    images: Sequence[Picture],
    attribution: Attribution,
    titles: Sequence[str] | None = None,
    columns: int = 4,
    shared: bool = False,
) -> Figure:
    """Overlays of several pairs, row by row; ``shared``: one colour scale for all, else each map has its own.

    Raises ValueError if columns is no whole number, 1 or more.
    """
    count, columns = len(attribution), check_whole("columns", columns)
    rows = -(-count // columns)
    fig, axes = plt.subplots(rows, columns, figsize=(3.1 * columns, 3.5 * rows), squeeze=False, layout="constrained")
    limit = float(attribution.cpu().heatmap(224, normalize=None).abs().max()) if shared else None
    for i, ax in enumerate(axes.flat):
        if i < count:
            overlay(images[i], attribution, i, ax, limit, _wrap(titles[i]) if titles else "")
        else:
            ax.set_axis_off()
    if shared:
        color_bar(fig, list(axes.flat), limit)
    return fig


def words(attribution: Attribution, pair: int = 0, ax: Axes | None = None, limit: float | None = None) -> Axes:
    """The caption with each word on its colour and its value below, in cosine units.

    Lines wrap at the axes' width; a caption too long for the axes is set smaller.
    """
    ax = ax or plt.subplots(figsize=(8, 1.6))[1]
    values = attribution.words_of(pair)
    limit = limit or _largest(values)
    ax.set_axis_off()
    ax.figure.canvas.figure.draw_without_rendering()  # a layout engine may still move the axes
    *sizes, smallest = (15.0, 12.0, 9.5, 7.5, 6.0, 4.5, 3.5)
    for size in sizes:
        texts, lowest = _set_words(ax, values, limit, size)
        if lowest >= 0:
            return ax
        for text in texts:
            text.remove()
    _set_words(ax, values, limit, smallest)
    return ax


def _set_words(ax: Axes, values: Sequence[tuple[str, float]], limit: float, size: float) -> tuple[list[Text], float]:
    """Words and values at one font size (in points), and how far down they reach (0: the axes' lower edge)."""
    scale, frame, dpi = _scale(limit), ax.get_window_extent(), ax.figure.dpi
    texts: list[Text] = []
    x, y, line = 0.01, 0.96, 5.2 * size * dpi / 100 / frame.height
    gap = 0.9 * size * dpi / 72 / frame.width  # the boxes reach .25 of a size over their words, left and right
    for word, value in values:
        color = scale.to_rgba(np.asarray(value))
        ink = "white" if np.dot(color[:3], (0.299, 0.587, 0.114)) < 0.5 else "black"
        box = dict(boxstyle="round,pad=0.25", facecolor=color, edgecolor="0.8", linewidth=0.6)
        style: dict[str, Any] = dict(transform=ax.transAxes, va="top", parse_math=False)
        text = ax.text(x, y, word, fontsize=size, color=ink, bbox=box, **style)
        note = ax.text(x, y, _signed(value), ha="center", fontsize=0.67 * size, **style)
        text_width, note_width = (part.get_window_extent().width / frame.width for part in (text, note))
        width = max(text_width, note_width)
        if x + width > 1 and x > 0.02:
            x, y = 0.01, y - line
        text.set_position((x + (width - text_width) / 2, y))
        note.set_position((x + width / 2, y - 0.52 * line))
        x += width + gap
        texts += [text, note]
    lowest = min((part.get_window_extent().y0 for part in texts), default=frame.y0)
    return texts, (lowest - frame.y0) / frame.height


def _largest(values: Sequence[tuple[str, float]]) -> float:
    """The largest |value| of a caption's words; 1 where all are 0."""
    return max((abs(value) for _, value in values), default=0.0) or 1.0


def _signed(value: float) -> str:
    """Three decimals with a true minus sign, and no minus before 0."""
    return f"{round(value, 3) + 0.0:+.3f}".replace("-", "−")


def words_html(attribution: Attribution, pair: int = 0) -> HTML:
    """The same as text that can be read and copied: an IPython HTML object, words escaped, two decimals in the tool tip."""
    try:
        from IPython.display import HTML
    except ImportError as error:
        raise ImportError("words_html needs IPython, which is not installed: pip install 'nibkit[notebooks]'") from error

    values = attribution.words_of(pair)
    limit = _largest(values)
    spans = []
    for word, value in values:
        hue, share = ("178,24,43" if value > 0 else "33,102,172"), round(abs(value) / limit, 1)
        ink = "white" if share > 0.6 else "black"
        style = f"background:rgba({hue},{share:.1f});color:{ink};padding:.15em .35em;border-radius:.3em"
        spans.append(f'<span title="{value:+.2f}" style="{style}">{html.escape(word)}</span>')
    return HTML(f'<div style="font-size:1.4em;line-height:2">{" ".join(spans)}</div>')


def explain(image: Picture, attribution: Attribution, pair: int = 0, title: str | None = None) -> Figure:
    """One figure: the picture, the signed map over it, and the words. Map and words each have their own colour scale."""
    fig = plt.figure(figsize=(10, 5.6))
    show(image, fig.add_axes((0.03, 0.27, 0.40, 0.64)), "the picture")
    ax = overlay(image, attribution, pair, fig.add_axes((0.47, 0.27, 0.40, 0.64)), title="which patches count")
    color_bar(fig, ax)
    words(attribution, pair, fig.add_axes((0.05, 0.0, 0.92, 0.22)))
    similarity = float(attribution.similarity[pair])
    fig.suptitle(title or f"similarity of picture and caption: {similarity:.2f}", y=0.995, fontsize=14, parse_math=False)
    return fig


def show(image: Picture, ax: Axes | None = None, title: str = "") -> Axes:
    """The picture alone, cropped to the square that the model sees."""
    ax = ax or plt.subplots(figsize=(4, 4))[1]
    ax.imshow(ImageOps.fit(to_rgb(image), (224, 224)))
    _frameless(ax, title)
    return ax


def _scale(limit: float) -> ScalarMappable:
    """Values as colours: blue at −limit, white at 0, red at limit."""
    return ScalarMappable(Normalize(-limit, limit), COLORMAP)


def _frameless(ax: Axes, title: str) -> None:
    ax.set(xticks=[], yticks=[])
    ax.set_title(title, parse_math=False)  # a caption may have dollar signs in it
    ax.spines[:].set_visible(False)


def _wrap(text: str, width: int = 26) -> str:
    return "\n".join(textwrap.wrap(text, width))
