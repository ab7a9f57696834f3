"""Insertion and deletion: F while the evidence is put in, or taken out, the most important first. Notebook 09."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch

from ..checks import check_batch_size, check_choice, check_whole
from ..methods.attribution import Attribution
from ..model.clip import Clip, find_words
from ..model.inputs import Inputs
from ..model.towers import Tower
from .masking import check_maps, cosine, encode, to_pixels


def curves(
    clip: Clip, inputs: Inputs, att: Attribution, steps: int | None = None, unit: str = "patch", batch_size: int | None = None
) -> pd.DataFrame:
    """F while the evidence is put in, or taken out, the most important first (Petsiuk et al., 2018, with the cosine as score).

    Insertion starts from nothing: the mean colour (0 after normalisation) everywhere; a caption's words with embedding rows of 0
    between start and end token, which always stay. Deletion starts from the whole. Words go one at a time.

    Args:
        clip, inputs, att: the model, B pairs, their maps. Only the order of a map's values counts, with their signs; equal values
            go row by row, first to last (so for a constant map).
        steps: how many steps the picture is changed in. None: as many as there are patches.
        unit: "patch": whole patches by ``att.image``; "pixel": single pixels by the heatmap.
        batch_size: how many go through an encoder at once; it never changes the result.

    Returns:
        DataFrame, a row per pair, side and point of the curve: pair (0 … B − 1); side ("image", "text"); fraction, 0 … 1, of the
        patches, pixels or words that were put in or taken out; insertion, deletion (cosines).

    Raises:
        ValueError, TypeError: an unknown unit, steps out of range (1 … the number of units), patches that are not the model's,
            and as ``confidence``.
    """
    check_choice("unit", unit, ("patch", "pixel"))
    batch_size = check_batch_size(batch_size)
    inputs = clip.check(inputs)
    check_maps(inputs, att)
    _, words = find_words(clip, inputs)
    grid, (height, width) = clip.image.grid, inputs.pixel_values.shape[-2:]
    if unit == "patch" and tuple(att.image.shape[1:]) != (grid, grid):
        shape = " × ".join(map(str, att.image.shape[1:]))
        raise ValueError(f'att.image has {shape} patches, the model {grid} × {grid}: use unit="pixel", or maps of this model')
    count = grid**2 if unit == "patch" else height * width
    steps = check_whole("steps", steps, most=count, optional=True) or grid**2

    values = att.image if unit == "patch" else att.heatmap((height, width), normalize=None)
    pixel_ranks = rank(values.flatten(1)).unflatten(1, values.shape[1:]).to(clip.device)
    if unit == "patch":
        pixel_ranks = to_pixels(clip.image, pixel_ranks)
    token_ranks = rank(att.text.to(clip.device).masked_fill(~words, -torch.inf)).masked_fill(~words, -1)
    image_points = [np.round(np.linspace(0, count, steps + 1)).astype(int)] * len(inputs)
    text_points = [np.arange(n + 1) for n in words.sum(1).tolist()]

    image, text = (encode(tower, inputs, None, batch_size=batch_size)[0] for tower in (clip.image, clip.text))
    sides = [
        change(clip.image, inputs, text, pixel_ranks, image_points, batch_size).assign(side="image"),
        change(clip.text, inputs, image, token_ranks, text_points, batch_size).assign(side="text"),
    ]
    return pd.concat(sides, ignore_index=True)[["pair", "side", "fraction", "insertion", "deletion"]]


def insertion_deletion(
    clip: Clip, inputs: Inputs, att: Attribution, steps: int | None = None, unit: str = "patch", batch_size: int | None = None
) -> pd.DataFrame:
    """The areas under ``curves``, whose arguments it takes, by trapezoids over the fraction, so in units of cosine.

    Returns a DataFrame, a row per pair: image_insertion_auc, image_deletion_auc, text_insertion_auc, text_deletion_auc. Good are
    high insertion and low deletion. Raises ValueError and TypeError as ``curves`` does.
    """
    table, areas = curves(clip, inputs, att, steps, unit, batch_size), {}
    for side, rows in table.groupby("side"):
        for kind in ("insertion", "deletion"):
            areas[f"{side}_{kind}_auc"] = [np.trapezoid(curve[kind], curve["fraction"]) for _, curve in rows.groupby("pair")]
    return pd.DataFrame(areas)


def change(
    tower: Tower, inputs: Inputs, target: torch.Tensor, ranks: torch.Tensor, counts: Sequence[np.ndarray], batch_size: int | None
) -> pd.DataFrame:
    """One side's curves, against the other side's features ``target`` [B, D].

    ranks: [B, H, W] or [B, T], 0 for what is put in or taken out first, −1 for what always stays; counts: each pair's points.
    """
    pairs = np.repeat(np.arange(len(inputs)), [len(points) for points in counts])
    count = torch.as_tensor(np.concatenate(counts), device=ranks.device).reshape(-1, *[1] * (ranks.ndim - 1))
    fraction = np.concatenate([points / points[-1] for points in counts])

    def put_in(rows: np.ndarray) -> torch.Tensor:
        return ranks[pairs[rows]] < count[rows]

    def left(rows: np.ndarray) -> torch.Tensor:
        return (ranks[pairs[rows]] >= count[rows]) | (ranks[pairs[rows]] < 0)

    features = encode(tower, inputs, put_in, left, pairs=pairs, batch_size=batch_size)
    insertion, deletion = (cosine(part, target[pairs]) for part in features)
    return pd.DataFrame({"pair": pairs, "fraction": fraction, "insertion": insertion, "deletion": deletion})


def rank(values: torch.Tensor) -> torch.Tensor:
    """The place of each value in its row's descending order, 0 … n − 1; equal values in the order in which they stand."""
    return values.argsort(dim=1, descending=True, stable=True).argsort(dim=1)
