"""CP-LRP (Ali et al., ICML 2022), which the paper does not compare: relevance is handed back from F and kept in sum.

Layer-wise relevance propagation shares what arrives at a layer's outputs among its inputs. In a transformer all of it is gradient
times input, R = z · ∂F̃/∂z, of a network F̃ that equals F here but in which some factors are held fixed:

    attention     Σ_j A_ij v_j         A is held: relevance goes to the values alone
    layer norm    (z − z̄) / σ          σ is held
    activation    x · (act(x) / x)     the bracket is held: what leaves an activation enters it
    cosine        f · e / (|f| |e|)    |f| is held

so F̃ is linear in z but for biases, and the tokens' values add up to F less what the biases take.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch.nn import functional as nnf

from ..checks import check_batch_size
from ..model.blocks import at
from ..model.clip import Clip, check_clip
from ..model.inputs import Inputs
from .attribution import Attribution
from .cut import CutEncoder, gradient_of
from .frame import Importance, Layers, check_layers, explain_both
from .opened import BLOCK, check_attention, check_features, heads_of

PARTS = [*BLOCK, "mlp.fc1", "mlp.activation_fn", "mlp.fc2", "layer_norm1.weight", "layer_norm2.weight"]


def cplrp(clip: Clip, inputs: Inputs, layer: Layers = None, batch_size: int | None = None) -> Attribution:
    """CP-LRP's relevance of patches and tokens: signed, in units of cosine similarity.

    Args:
        clip, inputs: the model and B pairs.
        layer: whose relevance: that of the states that enter this block, 0 … depth; or (image, text). None: 0, the embeddings
            (position included; a picture's behind the first layer norm).
        batch_size: how many pairs go through the model at once; it never changes the result.

    Its authors explain the logit of a text by a network of attention blocks alone. Pictures and captions go by the same rules
    here, with two more: the activation's is that of AttnLRP (Achtibat et al., ICML 2024), whose code offers CP-LRP for vision
    transformers; the cosine's is ours. (A cosine does not see how long f is: f · ∂F/∂f = 0, so with |f| free nothing comes back.)

    Where the published code differs: Ali et al. can hold the layer norm's mean as well, and share what goes through a linear
    layer of attention by the LRP-γ rule (γ = 0 is their default and what is done here); Achtibat et al. go on to a picture's
    pixels and tune γ.

    Raises:
        ValueError, TypeError: an option out of range, or blocks that are not built as CLIP's, before any work is done; attention
            that is not CLIP's own.
    """
    check_clip(clip)
    layers = check_layers(clip, layer, default=0)
    batch_size = check_batch_size(batch_size)
    check_attention(clip, "cplrp", layers, PARTS)
    return explain_both(clip, inputs, layers, relevance, "cplrp", {"layer": layers}, batch_size)


def relevance(encoder: CutEncoder, target: torch.Tensor) -> Importance:
    """z · ∂F̃/∂z of each token, [B, S]."""
    values, tower = target.new_zeros(encoder.latents.shape[:2]), encoder.tower

    def work(pairs: np.ndarray, longest: int) -> None:
        mask = tower.mask(longest, None if encoder.attention_mask is None else encoder.attention_mask[pairs])

        def held(z: torch.Tensor) -> torch.Tensor:
            for block in tower.blocks[encoder.layer :]:
                z = hold_block(block, z, mask)
            features = tower.projection(hold_norm(tower.norm, at(z, encoder.pooled[pairs])))
            check_features(encoder, features, pairs)
            features = features.to(target)
            return (features * nnf.normalize(target[pairs], dim=-1)).sum(-1) / features.detach().norm(dim=-1)

        z = encoder.latents[pairs, :longest]
        values[pairs, :longest] = (z.to(values) * gradient_of(held, z).to(values)).sum(-1)

    encoder.in_batches(np.arange(len(target)), work)
    return Importance(values)


def hold_block(block: Any, z: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    """A CLIP block, [R, S, C], with attention weights, spreads and the activation's factors held fixed."""
    heads = heads_of(block.self_attn, hold_norm(block.layer_norm1, z), mask)
    mixed = (heads.weights.detach() @ heads.value).transpose(1, 2).flatten(2)
    z = z + block.self_attn.out_proj(mixed)
    x = block.mlp.fc1(hold_norm(block.layer_norm2, z))
    return z + block.mlp.fc2(x * factor(block.mlp.activation_fn, x.detach()))


def hold_norm(norm: Any, z: torch.Tensor) -> torch.Tensor:
    """A layer norm whose σ is held fixed; the mean is not."""
    wide = z.to(torch.promote_types(z.dtype, torch.float32))
    centred = wide - wide.mean(-1, keepdim=True)
    spread = (centred.detach().square().mean(-1, keepdim=True) + norm.eps).sqrt()
    return (centred / spread).to(z.dtype) * norm.weight + norm.bias


def factor(activation: Any, x: torch.Tensor) -> torch.Tensor:
    """act(x) / x; at 0 what it is nearby."""
    x = torch.where(x == 0, torch.finfo(x.dtype).eps, x)
    return activation(x) / x
