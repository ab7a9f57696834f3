"""Three methods that the NIB authors' code reads off the last block's attention weights A [heads, S, S], with ∇A = ∂F/∂A:

    chefer      mean over heads of relu(∇A ∘ A)     Chefer et al., ICCV 2021
    fastig      mean over heads of ∇A ∘ A           Hesse et al., NeurIPS 2021
    saliency    mean over heads of |∇A|             Simonyan et al., 2013

in the row of the position that is read (class token, end token). That is ``variant="paper"``; what the methods' own authors
published, ``variant="original"``, is Chefer's rollout over the blocks and, for the other two, gradients at the pixels.

A is computed here from the blocks' own weights, so any ``attn_implementation`` will do; blocks that are not built as CLIP's
are refused. F is the cosine. The NIB authors'
code differentiates the logit, a fixed multiple of it: min–max maps are the same.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from ..model.clip import Clip
from ..model.inputs import Inputs
from ..model.repeatable import untouched
from ..model.towers import at
from .attribution import Attribution
from .common import attribution, check_blocks, check_options, cosine, enter, pick, raw, slope
from .cut import Side
from .nib import both

Combine = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def chefer(
    clip: Clip,
    inputs: Inputs,
    start_layer: int | tuple[int | None, int | None] | None = None,
    batch_size: int | None = None,
    variant: str = "paper",
) -> Attribution:
    """Relevance by attention and its gradient (Chefer et al.), in units of cosine similarity: never negative.

    Args:
        clip, inputs: the model and B pairs.
        start_layer: for "original" alone: the first block of the rollout, 0 … depth − 1; or (image, text). None: 0, all blocks,
            as in their paper. (Their notebook for CLIP starts at the last one: that is the "paper" variant.)
        batch_size: how many pairs go through the model at once; it never changes the result.
        variant: "paper": mean_heads(relu(∇A ∘ A)) of the last block. "original": R ← R + mean_heads(relu(∇A ∘ A)) · R over
            the blocks, R = 1 at first. In products of several blocks the score's scale matters, so the rollout is done with the
            gradient of the logit s · cosine, as theirs; then it is divided by s. The 1 of the start is taken off, which
            only the position that is read had: patches and words do not see it.

    Raises:
        ValueError, TypeError: an option out of range, before any work is done.
    """
    check_options(variant, batch_size)
    if variant == "paper":
        if start_layer is not None:
            raise ValueError(f'start_layer is an option of variant="original"; got {start_layer!r} with variant="paper"')
        return read_attention(clip, clip.check(inputs), "chefer", positive, None, batch_size, {"variant": variant})
    wanted = tuple(0 if block is None else block for block in both(start_layer))
    first = check_blocks(clip, wanted, "Chefer's rollout, the block at which it starts", "start_layer")
    return read_attention(
        clip, clip.check(inputs), "chefer", positive, first, batch_size, {"start_layer": first, "variant": variant}
    )


def saliency(clip: Clip, inputs: Inputs, batch_size: int | None = None, variant: str = "paper") -> Attribution:
    """Saliency Maps: how strongly F reacts, whichever way. Never negative.

    Args:
        clip, inputs: the model and B pairs.
        batch_size: how many pairs go through the model at once; it never changes the result.
        variant: "paper": mean_heads(|∇A|) of the last block. "original": |∂F/∂pixel|, the largest of the three colour channels
            (Simonyan et al., §3.1), in ``pixels`` [B, H, W], in units of cosine per unit of the normalised pixel. They explain
            images; for a token we take Σ |∂F/∂e| over the channels of its row e of the embedding table (the L1 norm, the
            most that F can change, to first order, where no channel moves by more than 1).

    Raises:
        ValueError, TypeError: an option out of range, before any work is done.
    """
    check_options(variant, batch_size)
    if variant == "paper":
        return read_attention(
            clip, clip.check(inputs), "saliency", lambda a, g: g.abs().mean(1), None, batch_size, {"variant": variant}
        )
    how = lambda x, g: g.abs().amax(1), lambda x, g: g.abs().sum(-1)  # noqa: E731
    return read_gradient(clip, clip.check(inputs), "saliency", how, batch_size)


def fastig(clip: Clip, inputs: Inputs, batch_size: int | None = None, variant: str = "paper") -> Attribution:
    """FastIG: one gradient in place of an integral, signed, in units of cosine similarity.

    Args:
        clip, inputs: the model and B pairs.
        batch_size: how many pairs go through the model at once; it never changes the result.
        variant: "paper": mean_heads(∇A ∘ A) of the last block, which is Chefer's without the relu. "original": the X-gradient,
            x · ∂F/∂x summed over the colour channels, x the normalised pixels, in ``pixels`` [B, H, W]; for a token (their
            paper has images) its row of the embedding table times the gradient. It equals integrated gradients from 0 where
            F(λx) = λF(x) for λ ≥ 0, as in ReLU nets without biases. CLIP, with its layer norms and the cosine, is none.

    Raises:
        ValueError, TypeError: an option out of range, before any work is done.
    """
    check_options(variant, batch_size)
    if variant == "paper":
        return read_attention(
            clip, clip.check(inputs), "fastig", lambda a, g: (g * a).mean(1), None, batch_size, {"variant": variant}
        )
    how = lambda x, g: (x * g).sum(1), lambda x, g: (x * g).sum(-1)  # noqa: E731
    return read_gradient(clip, clip.check(inputs), "fastig", how, batch_size)


# --- attention weights --------------------------------------------------------------------------------------------------------


def positive(a: torch.Tensor, g: torch.Tensor) -> torch.Tensor:
    """Chefer's Ā = mean_heads(relu(∇A ∘ A)), [R, S, S] of [R, heads, S, S]."""
    return (g * a).relu().mean(1)


def attend(block: nn.Module, z: torch.Tensor, mask: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
    """A CLIP block, its attention written out: (output [R, S, C], attention weights A [R, heads, S, S]).

    Row i of A says where position i looks; rows sum to 1. Where gradients are on, A has one even if z has not.
    mask: as the blocks take it, additive [1 or R, 1, S, S], or None.
    """
    attention, normed = block.self_attn, block.layer_norm1(z)
    query, keys, values = (
        project(normed).unflatten(-1, (attention.num_heads, attention.head_dim)).transpose(1, 2)
        for project in (attention.q_proj, attention.k_proj, attention.v_proj)
    )
    scores = query @ keys.transpose(-1, -2) * attention.scale
    scores = scores if mask is None else scores + mask
    weights = scores.softmax(-1, dtype=torch.promote_types(scores.dtype, torch.float32)).to(values.dtype)
    if torch.is_grad_enabled() and not weights.requires_grad:
        weights.requires_grad_()
    z = z + attention.out_proj((weights @ values).transpose(1, 2).flatten(2))
    return z + block.mlp(block.layer_norm2(z)), weights


def attention_gradients(side: Side, target: torch.Tensor, rows: np.ndarray, longest: int) -> list[tuple]:
    """(A, ∂F/∂A), each [R, heads, S, S], of every block from the cut on, for these pairs."""
    tower, z = side.tower, side.latents[rows, :longest]
    mask = tower.mask(longest, None if side.attention is None else side.attention[rows])
    weights = []
    with torch.enable_grad():
        for block in tower.blocks[side.layer :]:
            z, a = attend(block, z, mask)
            weights.append(a)
        features = tower.projection(tower.norm(at(z, side.pooled[rows])))
        f = nn.functional.cosine_similarity(features.to(target), target[rows], dim=-1)
    return [(a.detach(), g) for a, g in zip(weights, torch.autograd.grad(f, weights, torch.ones_like(f)))]


def check_attention(clip: Clip, method: str, first: tuple[int, int]) -> None:
    """ValueError if a block from ``first`` (image, text) on is not built as CLIP's are: its attention can't be written out."""
    parts = (
        "self_attn.q_proj",
        "self_attn.k_proj",
        "self_attn.v_proj",
        "self_attn.out_proj",
        "layer_norm1",
        "layer_norm2",
        "mlp",
    )
    for side, tower, start in zip(("image", "text"), (clip.image, clip.text), first):
        for number, block in enumerate(tower.blocks[start:], start):
            if lost := [part for part in parts if not callable(functools.reduce(_part, part.split("."), block))]:
                raise ValueError(
                    f"{method} reads the attention weights, but clip's {side} block {number} ({type(block).__name__}) hides "
                    f"them: it has no {lost[0]}. Give a model with CLIP's own blocks (nk.load_clip), or take a method that "
                    'looks at no attention: nib, m2ib, rise, gradcam, mfaba, or saliency and fastig with variant="original"'
                )


def _part(module, name: str):
    return getattr(module, name, None)


def read_attention(
    clip: Clip, inputs: Inputs, method: str, combine: Combine, first: tuple | None, batch_size: int | None, options: dict
) -> Attribution:
    """The row that is read of combine(A, ∇A), rolled out from block ``first`` (image, text) on; None: the last block alone."""
    towers = clip.image, clip.text
    first = first or tuple(tower.depth - 1 for tower in towers)
    check_attention(clip, method, first)
    with untouched(clip.model), torch.inference_mode(False), torch.no_grad():
        sides = image, text = [Side(tower, inputs, block, batch_size) for tower, block in zip(towers, first)]
        scale = clip.model.logit_scale.exp()
        values = roll_out(image, text.features, combine, scale), roll_out(text, image.features, combine, scale)
        return attribution(clip, inputs, sides, *values, method, options)


def roll_out(side: Side, target: torch.Tensor, combine: Combine, scale: torch.Tensor) -> torch.Tensor:
    """The row that is read of (Π (1 + s·C) − 1) / s, C = combine(A, ∇A) of each block, the last leftmost; [B, S].

    Only that row is carried along, r ← r + C[read] + s · r C: R itself is never made. For one block it is C[read].
    """
    values = target.new_zeros(side.latents.shape[:2])

    def work(rows: np.ndarray, longest: int) -> None:
        row = target.new_zeros(len(rows), longest)
        for a, g in reversed(attention_gradients(side, target, rows, longest)):
            c = combine(a, g).to(target)
            row = row + at(c, side.pooled[rows]) + scale * (row[:, None] @ c)[:, 0]
        values[rows, :longest] = row

    side.in_batches(np.arange(len(target)), work)
    return values


# --- gradients at the input ---------------------------------------------------------------------------------------------------


def read_gradient(
    clip: Clip, inputs: Inputs, method: str, reduce: tuple[Combine, Combine], batch_size: int | None
) -> Attribution:
    """The originals for images: reduce(x, ∂F/∂x) at pixels [R, 3, H, W] → [R, H, W] and at token rows [R, S, C] → [R, S]."""
    with untouched(clip.model), torch.inference_mode(False), torch.no_grad():
        sides = image, text = [Side(tower, inputs, 0, batch_size) for tower in (clip.image, clip.text)]
        pixels = torch.zeros_like(inputs.pixel_values[:, 0])
        tokens = torch.zeros_like(text.latents[..., 0])
        for side, target, how, values in zip(sides, (text.features, image.features), reduce, (pixels, tokens)):
            fill(side, target, inputs, how, values)
        return attribution(clip, inputs, sides, pixels, tokens, method, {"variant": "original"})


def fill(side: Side, target: torch.Tensor, inputs: Inputs, reduce: Combine, values: torch.Tensor) -> None:
    """Put reduce(x, ∂F/∂x) of each pair into ``values``."""
    entered = raw(side.tower, inputs)

    def work(rows: np.ndarray, longest: int) -> None:
        x = pick(entered, rows, longest)
        found = reduce(x, slope(x, lambda x: cosine(side, enter(side.tower, x), target, rows)))
        values[rows, : found.shape[1]] = found

    side.in_batches(np.arange(len(target)), work)
