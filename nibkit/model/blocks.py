"""Two of a tower's blocks in fewer operations, exactly: the first behind the cut, at every λ, and the last, for what is read.

Both are taken only for blocks that are transformers' own CLIP layers and nothing else (``is_plain``). Units are d² operations a
token, d channels; a block called whole takes 12 of them (queries, keys, values 3, their output 1, the two layers behind 8).
"""

from __future__ import annotations

import functools
import sys
from typing import Any

import torch
from torch import nn
from torch.nn import functional as nnf

HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
FAMILIES = {"CLIPEncoderLayer": "CLIP", "MetaClip2EncoderLayer": "MetaClip2"}
MODULES = ("transformers.models.clip.modeling_clip", "transformers.models.metaclip_2.modeling_metaclip_2")
LEAVES: dict[str, type[nn.Module]] = dict.fromkeys(("q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2"), nn.Linear)
LEAVES |= dict.fromkeys(("layer_norm1", "layer_norm2"), nn.LayerNorm)
NAMES = {*LEAVES, "self_attn", "mlp", "activation_fn"}
ATTENTIONS = ("eager", "sdpa", "flash_attention_2", "flex_attention")  # all of them are softmax(QKᵀ) V


def is_plain(block: Any) -> bool:
    """Is it transformers' own CLIP layer (or MetaCLIP 2's, the same code) as it was made: no subclass, hook, patched
    forward, adapter or wrapped layer in it, and no weights of another kind, such as quantised ones?

    (Where transformers' code for it was never imported, nothing can be one.)
    """
    if type(block).__module__ not in MODULES or type(block).__name__ not in FAMILIES:
        return False
    code, family = sys.modules[type(block).__module__], FAMILIES[type(block).__name__]
    kinds = [getattr(code, family + name) for name in ("EncoderLayer", "Attention", "MLP")]
    owners = [block, getattr(block, "self_attn", None), getattr(block, "mlp", None)]
    if [type(owner) for owner in owners] != kinds or any(global_hooks()):
        return False
    written = all(written_in(kind.forward, "transformers") for kind in kinds)
    if not written or not all(written_in(kind.forward, "torch") for kind in (nn.Linear, nn.LayerNorm)):
        return False  # a class whose forward was patched as a whole
    parts = {name: part for owner in owners for name, part in vars(owner)["_modules"].items()}
    if parts.keys() != NAMES:
        return False
    for name, kind in LEAVES.items():
        values = vars(parts[name])["_parameters"].values()
        if type(parts[name]) is not kind or not all(type(value) in (nn.Parameter, torch.Tensor) for value in values):
            return False
    if not all(written_in(function, "transformers") for function in attention_functions(block.self_attn.config)):
        return False
    touched = any("forward" in vars(part) or any(vars(part)[kind] for kind in HOOKS) for part in (block, *parts.values()))
    return not touched and (block.self_attn.config._attn_implementation or "sdpa") in ATTENTIONS


def attention_functions(config: Any) -> list[Any]:
    """The functions that attention with this configuration may call: transformers' own, unless a program exchanged them."""
    registered = sys.modules["transformers.modeling_utils"].ALL_ATTENTION_FUNCTIONS
    eager = [sys.modules[name].eager_attention_forward for name in MODULES if name in sys.modules]
    name = config._attn_implementation or "sdpa"
    return [*eager, registered[name]] if name in registered else eager


@functools.lru_cache(maxsize=64)
def written_in(function: Any, package: str) -> bool:
    """Does a function's code lie in this package?"""
    file = getattr(getattr(function, "__code__", None), "co_filename", "")
    return file.startswith(str(sys.modules[package].__file__).removesuffix("__init__.py"))


def global_hooks() -> list[dict]:
    """torch's hooks on every module, in the order of ``HOOKS``."""
    everywhere = vars(torch.nn.modules.module)
    return [everywhere[f"_global{kind}"] for kind in HOOKS]


def active_hooks(*kinds: dict) -> list[int]:
    """The keys of the hooks in these dictionaries, but for those that only count (``metrics.costs``) and change nothing."""
    return [key for hooks in kinds for key, hook in hooks.items() if not getattr(hook, "only_counts", False)]


def at(z: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
    """The states [B, C] of z [B, S, C] at one position each."""
    return z[torch.arange(len(z), device=z.device), positions]


def valve(lam: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
    """λz, [R, S, C], with a valve λ [R, S] for each token: what opens and closes it as a whole.

    Multiplied in λ's dtype, float32 or wider: the slope ∂F/∂λ_i = Σ_c z_ic ∂F/∂(λz)_ic keeps its digits whatever the weights.
    """
    return (lam[..., None] * z.to(lam.dtype)).to(z.dtype)


class Narrowed:
    """The first layer norm behind the cut and the linear layers behind it, at λz for every λ, from products made once.

    A layer norm sees λ through one number a token:

        LN(λz) = s(λ) · γ ⊙ (z − mean z) + β,    s(λ) = λ / √(λ² var z + eps),

    so a linear layer W behind it gives s(λ) · W(γ ⊙ (z − mean z)) + (Wβ + b). Both products are made once for z [P, S, C]; a step
    costs the factor s alone (queries, keys and values: 3 of a block's 12, forward and backward).
    """

    def __init__(self, norm: nn.LayerNorm, z: torch.Tensor, owner: torch.Tensor, lam: torch.Tensor):
        wide = z.to(lam.dtype)
        centred = wide - wide.mean(-1, keepdim=True)
        variance = centred.square().mean(-1)
        self.owner, self.shift = owner, norm.bias
        self.direction = (centred * norm.weight.to(wide)).to(z.dtype)
        self.factor = lam * torch.rsqrt(lam.square() * variance[owner] + norm.eps)  # s(λ), [R, S]

    def normed(self) -> torch.Tensor:
        """LN(λz), [R, S, C]."""
        return valve(self.factor, self.direction[self.owner]) + self.shift

    def linear(self, layer: nn.Linear) -> torch.Tensor:
        """layer(LN(λz)), [R, S, D]."""
        product, constant = nnf.linear(self.direction, layer.weight), layer(self.shift)
        return valve(self.factor, product[self.owner]) + constant


def first_block(block: Any, z: torch.Tensor, owner: torch.Tensor, lam: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    """A CLIP block's output, [R, S, C], for the R inputs λ_r · z[owner_r]: z [P, S, C], owner [R], λ [R, S].

    Queries, keys and values come from ``Narrowed``: 9 of 12 units a step.
    """
    attention, narrowed = block.self_attn, Narrowed(block.layer_norm1, z, owner, lam)
    query, key, value = (
        narrowed.linear(layer).unflatten(-1, (attention.num_heads, attention.head_dim)).transpose(1, 2)
        for layer in (attention.q_proj, attention.k_proj, attention.v_proj)
    )
    mixed = nnf.scaled_dot_product_attention(query, key, value, attn_mask=mask, scale=attention.scale)
    state = valve(lam, z[owner]) + attention.out_proj(mixed.transpose(1, 2).flatten(2))
    return state + block.mlp(block.layer_norm2(state))


def last_block(
    block: Any, z: torch.Tensor, pooled: torch.Tensor, mask: torch.Tensor | None, normed: torch.Tensor | None = None
) -> torch.Tensor:
    """A CLIP block's output at one position of each row of z [R, S, C], [R, C]; normed: LN(z), where it is at hand.

    No keys or values of all tokens are made. With h a head, q_h the query of the position that is read, x_i = LN(z_i):

        q_h · (W_k x_i + b_k) = (W_kᵀ q_h) · x_i + const,    Σ_i a_i (W_v x_i + b_v) = W_v (Σ_i a_i x_i) + b_v,

    since the constant shifts all logits of a head alike, which softmax does not see, and the weights a_i sum to 1. So the query
    goes through W_k and the *average* through W_v: 2H/d in place of 2 units a token (12 would be the whole block's).
    """
    attention, heads = block.self_attn, (block.self_attn.num_heads, block.self_attn.head_dim)
    x = block.layer_norm1(z) if normed is None else normed
    query = attention.q_proj(at(x, pooled)).unflatten(-1, heads)  # [R, H, c]
    probe = torch.einsum("rhc,hcd->rhd", query * attention.scale, attention.k_proj.weight.unflatten(0, heads))
    logits = probe @ x.transpose(1, 2)  # [R, H, S]
    if mask is not None:
        logits = logits + at(mask.expand(len(z), -1, -1, -1)[:, 0], pooled)[:, None]
    wide = torch.promote_types(logits.dtype, torch.float32)
    average = logits.softmax(-1, dtype=wide).to(x.dtype) @ x  # [R, H, d]
    mixed = torch.einsum("rhd,hcd->rhc", average, attention.v_proj.weight.unflatten(0, heads)).flatten(1)
    if attention.v_proj.bias is not None:
        mixed = mixed + attention.v_proj.bias
    state = at(z, pooled) + attention.out_proj(mixed)
    return state + block.mlp(block.layer_norm2(state))
