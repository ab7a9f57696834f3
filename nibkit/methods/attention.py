"""Three methods that the NIB authors' code reads off the last block's attention weights A [heads, S, S], with ∇A = ∂F/∂A:

    chefer      mean over heads of relu(∇A ∘ A)     Chefer et al., ICCV 2021
    fastig      mean over heads of ∇A ∘ A           Hesse et al., NeurIPS 2021
    saliency    mean over heads of |∇A|             Simonyan et al., 2013

in the row of the position that is read (class token, end token). That is ``variant="paper"``; what the methods' own authors
published, ``variant="original"``, is Chefer's rollout over the blocks and, for the other two, gradients at the pixels.

A is computed here from the blocks' own weights, so any ``attn_implementation`` will do; blocks that are not built as CLIP's
are refused. F is the cosine. The NIB authors' code differentiates the logit, a fixed multiple of it: min–max maps are the same.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.nn import functional as nnf

from ..checks import check_batch_size, check_choice
from ..model.blocks import at
from ..model.clip import Clip, check_clip
from ..model.inputs import Inputs
from .attribution import Attribution
from .cut import CutEncoder, check_gradient, gradient_of
from .frame import VARIANTS, Importance, Layers, check_layers, explain_both
from .opened import attend, check_attention, features_of

Combine = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def chefer(
    clip: Clip,
    inputs: Inputs,
    start_layer: Layers = None,
    batch_size: int | None = None,
    variant: str = "paper",
) -> Attribution:
    """Relevance by attention and its gradient (Chefer et al.), in units of cosine similarity: never negative.

    Args:
        clip, inputs: the model and B pairs.
        start_layer: for "original" alone: the first block of the rollout, 0 … depth − 1; or (image, text). None: 0, all blocks,
            as in their paper.
        batch_size: how many pairs go through the model at once; it never changes the result.
        variant: "paper": mean_heads(relu(∇A ∘ A)) of the last block. "original": R ← R + mean_heads(relu(∇A ∘ A)) · R over
            the blocks, R = 1 at first. In products of several blocks the score's scale matters, so the rollout is done with the
            gradient of the logit s · cosine, as theirs; then it is divided by s. The 1 of the start is taken off, which
            only the position that is read had: patches and words do not see it.

    Where the published code differs: the NIB authors differentiate the logit s · F; min–max maps are the same. Chefer et al.'s
    own notebook for CLIP starts at the last block unless told otherwise, which is the "paper" variant but for s.

    Raises:
        ValueError, TypeError: an option out of range, before any work is done.
    """
    check_choice("variant", variant, VARIANTS)
    if variant == "paper":
        if start_layer is not None:
            raise ValueError(f'start_layer is an option of variant="original"; got {start_layer!r} with variant="paper"')
        return read_attention(clip, inputs, "chefer", positive, None, batch_size, {"variant": variant})
    first = check_layers(clip, start_layer, "start_layer", "Chefer's rollout, the block at which it starts", default=0)
    return read_attention(clip, inputs, "chefer", positive, first, batch_size, {"start_layer": first, "variant": variant})


def saliency(clip: Clip, inputs: Inputs, batch_size: int | None = None, variant: str = "paper") -> Attribution:
    """Saliency Maps: how strongly F reacts, whichever way. Never negative.

    Args:
        clip, inputs: the model and B pairs.
        batch_size: how many pairs go through the model at once; it never changes the result.
        variant: "paper": mean_heads(|∇A|) of the last block. "original": |∂F/∂pixel|, the largest of the three colour channels
            (Simonyan et al., §3.1), in ``pixels`` [B, H, W], in units of cosine per unit of the normalised pixel. They explain
            images; for a token we take Σ |∂F/∂e| over the channels of its row e of the embedding table (the L1 norm, the
            most that F can change, to first order, where no channel moves by more than 1).

    Where the published code differs: what the NIB authors call Saliency Maps is the "paper" variant, a gradient at attention
    weights, and of the logit. Simonyan et al. take a class score before the softmax; here it is F.

    Raises:
        ValueError, TypeError: an option out of range, before any work is done.
    """
    check_choice("variant", variant, VARIANTS)
    if variant == "paper":
        return read_attention(clip, inputs, "saliency", magnitude, None, batch_size, {"variant": variant})
    return read_gradient(clip, inputs, "saliency", lambda x, g: g.abs().amax(1), lambda x, g: g.abs().sum(-1), batch_size)


def fastig(clip: Clip, inputs: Inputs, batch_size: int | None = None, variant: str = "paper") -> Attribution:
    """FastIG: one gradient in place of an integral, signed, in units of cosine similarity.

    Args:
        clip, inputs: the model and B pairs.
        batch_size: how many pairs go through the model at once; it never changes the result.
        variant: "paper": mean_heads(∇A ∘ A) of the last block, which is Chefer's without the relu. "original": the X-gradient,
            x · ∂F/∂x summed over the colour channels, x the normalised pixels, in ``pixels`` [B, H, W]; for a token (their
            paper has images) its row of the embedding table times the gradient. It equals integrated gradients from 0 where
            F(λx) = λF(x) for λ ≥ 0, as in ReLU nets without biases. CLIP, with its layer norms and the cosine, is none.

    Where the published code differs: what the NIB authors call FastIG is the "paper" variant, of the logit. Hesse et al. make a
    network homogeneous first, by taking its biases out; CLIP is explained as it is.

    Raises:
        ValueError, TypeError: an option out of range, before any work is done.
    """
    check_choice("variant", variant, VARIANTS)
    if variant == "paper":
        return read_attention(clip, inputs, "fastig", product, None, batch_size, {"variant": variant})
    return read_gradient(clip, inputs, "fastig", lambda x, g: (x * g).sum(1), lambda x, g: (x * g).sum(-1), batch_size)


# --- attention weights --------------------------------------------------------------------------------------------------------


def positive(a: torch.Tensor, g: torch.Tensor) -> torch.Tensor:
    """Chefer's Ā = mean_heads(relu(∇A ∘ A)), [R, S, S] of [R, heads, S, S]."""
    return (g * a).relu().mean(1)


def product(a: torch.Tensor, g: torch.Tensor) -> torch.Tensor:
    """FastIG's mean_heads(∇A ∘ A)."""
    return (g * a).mean(1)


def magnitude(a: torch.Tensor, g: torch.Tensor) -> torch.Tensor:
    """Saliency's mean_heads(|∇A|)."""
    return g.abs().mean(1)


def attention_gradients(
    encoder: CutEncoder, target: torch.Tensor, pairs: np.ndarray, longest: int
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """(A, ∂F/∂A), each [R, heads, S, S], of every block from the cut on, for these pairs."""
    tower, z = encoder.tower, encoder.latents[pairs, :longest]
    mask = tower.mask(longest, None if encoder.attention_mask is None else encoder.attention_mask[pairs])
    weights = []
    with torch.enable_grad():
        for block in tower.blocks[encoder.layer :]:
            z, a = attend(block, z, mask)
            weights.append(a)
        score = nnf.cosine_similarity(features_of(encoder, z, pairs).to(target), target[pairs], dim=-1)
    check_gradient(score)
    gradients = torch.autograd.grad(score, weights, torch.ones_like(score))
    return [(a.detach(), gradient) for a, gradient in zip(weights, gradients)]


def read_attention(
    clip: Clip,
    inputs: Inputs,
    method: str,
    combine: Combine,
    first: tuple[int, int] | None,
    batch_size: int | None,
    options: dict[str, Any],
) -> Attribution:
    """The row that is read of combine(A, ∇A), rolled out from block ``first`` (image, text) on; None: the last block alone."""
    check_clip(clip)
    layers = first or (clip.image.depth - 1, clip.text.depth - 1)
    batch_size = check_batch_size(batch_size)
    check_attention(clip, method, layers)
    scale = clip.model.logit_scale.detach().exp()

    def explain(encoder: CutEncoder, target: torch.Tensor) -> Importance:
        return Importance(roll_out(encoder, target, combine, scale))

    return explain_both(clip, inputs, layers, explain, method, options, batch_size)


def roll_out(encoder: CutEncoder, target: torch.Tensor, combine: Combine, scale: torch.Tensor) -> torch.Tensor:
    """The row that is read of (Π (1 + s·C) − 1) / s, C = combine(A, ∇A) of each block, the last leftmost; [B, S].

    Only that row is carried along, r ← r + C[read] + s · r C: R itself is never made. For one block it is C[read].
    """
    values = target.new_zeros(encoder.latents.shape[:2])

    def work(pairs: np.ndarray, longest: int) -> None:
        row = target.new_zeros(len(pairs), longest)
        for a, gradient in reversed(attention_gradients(encoder, target, pairs, longest)):
            c = combine(a, gradient).to(target)
            row = row + at(c, encoder.pooled[pairs]) + scale * (row[:, None] @ c)[:, 0]
        values[pairs, :longest] = row

    encoder.in_batches(np.arange(len(target)), work)
    return values


# --- gradients at the input ---------------------------------------------------------------------------------------------------


def read_gradient(
    clip: Clip, inputs: Inputs, method: str, of_pixels: Combine, of_tokens: Combine, batch_size: int | None
) -> Attribution:
    """The originals for images: of_pixels(x, ∂F/∂x) of pixels [R, 3, H, W] → [R, H, W], of_tokens of token rows → [R, S]."""

    def explain(encoder: CutEncoder, target: torch.Tensor) -> Importance:
        picture, raw = encoder.tower.is_image, encoder.tower.raw(encoder.inputs)
        values = torch.zeros_like(raw[:, 0] if picture else encoder.latents[..., 0]).to(target)

        def work(pairs: np.ndarray, longest: int) -> None:
            x = encoder.tower.crop_raw(raw[pairs], longest)
            gradient = gradient_of(lambda x: encoder.score(encoder.tower.enter(x), target, pairs), x)
            reduced = (of_pixels if picture else of_tokens)(x.to(target), gradient.to(target))
            values[pairs, : reduced.shape[1]] = reduced

        encoder.in_batches(np.arange(len(target)), work)
        return Importance(values)

    return explain_both(clip, inputs, (0, 0), explain, method, {"variant": "original"}, check_batch_size(batch_size))
