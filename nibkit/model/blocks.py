"""The last block of a tower, computed for the one position that is read."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as nnf


def at(z: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
    """The states [B, C] of z [B, S, C] at one position each."""
    return z[torch.arange(len(z), device=z.device), positions]


def last_block(block: nn.Module, z: torch.Tensor, pooled: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    """A CLIP block's output at one position of each row, [B, C]: every token is looked at, only that one is computed further.

    The same numbers as the whole block's, from the block's own weights, for a sixth of the multiplications.
    """
    attention, normed = block.self_attn, block.layer_norm1(z)

    def heads(x: torch.Tensor) -> torch.Tensor:
        return x.unflatten(-1, (attention.num_heads, attention.head_dim)).transpose(1, 2)

    seen = mask if mask is None else at(mask.expand(len(z), -1, -1, -1)[:, 0], pooled)[:, None, None]
    query = heads(attention.q_proj(at(normed, pooled)[:, None]))
    keys, values = heads(attention.k_proj(normed)), heads(attention.v_proj(normed))
    mixed = nnf.scaled_dot_product_attention(query, keys, values, attn_mask=seen, scale=attention.scale)
    state = at(z, pooled) + attention.out_proj(mixed.transpose(1, 2).flatten(2))[:, 0]
    return state + block.mlp(block.layer_norm2(state))
