"""How far a device's explanations are from the CPU's, method by method: prints a table, fails where float32 is too far.

Modes: float32, as every call computes; TF32, let into convolutions and products (NIBKIT_TF32=1); bfloat16, by autocast around
the call.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Iterator

import numpy as np
import torch
from scipy import stats

import nibkit as nk

MODES = ("float32", "TF32", "bfloat16")
FARTHEST, LOWEST = 1e-3, 0.99  # what is let pass in float32: relative difference, rank correlation of a pair's patches
HEADER = (
    "| method | computed in | | max. relative difference | lowest rank correlation | median rank correlation | twice the same |"
)


@contextlib.contextmanager
def computing(mode: str, device: str) -> Iterator[None]:
    """Inside, ``device`` computes as ``mode`` says; the settings are put back."""
    before = torch.backends.cuda.matmul.fp32_precision
    try:
        if mode == "TF32":
            os.environ["NIBKIT_TF32"] = "1"
            torch.backends.cuda.matmul.fp32_precision = "tf32"
        with torch.autocast(device, dtype=torch.bfloat16, enabled=mode == "bfloat16"):
            yield
    finally:
        torch.backends.cuda.matmul.fp32_precision = before
        os.environ.pop("NIBKIT_TF32", None)


def compare(ours: torch.Tensor, cpu: torch.Tensor) -> tuple[float, float, float]:
    """(largest difference as a share of the largest value, lowest and median rank correlation of a pair)."""
    ours, cpu = (x.double().cpu().flatten(1).numpy() for x in (ours, cpu))
    real = [np.flatnonzero(row) for row in cpu]  # without padding
    ranks = [stats.spearmanr(a[i], b[i])[0] for a, b, i in zip(ours, cpu, real) if len(i) > 2]
    return float(np.abs(ours - cpu).max() / np.abs(cpu).max()), float(np.min(ranks)), float(np.median(ranks))


def main() -> int:
    """The exit status is 1 if a method's float32 maps are too far from the CPU's."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--pairs", type=int, default=12)
    parser.add_argument("--masks", type=int, default=500, help="of RISE")
    parser.add_argument("--methods", nargs="*", default=list(nk.METHODS), choices=list(nk.METHODS))
    args = parser.parse_args()
    scenes = nk.shapes.sample(args.pairs, seed=11, captions="some")
    clips = [nk.load_clip("shapes", device=device) for device in ("cpu", args.device)]
    inputs = [clip.prepare([s.image for s in scenes], [s.caption for s in scenes]) for clip in clips]
    print(HEADER + "\n|---|---|---|--:|--:|--:|---|", flush=True)
    good = True
    for name in args.methods:
        options = {"num_masks": args.masks} if name == "rise" else {}
        call = lambda i: nk.METHODS[name](clips[i], inputs[i], **options)  # noqa: E731, B023
        cpu = call(0)
        for mode in MODES:
            with computing(mode, args.device):
                found, again = call(1), call(1)
            for side in ("image", "text"):
                far, lowest, median = compare(getattr(found, side), getattr(cpu, side))
                same = "yes" if torch.equal(getattr(found, side), getattr(again, side)) else "no"
                print(f"| {name} | {mode} | {side} | {far:.1e} | {lowest:.4f} | {median:.4f} | {same} |", flush=True)
                if mode == "float32":
                    good &= far < FARTHEST and (side == "text" or lowest > LOWEST) and same == "yes"
    verdict = "so it is" if good else "NOT SO"
    print(f"\nFloat32 passes below {FARTHEST:g}, for images above {LOWEST:g}, and the same twice to the last digit: {verdict}.")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
