"""Where NIB's time and memory go: head, F(z), F(0), gradients, each against the operations and the weights that it takes."""

from __future__ import annotations

from collections.abc import Callable
from statistics import median

import torch

from benchmarks.implementations import build
from nibkit.methods.cut import CutEncoder
from nibkit.methods.nib import nib
from nibkit.metrics.costs import CountFlops, timed, with_peak_memory
from nibkit.model.repeatable import untouched
from nibkit.model.towers import Tower
from nibkit.theory.quadrature import nodes


def weight_bytes(tower: Tower, first: int, last: int) -> int:
    """Bytes of the weights of blocks ``first`` … ``last`` − 1: each pass through them reads them once at least."""
    return sum(w.numel() * w.element_size() for block in list(tower.blocks)[first:last] for w in block.parameters())


def matrix_rate(device: torch.device, dtype: torch.dtype = torch.float32) -> float:
    """Floating-point operations a second in large matrix products, best of 5."""
    size = 8192 if device.type == "cuda" else 2048
    a, b = torch.randn(2, size, size, device=device, dtype=dtype, generator=torch.Generator(device).manual_seed(0))
    torch.mm(a, b)
    return 2 * size**3 / min(timed(lambda: torch.mm(a, b), device)[1] for _ in range(5))


def reading_rate(device: torch.device) -> float:
    """Bytes a second when 256 MB are read and summed, best of 5."""
    data = torch.ones(2**26, device=device)
    return data.numel() * 4 / min(timed(data.sum, device)[1] for _ in range(5))


def time_stages(device: torch.device, rate: float, sizes: tuple[int, ...] = (1, 8), num_steps: int = 10) -> list[dict]:
    """A row for each side, number of pairs and stage of ViT-B/32: median seconds of nine calls and two floors.

    flops: seconds for the operations counted, at ``rate`` a second. reading: seconds to read the weights of the blocks that the
    stage goes through once (the gradients: twice, forward and backward), at the rate of ``reading_rate``.
    """
    clip, inputs = build(max(sizes), device=device)
    read, rows = reading_rate(device), []
    for side, tower in (("image", clip.image), ("text", clip.text)):
        layer = tower.check_layer(None)
        before, behind = weight_bytes(tower, 0, layer), weight_bytes(tower, layer, tower.depth)
        for pairs in sizes:
            part = inputs[:pairs]
            target = clip.encode_text(part) if side == "image" else clip.encode_image(part)
            with untouched(clip.model), torch.no_grad():
                encoder = CutEncoder(tower, part, layer)
                lam, _ = nodes("riemann", num_steps, 0.0)
                cropped, every = tower.crop(part, int(encoder.length.max())), torch.arange(pairs, device=device)
                stages: dict[str, tuple[Callable, int]] = {
                    "head": (lambda: tower.head(cropped, layer), before),  # noqa: B023
                    "F(z)": (lambda: encoder.tail(encoder.latents, every), behind),  # noqa: B023
                    "F(0)": (lambda: encoder.closed_scores(target), behind),  # noqa: B023
                    "gradients": (lambda: encoder.slopes(lam, target), 2 * behind),  # noqa: B023
                }
                for name, (call, weights) in stages.items():
                    with CountFlops() as counter:
                        call()
                    took = median(timed(call, device)[1] for _ in range(9))
                    row = {"part": "stages", "side": side, "pairs": pairs, "way": name, "seconds": took}
                    rows.append(row | {"flops": counter.total / rate, "reading": weights / read})
    return rows


def peak_memory(device: torch.device) -> list[dict]:
    """Peak memory of 10 and of 40 steps with one batch_size: it should not grow."""
    clip, inputs = build(4, "ViT-B/32", device)
    nib(clip, inputs, batch_size=8)  # the warm-up
    rows = []
    for n in (10, 40):
        _, peak = with_peak_memory(lambda n=n: nib(clip, inputs, num_steps=n, batch_size=8), device)
        rows.append({"part": "memory", "way": "nibkit", "x": n, "megabytes": peak})
    said = ", ".join(f"{row['megabytes']:.0f} MB at {row['x']} steps" for row in rows)
    print(f"\npeak memory above the model's, batch_size 8: {said}")
    return rows
