"""Speed, as ratios measured in one run: ``make bench``, or ``python -m benchmarks.speed``.

Six ways to the same numbers (Eq. 10, the paper's rule, the same cut), on random weights in CLIP's geometries:

* *plain loop*: as the published code works. One step after the other, captions one by one, every block computed for every token,
  and weights that require gradients, so that each backward pass also computes weight gradients that nobody uses;
* *captum*: its ``IntegratedGradients`` on the blocks behind the cut, right Riemann sum, the batch padded to its longest caption;
* *captum, with gap*: the same, asked for the convergence delta, too: F(z) and F(0), which nibkit always returns;
* *captum, our tail*: the same through nibkit's tail: what the rest brings is batching, and products made once a pair;
* *nibkit*;
* *floor*: the floating-point operations that nibkit's way counts, at the rate of this machine's largest matrix products.

Speed does not depend on what the weights are. How many gradients a small gap takes, and what bfloat16 does to a map, do: those
parts use the bundled model. ``speed.py`` makes the table and the figure from the rows.
"""

from __future__ import annotations

import argparse
import functools
import platform
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import torch
from matplotlib import pyplot as plt
from scipy import stats
from tqdm import tqdm

from benchmarks.accuracy import fewer_bits, gaps
from benchmarks.implementations import GEOMETRIES, Way, build, captum, nibkit, our_tail, plain_loop, random_pairs
from benchmarks.stages import matrix_rate, peak_memory, time_stages
from benchmarks.tables import figure
from nibkit.io.outputs import check_output, save_figure, written_whole
from nibkit.methods.batches import default_batch_size
from nibkit.methods.interactions import interactions
from nibkit.methods.nib import nib
from nibkit.methods.registry import METHODS
from nibkit.metrics.costs import CountFlops, count_passes, timed, with_peak_memory
from nibkit.model.clip import Clip
from nibkit.model.inputs import Inputs
from nibkit.model.loading import choose_device

OUR_TAIL = functools.partial(captum, tail=our_tail)
WITH_GAP = functools.partial(captum, with_delta=True)
WAYS: dict[str, Way] = {
    "plain loop": plain_loop,
    "captum": captum,
    "captum, with gap": WITH_GAP,
    "captum, our tail": OUR_TAIL,
    "nibkit": nibkit,
}
ROUNDS = 3  # of all ways in turn, if the budget allows
MASKS = 6000, 200  # RISE's in the published code, for a picture and for a caption


def operations(clip: Clip, inputs: Inputs, layer: int | None, num_steps: int) -> float:
    """Floating-point operations of one call of ``nib``."""
    with CountFlops() as counter:
        nib(clip, inputs, layer=layer, num_steps=num_steps)
    return counter.total


def time_ways(device: torch.device, geometries: list[str], sizes: list[int], num_steps: int, budget: float) -> list[dict]:
    """Every geometry × batch size for which one round of all ways stays within ``budget`` seconds by the count of operations."""
    rows: list[dict] = []
    for geometry in geometries:
        clip, inputs = build(max(sizes), geometry, device)
        rate = matrix_rate(device)
        each = operations(clip, inputs[:1], None, num_steps) / rate
        for pairs in sizes:
            round_takes = 10 * each * pairs  # floors: nibkit 1.2, captum 1.7 and 1.5, the loop 2.7 and more; and a warm-up
            if round_takes > budget:
                tqdm.write(f"{geometry}, {pairs} pairs: left out, a round would take about {round_takes:.0f} s (--budget)")
                continue
            found = compare(clip, inputs[:pairs], num_steps, budget / 2, rate)
            rows += [{"part": "ways", "geometry": geometry, "pairs": pairs} | row for row in found]
            tqdm.write(f"\n{geometry}, {pairs} pairs: seconds, and in how many times nibkit's\n{show(found)}")
        del clip, inputs
    return rows


def compare(clip: Clip, inputs: Inputs, num_steps: int, budget: float, rate: float) -> list[dict]:
    """A row for each side and way: median seconds of the rounds, each of which runs all ways, and the ratio to nibkit's.

    As many rounds, up to ``ROUNDS``, as a side's ``budget`` of seconds holds by the warm-up's time; one at least.

    AssertionError if two ways give sums that differ by 1e-4 or more.
    """
    rows = []
    for side, tower in (("image", clip.image), ("text", clip.text)):
        target = clip.encode_text(inputs) if side == "image" else clip.encode_image(inputs)
        setting = (clip, inputs, target, tower.check_layer(None), num_steps, side)
        found, warm_up = timed(lambda: {name: way(*setting) for name, way in WAYS.items()}, clip.device)  # noqa: B023
        rounds = int(min(max(budget / warm_up - 1, 1), ROUNDS))
        for name in [name for name in WAYS if name != "plain loop"]:
            worst = max(float((a - b[: len(a)]).abs().max()) for a, b in zip(found["plain loop"], found[name]))
            assert worst < 1e-4, f"plain loop and {name} differ by {worst}"
        with CountFlops() as counter:
            nibkit(*setting)
        call = lambda way, setting=setting: timed(lambda: way(*setting), clip.device)[1]  # noqa: E731
        times = pd.DataFrame([{name: call(way) for name, way in WAYS.items()} for _ in range(rounds)])
        times["floor"] = counter.total / rate
        for name, took in times.median().items():
            rows.append({"side": side, "way": name, "seconds": took, "ratio": took / times["nibkit"].median()})
    return rows


def show(found: list[dict]) -> str:
    """Sides by ways, with both sides' sum."""
    table = pd.DataFrame(found).pivot(index="side", columns="way", values="seconds")[[*WAYS, "floor"]]
    table.loc["both"] = table.sum()
    ratios = table.div(table["nibkit"], axis=0).rename(columns=lambda way: f"× {way}").drop(columns="× nibkit")
    return table.round(3).join(ratios.round(2)).to_string()


def time_methods(device: torch.device, geometry: str = "ViT-B/32", pairs: int | None = None) -> list[dict]:
    """All eight methods, and ``interactions``; picture and caption, batched alike: seconds a pair, rows a pair, peak memory.

    ``interactions`` has eight nodes, NIB ten steps; the text's second derivatives are no rows: they are timed, not counted.
    RISE is timed with a hundredth of the published masks; its row says what all would take (about 1 % low: of the few, captions,
    which cost less, are a larger share).
    """
    pairs, rows = pairs or (64 if device.type == "cuda" else 4), []
    clip, inputs = build(pairs, geometry, device)
    few = dict(zip(("num_masks", "num_text_masks"), (count // 100 for count in MASKS)))
    for name, method in tqdm({**METHODS, "interactions": interactions}.items(), desc="methods"):
        call = lambda: method(clip, inputs, **(few if name == "rise" else {}))  # noqa: B023, E731
        with count_passes(clip) as passes:
            _, peak = with_peak_memory(call, device)  # the warm-up
        forward, took = passes.forward / pairs, timed(call, device, 3)[1] / pairs
        if name == "rise":
            all_of_them = forward + sum(MASKS) - sum(few.values())
            forward, took = all_of_them, took * all_of_them / forward
        rows.append({"part": "methods", "geometry": geometry, "pairs": pairs, "way": name, "seconds": took, "megabytes": peak})
        rows[-1] |= {"ratio": took / rows[0]["seconds"], "forward": forward, "backward": passes.backward / pairs}
    table = pd.DataFrame(rows).set_index("way")[["seconds", "ratio", "forward", "backward", "megabytes"]]
    print(f"\nall methods, {geometry}, {pairs} pairs: per pair, × nib (RISE: {MASKS[0]} and {MASKS[1]} masks, from a hundredth)")
    print(table.round(2).to_string())
    return rows


def slope(values: list[int], cost: Callable[[int], float]) -> tuple[list[float], float, float]:
    """(seconds at each value, seconds per unit, R² of the straight line through them)."""
    took = [cost(value) for value in values]
    line = stats.linregress(values, took)
    return took, float(line.slope), float(line.rvalue**2)


def time_slopes(device: torch.device, num_steps: int = 10, repeats: int = 3, geometry: str = "ViT-B/32") -> list[dict]:
    """Cost against num_steps, pairs, layer (both towers) and tokens (captions alone): is it a straight line?"""
    most = 256 if device.type == "cuda" else 32  # each quarter has captions of all LENGTHS
    clip, inputs = build(most, geometry, device)
    size, depth = max(default_batch_size(clip.image), 32), clip.image.depth

    def cost(pairs: int, steps: int = num_steps, layer: int | None = None) -> float:
        call = lambda: nib(clip, inputs[:pairs], layer=layer, num_steps=steps, batch_size=size)  # noqa: E731
        return min(timed(call, device)[1] for _ in range(repeats))

    def cost_of_words(tokens: int) -> float:
        long = random_pairs(clip, most, lengths=(tokens,))
        call = lambda: nibkit(clip, long, target, layer, num_steps, "text")  # noqa: E731
        return min(timed(call, device)[1] for _ in range(repeats))

    cost(most)
    target, layer = clip.encode_image(inputs), clip.text.check_layer(None)
    rows: list[dict] = []
    for name, values, call in (
        ("num_steps", [5, 10, 20, 40], lambda n: cost(most // 4, n)),
        ("pairs", [most // 4, most // 2, 3 * most // 4, most], cost),
        ("layer", [*range(0, depth, max(depth // 4, 1)), depth - 1], lambda layer: cost(most // 4, layer=layer)),
        ("tokens", [8, 16, 32, 48, 77], cost_of_words),
    ):
        took, per_unit, fit = slope(values, call)
        rows += [
            {"part": f"slope {name}", "geometry": geometry, "x": v, "seconds": s, "ratio": fit} for v, s in zip(values, took)
        ]
        print(f"cost against {name} {values}: {per_unit * 1e3:.2f} ms each, R² of the straight line {fit:.4f}")
    return rows


def machine(device: torch.device) -> str:
    """What was measured on, in words."""
    if device.type == "cuda":
        return f"{torch.cuda.get_device_name(device)}, torch {torch.__version__}"
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":")[1].strip() for line in lines if "model name" in line]
    threads = torch.get_num_threads()
    return f"{names[0] if names else platform.machine()}, {threads} thread{'s' * (threads > 1)}, torch {torch.__version__}"


PARTS = ("ways", "stages", "methods", "slopes", "gap", "precision", "memory")


def main(arguments: list[str] | None = None) -> pd.DataFrame:
    """Measure, print, and with ``--out`` store all rows as CSV and the figure beside it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--geometry", nargs="+", choices=GEOMETRIES, default=list(GEOMETRIES))
    parser.add_argument("--pairs", nargs="+", type=int, default=[1, 8, 64, 256], help="batch sizes (default: 1 8 64 256)")
    parser.add_argument("--num-steps", type=int, default=10)
    parser.add_argument("--budget", type=float, default=120, help="seconds for a geometry and batch size (default: 120)")
    parser.add_argument("--device", default=None)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--out", type=Path, help="a CSV file; the figure goes beside it")
    args = parser.parse_args(arguments)
    if args.out:
        try:
            if args.out.suffix != ".csv":
                raise ValueError(f"--out {args.out} must end in .csv: the figure, in .png, goes beside it")
            for path in (args.out, args.out.with_suffix(".png")):
                check_output("--out", path)
        except (OSError, ValueError) as error:
            parser.error(str(error))
    device = choose_device(args.device)
    print(f"{machine(device)}: {matrix_rate(device) / 1e9:.0f} GFLOP/s in float32 matrix products; n = {args.num_steps}")
    jobs = {
        "ways": lambda: time_ways(device, args.geometry, args.pairs, args.num_steps, args.budget),
        "stages": lambda: time_stages(device, matrix_rate(device)),
        "methods": lambda: time_methods(device),
        "slopes": lambda: time_slopes(device, args.num_steps),
        "gap": lambda: gaps(device),
        "precision": lambda: fewer_bits(device),
        "memory": lambda: peak_memory(device),
    }
    rows: list[dict] = []
    for part in args.parts:
        rows += jobs[part]()
        if args.out:  # as it goes: an interrupted run keeps what it had
            with written_whole(args.out, "--out") as file:
                pd.DataFrame(rows).assign(machine=machine(device)).to_csv(file, index=False, float_format="%.6g")
    table = pd.DataFrame(rows).assign(machine=machine(device))
    if args.out:
        with plt.rc_context():
            fig = figure(table)
            save_figure(fig, args.out.with_suffix(".png"), "--out", dpi=90)
            plt.close(fig)
        print(f"stored: {args.out}, {args.out.with_suffix('.png').name}")
    return table


if __name__ == "__main__":
    main()
