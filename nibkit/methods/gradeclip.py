"""Grad-ECLIP (Zhao et al., ICML 2024), after the paper: which values the position that is read takes, loosened attention.

In a block, o = Σ_j A_rj v_j is what attention writes at the position r that is read, from the values v_j of all tokens. The slope
g = ∂F/∂o says what each channel is worth; attention weights are too sparse to say where, so the cosine of query and key, min–max
over the tokens, takes their place:

    E_j = relu( Σ over blocks Σ_c g_c · v_jc · φ_j ),    φ_j = min–max over j of cos(q_r, k_j)
"""

from __future__ import annotations

from dataclasses import replace

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
        variant: "multihead": attention as the model has it; φ is a head's own, from its queries and keys, and multiplies its
            values. "original": what the authors' code explains, see below.

    Captions are the authors' own, too: r is the end token, the places are the tokens from start to end.

    Where the published code differs (that is variant="original"): it computes these blocks anew with *one* head as wide as all
    channels, which is another model than CLIP: F and its slopes are that one's. φ is then one number a token, from queries and keys
    that went through the output projection (in their code for the evaluations; their notebook for captions leaves it out). Two
    things are done there and in neither variant here: for captions φ's minimum and maximum are taken over all 77 positions, so
    that the padding behind the caption has a say, and the values are divided by their sum.

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
        z, read, blocks = encoder.latents[pairs, :longest], encoder.pooled[pairs], tower.blocks[encoder.layer :]
        mask = tower.mask(longest, None if encoder.attention_mask is None else encoder.attention_mask[pairs])
        if one_head:  # another model: that the blocks are CLIP's own is seen in their own heads
            features_of(encoder, through(blocks, z, mask)[0], pairs)
        with torch.enable_grad():
            z, inside = through(blocks, z, mask, one_head)
            features = tower.projection(tower.norm(at(z, read))) if one_head else features_of(encoder, z, pairs)
            score = nnf.cosine_similarity(features.to(target), target[pairs], dim=-1)
        check_gradient(score)
        slopes = torch.autograd.grad(score, [heads.mixed for heads in inside], torch.ones_like(score))
        counted = places[pairs, :longest]
        for block, heads, slope in zip(blocks, inside, slopes):
            query, key = (project_as(block, part) if one_head else part for part in (heads.query, heads.key))
            loose = loosened(query[torch.arange(len(pairs)), :, read], key, counted)
            worth = at(slope, read).unflatten(-1, heads.value.shape[1::2])  # [R, heads, c]
            values[pairs, :longest] += (torch.einsum("rhc,rhsc->rhs", worth, heads.value) * loose).sum(1).to(values)
        values[pairs, :longest] = values[pairs, :longest].relu() * counted

    encoder.in_batches(np.arange(len(target)), work)
    return values


def through(
    blocks: torch.nn.ModuleList, z: torch.Tensor, mask: torch.Tensor | None, one_head: bool = False
) -> tuple[torch.Tensor, list[Heads]]:
    """States [R, S, C] behind these blocks, and what attention computed in each."""
    inside = []
    for block in blocks:
        z, heads = open_block(block, z, mask, one_head)
        inside.append(heads)
    return z, inside


def project_as(block: torch.nn.Module, part: torch.Tensor) -> torch.Tensor:
    """Queries or keys [R, 1, S, C] through the output projection, as if they were values."""
    return block.self_attn.out_proj(part)


def loosened(query: torch.Tensor, key: torch.Tensor, counted: torch.Tensor) -> torch.Tensor:
    """φ [R, heads, S], in 0 … 1: the cosine of a query [R, heads, c] with the keys [R, heads, S, c], min–max over the places that
    are ``counted`` [R, S]; 1 for all of them where they are all alike."""
    cosine = nnf.cosine_similarity(query[:, :, None], key, dim=-1)
    among = counted[:, None].expand_as(cosine)
    low = cosine.masked_fill(~among, torch.inf).amin(-1, keepdim=True)
    high = cosine.masked_fill(~among, -torch.inf).amax(-1, keepdim=True)
    return torch.where(high > low, (cosine - low) / (high - low), 1.0)
