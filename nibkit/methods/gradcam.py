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

from ..checks import check_batch_size, check_choice
from ..model.clip import Clip
from ..model.inputs import Inputs
from .attribution import Attribution
from .cut import CutEncoder, gradient_of
from .frame import VARIANTS, Importance, Layers, check_layers, explain_both, real_tokens, warn_of_nothing

Weigh = Callable[[torch.Tensor, torch.Tensor, np.ndarray], torch.Tensor]


def gradcam(
    clip: Clip,
    inputs: Inputs,
    layer: Layers = None,
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
        variant: "paper": the NIB authors' code, HiResCAM. "original": Selvaraju's. The mean that makes its weights is over the
            patches; the class token is no place, so ``class_token`` is None. For captions, which Selvaraju's method was not made
            for, the tokens from start to end are the places.

    Where the published code differs: the NIB authors differentiate the logit, a fixed multiple of F: min–max maps are the same.
    They look at block 9's output, while NIB is cut at block 9's input: "layer 9" is off by one between the two, as it is here.

    Raises:
        ValueError, TypeError: an option out of range, before any work is done.
    """
    check_choice("variant", variant, VARIANTS)
    batch_size = check_batch_size(batch_size)
    layers = check_layers(clip, layer, looks_at="Grad-CAM, the block whose output it reads")
    explain = hirescam if variant == "paper" else averaged
    options = {"layer": layers, "variant": variant}
    cuts = layers[0] + 1, layers[1] + 1
    attribution = explain_both(clip, inputs, cuts, explain, "gradcam", options, batch_size)
    warn_of_nothing(clip, inputs, attribution, cuts)
    return attribution if variant == "paper" else replace(attribution, class_token=None)


def hirescam(encoder: CutEncoder, target: torch.Tensor) -> Importance:
    """relu(Σ_c g · A) of each token."""
    return activation_map(encoder, target, lambda z, gradient, pairs: (gradient * z).sum(-1))


def averaged(encoder: CutEncoder, target: torch.Tensor) -> Importance:
    """relu(Σ_c w_c A) of each token, with w the mean gradient over the places: the patches, or the tokens that are read."""
    if encoder.tower.is_image:
        places = torch.arange(encoder.latents.shape[1], device=target.device).expand(len(target), -1) > 0
    else:
        places = real_tokens(encoder)

    def weigh(z: torch.Tensor, gradient: torch.Tensor, pairs: np.ndarray) -> torch.Tensor:
        counted = places[pairs, : z.shape[1], None].to(gradient)
        weights = (gradient * counted).sum(1, keepdim=True) / counted.sum(1, keepdim=True)
        return (z * weights).sum(-1)

    return activation_map(encoder, target, weigh)


def activation_map(encoder: CutEncoder, target: torch.Tensor, weigh: Weigh) -> Importance:
    """relu(weigh(A, g, pairs)), [B, S]: A [R, S, C] are the states at the cut, g their gradient."""
    values = target.new_zeros(encoder.latents.shape[:2])

    def work(pairs: np.ndarray, longest: int) -> None:
        z = encoder.latents[pairs, :longest]
        gradient = gradient_of(lambda state: encoder.score(state, target, pairs), z)
        values[pairs, :longest] = weigh(z, gradient, pairs).relu().to(values)

    encoder.in_batches(np.arange(len(target)), work)
    return Importance(values)
