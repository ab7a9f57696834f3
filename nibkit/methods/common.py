"""What the baselines share: checks of their options, what enters an encoder, gradients with respect to it, the result."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch.nn import functional as nnf

from ..model.clip import Clip
from ..model.inputs import Inputs
from ..model.towers import ImageTower, Tower
from .attribution import Attribution
from .cut import Side
from .nib import both


def check_options(variant: str, batch_size: int | None = None, seed: int = 0, **counts: int) -> None:
    """ValueError, naming the option, if one is out of range; ``counts`` are those that must be whole numbers, 1 or more."""
    if variant not in ("paper", "original"):
        raise ValueError(f'variant must be "paper" or "original"; got {variant!r}')
    whole = lambda value: isinstance(value, (int, np.integer)) and not isinstance(value, bool)  # noqa: E731
    for name, value in counts.items():
        if not whole(value) or value < 1:
            raise ValueError(f"{name} must be a whole number, 1 or more; got {value!r}")
    if batch_size is not None and (not whole(batch_size) or batch_size < 1):
        raise ValueError(f"batch_size must be a whole number, 1 or more, or None; got {batch_size!r}")
    if not whole(seed) or seed < 0:
        raise ValueError(f"seed must be a whole number, 0 or more; got {seed!r}")


def check_blocks(clip: Clip, layer, purpose: str, name: str = "layer") -> tuple[int, int]:
    """(image, text), blocks 0 … depth − 1, of one for both or of a pair; None: ¾ of each depth, floored.

    ValueError or TypeError if there is no such block; ``purpose`` says what it is for, ``name`` how the option is called.
    """
    found = []
    for tower, block in zip((clip.image, clip.text), both(layer)):
        if block is not None and isinstance(block, (int, np.integer)) and not 0 <= block < tower.depth:
            raise ValueError(f"{name} must be within 0 … {tower.depth - 1} for {purpose}; got {block}")
        found.append(tower.check_layer(block))
    return tuple(found)


# --- what enters an encoder ---------------------------------------------------------------------------------------------------


def raw(tower: Tower, inputs: Inputs) -> torch.Tensor:
    """What can be changed before any weight: normalised pixels [B, 3, H, W], or each token's row of the table [B, T, C]."""
    return inputs.pixel_values if isinstance(tower, ImageTower) else tower.embeddings.token_embedding(inputs.input_ids)


def pick(x: torch.Tensor, rows, longest: int) -> torch.Tensor:
    """These rows of x, sequences [B, S, C] no longer than need be, pictures [B, 3, H, W] whole."""
    return x[rows] if x.ndim == 4 else x[rows, :longest]


def enter(tower: Tower, x: torch.Tensor) -> torch.Tensor:
    """The input of block 0, [B, S, C], of (changed) pixels or token rows."""
    return tower.pre_norm(tower.embeddings(x)) if isinstance(tower, ImageTower) else tower.embeddings(inputs_embeds=x)


def slope(x: torch.Tensor, score: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
    """∂F/∂x of a score F [R] of x [R, …], each row's own."""
    x = x.detach().requires_grad_()
    with torch.enable_grad():
        f = score(x)
    (gradient,) = torch.autograd.grad(f, x, torch.ones_like(f))
    return gradient


def cosine(side: Side, z: torch.Tensor, target: torch.Tensor, rows) -> torch.Tensor:
    """F(z): cosine of the features of states z [R, S, C] that enter block ``side.layer``, with these pairs' targets, [R]."""
    return nnf.cosine_similarity(side.tail(z, rows).to(target), target[rows], dim=-1)


# --- what comes out -----------------------------------------------------------------------------------------------------------


def real_tokens(side: Side, inputs: Inputs) -> torch.Tensor:
    """bool [B, S]: the tokens that the text encoder reads; what stands behind the end token, and holes, are none."""
    mask = inputs.attention_mask[:, : side.latents.shape[1]] != 0
    return mask & (torch.arange(mask.shape[1], device=mask.device) <= side.pooled[:, None])


def patch_means(tower: ImageTower, pixels: torch.Tensor) -> torch.Tensor:
    """The mean of a map [B, H, W] over each patch, [B, gh, gw]; what is left at the edges belongs to no patch."""
    return nnf.avg_pool2d(pixels[:, None], tower.embeddings.patch_embedding.kernel_size)[:, 0, : tower.grid, : tower.grid]


def attribution(
    clip: Clip, inputs: Inputs, sides: tuple[Side, Side], image: torch.Tensor, text: torch.Tensor, method: str, options: dict
) -> Attribution:
    """The result. image: [B, 1 + gh·gw] for tokens, class token first; or [B, H, W] for pixels. text: [B, S]."""
    grid, pixels, class_token = clip.image.grid, None, None
    if image.ndim == 3:
        pixels, patches = image, patch_means(clip.image, image)
    else:
        class_token, patches = image[:, 0], image[:, 1:].unflatten(1, (grid, grid))
    text = torch.where(real_tokens(sides[1], inputs), text, 0.0)
    return Attribution(
        image=patches,
        text=nnf.pad(text, (0, inputs.input_ids.shape[1] - text.shape[1])),
        tokens=clip.tokens(inputs),
        similarity=nnf.cosine_similarity(sides[0].features, sides[1].features, dim=-1),
        class_token=class_token,
        words=inputs.words,
        pixels=pixels,
        method=method,
        options=options,
    )
