"""Speed, as ratios measured in one run: ``make bench``, or ``python -m nibkit.bench``.

Four ways to the same numbers (Eq. 10, the paper's rule, the same cut), on random weights in CLIP's geometries:

* *plain loop*: as the published code works. One step after the other, captions one by one, every block computed for every token,
  and weights that require gradients, so that each backward pass also computes weight gradients that nobody uses;
* *captum*: its ``IntegratedGradients`` on the blocks behind the cut, right Riemann sum, the batch padded to its longest caption;
* *nibkit*;
* *floor*: the floating-point operations that nibkit's way counts, at the rate of this machine's largest matrix products.

Speed does not depend on what the weights are. How many gradients a small gap takes does: that part uses the bundled model.
"""

from __future__ import annotations

import argparse
import multiprocessing
import platform
import resource
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry
from tqdm import tqdm

from .clip import Clip
from .inputs import Inputs
from .loading import choose_device, load_clip
from .nib import nib
from .shapes import sample
from .side import default_batch_size
from .ways import GEOMETRIES, Way, build, captum, nibkit, plain_loop


def seconds(call: Callable, *arguments) -> float:
    """Wall-clock seconds of one call, the device's queue emptied before and after."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    started = time.perf_counter()
    call(*arguments)
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - started


def matrix_rate(device: torch.device, dtype: torch.dtype = torch.float32) -> float:
    """Floating-point operations a second in the largest matrix products, best of 10."""
    size = 8192 if device.type == "cuda" else 2048
    a, b = torch.randn(2, size, size, device=device, dtype=dtype)
    torch.mm(a, b)
    return 2 * size**3 / min(seconds(torch.mm, a, b) for _ in range(10))


class CountFlops(TorchDispatchMode):
    """Adds up the floating-point operations of matrix products, convolutions and attention, by torch's own formulas."""

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        if formula := flop_registry.get(func._overloadpacket):
            self.total += formula(*args, **(kwargs or {}), out_val=result)
        return result


def compare(clip: Clip, inputs: Inputs, layer: int, num_steps: int, repeats: int, rate: float) -> list[dict]:
    """A row for each side and way: median seconds, and the median of the ratios to nibkit's in the same round."""
    rows = []
    for side in ("image", "text"):
        target = clip.encode_text(inputs) if side == "image" else clip.encode_image(inputs)
        setting = (clip, inputs, target, layer, num_steps, side)
        ways: dict[str, Way] = {"plain loop": plain_loop, "captum": captum, "nibkit": nibkit}
        found = {name: way(*setting) for name, way in ways.items()}  # the warm-up
        for name in ("captum", "nibkit"):
            pairs = zip(found["plain loop"], found[name])
            worst = max(float((a - b[: len(a)]).abs().max()) for a, b in pairs)
            assert worst < 1e-4, f"plain loop and {name} differ by {worst}"
        with CountFlops() as counter:
            nibkit(*setting)
        times = pd.DataFrame([{name: seconds(way, *setting) for name, way in ways.items()} for _ in range(repeats)])
        times["floor"] = counter.total / rate
        for name in times:
            rows.append(
                {"side": side, "way": name, "seconds": times[name].median(), "ratio": (times[name] / times.nibkit).median()}
            )
    return rows


def slope(values: list[int], cost: Callable[[int], float]) -> tuple[list[float], float, float]:
    """(seconds at each value, seconds per unit, R² of the straight line through them)."""
    took = [cost(value) for value in values]
    (per_unit, _), line = np.polyfit(values, took, 1), np.poly1d(np.polyfit(values, took, 1))(values)
    return took, float(per_unit), float(1 - np.var(np.array(took) - line) / np.var(took))


def gradients_to_gap(
    rule: str, start: float | None, counts: list[int], pairs: int = 16, gap: float = 0.01
) -> tuple[int | None, float]:
    """(fewest gradients that bring the median relative completeness gap under ``gap``, seconds per call then), bundled model.

    The gap is |Σ A − (F(z) − F(start · z))| / |F(z) − F(start · z)|, the larger of image and text. None if no count does.
    """
    clip, scenes = load_clip("shapes"), sample(pairs, seed=77, captions="all")
    inputs = clip.prepare([s.image for s in scenes], [s.caption for s in scenes])
    for count in counts:
        att = nib(clip, inputs, rule=rule, num_steps=count, start=start)
        totals = att.image.sum((1, 2)) + att.class_token - att.image_delta, att.text.sum(1) - att.text_delta
        gaps = [float((d / t).abs().median()) for d, t in zip((att.image_delta, att.text_delta), totals)]
        if max(gaps) < gap:
            return count, seconds(lambda count=count: nib(clip, inputs, rule=rule, num_steps=count, start=start))
    return None, float("nan")


def peak_memory(num_steps: int) -> float:
    """Peak memory in MB of a fresh process that explains 4 pairs with batch_size 8, on the CPU."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        return pool.apply(_explain_and_measure, (num_steps,))


def _explain_and_measure(num_steps: int) -> float:
    clip, inputs = build(4)
    nib(clip, inputs, num_steps=num_steps, batch_size=8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def machine(device: torch.device) -> str:
    """What was measured on, in words."""
    if device.type == "cuda":
        return f"{torch.cuda.get_device_name(device)}, torch {torch.__version__}"
    return f"{torch.get_num_threads()} CPU threads ({platform.machine()}), torch {torch.__version__}"


def main(arguments: list[str] | None = None) -> pd.DataFrame:
    """Print ratios, slopes and the cost of a small gap; with ``--out`` store all rows as CSV."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--geometry", nargs="+", choices=GEOMETRIES, default=["ViT-B/32"])
    parser.add_argument("--pairs", nargs="+", type=int, default=[8], help="batch sizes")
    parser.add_argument("--layer", type=int, default=9)
    parser.add_argument("--num-steps", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--device", default=None)
    parser.add_argument(
        "--parts", nargs="+", choices=("ways", "slopes", "gap", "memory"), default=["ways", "slopes", "gap", "memory"]
    )
    parser.add_argument("--out", type=Path, help="a CSV file")
    args = parser.parse_args(arguments)
    device = choose_device(args.device)
    rate = matrix_rate(device)
    print(f"{machine(device)}: {rate / 1e9:.0f} GFLOP/s in float32 matrix products; n = {args.num_steps}, layer {args.layer}")
    rows: list[dict] = []
    if "ways" in args.parts:
        for geometry in tqdm(args.geometry, desc="geometry"):
            for pairs in args.pairs:
                clip, inputs = build(pairs, geometry, device)
                depth = min(args.layer, clip.text.depth)
                found = compare(clip, inputs, depth, args.num_steps, args.repeats, rate)
                rows += [{"what": "ways", "geometry": geometry, "pairs": pairs} | row for row in found]
                tqdm.write(f"\n{geometry}, {pairs} pairs: seconds, and in how many times nibkit's\n{show(found)}")
    if "slopes" in args.parts:
        rows += slopes(device, args)
    if "gap" in args.parts:
        rows += gaps()
    if "memory" in args.parts and device.type == "cpu":
        few, many = peak_memory(10), peak_memory(40)
        rows += [{"what": "memory", "way": f"num_steps={n}", "value": mb} for n, mb in ((10, few), (40, many))]
        print(f"\npeak memory with batch_size 8: {few:.0f} MB at 10 steps, {many:.0f} MB at 40 steps")
    table = pd.DataFrame(rows).assign(machine=machine(device))
    if args.out:
        table.to_csv(args.out, index=False, float_format="%.6g")
        print(f"stored: {args.out}")
    return table


def show(found: list[dict]) -> str:
    """Sides by ways, with both sides' sum."""
    table = pd.DataFrame(found).pivot(index="side", columns="way", values="seconds")[["plain loop", "captum", "nibkit", "floor"]]
    table.loc["both"] = table.sum()
    ratios = table.div(table["nibkit"], axis=0).rename(columns=lambda way: f"× {way}").drop(columns="× nibkit")
    return table.round(3).join(ratios.round(2)).to_string()


def slopes(device: torch.device, args: argparse.Namespace) -> list[dict]:
    """Cost against num_steps and pairs (both towers, ViT-B/32): is it a straight line?"""
    clip, inputs = build(64 if device.type == "cuda" else 16, "ViT-B/32", device)
    size = default_batch_size(clip.image) if device.type == "cuda" else 32

    def cost(pairs: int, steps: int) -> float:
        return min(seconds(lambda: nib(clip, inputs[:pairs], num_steps=steps, batch_size=size)) for _ in range(args.repeats))

    most, rows = len(inputs), []
    cost(most, 5)
    for name, values, call in (
        ("num_steps", [5, 10, 20, 40], lambda n: cost(4, n)),
        ("pairs", [most // 4, most // 2, 3 * most // 4, most], lambda b: cost(b, args.num_steps)),
    ):
        took, per_unit, fit = slope(values, call)
        rows += [{"what": f"slope {name}", "way": "nibkit", "value": v, "seconds": s, "ratio": fit} for v, s in zip(values, took)]
        print(f"cost against {name} {values}: {per_unit * 1e3:.1f} ms each, R² of the straight line {fit:.4f}")
    return rows


def gaps() -> list[dict]:
    """The fewest gradients to a completeness gap of 1 %, on the whole ray and on [.05, 1], and the time they take."""
    counts = [*range(2, 33), 40, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 2048]
    rows = []
    print("\nto a gap of 1 % (bundled model, 16 pairs, layer 9)")
    for span, start, rules in (
        ("[0, 1]", None, ("riemann", "gauss", "sinh")),
        ("[.05, 1]", 0.05, ("riemann", "gauss", "log-gauss")),
    ):
        for rule in rules:
            tried = counts if rule != "riemann" else counts[31:]
            count, took = gradients_to_gap(rule, start, tried)
            rows.append({"what": f"gap {span}", "way": rule, "value": count, "seconds": took})
            print(f"  {span:8s} {rule:10s} {f'{count} gradients, {took:.2f} s' if count else f'more than {tried[-1]} gradients'}")
    return rows


if __name__ == "__main__":
    main()
