"""Grad-CAM (Selvaraju et al., ICCV 2017) on the tokens of a transformer, with A [S, C] what leaves a block and g = ∂F/∂A:

    "paper":     relu( Σ_c g_ic · A_ic )                 element by element: this is HiResCAM (Draelos & Carin, 2020)
    "original":  relu( Σ_c w_c · A_ic ),  w = mean_i g_i     one weight for each channel, the mean over all places

The NIB authors' code computes the first and calls it Grad-CAM.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch

from ..model.clip import Clip
from ..model.inputs import Inputs
from ..model.repeatable import untouched
from .attribution import Attribution
from .common import attribution, check_blocks, check_options, cosine, real_tokens, slope
from .cut import Side


def gradcam(
    clip: Clip,
    inputs: Inputs,
    layer: int | tuple[int | None, int | None] | None = None,
    batch_size: int | None = None,
    variant: str = "paper",
) -> Attribution:
    """Grad-CAM's importances of patches and tokens: never negative, in units of cosine similarity.

    Args:
        clip, inputs: the model and B pairs.
        layer: look at the *output* of this block (one later than NIB's cut), 0 … depth − 1; or (image, text). None: ¾ of each
            depth, floored (9 of 12). At least two blocks should follow: behind the last one no patch is read, and what enters
            the last one goes through a layer norm, so that A · g is 0 but for rounding (``nib`` says the same of its cut).
        batch_size: how many pairs go through the model at once; it never changes the result.
        variant: "paper": the NIB authors' code. They differentiate the logit, a fixed multiple of the cosine: min–max maps are
            the same. "original": Selvaraju's. The mean that makes its weights is over the patches; the class token is no place,
            so ``class_token`` is None. For captions, which Selvaraju's method was not made for, the tokens from start to end
            are the places.

    Raises:
        ValueError, TypeError: an option out of range, before any work is done.
    """
    check_options(variant, batch_size)
    layers = check_blocks(clip, layer, "Grad-CAM, the block whose output it reads")
    inputs = clip.check(inputs)
    options = {"layer": layers, "variant": variant}
    with untouched(clip.model), torch.inference_mode(False), torch.no_grad():
        sides = image, text = [
            Side(tower, inputs, block + 1, batch_size) for tower, block in zip((clip.image, clip.text), layers)
        ]
        if variant == "paper":
            values = hirescam(image, text.features), hirescam(text, image.features)
            return attribution(clip, inputs, sides, *values, "gradcam", options)
        patches = torch.arange(image.positions, device=clip.device).expand(len(inputs), -1) > 0
        values = averaged(image, text.features, patches), averaged(text, image.features, real_tokens(text, inputs))
        return replace(attribution(clip, inputs, sides, *values, "gradcam", options), class_token=None)


def hirescam(side: Side, target: torch.Tensor) -> torch.Tensor:
    """relu(Σ_c g · A) of each token, [B, S]."""
    return activation_map(side, target, lambda z, g, rows: (g * z).sum(-1))


def averaged(side: Side, target: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """relu(Σ_c w_c A) of each token, [B, S], with w the mean gradient over the ``places``, bool [B, S]."""

    def weigh(z: torch.Tensor, g: torch.Tensor, rows: np.ndarray) -> torch.Tensor:
        here = places[rows, : z.shape[1], None].to(g)
        weights = (g * here).sum(1, keepdim=True) / here.sum(1, keepdim=True)
        return (z * weights).sum(-1)

    return activation_map(side, target, weigh)


def activation_map(side: Side, target: torch.Tensor, weigh: Callable) -> torch.Tensor:
    """relu(weigh(A, g, pairs)), [B, S], A [b, S, C] being the states at the cut and g their gradient, for one encoder."""
    values = target.new_zeros(side.latents.shape[:2])

    def work(rows: np.ndarray, longest: int) -> None:
        z = side.latents[rows, :longest]
        values[rows, :longest] = weigh(z, slope(z, lambda z: cosine(side, z, target, rows)), rows).relu()

    side.in_batches(np.arange(len(target)), work)
    return values
