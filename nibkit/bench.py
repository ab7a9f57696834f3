"""Speed, as ratios measured in one run: ``make bench``, or ``python -m nibkit.bench``.

NIB against a plain loop that works as the published code does: one step after the other, captions one by one, and weights that
require gradients, so that every backward pass also computes weight gradients that nobody uses. Both start from the same cut, so
the ratio is what folding steps and captions into batches and freezing the weights bring, and nothing else.
Random weights in ViT-B/32's geometry: speed does not depend on what the weights are.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import statistics
import time
from collections.abc import Callable

import torch
from torch.nn import functional as nnf
from transformers import CLIPConfig, CLIPModel

from .clip import Clip, at
from .inputs import Inputs
from .nib import integrate, nib
from .side import Side

LENGTHS = (6, 8, 9, 11, 12, 14, 18, 23)  # tokens of the captions, start and end token included, repeated as needed


def build(pairs: int, seed: int = 0) -> tuple[Clip, Inputs]:
    """ViT-B/32 with random weights, and random pairs with captions of usual lengths."""
    torch.manual_seed(seed)
    clip = Clip(CLIPModel(CLIPConfig()).eval().requires_grad_(False), name="random ViT-B/32")
    lengths = torch.tensor([LENGTHS[i % len(LENGTHS)] for i in range(pairs)])
    ids = torch.randint(1000, 40000, (pairs, int(lengths.max())))
    place = torch.arange(ids.shape[1])
    ids[place >= lengths[:, None] - 1] = clip.text.end
    return clip, Inputs(torch.randn(pairs, 3, 224, 224), ids, (place < lengths[:, None]).long())


def plain_loop(clip: Clip, inputs: Inputs, target: torch.Tensor, layer: int, num_steps: int, side: str) -> list[torch.Tensor]:
    """Eq. 10 as the published code sums it: a step at a time, captions one by one, weight gradients computed and thrown away."""
    tower = clip.image if side == "image" else clip.text
    batches = [slice(None)] if side == "image" else list(range(len(inputs)))
    clip.model.requires_grad_(True)
    sums = []
    for rows in batches:
        batch, wanted = inputs[rows], target[rows].reshape(-1, target.shape[-1])
        batch = tower.crop(batch, int(batch.attention_mask.sum(1).max()))  # a caption alone has no padding
        with torch.no_grad():
            z = tower.head(batch, layer)
        mask = tower.mask(z.shape[1], batch.attention_mask)
        total = torch.zeros_like(z)
        for k in range(1, num_steps + 1):
            narrowed = (k / num_steps * z).requires_grad_()
            hidden = narrowed
            for block in tower.blocks[layer:]:
                hidden = block(hidden, mask)
            features = tower.projection(tower.norm(at(hidden, tower.pooled(batch))))
            nnf.cosine_similarity(features, wanted, dim=-1).sum().backward()
            total += narrowed.grad / num_steps
            clip.model.zero_grad()
        sums += list((z * total).sum(-1))
    clip.model.requires_grad_(False)
    return sums


def one_side(clip: Clip, inputs: Inputs, target: torch.Tensor, layer: int, num_steps: int, side: str) -> list[torch.Tensor]:
    """NIB for one modality alone, as ``nib`` does it for both."""
    tower = clip.image if side == "image" else clip.text
    with torch.no_grad():
        return list(integrate(Side(tower, inputs, layer), target, "riemann", num_steps, 0.0)[0])


def seconds(call: Callable, *arguments) -> float:
    """Wall-clock seconds of one call, the device's queue emptied before and after."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    started = time.perf_counter()
    call(*arguments)
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - started


def peak_memory(num_steps: int) -> float:
    """Peak memory in MB of a fresh process that explains 4 pairs with batch_size 8."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        return pool.apply(_explain_and_measure, (num_steps,))


def _explain_and_measure(num_steps: int) -> float:
    clip, inputs = build(4)
    nib(clip, inputs, num_steps=num_steps, batch_size=8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Print each side's seconds and ratio (median over interleaved repeats), and peak memory against num_steps."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=8)
    parser.add_argument("--layer", type=int, default=9)
    parser.add_argument("--num-steps", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    clip, inputs = build(args.pairs)
    print(f"ViT-B/32 geometry, {args.pairs} pairs, n = {args.num_steps}, layer {args.layer}, {torch.get_num_threads()} threads")
    for side in ("image", "text"):
        target = clip.encode_text(inputs) if side == "image" else clip.encode_image(inputs)
        setting = (clip, inputs, target, args.layer, args.num_steps, side)
        worst = max(float((a - b[: len(a)]).abs().max()) for a, b in zip(plain_loop(*setting), one_side(*setting)))  # warm-up
        assert worst < 1e-4, f"the two ways differ by {worst}"
        times = [[seconds(way, *setting) for way in (plain_loop, one_side)] for _ in range(args.repeats)]
        slow, fast = (statistics.median(column) for column in zip(*times))
        ratio = statistics.median(a / b for a, b in times)
        print(
            f"{side:6s} plain loop {slow:6.2f} s   nibkit {fast:6.2f} s   {ratio:5.2f} times as fast   (difference {worst:.0e})"
        )
    few, many = peak_memory(10), peak_memory(40)
    print(f"peak memory with batch_size 8: {few:.0f} MB at 10 steps, {many:.0f} MB at 40 steps")


if __name__ == "__main__":
    main()
