"""Does the map find what the caption names? Scores against true masks, which only a synthetic world has. Notebook 09.

Masks are bool, True on the object, arrays or tensors; ``localisation`` says of which size.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from scipy import ndimage

from ..checks import check_number
from ..data.scenes import Scene
from ..methods.attribution import Attribution
from ..model.inputs import Inputs
from ..model.views import seen_masks

Masks = np.ndarray | torch.Tensor | Sequence[np.ndarray]  # bool, B of [H, W]
TIE = 1e-6  # of a map's range: values closer than that differ by rounding, and count as equal


def named_masks(scenes: Sequence[Scene]) -> tuple[np.ndarray, np.ndarray]:
    """(masks, distractors), bool [B, 224, 224] each: what of the objects that the caption names, and of all others, can be seen.

    A caption that is false in every phrase names no object: its mask is empty, which the scores refuse.
    """
    masks, distractors = [], []
    for scene in scenes:
        named = np.isin(np.arange(len(scene.masks)), [number for number in scene.named if number is not None])
        masks.append(scene.masks[named].any(0))
        distractors.append(scene.masks[~named].any(0))
    return np.stack(masks), np.stack(distractors)


def named_words(scenes: Sequence[Scene], inputs: Inputs) -> np.ndarray:
    """Bool [B, T]: the tokens of the phrases that are true of the picture (not " and ", not a phrase of an absent object).

    ValueError if the inputs came without word numbers (``clip.prepare`` makes them) or are of other captions.
    """
    named = np.zeros(tuple(inputs.input_ids.shape), dtype=bool)
    real = inputs.attention_mask.cpu().numpy() != 0
    for i, (scene, numbers) in enumerate(zip(scenes, phrase_numbers(scenes, inputs))):
        true = [k for k, number in enumerate(scene.named) if number is not None]
        named[i, real[i]] = np.isin(numbers, true)
    return named


def phrase_numbers(scenes: Sequence[Scene], inputs: Inputs) -> list[np.ndarray]:
    """For each caption, the number of the phrase that each of its tokens belongs to; −1 for start, end and " and ".

    ValueError as ``named_words``.
    """
    if inputs.words is None or inputs.tokens is None:
        raise ValueError("inputs have no word numbers: make them with clip.prepare")
    if len(scenes) != len(inputs):
        raise ValueError(f"{len(scenes)} scenes but {len(inputs)} pairs: give the scenes that the inputs were made of")
    numbers = []
    for i, scene in enumerate(scenes):
        of_word: list[int] = []  # for each word of the caption
        for k, phrase in enumerate(scene.phrases):
            of_word += [k] * len(phrase.split()) + [-1]  # the last for "and"
        spelt: dict[int, str] = {}
        for token, word in zip(inputs.tokens[i], inputs.words[i]):
            if word is not None:
                spelt[word] = spelt.get(word, "") + token
        if " ".join(spelt.values()) != scene.caption:
            raise ValueError(f"caption {i} is not {scene.caption!r}: give the scenes that the inputs were made of")
        numbers.append(np.array([-1 if word is None else of_word[word] for word in inputs.words[i]]))
    return numbers


# --- scores -------------------------------------------------------------------------------------------------------------------


def pointing_game(att: Attribution, masks: Masks, tolerance: float = 0.0) -> np.ndarray:
    """Does the map's maximum fall on the mask? [B], 1 or 0; where several pixels share the maximum, the share of them that does.

    (Zhang et al., 2018, allow 15 pixels of ``tolerance`` around the mask; the default is none.) By chance: the mask's share.
    Raises ValueError or TypeError on a tolerance below 0, and as ``localisation``.
    """
    tolerance = check_number("tolerance", tolerance, least=0)
    masks = seen_masks(masks, att.views, len(att))
    if tolerance:
        masks = np.stack([ndimage.distance_transform_edt(~mask) <= tolerance for mask in masks])
    return _pointing(_maps(att, masks), masks)


def iou(att: Attribution, masks: Masks, threshold: float = 0.5) -> np.ndarray:
    """Intersection over union, [B], of the mask and the region where the min–max map reaches ``threshold`` of its maximum.

    A constant map has no such region (zeros by min–max): 0.
    Raises ValueError or TypeError on a threshold that is not above 0 and at most 1, and as ``localisation``.
    """
    threshold = check_number("threshold", threshold, above=0, most=1)
    masks = seen_masks(masks, att.views, len(att))
    return _iou(_maps(att, masks), masks, threshold)


def average_precision(att: Attribution, masks: Masks) -> np.ndarray:
    """Average precision of the map's values as scores for "this pixel is on the mask", [B], 0 … 1.

    AP = Σ_n (R_n − R_{n−1}) P_n, over the distinct values from high to low; P_n and R_n are precision and recall of the pixels
    that reach the n-th (scikit-learn's definition, without interpolation). By chance, and for a constant map: the mask's share of
    the picture. Raises ValueError or TypeError as ``localisation``.
    """
    masks = seen_masks(masks, att.views, len(att))
    return _average_precisions(_maps(att, masks), masks)


def localisation(att: Attribution, masks: Masks, distractors: Masks | None = None) -> pd.DataFrame:
    """All scores, a row per pair, in what the model saw of the picture.

    Where the maps know what that is (``att.views``: all that is made of ``clip.prepare``'s inputs does), masks are brought there
    first, by nearest neighbour. Those of the picture's own size [H, W] are resized and cropped as it was: what the model never
    saw counts neither for nor against. Those that are in the model's frame already (224 × 224, say) are taken as they are. Where
    both sizes are the same, they count as the picture's own; every other size is refused. They may be a list of B masks, each of
    its own picture's size. Without views masks are [B, H, W], of any size, and the maps are brought to it
    (``Attribution.heatmap``).

    Args:
        att: the maps of B pairs.
        masks, distractors: bool [B, H, W] or B of [H, W], what the caption names and what it does not (``named_masks``). A
            distractor's mask may be empty (nothing else is in the picture): NaN in its columns.

    Returns:
        DataFrame: pointing, iou, average_precision (0 … 1); chance, the mask's share of what the model saw, which a random map
        gets in pointing and average_precision. With distractors also, from the signed map m / max|m|: on_named, on_distractor,
        its means there; beats, 1 if the first is larger; against, 1 if the second is negative, so that evidence against falls on
        the distractor (always 0 for methods without sign); against_precision, the average precision of −m for the distractor.

    Raises:
        ValueError, TypeError: masks of another shape or type, a mask that is empty (in what the model saw), one that overlaps its
            distractor, maps with NaN or infinity.
    """
    masks = seen_masks(masks, att.views, len(att))
    maps = _maps(att, masks)
    table = {
        "pointing": _pointing(maps, masks),
        "iou": _iou(maps, masks),
        "average_precision": _average_precisions(maps, masks),
        "chance": masks.mean((1, 2)),
    }
    if distractors is not None:
        others = seen_masks(distractors, att.views, len(att), masks.shape[1:], "distractors", empty=True)
        if (overlap := (masks & others).any((1, 2))).any():
            raise ValueError(f"masks and distractors of pair {overlap.argmax()} overlap: a pixel is on one of them at most")
        names = ("on_named", "on_distractor", "beats", "against", "against_precision")
        rows = [_signed(*row) for row in zip(_maps(att, masks, "signed"), maps, masks, others)]
        table |= dict(zip(names, np.array(rows).reshape(-1, len(names)).T))
    return pd.DataFrame(table)


def _signed(signed: np.ndarray, values: np.ndarray, mask: np.ndarray, distractor: np.ndarray) -> tuple[float, ...]:
    named = float(signed[mask].mean())
    if not distractor.any():
        return named, np.nan, np.nan, np.nan, np.nan
    other = float(signed[distractor].mean())
    return named, other, float(named > other), float(other < 0), _average_precision(-values, distractor)


def _pointing(maps: np.ndarray, masks: np.ndarray) -> np.ndarray:
    return np.array([mask[values >= values.max() - TIE].mean() for values, mask in zip(maps, masks)])


def _iou(maps: np.ndarray, masks: np.ndarray, threshold: float = 0.5) -> np.ndarray:
    regions = (maps >= threshold * maps.max((1, 2), keepdims=True)) & (maps > 0)
    return (regions & masks).sum((1, 2)) / (regions | masks).sum((1, 2))


def _average_precisions(maps: np.ndarray, masks: np.ndarray) -> np.ndarray:
    return np.array([_average_precision(values, mask) for values, mask in zip(maps, masks)])


def _average_precision(values: np.ndarray, mask: np.ndarray) -> float:
    order = np.argsort(-values, axis=None, kind="stable")
    values, hits = values.flat[order], np.cumsum(mask.flat[order])
    last = np.append(np.flatnonzero(-np.diff(values) > TIE), len(values) - 1)  # of each distinct value, its last pixel
    recalled = np.diff(hits[last], prepend=0) / hits[-1]
    return float(np.sum(recalled * hits[last] / (last + 1)))


def _maps(att: Attribution, masks: np.ndarray, normalize: str = "minmax") -> np.ndarray:
    _, height, width = masks.shape
    return att.heatmap((height, width), normalize=normalize).cpu().double().numpy()
