"""How good is a map? Confidence drop and increase, insertion and deletion: the model itself is asked again. Notebook 09.

All of them scale a picture or a caption by a map in 0 … 1 and look at F, the cosine with the other side of the same pair, which
stays whole. What "removed" means: the mean colour (0 after normalisation), or a place without a word; see ``masking``.

A map is min–max scaled first. One that is constant has nothing to say and becomes all zeros (the published code divides by zero):
the picture is then all mean colour. To have a map used as it is, give a ``masking.Scaled``, as ``controls.ones_map`` does.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch

from ..methods.attribution import Attribution
from ..model.clip import Clip, Tower
from ..model.inputs import Inputs
from ..model.repeatable import untouched
from .masking import check_batch_size, check_maps, compound, cosine, cut, encode, find_words, first, shift, token_weights

PROTOCOLS = ("paper", "eos")


# --- confidence drop and increase ---------------------------------------------------------------------------------------------


def confidence(
    clip: Clip, inputs: Inputs, att: Attribution, protocol: str = "paper", batch_size: int | None = None
) -> pd.DataFrame:
    """Confidence Drop and Increase (§5.3; Chattopadhay et al., 2018, as Wang et al., 2023, carried them over to CLIP).

        drop = 100 · max(0, before − after), increase = 100 · [after > before], before and after being cosines.

    The paper's drop is this difference; Chattopadhay et al. divide it by "before": the column ``*_relative_drop``.

    Args:
        clip, inputs: the model and B pairs.
        att: their maps. A ``masking.Scaled`` is used as it is; all others are min–max scaled.
        protocol: how the caption is scaled (the picture: its heatmap times the normalised pixels, under both).
            "paper": min–max over all tokens, then start and end token are cut off, and "before" is the caption so cut, too. The
            model then reads the highest id that is left (``eos_token_id`` 2) or the first token (other configurations), see
            ``masking.cut_captions``; what stands behind it is inert. A repeated token's row is scaled once for each occurrence.
            "eos": min–max over the words; start and end token are kept and not scaled, each position on its own.
            A caption of one word has a constant map there: the word is taken away.
        batch_size: how many go through an encoder at once; it never changes the result.

    Returns:
        DataFrame, a row per pair: image_drop, image_increase, text_drop, text_increase (percent); image_relative_drop and
        text_relative_drop (percent, see ``relative_drop``); image_before, image_after, text_before, text_after (cosines);
        text_position, the position in the caption whose state is read.

    Raises:
        ValueError, TypeError: an unknown protocol, maps that are not of these inputs or hold NaN or infinity, a caption with
            nothing between its start and end token.
    """
    if protocol not in PROTOCOLS:
        raise ValueError(f'protocol must be "paper" or "eos"; got {protocol!r}')
    check_batch_size(batch_size)
    inputs = clip.check(inputs)
    check_maps(inputs, att)
    real, words = find_words(clip, inputs)
    heat = att.heatmap(tuple(inputs.pixel_values.shape[-2:])).to(clip.device)
    if protocol == "eos":
        scored, weights = inputs, torch.where(words, token_weights(att, words), 1.0)
        start = torch.zeros_like(words[:, :1], dtype=torch.long)
    else:
        scored, start = cut(inputs, words), first(words)
        weights = compound(scored, shift(token_weights(att, real), words)[0])
    everyone = np.arange(len(inputs))
    with untouched(clip.model), torch.no_grad():
        pictures = encode(clip.image, inputs, everyone, None, lambda rows: heat[rows], batch_size=batch_size)
        captions = encode(clip.text, scored, everyone, None, lambda rows: weights[rows], batch_size=batch_size)
        text = captions[0] if protocol == "eos" else encode(clip.text, inputs, everyone, None, batch_size=batch_size)[0]
        position = start[:, 0] + clip.text.pooled(scored)
    table, relative, cosines = {}, {}, {}
    for side, features, other in (("image", pictures, text), ("text", captions, pictures[0])):
        before, after = (cosine(found, other) for found in features)
        table |= {f"{side}_drop": 100 * np.maximum(0.0, before - after), f"{side}_increase": 100.0 * (after > before)}
        relative[f"{side}_relative_drop"] = relative_drop(before, after)
        cosines |= {f"{side}_before": before, f"{side}_after": after}
    return pd.DataFrame(table | relative | cosines | {"text_position": position.cpu().numpy()})


def relative_drop(before, after) -> np.ndarray:
    """Average Drop's summand as Chattopadhay et al. (2018) defined it, 100 · max(0, before − after) / before, in percent.

    It was made for class probabilities. A cosine may be 0 or negative: such a score has no share to lose, and the result is NaN
    (which pandas leaves out of means: say how many). Just above 0 it is as large as you like.
    """
    before, after = np.asarray(before, dtype=np.float64), np.asarray(after, dtype=np.float64)
    positive = before > 0
    return np.where(positive, 100 * np.maximum(0.0, before - after) / np.where(positive, before, 1.0), np.nan)


# --- insertion and deletion ---------------------------------------------------------------------------------------------------


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
