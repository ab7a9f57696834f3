"""LeGrad (Bousselham et al., 2024; ICCV 2025), which the paper does not compare: would a block like more of a token?

Behind each block l the mean z̄ of its tokens is scored as if it were the encoder's last, and differentiated by that block's own
attention weights A [heads, S, S]; negative slopes count as 0:

    s_l = cos(projection(norm(z̄_l)), e),    E_j = mean over blocks, heads and rows i of relu(∂s_l / ∂A_ij)

A itself is no factor: what counts is what *would* happen if position i looked more at token j.
"""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional as nnf

from ..checks import check_batch_size
from ..model.clip import Clip, check_clip
from ..model.inputs import Inputs
from .attribution import Attribution
from .cut import CutEncoder, check_gradient
from .frame import Importance, Layers, check_layers, explain_both, real_tokens
from .opened import attend, check_attention, features_of

LAST = 2  # blocks, by default


def legrad(clip: Clip, inputs: Inputs, start_layer: Layers = None, batch_size: int | None = None) -> Attribution:
    """LeGrad's importances: never negative, in units of cosine similarity per unit of attention.

    Args:
        clip, inputs: the model and B pairs.
        start_layer: the first of the blocks that are averaged, 0 … depth − 1; or (image, text). None: the last two, as in its
            authors' code. (Their paper speaks of all blocks: 0.)
        batch_size: how many pairs go through the model at once; it never changes the result.

    Captions are ours, LeGrad explains pictures: the same recipe, the means over the tokens from start to end.

    Where the published code differs: it adds the blocks' maps up, here they are averaged, and it interpolates each before (both
    the same after min–max); the class token's own value is dropped there and is ``class_token`` here.

    Raises:
        ValueError, TypeError: an option out of range, or blocks that hide their attention, before any work is done; attention
            that is not CLIP's own.
    """
    check_clip(clip)
    last = max(clip.image.depth - LAST, 0), max(clip.text.depth - LAST, 0)
    first = check_layers(clip, start_layer, "start_layer", "LeGrad, the first block whose attention it reads", default=last)
    batch_size = check_batch_size(batch_size)
    check_attention(clip, "legrad", first)
    return explain_both(clip, inputs, first, sensitivity, "legrad", {"start_layer": first}, batch_size)


def sensitivity(encoder: CutEncoder, target: torch.Tensor) -> Importance:
    """E of each token, [B, S]: the tokens are all of a picture's, or a caption's from start to end."""
    values, tower = target.new_zeros(encoder.latents.shape[:2]), encoder.tower
    counted = torch.ones_like(values) if tower.is_image else real_tokens(encoder).to(values)

    def work(pairs: np.ndarray, longest: int) -> None:
        z, among, total = encoder.latents[pairs, :longest], counted[pairs, :longest], target.new_zeros(len(pairs), longest)
        mask = tower.mask(longest, None if encoder.attention_mask is None else encoder.attention_mask[pairs])
        count = among.sum(1, keepdim=True)
        for block in tower.blocks[encoder.layer :]:
            with torch.enable_grad():
                z, a = attend(block, z.detach(), mask)
                mean = (z.to(total) * among[..., None]).sum(1) / count
                features = tower.projection(tower.norm(mean.to(z)))
                score = nnf.cosine_similarity(features.to(target), target[pairs], dim=-1)
            check_gradient(score)
            slopes = torch.autograd.grad(score, a, torch.ones_like(score))[0].to(total).relu()
            slopes = slopes if mask is None else slopes * (mask == 0)  # where a word can't look, A stays 0
            total = total + slopes.mean(1).sum(1) / count
        features_of(encoder, z.detach(), pairs)  # raises if these are not the model's own blocks
        values[pairs, :longest] = total / len(tower.blocks[encoder.layer :])

    encoder.in_batches(np.arange(len(target)), work)
    return Importance(values)
