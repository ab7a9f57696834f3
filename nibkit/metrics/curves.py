"""Insertion and deletion: F while the evidence is put in, or taken out, the most important first. Notebook 09."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch

from ..checks import check_batch_size
from ..methods.attribution import Attribution
from ..model.clip import Clip, find_words
from ..model.inputs import Inputs
from ..model.repeatable import untouched
from ..model.towers import Tower
from .masking import check_maps, cosine, encode


def curves(
    clip: Clip,
    inputs: Inputs,
    att: Attribution,
    steps: int | None = None,
    unit: str = "patch",
    batch_size: int | None = None,
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
        ValueError, TypeError: an unknown unit, steps out of range, patches that are not the model's, and as ``confidence``.
    """
    if unit not in ("patch", "pixel"):
        raise ValueError(f'unit must be "patch" or "pixel"; got {unit!r}')
    check_batch_size(batch_size)
    inputs = clip.check(inputs)
    check_maps(inputs, att)
    _, words = find_words(clip, inputs)
    height, width = inputs.pixel_values.shape[-2:]
    grid = (clip.image.grid, clip.image.grid)
    if unit == "patch" and tuple(att.image.shape[1:]) != grid:
        shape = " × ".join(map(str, att.image.shape[1:]))
        raise ValueError(
            f'att.image has {shape} patches, the model {grid[0]} × {grid[1]}: use unit="pixel", or maps of this model'
        )
    values = att.image if unit == "patch" else att.heatmap((height, width), normalize=None)
    ranks, count = rank(values.flatten(1)).unflatten(1, values.shape[1:]).to(clip.device), values[0].numel()
    if unit == "patch":
        size = clip.image.embeddings.patch_size
        y, x = (torch.arange(length).div(size, rounding_mode="floor").clamp_max(grid[0] - 1) for length in (height, width))
        ranks = ranks[:, y][:, :, x]
    steps = steps if steps is not None else grid[0] * grid[1]
    if isinstance(steps, bool) or not isinstance(steps, (int, np.integer)) or not 1 <= steps <= count:
        raise ValueError(f"steps must be a whole number within 1 … {count} (one {unit} at a time); got {steps!r}")
    at = [np.round(np.linspace(0, count, steps + 1)).astype(int)] * len(inputs)
    until = [np.arange(n + 1) for n in words.sum(1).tolist()]
    token_ranks = rank(att.text.to(clip.device).masked_fill(~words, -torch.inf)).masked_fill(~words, -1)
    with untouched(clip.model), torch.no_grad():
        everyone = np.arange(len(inputs))
        image, text = (encode(tower, inputs, everyone, None, batch_size=batch_size)[0] for tower in (clip.image, clip.text))
        return pd.concat(
            [
                change(clip.image, inputs, text, ranks, at, batch_size).assign(side="image"),
                change(clip.text, inputs, image, token_ranks, until, batch_size).assign(side="text"),
            ],
            ignore_index=True,
        )[["pair", "side", "fraction", "insertion", "deletion"]]


def insertion_deletion(
    clip: Clip,
    inputs: Inputs,
    att: Attribution,
    steps: int | None = None,
    unit: str = "patch",
    batch_size: int | None = None,
) -> pd.DataFrame:
    """The areas under ``curves``, whose arguments it takes, by trapezoids over the fraction, so in units of cosine.

    Returns a DataFrame, a row per pair: image_insertion_auc, image_deletion_auc, text_insertion_auc, text_deletion_auc. Good are
    high insertion and low deletion.
    """
    table = curves(clip, inputs, att, steps, unit, batch_size)
    areas = {f"{side}_{kind}_auc": np.zeros(len(inputs)) for side in ("image", "text") for kind in ("insertion", "deletion")}
    for (pair, side), curve in table.groupby(["pair", "side"]):
        for kind in ("insertion", "deletion"):
            areas[f"{side}_{kind}_auc"][pair] = np.trapezoid(curve[kind], curve["fraction"])
    return pd.DataFrame(areas)


def change(
    tower: Tower, inputs: Inputs, target: torch.Tensor, ranks: torch.Tensor, counts: Sequence[np.ndarray], batch_size: int | None
) -> pd.DataFrame:
    """One side's curves. ranks: 0 for what is put in or taken out first, −1 for what always stays; counts: each pair's points."""
    pairs = np.repeat(np.arange(len(inputs)), [len(points) for points in counts])
    done = torch.as_tensor(np.concatenate(counts), device=ranks.device).reshape(-1, *[1] * (ranks.ndim - 1))
    fraction = np.concatenate([points / points[-1] for points in counts])
    put_in = lambda rows: ranks[pairs[rows]] < done[rows]  # noqa: E731
    left = lambda rows: (ranks[pairs[rows]] >= done[rows]) | (ranks[pairs[rows]] < 0)  # noqa: E731
    found = [cosine(features, target[pairs]) for features in encode(tower, inputs, pairs, put_in, left, batch_size=batch_size)]
    return pd.DataFrame({"pair": pairs, "fraction": fraction, "insertion": found[0], "deletion": found[1]})


def rank(values: torch.Tensor) -> torch.Tensor:
    """The place of each value in its row's descending order, 0 … n − 1; equal values in the order in which they stand."""
    return values.argsort(dim=1, descending=True, stable=True).argsort(dim=1)
