"""Maps and small changes: max-sensitivity and infidelity (Yeh et al., 2019). Notebook 09."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import pandas as pd
import torch

from ..checks import check_batch_size, check_number, check_seed, check_whole
from ..methods.attribution import Attribution
from ..model.clip import Clip, find_words
from ..model.inputs import Inputs
from ..model.towers import ImageTower, Tower
from .masking import check_maps, cosine, encode, to_pixels


def max_sensitivity(
    clip: Clip,
    inputs: Inputs,
    explain: Callable[[Clip, Inputs], Attribution],
    radius: float = 0.1,
    draws: int = 10,
    seed: int = 0,
) -> pd.DataFrame:
    """How far a map moves when its picture hardly does (Yeh et al., 2019, Definition 2.1, as a share of the map's own length):

        max over y, ‖y − x‖∞ ≤ radius, of ‖A(y) − A(x)‖₂ / ‖A(x)‖₂

    The maximum is over ``draws`` pictures y, each pixel of y − x uniform within ± radius (in units of the normalised pixels), the
    same for all pairs; more draws can only raise it. It is no measure of faithfulness alone: a map that is always the same has 0.

    Returns a DataFrame, a row per pair: image, text (of the caption's map, the picture being what moves); NaN for a map of zeros.
    Raises ValueError on a radius that is not above 0, draws below 1, a seed that is none; and what ``explain`` raises.
    """
    radius, draws = check_number("radius", radius, above=0), check_whole("draws", draws)
    generator = np.random.default_rng(check_seed(seed))
    inputs = clip.check(inputs)
    before = explain(clip, inputs)
    furthest = {side: np.zeros(len(inputs)) for side in ("image", "text")}
    for _ in range(draws):
        noise = torch.from_numpy(generator.uniform(-radius, radius, inputs.pixel_values.shape[1:]))
        after = explain(clip, replace(inputs, pixel_values=inputs.pixel_values + noise.to(inputs.pixel_values)))
        for side, far in furthest.items():
            a, b = (getattr(att, side).double().flatten(1) for att in (before, after))
            far[:] = np.fmax(far, ((b - a).norm(dim=1) / a.norm(dim=1)).cpu().numpy())
    return pd.DataFrame(
        {side: np.where(getattr(before, side).flatten(1).any(1).cpu(), far, np.nan) for side, far in furthest.items()}
    )


def infidelity(
    clip: Clip,
    inputs: Inputs,
    maps: Attribution | Mapping[str, Attribution],
    draws: int = 100,
    seed: int = 0,
    batch_size: int | None = None,
) -> pd.DataFrame:
    """Does the sum of what is taken away say what F loses (Yeh et al., 2019, Definition 2.1, with square removal)?

        infidelity = E_S [ (Σ_{i ∈ S} A_i − (F(x) − F(x without S)))² ]

    S is a random rectangle of patches, which become the mean colour (0 after normalisation): two rows and two columns are drawn,
    each alike. In captions it is a run of words, whose rows of the embedding table become 0; start and end token stay.
    Infidelity is in cosines², for maps in units of F. For all others Yeh et al. scale each map by the best factor; so does

        unexplained = min over β ≥ 0 of E_S [ (β Σ A_i − ΔF)² ] / E_S [ ΔF² ],    in 0 … 1

    (β ≥ 0 and the division are ours: a map that is upside down, or says nothing, has 1; a constant factor changes nothing.)

    Args and raises: as ``removal``; draws: how many S, 1 or more. Returns a DataFrame, a row for each map, pair and side: map,
    pair, side, infidelity, unexplained (NaN if F never changes).
    """
    draws, batch_size = check_whole("draws", draws), check_batch_size(batch_size)
    ends = np.random.default_rng(check_seed(seed)).random((draws, 3, 2))  # of rows, columns, words
    inputs, named_maps = clip.check(inputs), dict(maps) if isinstance(maps, Mapping) else {"map": maps}
    for att in named_maps.values():
        check_maps(inputs, att)
    _, words = find_words(clip, inputs)
    grid, count = clip.image.grid, len(inputs)
    squares = between(ends[:, 0], grid)[:, :, None] & between(ends[:, 1], grid)[:, None]  # bool [draws, g, g]
    runs = np.zeros((count, draws, words.shape[1]), dtype=bool)
    for i, row in enumerate(words.cpu().numpy()):
        runs[i][:, row] = between(ends[:, 2], row.sum())
    image, text = (encode(tower, inputs, None, batch_size=batch_size)[0] for tower in (clip.image, clip.text))
    gone = {"image": np.broadcast_to(squares, (count, *squares.shape)), "text": runs}
    lost = {
        "image": losses(clip.image, inputs, gone["image"], image, text, batch_size),
        "text": losses(clip.text, inputs, runs, text, image, batch_size),
    }
    tables = []
    for name, att in named_maps.items():
        for side, sets in gone.items():
            values = getattr(att, side).cpu().double().numpy()[:, None]
            sums = (values * sets).reshape(count, draws, -1).sum(2)
            own = dict(zip(("infidelity", "unexplained"), errors(sums, lost[side])))
            tables.append(pd.DataFrame({"map": name, "pair": range(count), "side": side} | own))
    return pd.concat(tables, ignore_index=True)


def between(ends: np.ndarray, length: int) -> np.ndarray:
    """Bool [draws, length]: the places from one end to the other, both included; ends: two numbers each, uniform on 0 … 1."""
    low, high = np.sort((ends * length).astype(int), axis=1).T[:, :, None]
    return (low <= np.arange(length)) & (np.arange(length) <= high)


def losses(
    tower: Tower, inputs: Inputs, gone: np.ndarray, whole: torch.Tensor, target: torch.Tensor, batch_size: int | None
) -> np.ndarray:
    """F(x) − F(x without S), [B, draws], for the sets S ``gone``, bool [B, draws, gh, gw] or [B, draws, T]."""
    count, draws = gone.shape[:2]
    pairs, sets = np.repeat(np.arange(count), draws), gone.reshape(count * draws, *gone.shape[2:])

    def left(rows: np.ndarray) -> torch.Tensor:
        part = torch.from_numpy(np.ascontiguousarray(sets[rows])).to(target.device)
        return ~(to_pixels(tower, part) if isinstance(tower, ImageTower) else part)

    (features,) = encode(tower, inputs, left, pairs=pairs, batch_size=batch_size)
    return cosine(whole, target)[:, None] - cosine(features, target[pairs]).reshape(count, draws)


def errors(sums: np.ndarray, lost: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(infidelity, unexplained), [B] each, of what maps say is lost and what is, [B, draws]."""
    square, total = (sums**2).mean(1), (lost**2).mean(1)
    both = np.maximum(0.0, (sums * lost).mean(1))
    with np.errstate(divide="ignore", invalid="ignore"):
        unexplained = np.where(total > 0, 1 - np.where(square > 0, both**2 / square, 0.0) / total, np.nan)
    return ((sums - lost) ** 2).mean(1), unexplained
