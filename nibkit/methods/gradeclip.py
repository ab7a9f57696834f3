"""Grad-ECLIP (Zhao et al., ICML 2024), which the paper does not compare: what the position that is read takes, and from where.

In a block, o = Σ_j A_rj v_j is what attention writes at the position r that is read, from the values v_j of all tokens. The
slope g = ∂F/∂o says what each channel is worth; attention weights are too sparse to say where, so the cosine of query and key,
all heads side by side, min–max over the tokens, takes their place:

    E_j = relu( Σ over blocks Σ_c g_c · v_jc · φ_j ),    φ_j = min–max over j of cos(q_r, k_j)
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch.nn import functional as nnf

from ..checks import check_batch_size, check_choice
from ..model.blocks import at
from ..model.clip import Clip, check_clip
from ..model.inputs import Inputs
from .attribution import Attribution
from .cut import CutEncoder, check_gradient
from .frame import Importance, Layers, check_layers, explain_both, real_tokens
from .opened import Heads, check_attention, features_of, open_block

LAST = (1, 8)  # blocks of the image and of the text encoder, by default
HEADS = ("multihead", "original")


def gradeclip(
    clip: Clip,
    inputs: Inputs,
    start_layer: Layers = None,
    batch_size: int | None = None,
    variant: str = "multihead",
) -> Attribution:
    """Grad-ECLIP's importances: never negative, in units of cosine similarity. ``class_token`` is None: a picture's places are
    its patches.

    Args:
        clip, inputs: the model and B pairs.
        start_layer: the first of the blocks that are added up, 0 … depth − 1; or (image, text). None: for pictures the last block
            alone, for captions the last eight, as in its authors' code.
        batch_size: how many pairs go through the model at once; it never changes the result.
        variant: "multihead": attention in the model's own heads. "original": in one, as in the authors' code, see below.

    Captions are the authors' own, too: r is the end token, the places are the tokens from start to end.

    Where the published code differs: it computes these blocks anew with *one* head as wide as all channels. That is another model
    than CLIP, and F and its slopes are that one's. Before the cosine it sends queries and keys through the output projection (in
    the code of its evaluations; the notebook for captions leaves that out). Both are variant="original". In neither variant
    here, φ's minimum and maximum in captions are taken over all 77 positions, so that the padding has a say, and a caption's
    values are divided by their sum and given for the words alone.

    Raises:
        ValueError, TypeError: an option out of range, or blocks that hide their attention, before any work is done; attention
            that is not CLIP's own.
    """
    check_clip(clip)
    check_choice("variant", variant, HEADS)
    last = max(clip.image.depth - LAST[0], 0), max(clip.text.depth - LAST[1], 0)
    first = check_layers(clip, start_layer, "start_layer", "Grad-ECLIP, the first block that it reads", default=last)
    batch_size = check_batch_size(batch_size)
    check_attention(clip, "gradeclip", first)

    def explain(encoder: CutEncoder, target: torch.Tensor) -> Importance:
        return Importance(valued(encoder, target, one_head=variant == "original"))

    options = {"start_layer": first, "variant": variant}
    return replace(explain_both(clip, inputs, first, explain, "gradeclip", options, batch_size), class_token=None)


def valued(encoder: CutEncoder, target: torch.Tensor, one_head: bool) -> torch.Tensor:
    """E of each token, [B, S]; 0 where none is counted: at a picture's class token, behind a caption's end token."""
    values, tower = target.new_zeros(encoder.latents.shape[:2]), encoder.tower
    places = (torch.arange(values.shape[1], device=values.device) > 0).expand_as(values)
    places = places if tower.is_image else real_tokens(encoder)

    def work(pairs: np.ndarray, longest: int) -> None:
        z, read = encoder.latents[pairs, :longest], encoder.pooled[pairs]
        blocks: Any = tower.blocks[encoder.layer :]
        mask = tower.mask(longest, None if encoder.attention_mask is None else encoder.attention_mask[pairs])
        if one_head:  # another model: that the blocks are CLIP's own is seen in their own heads
            features_of(encoder, through(blocks, z, mask)[0], pairs)
        with torch.enable_grad():
            z, inside = through(blocks, z, mask, one_head)
            features = tower.projection(tower.norm(at(z, read))) if one_head else features_of(encoder, z, pairs)
            score = nnf.cosine_similarity(features.to(target), target[pairs], dim=-1)
        check_gradient(score)
        slopes = torch.autograd.grad(score, [heads.mixed for heads in inside], torch.ones_like(score))
        counted, total = places[pairs, :longest], target.new_zeros(len(pairs), longest)
        for block, heads, slope in zip(blocks, inside, slopes):
            query, key, value = (part.transpose(1, 2).flatten(2) for part in heads[:3])  # the heads side by side, [R, S, C]
            if one_head:  # as their code has it
                query, key = block.self_attn.out_proj(query), block.self_attn.out_proj(key)
            worth = (at(slope, read)[:, None] * value).sum(-1)
            total = total + (worth * loosened(at(query, read).to(total), key.to(total), counted)).to(total)
        values[pairs, :longest] = total.relu() * counted

    encoder.in_batches(np.arange(len(target)), work)
    return values


def through(blocks: Any, z: torch.Tensor, mask: torch.Tensor | None, one_head: bool = False) -> tuple[torch.Tensor, list[Heads]]:
    """States [R, S, C] behind these blocks, and what attention computed in each."""
    inside = []
    for block in blocks:
        z, heads = open_block(block, z, mask, one_head)
        inside.append(heads)
    return z, inside


def loosened(query: torch.Tensor, key: torch.Tensor, counted: torch.Tensor) -> torch.Tensor:
    """φ [R, S], in 0 … 1: the cosine of a query [R, C] with the keys [R, S, C], min–max over the places that are ``counted``
    [R, S]; 1 for all of them where they are all alike."""
    cosine = nnf.cosine_similarity(query[:, None], key, dim=-1)
    low = cosine.masked_fill(~counted, torch.inf).amin(-1, keepdim=True)
    high = cosine.masked_fill(~counted, -torch.inf).amax(-1, keepdim=True)
    return torch.where(high > low, (cosine - low) / (high - low), 1.0)
