"""The longer measurements of notebooks 10 and 11, on the bundled model and unseen scenes, stored as CSV in data/results.

python data/recipes/make_results.py             # all: about 40 minutes on two cores; it may be stopped and called again
python data/recipes/make_results.py benchmark   # one: benchmark, steps, layers, beta or grid

Each is a call of ``nk.evaluate``: rows go to an SQLite file under build/results as they come, so nothing is lost, in the end to
a CSV with a row per pair and method. The notebooks read the CSVs and measure a part of each again.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import nibkit as nk
from nibkit.io.outputs import written_whole
from nibkit.methods import controls

ROOT = Path(__file__).resolve().parents[2]
BETAS = [k / 100 for k in range(1, 10)] + [k / 10 for k in range(1, 10)]  # those of Table 5
COLUMNS = [
    "pair",
    "method",
    *("image_drop", "image_increase", "text_drop", "text_increase"),
    *("image_insertion_auc", "image_deletion_auc"),  # of the benchmark alone
    *("pointing", "iou", "average_precision", "beats", "against", "chance"),
    *("forward_image", "backward_image", "forward_text", "backward_text"),
]


def nib_at(**options) -> tuple[str, dict]:
    """NIB with these options."""
    return "nib", options


RUNS = {  # name: (scenes, seed, methods)
    "benchmark": (
        200,
        2026,
        {name: (name, {"num_masks": 500} if name == "rise" else {}) for name in nk.METHODS}
        | {name: getattr(controls, f"{name}_map") for name in ("ones", "random", "centre", "oracle")},
    ),
    "steps": (100, 2027, {f"{n}": nib_at(num_steps=n) for n in (3, 5, 8, 10, 13, 15, 18, 20, 40)}),
    "layers": (100, 2027, {f"{layer}": nib_at(layer=layer) for layer in range(12)}),
    "beta": (100, 2027, {f"{beta:g}": ("m2ib", {"beta": beta}) for beta in BETAS}),
    "grid": (
        100,
        2027,
        {f"{n},{layer}": nib_at(num_steps=n, layer=layer) for n in (3, 5, 10, 20, 40) for layer in (0, 3, 6, 8, 9, 10, 11)},
    ),
}


def main() -> None:
    """Make the CSVs that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"{', '.join(RUNS)}; default: all")
    args = parser.parse_args()
    if unknown := set(args.names) - set(RUNS):
        parser.error(f"no run of that name: {', '.join(sorted(unknown))}")
    kept = ROOT / "build" / "results"
    kept.mkdir(parents=True, exist_ok=True)
    (ROOT / "data" / "results").mkdir(exist_ok=True)
    clip = nk.load_clip("shapes")
    for name in args.names or RUNS:
        count, seed, methods = RUNS[name]
        steps = 7 if name == "benchmark" else None
        pairs = nk.datasets.shapes(count, seed, captions="some")
        table = nk.evaluate(clip, pairs, methods, kept / f"{name}.sqlite", curve_steps=steps)
        path = ROOT / "data" / "results" / f"{name}.csv"
        with written_whole(path) as file:
            table[[column for column in COLUMNS if column in table]].to_csv(file, index=False, float_format="%.4g")
        print(f"{path.relative_to(ROOT)}: {len(table)} rows")


if __name__ == "__main__":
    main()
