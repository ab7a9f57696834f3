"""Figures: the signed map over its picture, the words in the colour of their importance, and both together.

Signed values are shown on a diverging, colour-blind-safe scale centred on 0: red above, blue below. (NIB's sign is that of a mean
slope, not what happens if a patch or word is removed: notebook 06.) Colours of one figure share one scale unless said otherwise.

A picture in a figure is what the model saw of it (``model.views``), which maps of ``clip.prepare``'s inputs know. Where nobody
knows (tensors that were made otherwise), it is the centre square of 224 × 224 pixels, as CLIP's usual settings have it.
"""

from __future__ import annotations

import html
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image, ImageFilter, ImageOps

from ..checks import check_whole
from ..methods.attribution import Attribution
from ..model.pictures import to_rgb
from ..model.views import View, last_view
from .alt_text import announce
from .lettering import letter, tell_missing, wrap, write_title
from .wording import COLORMAP, color_scale, draw_words, largest, signed

if TYPE_CHECKING:
    try:
        from IPython.display import HTML
    except ImportError as error:
        raise ImportError("words_html needs IPython, which is not installed: pip install 'nibkit[notebooks]'") from error

Picture: TypeAlias = str | os.PathLike | Image.Image | np.ndarray  # anything that ``clip.prepare`` takes as one picture
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
    """The series' look (Okabe and Ito's colours, readable from the back row): call it once, in a notebook's setup cell.

    Figures that the notebook shows from then on are stored with a text that says what they show (``show.alt_text``).
    """
    plt.style.use(STYLE)
    announce()


def overlay(
    image: Picture, attribution: Attribution, pair: int = 0, ax: Axes | None = None, limit: float | None = None, title: str = ""
) -> Axes:
    """The picture in grey, the signed map over it: the stronger the value, the stronger the colour.

    image: the picture of that pair, whole. limit: the value at full colour, in cosine units; by default the map's own largest
    |value|. The axes keep the colour scale as ``ax.images[-1]``.
    Raises ValueError if the picture has another size than the one that was explained.
    """
    ax = ax or plt.subplots(figsize=(4, 4))[1]
    tell_missing([title])
    return _overlay(_seen(image, attribution, pair), attribution, pair, ax, limit, title)


def _overlay(
    seen: Image.Image, attribution: Attribution, pair: int, ax: Axes, limit: float | None = None, title: str = ""
) -> Axes:
    """``overlay`` of what the model saw."""
    values = attribution[pair].cpu().heatmap(seen.size[::-1], normalize=None)[0].numpy()
    limit = limit or float(np.abs(values).max()) or 1.0
    smooth = seen.filter(ImageFilter.GaussianBlur(1.5))  # without its fine grain
    picture = np.asarray(smooth, dtype=float).mean(-1, keepdims=True) / 255  # grey, so that all colour is the map's
    strength = np.clip(np.abs(values) / limit, 0, 1)[..., None] ** 0.7 * 0.85
    ax.imshow((1 - strength) * (0.35 + 0.6 * picture) + strength * color_scale(limit).to_rgba(values)[..., :3])
    ax.imshow(values, cmap=COLORMAP, vmin=-limit, vmax=limit, alpha=0)  # carries the colour scale, draws nothing
    _frameless(ax, title)
    return ax


def color_bar(fig: Figure, ax: Axes | Sequence[Axes], limit: float | None = None) -> None:
    """A colour bar for ``overlay``'s axes, in units of cosine similarity."""
    first = ax if isinstance(ax, Axes) else ax[0]
    limit = limit or first.images[-1].get_clim()[1]
    bar = fig.colorbar(color_scale(limit), ax=ax, fraction=0.046, pad=0.03)
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
            _overlay(_seen(images[i], attribution, i), attribution, i, ax, limit, titles[i] if titles else "")
        else:
            ax.set_axis_off()
    tell_missing(titles or ())
    if shared:
        color_bar(fig, list(axes.flat), limit)
    return fig


def words(attribution: Attribution, pair: int = 0, ax: Axes | None = None, limit: float | None = None) -> Axes:
    """The caption with each word on its colour and its value below, in cosine units.

    Lines wrap at the axes' width; a caption too long for the axes is set smaller. A caption that runs from right to left does so
    here. Words that no installed font can draw are shown as ▯, and one warning lists them: ``words_html`` shows all.
    """
    ax = ax or plt.subplots(figsize=(8, 1.6))[1]
    tell_missing(word for word, _ in attribution.words_of(pair))
    return draw_words(attribution, pair, ax, limit)


def words_html(attribution: Attribution, pair: int = 0) -> HTML:
    """The same as text that can be read and copied, in any script: an IPython HTML object, words escaped, three decimals in the
    tool tip."""
    try:
        from IPython.display import HTML
    except ImportError as error:
        raise ImportError("words_html needs IPython, which is not installed: pip install 'nibkit[notebooks]'") from error

    values = attribution.words_of(pair)
    limit = largest(values)
    spans = []
    for word, value in values:
        hue, share = ("178,24,43" if value > 0 else "33,102,172"), round(abs(value) / limit, 1)
        ink = "white" if share > 0.6 else "black"
        style = f"background:rgba({hue},{share:.1f});color:{ink};padding:.15em .35em;border-radius:.3em"
        spans.append(f'<span title="{signed(value)}" style="{style}">{html.escape(word)}</span>')
    return HTML(f'<div dir="auto" style="font-size:1.4em;line-height:2">{" ".join(spans)}</div>')


def explain(image: Picture, attribution: Attribution, pair: int = 0, title: str | None = None) -> Figure:
    """One figure: what the model saw of the picture, the signed map over it, and the words.

    Map and words each have their own colour scale. A long title is wrapped, and the figure is higher by its further lines.
    Raises ValueError if the picture has another size than the one that was explained.
    """
    seen = _seen(image, attribution, pair)
    fig, height = plt.figure(figsize=(10, 5.6)), 5.6
    title = title or f"similarity of picture and caption: {float(attribution.similarity[pair]):.2f}"
    shown, style = letter(title)
    heading = fig.suptitle(shown, y=1 - 0.028 / height, fontsize=14, **style)
    one_line = heading.get_window_extent().height
    wrap(heading, 0.97 * fig.bbox.width)
    height += (heading.get_window_extent().height - one_line) / fig.dpi
    fig.set_size_inches(10, height)
    heading.set_y(1 - 0.028 / height)
    part = 5.6 / height  # of the figure's height, below the title's further lines

    show_seen = fig.add_axes((0.03, 0.27 * part, 0.40, 0.64 * part))
    show_seen.imshow(seen)
    _frameless(show_seen, "the picture")
    ax = _overlay(seen, attribution, pair, fig.add_axes((0.47, 0.27 * part, 0.40, 0.64 * part)), title="which patches count")
    color_bar(fig, ax)
    draw_words(attribution, pair, fig.add_axes((0.05, 0.0, 0.92, 0.22 * part)))
    tell_missing([title, *(word for word, _ in attribution.words_of(pair))])
    return fig


def show(image: Picture, ax: Axes | None = None, title: str = "", view: View | None = None) -> Axes:
    """The picture alone, as the model sees it.

    view: which model's, and of which picture: ``inputs.views[i]``, or ``clip.view(image)``. None: as the model saw it that this
    picture (the same object, or path) was last given to (``clip.prepare``), the centre square where none was.
    Raises ValueError if the picture's size is not the view's.
    """
    ax = ax or plt.subplots(figsize=(4, 4))[1]
    ax.imshow(_picture(image, view))
    tell_missing([title])
    _frameless(ax, title)
    return ax


def _seen(image: Picture, attribution: Attribution, pair: int) -> Image.Image:
    """What the model saw of that pair's picture."""
    return _picture(image, attribution.views[pair] if attribution.views else None)


def _picture(image: Picture, view: View | None) -> Image.Image:
    """What the model of that view sees of a picture, else the one that was last given it, else the centre square."""
    picture = to_rgb(image)
    view = view or last_view(image, picture.size[::-1])
    return view.picture(picture) if view else ImageOps.fit(picture, (224, 224))


def _frameless(ax: Axes, title: str) -> None:
    ax.set(xticks=[], yticks=[])
    write_title(ax, title)
    ax.spines[:].set_visible(False)
