"""Figures of ``interactions``: a phrase's map beside the others', phrases against objects, one to choose words and patches in.

Maps of one figure share one scale: red for a patch and a phrase that raise the similarity together, blue for the opposite.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..checks import check_masks
from ..methods.interaction_result import Interactions, Phrase
from . import plots
from .lettering import letter, tell_missing
from .wording import COLORMAP, draw_words, signed

if TYPE_CHECKING:
    import ipywidgets

UNIT = "interaction (cosine similarity)"


def phrase_maps(
    image: plots.Picture,
    interactions: Interactions,
    pair: int = 0,
    phrases: Sequence[Phrase] | None = None,
    titles: Sequence[str] | None = None,
) -> Figure:
    """The picture, and beside it a map for each phrase (None: for each word of the caption), all on one scale.

    titles: by default the phrases. Six panels stand in a row at most, which a page shows whole. Raises ValueError as
    ``Interactions.phrase``, on as many titles as there are no phrases, and if the picture has another size than the one that was
    explained.
    """
    split = interactions.phrases(pair, phrases)
    if titles is None:
        titles = [word for word, _ in split.word_positions(0)] if phrases is None else [named(split, 0, one) for one in phrases]
    if len(titles) != len(split):
        raise ValueError(f"{len(titles)} titles for {len(split)} phrases: give one for each")
    columns = min(1 + len(split), 6)
    rows = -(-(1 + len(split)) // columns)
    fig, axes = plt.subplots(rows, columns, figsize=(1.9 * columns + 0.9, 2.3 * rows), squeeze=False, layout="constrained")
    limit = float(split.cpu().heatmap(224, normalize=None).abs().max()) or 1.0
    plots.show(image, axes.flat[0], "the picture", interactions.views[pair] if interactions.views else None)
    for row, (ax, title) in enumerate(zip(axes.flat[1:], titles)):
        plots.overlay(image, split, row, ax, limit, title)
    for ax in axes.flat[1 + len(split) :]:
        ax.set_axis_off()
    plots.color_bar(fig, list(axes.flat), limit)
    fig.axes[-1].set_ylabel(UNIT, fontsize=9)
    return fig


def named(split: Any, pair: int, phrase: Phrase) -> str:
    """A phrase as text, also where positions of tokens were given."""
    return phrase if isinstance(phrase, str) else " ".join(split.tokens[pair][place] for place in phrase)


def phrase_table(
    interactions: Interactions, pair: int, phrases: Sequence[Phrase], masks: np.ndarray, objects: Sequence[str]
) -> pd.DataFrame:
    """Phrases × objects: the mean of each phrase's map on each object's mask, in units of cosine similarity a patch.

    masks: bool [K, H, W], of what the model saw; objects: their K names. Raises ValueError or TypeError on other masks or names,
    and as ``Interactions.phrase``.
    """
    masks = check_masks(masks, len(objects), name="masks")
    maps = interactions.phrases(pair, phrases).cpu().heatmap(masks.shape[1:], normalize=None).double().numpy()
    means = [[float(one[mask].mean()) for mask in masks] for one in maps]
    names = [named(interactions, pair, phrase) for phrase in phrases]
    return pd.DataFrame(means, index=pd.Index(names, name="phrase"), columns=list(objects))


def phrase_matrix(table: pd.DataFrame, ax: Axes | None = None, limit: float | None = None) -> Axes:
    """``phrase_table`` as coloured cells with their values; limit: the value at full colour, by default the largest |value|."""
    ax = ax or plt.subplots(figsize=(1.7 * table.shape[1] + 2.2, 0.75 * len(table) + 1.2), layout="constrained")[1]
    values = table.to_numpy(dtype=float)
    limit = limit or float(np.abs(values).max()) or 1.0
    ax.imshow(values, cmap=COLORMAP, vmin=-limit, vmax=limit, aspect="auto")
    for (row, column), value in np.ndenumerate(values):
        ax.text(column, row, signed(value), ha="center", va="center", color="white" if abs(value) > 0.6 * limit else "black")
    tell_missing([*table.columns, *table.index])
    ax.set(xticks=range(table.shape[1]), yticks=range(len(table)))
    for set_labels, names in ((ax.set_xticklabels, table.columns), (ax.set_yticklabels, table.index)):
        set_labels([letter(str(name))[0] for name in names], parse_math=False)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    return ax


def word_explorer(image: plots.Picture, interactions: Interactions, pair: int = 0) -> ipywidgets.Widget:
    """Choose a word and see its map, choose a patch and see what each word has with it; at first those of the largest |value|.

    Where no kernel runs (a page of the book) it is the figure that ``phrase_maps`` makes of all words.
    """
    from .accessible import Picture, ipywidgets  # optional: says so where it is not installed

    split = interactions.phrases(pair)
    static = Picture()

    class Explorer(ipywidgets.VBox):
        """A box that is a picture where widgets can't be shown."""

        def _repr_mimebundle_(self, **options: Any) -> tuple[dict[str, Any], dict[str, Any]]:
            picture, metadata = static.bundle()
            return super()._repr_mimebundle_(**options) | picture, metadata

    words = [word for word, _ in split.word_positions(0)]
    first, *patch = map(int, np.unravel_index(int(split.image.abs().argmax()), split.image.shape))
    word = ipywidgets.ToggleButtons(options=[(text, i) for i, text in enumerate(words)], value=first, description="word")
    word.style.button_width = "auto"
    row, column = (
        ipywidgets.IntSlider(value=place, min=0, max=size - 1, description=name, continuous_update=False)
        for place, size, name in zip(patch, split.image.shape[1:], ("patch: row", "column"))
    )
    static.show(as_png(phrase_maps(image, interactions, pair)), "The picture and the map of each word: " + ", ".join(words))
    shown = Picture()
    limit = float(split.cpu().heatmap(224, normalize=None).abs().max()) or 1.0

    def draw(_: dict[str, Any] | None = None) -> None:
        place = row.value, column.value
        shown.show(as_png(chosen(image, split, word.value, place, limit)), describe(split, word.value, place))

    for control in (word, row, column):
        control.observe(draw, names="value")
    draw()
    return Explorer([word, ipywidgets.HBox([row, column]), shown])


def chosen(image: plots.Picture, split: Any, word: int, patch: tuple[int, int], limit: float) -> Figure:
    """A word's map with a patch framed in it, and below the words in the colours of what they have with this patch."""
    fig, (above, below) = plt.subplots(2, 1, figsize=(7, 6), height_ratios=(4, 1))
    plots.overlay(image, split, word, above, limit, split.word_positions(0)[word][0])
    height, width = split.image.shape[1:]
    (bottom, top), (left, right) = sorted(above.get_ylim()), sorted(above.get_xlim())
    step = (right - left) / width, (top - bottom) / height
    corner = left + patch[1] * step[0], bottom + patch[0] * step[1]
    above.add_patch(plt.Rectangle(corner, *step, fill=False, linewidth=2.5, edgecolor="black"))
    of_patch = split.text.new_zeros(1, split.text.shape[1])
    for row, (_, places) in enumerate(split.word_positions(0)):
        of_patch[0, places[0]] = split.image[row][patch]
    draw_words(replace(split[[0]], text=of_patch), 0, below)
    return fig


def describe(split: Any, word: int, patch: tuple[int, int]) -> str:
    """The figure of ``chosen`` in words and numbers: its alternative text."""
    names = [text for text, _ in split.word_positions(0)]
    row, column = divmod(int(split.image[word].argmax()), split.image.shape[2])
    values = ", ".join(f"{name} {signed(float(one[patch]))}" for name, one in zip(names, split.image))
    place = f"row {patch[0]}, column {patch[1]}"
    highest = f"row {row}, column {column} (counted from 0)"
    return f"The map of “{names[word]}”, highest at {highest}. At the framed patch, {place}: {values}."


def as_png(figure: Figure) -> bytes:
    """The figure as a PNG's bytes; it is closed."""
    png = io.BytesIO()
    figure.savefig(png, format="png")
    plt.close(figure)
    return png.getvalue()
