"""Pictures and captions scaled by maps, and encoded again: what the metrics are made of.

A map w scales a picture's pixels *after* normalisation, so w = 0 means the mean colour. It scales a token's row of the embedding
table, before the position embedding is added, so w = 0 means a place without a word.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch.nn import functional as nnf

from ..methods.attribution import Attribution, Scaled
from ..methods.batches import default_batch_size, in_batches
from ..model.captions import first
from ..model.clip import Clip, find_words
from ..model.inputs import Inputs
from ..model.repeatable import untouched
from ..model.towers import ImageTower, Tower

Weights = Callable[[np.ndarray], torch.Tensor]  # (some rows' numbers) -> their weights [r, H, W] or [r, T]


def check_maps(inputs: Inputs, att: Attribution) -> None:
    """TypeError or ValueError if ``att`` is no attribution of these inputs, or holds NaN or infinity."""
    if not isinstance(att, Attribution):
        raise TypeError(f"att must be an nk.Attribution, as the methods return it; got {type(att).__name__}")
    mend = "give the attribution of these very inputs"
    if {len(att), len(att.image), len(att.tokens)} != {len(inputs)}:
        raise ValueError(f"att explains {len(att)} pairs, inputs have {len(inputs)}: {mend}")
    if att.text.shape != inputs.input_ids.shape:
        raise ValueError(f"att.text is {list(att.text.shape)}, inputs.input_ids are {list(inputs.input_ids.shape)}: {mend}")
    for i, (count, tokens) in enumerate(zip(inputs.attention_mask.bool().sum(1).tolist(), att.tokens)):
        if len(tokens) != count or (inputs.tokens is not None and tuple(tokens) != tuple(inputs.tokens[i])):
            raise ValueError(f"att explains another caption for pair {i} ({' '.join(tokens)!r}): {mend}")
    for name, rank in (("image", 3), ("pixels", 3), ("text", 2)):
        values = getattr(att, name)
        if values is None:
            continue
        if values.ndim != rank or len(values) != len(inputs):
            raise ValueError(
                f"att.{name} must be [B, {'H, W' if rank == 3 else 'T'}] for B = {len(inputs)}; got {list(values.shape)}"
            )
        if not (finite := torch.isfinite(values).flatten(1).all(1)).all():
            raise ValueError(f"att.{name} of pair {int(finite.int().argmin())} holds NaN or infinity: it can't be scored")


# --- captions -----------------------------------------------------------------------------------------------------------------


def token_weights(att: Attribution, chosen: torch.Tensor) -> torch.Tensor:
    """The text map min–max scaled over the chosen tokens, float [B, T], 0 elsewhere (a ``Scaled``: as it is); constant: zeros."""
    values = att.text.to(chosen.device, torch.promote_types(att.text.dtype, torch.float32))
    if isinstance(att, Scaled):
        return values
    low = values.masked_fill(~chosen, torch.inf).amin(1, keepdim=True)
    high = values.masked_fill(~chosen, -torch.inf).amax(1, keepdim=True)
    return torch.where(chosen & (high > low), (values - low) / (high - low).clamp_min(torch.finfo(values.dtype).tiny), 0.0)


def shift(values: torch.Tensor, words: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(values [B, T'] from each row's first word to its last, bool [B, T'] where there are any); behind them, the first again."""
    start, positions = first(words), torch.arange(words.shape[1], device=words.device)
    length = torch.where(words, positions, -1).amax(1, keepdim=True) + 1 - start
    offset = positions[: int(length.max())]
    inside = offset < length
    return values.gather(1, start + torch.where(inside, offset, 0)), inside


def cut_captions(clip: Clip, inputs: Inputs) -> Inputs:
    """The captions without start and end token, as the "paper" protocol encodes them: every word moves up by one position.

    ``clip.text.pooled`` of the result says which position the model then reads: that of the highest id, where the configuration
    has ``eos_token_id`` 2, else position 0. ValueError if nothing is left of a caption.
    """
    inputs = clip.check(inputs)
    return cut(inputs, find_words(clip, inputs)[1])


def cut(inputs: Inputs, words: torch.Tensor) -> Inputs:
    """The words alone. They are padded by the caption's own first word: the highest id stays where it is."""
    (ids, inside), (mask, _) = shift(inputs.input_ids, words), shift(inputs.attention_mask, words)
    inner = [slice(1, 1 + count) for count in words.sum(1).tolist()]  # of each caption's list of tokens, which has no padding
    tokens = inputs.tokens and tuple(part[kept] for part, kept in zip(inputs.tokens, inner))
    numbers = inputs.words and tuple(part[kept] for part, kept in zip(inputs.words, inner))
    return Inputs(inputs.pixel_values, ids, mask * inside, tokens, numbers, inputs.views)


def compound(inputs: Inputs, weights: torch.Tensor) -> torch.Tensor:
    """Weights [B, T] of a table whose rows are scaled in place: each token's is the product over all its occurrences."""
    ids, real = inputs.input_ids, inputs.attention_mask.bool()
    same = (ids[:, :, None] == ids[:, None]) & real[:, None]
    return torch.where(same, weights[:, None], 1.0).prod(2)


# --- encoding -----------------------------------------------------------------------------------------------------------------


def encode(
    tower: Tower, inputs: Inputs, *maps: Weights | None, pairs: np.ndarray | None = None, batch_size: int | None = None
) -> list[torch.Tensor]:
    """For each of ``maps``, features [R, D] of R rows, each a pair's picture or caption, scaled; None: whole.

    pairs: the pair of each row, [R]; None: every pair once. batch_size: how many rows go through the tower at once.
    Rows are sorted by length, so that no padding is computed for nothing. All maps go through the same batches: one of ones gives
    the same features as None, to the last bit.
    """
    pairs = np.arange(len(inputs)) if pairs is None else pairs
    like, length = tower.like, tower.span(inputs)[pairs]
    features = [like.new_zeros(len(pairs), tower.dimension) for _ in maps]

    def work(rows: np.ndarray) -> None:
        part = tower.crop(inputs[pairs[rows]], int(length[rows].max()))
        pooled = tower.pooled(part)
        for target, weights in zip(features, maps):
            z = tower.embed(part) if weights is None else embed_scaled(tower, part, weights(rows))
            target[rows] = tower.finish(z, 0, pooled, tower.mask(z.shape[1], part.attention_mask)).to(like.dtype)

    with untouched(tower), torch.no_grad():
        in_batches(np.argsort(length, kind="stable"), batch_size or default_batch_size(tower), work)
    return features


def embed_scaled(tower: Tower, inputs: Inputs, weights: torch.Tensor) -> torch.Tensor:
    """The input of block 0, [B, S, C], of pictures or captions that are scaled by maps [B, H, W] or [B, T]."""
    raw = tower.raw(inputs)
    weights = weights[:, None] if tower.is_image else weights[:, : raw.shape[1], None]
    return tower.enter(raw * weights.to(raw))


def to_pixels(tower: ImageTower, values: torch.Tensor) -> torch.Tensor:
    """Values of patches [B, gh, gw] as those of their pixels [B, H, W]; what is left at the edges goes with the last patch."""
    place = torch.arange(tower.image_size).div(tower.patch_size, rounding_mode="floor").clamp_max(tower.grid - 1)
    return values[:, place][:, :, place]


def cosine(features: torch.Tensor, target: torch.Tensor) -> np.ndarray:
    """Cosines [B] in float64; features of less than float32 are widened first."""
    wide = torch.promote_types(features.dtype, torch.float32)
    return nnf.cosine_similarity(features.to(wide), target.to(wide), dim=-1).cpu().double().numpy()
