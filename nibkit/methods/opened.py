"""CLIP's blocks opened: their attention written out, for the methods that look into it, and checked against the model itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from ..model.blocks import at
from ..model.clip import Clip
from ..model.fidelity import apart, reach, tolerance
from .cut import CutEncoder

WITHOUT = (
    "Give a model with CLIP's own blocks (nk.load_clip), or take a method that looks at no attention: "
    'nib, m2ib, rise, gradcam, mfaba, or saliency and fastig with variant="original"'
)
ATTENTION = [f"self_attn.{name}" for name in ("q_proj", "k_proj", "v_proj", "out_proj", "num_heads", "head_dim", "scale")]
BLOCK = [*ATTENTION, "layer_norm1", "layer_norm2", "mlp"]  # what a block must have to be written out


class Heads(NamedTuple):
    """What attention computes on its way: queries, keys, values [R, heads, S, c], weights A [R, heads, S, S], and their product
    A · values, the heads side by side, ``mixed`` [R, S, C]. Row i of A says where position i looks; rows sum to 1."""

    query: torch.Tensor
    key: torch.Tensor
    value: torch.Tensor
    weights: torch.Tensor
    mixed: torch.Tensor


def heads_of(attention: Any, normed: torch.Tensor, mask: torch.Tensor | None, one_head: bool = False) -> Heads:
    """Attention over normalised states [R, S, C], in its own heads, or (one_head) as if all channels were one.

    mask: as the blocks take it, additive [1 or R, 1, S, S], or None. Where gradients are on, A has one even if the states have
    not.
    """
    shape = (1, normed.shape[-1]) if one_head else (attention.num_heads, attention.head_dim)
    scale = normed.shape[-1] ** -0.5 if one_head else attention.scale
    query, key, value = (
        project(normed).unflatten(-1, shape).transpose(1, 2) for project in (attention.q_proj, attention.k_proj, attention.v_proj)
    )
    scores = query @ key.transpose(-1, -2) * scale
    scores = scores if mask is None else scores + mask
    weights = scores.softmax(-1, dtype=torch.promote_types(scores.dtype, torch.float32)).to(value.dtype)
    if torch.is_grad_enabled() and not weights.requires_grad:
        weights.requires_grad_()
    return Heads(query, key, value, weights, (weights @ value).transpose(1, 2).flatten(2))


def open_block(block: Any, z: torch.Tensor, mask: torch.Tensor | None, one_head: bool = False) -> tuple[torch.Tensor, Heads]:
    """A CLIP block, its attention written out: (output [R, S, C] of states z [R, S, C], what attention computed)."""
    heads = heads_of(block.self_attn, block.layer_norm1(z), mask, one_head)
    z = z + block.self_attn.out_proj(heads.mixed)
    return z + block.mlp(block.layer_norm2(z)), heads


def attend(block: Any, z: torch.Tensor, mask: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
    """``open_block``, and of what attention computed the weights alone: (output [R, S, C], A [R, heads, S, S])."""
    output, heads = open_block(block, z, mask)
    return output, heads.weights


def features_of(encoder: CutEncoder, z: torch.Tensor, pairs: np.ndarray) -> torch.Tensor:
    """Features [R, D] of the states z [R, S, C] that leave the last block, for these pairs [R]; see ``check_features``."""
    features = encoder.tower.projection(encoder.tower.norm(at(z, encoder.pooled[pairs])))
    check_features(encoder, features, pairs)
    return features


def check_features(encoder: CutEncoder, features: torch.Tensor, pairs: np.ndarray) -> None:
    """ValueError if features [R, D], of blocks written out, are not those of the model for these pairs [R]."""
    if (gap := apart(features.detach(), encoder.features[pairs])) > tolerance(features):
        name = "image" if encoder.tower.is_image else "text"
        raise ValueError(
            f"attention written out gives other features than the {name} encoder's ({gap:.2g} apart): a block attends in "
            f"another way, or a hook changes it. {WITHOUT}"
        )


def check_attention(clip: Clip, method: str, first: tuple[int, int], parts: Sequence[str] = BLOCK) -> None:
    """ValueError if a block from ``first`` (image, text) on is not built as CLIP's are: its attention can't be written out."""
    for encoder, tower, start in zip(("image", "text"), (clip.image, clip.text), first):
        for number, block in enumerate(list(tower.blocks)[start:], start):
            if lost := [part for part in parts if reach(block, part) is None]:
                raise ValueError(
                    f"{method} reads the attention weights, but clip's {encoder} block {number} ({type(block).__name__}) hides "
                    f"them: it has no {lost[0]}. {WITHOUT}"
                )
