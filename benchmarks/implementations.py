"""Ways to the same sums of Eq. 10 that ``bench`` times against each other, and CLIPs with random weights to time them on."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.nn import functional as nnf
from transformers import CLIPConfig, CLIPModel

from nibkit.methods.batches import default_batch_size
from nibkit.methods.cut import CutEncoder
from nibkit.methods.nib import integrate
from nibkit.model.blocks import at
from nibkit.model.clip import Clip
from nibkit.model.inputs import Inputs
from nibkit.model.repeatable import untouched
from nibkit.model.towers import Tower

LENGTHS = (6, 8, 9, 11, 12, 14, 18, 23)  # tokens of the captions, start and end token included, repeated as needed
LARGE = dict(hidden_size=1024, intermediate_size=4096, num_hidden_layers=24, num_attention_heads=16, patch_size=14)
GEOMETRIES = {  # vision, text, projection
    "ViT-B/32": ({}, {}, 512),
    "ViT-B/16": ({"patch_size": 16}, {}, 512),
    "ViT-L/14": (LARGE, dict(hidden_size=768, intermediate_size=3072, num_attention_heads=12), 768),
}
Way = Callable[[Clip, Inputs, torch.Tensor, int, int, str], torch.Tensor | list[torch.Tensor]]


def build(pairs: int, geometry: str = "ViT-B/32", device: str | torch.device = "cpu", seed: int = 0) -> tuple[Clip, Inputs]:
    """A CLIP with random weights, and ``random_pairs`` for it."""
    vision, text, projection = GEOMETRIES[geometry]
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        config = CLIPConfig(vision_config=vision, text_config=text, projection_dim=projection)
        clip = Clip(CLIPModel(config).to(device).eval().requires_grad_(False), name=f"random {geometry}")
    return clip, random_pairs(clip, pairs, seed=seed)


def random_pairs(clip: Clip, pairs: int, lengths: tuple[int, ...] = LENGTHS, seed: int = 0) -> Inputs:
    """Random pixels and token ids on the model's device, with captions of these lengths, repeated as needed."""
    generator = torch.Generator().manual_seed(seed)
    long = torch.tensor([lengths[i % len(lengths)] for i in range(pairs)])
    ids = torch.randint(1000, 40000, (pairs, int(long.max())), generator=generator)
    place = torch.arange(ids.shape[1])
    ids[place >= long[:, None] - 1] = clip.text.end
    pixels = torch.randn(pairs, 3, clip.image.image_size, clip.image.image_size, generator=generator)
    return Inputs(pixels, ids, (place < long[:, None]).long()).to(clip.device, clip.dtype)


def whole_tail(tower: Tower, z: torch.Tensor, layer: int, pooled: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    """Features of z, every block computed for every token: what the model's own forward pass does."""
    for block in tower.blocks[layer:]:
        z = block(z, mask)
    return tower.projection(tower.norm(at(z, pooled)))


def plain_loop(clip: Clip, inputs: Inputs, target: torch.Tensor, layer: int, num_steps: int, side: str) -> list[torch.Tensor]:
    """Eq. 10 as the published code sums it: a step at a time, captions one by one, weight gradients computed and thrown away."""
    tower = clip.image if side == "image" else clip.text
    together = 32 if side == "image" else 1
    sums = []
    try:
        clip.model.requires_grad_(True)
        for start in range(0, len(inputs), together):
            batch, wanted = without_padding(inputs[start : start + together]), target[start : start + together]
            with torch.no_grad():
                z = tower.head(batch, layer)
            mask, pooled, total = tower.mask(z.shape[1]), tower.pooled(batch), torch.zeros_like(z)
            for k in range(1, num_steps + 1):
                narrowed = (k / num_steps * z).requires_grad_()
                nnf.cosine_similarity(whole_tail(tower, narrowed, layer, pooled, mask), wanted, dim=-1).sum().backward()
                total += narrowed.grad / num_steps
                clip.model.zero_grad()
            sums += list((z * total).sum(-1))
    finally:
        clip.model.zero_grad()
        clip.model.requires_grad_(False)
    return sums


def our_tail(tower: Tower, z: torch.Tensor, layer: int, pooled: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    """The same features by nibkit's tail, whose last block is computed for the position that is read alone."""
    return tower.finish(z, layer, pooled, mask)


def captum(
    clip: Clip,
    inputs: Inputs,
    target: torch.Tensor,
    layer: int,
    num_steps: int,
    side: str,
    tail: Callable = whole_tail,
    with_delta: bool = False,
) -> torch.Tensor:
    """The same by Captum's ``IntegratedGradients`` at the cut, baseline 0, frozen weights, its batches as large as nibkit's.

    with_delta: ask for the gap of Eq. 11, too, as nibkit returns it: F(z) and F(0) are computed.
    """
    from captum.attr import IntegratedGradients

    tower = clip.image if side == "image" else clip.text
    inputs, size = without_padding(inputs), default_batch_size(tower)

    def explain(rows: slice) -> torch.Tensor:
        with torch.no_grad():
            z = tower.head(inputs[rows], layer)
        mask = tower.mask(z.shape[1])

        def score(z: torch.Tensor, pooled: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
            return nnf.cosine_similarity(tail(tower, z, layer, pooled, mask), target, dim=-1)

        found = IntegratedGradients(score, multiply_by_inputs=True).attribute(
            z,
            baselines=torch.zeros_like(z),
            n_steps=num_steps,
            method="riemann_right",
            internal_batch_size=size,
            additional_forward_args=(tower.pooled(inputs[rows]), target[rows]),
            return_convergence_delta=with_delta,
        )
        return found[0] if with_delta else found

    return torch.cat([explain(slice(i, i + size)).sum(-1) for i in range(0, len(inputs), size)])


def without_padding(inputs: Inputs) -> Inputs:
    """The inputs without the columns that are padding in every caption."""
    return inputs.crop(int(inputs.attention_mask.sum(1).max()))


def nibkit(clip: Clip, inputs: Inputs, target: torch.Tensor, layer: int, num_steps: int, side: str) -> torch.Tensor:
    """NIB for one modality alone, as ``nib`` does it for both."""
    tower = clip.image if side == "image" else clip.text
    with untouched(clip.model), torch.no_grad():
        return integrate(CutEncoder(tower, inputs, layer), target, "riemann", num_steps, 0.0).values
