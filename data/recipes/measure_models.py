"""Which layer and which method finds the named things, on every model of the grid: data/results/models.csv, a row per pair.

    python data/recipes/measure_models.py                          # the bundled models: some minutes each on two cores
    python data/recipes/measure_models.py build/models/emoji-1     # others, that train_clip.py made: shapes-…-SEED, emoji-SEED

Scenes of two or three things that no training saw, captions that name some of them. NIB is cut at each layer, both towers alike
(layer as given); every other method once as the paper used it and once as its authors published it; those beyond the paper as
they come. Rows of a model that are there already are kept; a run that is stopped goes on where it was.
"""

from __future__ import annotations

import argparse
import functools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

import nibkit as nk
from nibkit.io.outputs import written_whole
from nibkit.metrics.localisation import localisation, named_masks

ROOT = Path(__file__).resolve().parents[2]
FILE = ROOT / "data" / "results" / "models.csv"
PAIRS, SEED = 100, 2611
METHODS = ("chefer", "gradcam", "m2ib", "saliency", "fastig")


def callables() -> dict[tuple[str, int | None], Callable[..., nk.Attribution]]:
    """What is measured, by (label, layer)."""
    found: dict = {("nib", layer): functools.partial(nk.nib, layer=layer) for layer in range(12)}
    for name in METHODS:
        for variant in ("paper", "original"):
            found[f"{name}, {variant}", None] = functools.partial(nk.METHODS[name], variant=variant)
    return found | {(name, None): method for name, method in nk.BEYOND.items()}


def measure(name: str, folder: str, known: pd.DataFrame) -> pd.DataFrame:
    """The rows of one model that are not known yet."""
    world = nk.emoji if name.startswith("emoji") else nk.shapes
    scenes = world.sample(PAIRS, SEED, captions="some", objects=(2, 3))
    clip = nk.load_clip(folder)
    inputs = clip.prepare([s.image for s in scenes], [s.caption for s in scenes])
    masks, distractors = named_masks(scenes)
    rows = []
    there = set(zip(known["method"], known["layer"].fillna(-1)))
    for (method, layer), call in tqdm(callables().items(), desc=name):
        if (method, -1 if layer is None else layer) in there:
            continue
        table = localisation(call(clip, inputs), masks, distractors)[["average_precision", "beats", "against", "chance"]]
        rows.append(table.assign(model=name, method=method, layer=layer, pair=np.arange(PAIRS)))
    return pd.concat(rows) if rows else known.iloc[:0]


def main() -> None:
    """Measure and store."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=list(nk.MODELS), help="bundled names, or folders (default: all bundled)")
    columns = ["model", "method", "layer", "pair", "average_precision", "beats", "against", "chance"]
    for given in parser.parse_args().models:
        table = pd.read_csv(FILE) if FILE.exists() else pd.DataFrame(columns=columns)
        name = Path(given).name
        table = pd.concat([table, measure(name, given, table[table["model"] == name])])[columns]
        with written_whole(FILE, "models.csv") as file:
            table.to_csv(file, index=False, float_format="%.4g")


if __name__ == "__main__":
    main()
