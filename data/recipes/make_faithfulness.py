"""The longer measurements of faithfulness, for notebooks 09 and 11, stored as CSV in data/results.

python data/recipes/make_faithfulness.py                  # the bundled model "shapes": about 15 minutes on two cores
python data/recipes/make_faithfulness.py emoji --only randomisation --without rise --stages image_projection text --pairs 12
                                                          # a part, of another; rows and columns not measured now stay

removal.csv          ``nk.faithfulness.removal``: what F loses without an object or a phrase, and each map's sum on it
randomisation.csv    ``nk.faithfulness.randomisation``: ρ of the maps of the true model and of one that is drawn anew in part
suggested_layers.csv the layer that ``nk.suggest_layer`` picks without truth, against those that the truth prefers
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd

import nibkit as nk
from nibkit.io.outputs import written_whole
from nibkit.methods import controls
from nibkit.methods.evidence import surviving
from nibkit.metrics.localisation import named_masks

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "data" / "results"
SEED = 909
ORIGINALS = {
    f"{name} original": functools.partial(nk.METHODS[name], variant="original") for name in ("chefer", "gradcam", "saliency")
}
METHODS = nk.METHODS | {"rise": functools.partial(nk.rise, num_masks=200, num_text_masks=100)} | ORIGINALS
CAPTIONS = ("one", "all", "absent")  # scenes of three objects: one named, all named, one named and one that is not there


def world_of(model: str) -> ModuleType:
    """The synthetic world that a bundled model was trained in."""
    return nk.emoji if model.startswith("emoji") else nk.shapes


def pairs_of(clip: nk.Clip, count: int, captions: str, seed: int = SEED, objects: int = 3) -> tuple[list[nk.Scene], nk.Inputs]:
    """Scenes of the model's world, and the inputs made of them."""
    scenes = world_of(clip.name).sample(count, seed, captions, objects=objects)
    return scenes, clip.prepare([scene.image for scene in scenes], [scene.caption for scene in scenes])


@functools.cache
def methods_of(clip: nk.Clip) -> dict:
    """All methods, and NIB once more: cut at the layers that ``nk.suggest_layer`` finds on pairs that are not measured here."""
    layers = nk.suggest_layer(clip, pairs_of(clip, 100, "all", SEED + 1)[1])
    return METHODS | {"nib suggested": functools.partial(nk.nib, layer=layers)}


def stages_of(clip: nk.Clip) -> dict[str, str | tuple[str, ...]]:
    """What randomisation.csv draws anew, by name: each encoder as a whole, and its cascade from the top down."""
    which: dict[str, str | tuple[str, ...]] = {side: side for side in controls.SIDES}
    for side in controls.SIDES:
        which |= nk.faithfulness.cascade(clip, side, steps=5)
    return which


def removal(clip: nk.Clip, args: argparse.Namespace) -> pd.DataFrame:
    """Rows of removal.csv: all methods, random numbers, and (images) every object alike."""
    tables, count = [], args.pairs or 100
    for captions in CAPTIONS:
        scenes, inputs = pairs_of(clip, count, captions)
        maps = {name: method(clip, inputs) for name, method in methods_of(clip).items() if name not in args.without}
        maps["random"] = controls.random_map(clip, inputs)
        maps["every"] = controls.every_object_map(clip, inputs, np.logical_or(*named_masks(scenes)))
        table = nk.faithfulness.removal(clip, scenes, maps)
        tables.append(table.assign(captions=captions))
    return pd.concat(tables, ignore_index=True)


def randomisation(clip: nk.Clip, args: argparse.Namespace) -> pd.DataFrame:
    """Rows of randomisation.csv: both encoders from the top down, and each as a whole. (Without RISE, which takes too long.)"""
    _, inputs = pairs_of(clip, args.pairs or 24, "two")
    which = {stage: parts for stage, parts in stages_of(clip).items() if stage in (args.stages or stages_of(clip))}
    tables = [
        nk.faithfulness.randomisation(clip, inputs, method, which).assign(method=name)
        for name, method in methods_of(clip).items()
        if name not in ("rise", *args.without)
    ]
    return pd.concat(tables, ignore_index=True)


def suggested_layers(clip: nk.Clip, args: argparse.Namespace) -> pd.DataFrame:
    """Rows of suggested_layers.csv: NIB cut at each layer of both encoders, by truth and without it.

    Pairs that the rule sees are others than those that judge it. average_precision: of the named object's mask (plausibility).
    removal_image, removal_text: ``agreement`` with what F loses, one or all named. present: the share of captions in which the
    phrase that is true of the picture gets more than the one that is not. infidelity_image, infidelity_text: another rule that
    needs no truth would be their minimum (``nk.infidelity``, 40 draws, on the rule's own pairs).
    """
    count = args.pairs or 100
    _, unseen = pairs_of(clip, count, "all", SEED + 1)
    table, picked = surviving(clip, unseen), nk.suggest_layer(clip, unseen)
    table["picked"] = [" ".join(side for side, layer in zip(controls.SIDES, picked) if layer == l) for l in table["layer"]]
    pairs = {captions: pairs_of(clip, count, captions) for captions in CAPTIONS}
    truth = {"average_precision": [], "removal_image": [], "removal_text": [], "present": []}
    truth |= {f"infidelity_{side}": [] for side in controls.SIDES}
    for layer in range(max(clip.image.depth, clip.text.depth)):
        cut = min(layer, clip.image.depth - 1), min(layer, clip.text.depth - 1)
        maps = {captions: nk.nib(clip, inputs, layer=cut) for captions, (_, inputs) in pairs.items()}
        removed = {captions: nk.faithfulness.removal(clip, scenes, maps[captions]) for captions, (scenes, _) in pairs.items()}
        agree = {captions: nk.faithfulness.agreement(table).groupby("side")["map"].mean() for captions, table in removed.items()}
        truth["average_precision"].append(
            nk.localisation(maps["one"], named_masks(pairs["one"][0])[0])["average_precision"].mean()
        )
        truth["removal_image"].append(agree["one"]["image"])
        truth["removal_text"].append(agree["all"]["text"])
        phrases = removed["absent"].query("side == 'text'").pivot(index="pair", columns="named", values="map")
        truth["present"].append((phrases[True] > phrases[False]).mean())
        errors = nk.infidelity(clip, unseen, nk.nib(clip, unseen, layer=cut), draws=40).groupby("side")["infidelity"].mean()
        for side, error in errors.items():
            truth[f"infidelity_{side}"].append(error)
    return table.join(pd.DataFrame(truth))


RUNS = {"removal": removal, "randomisation": randomisation, "suggested_layers": suggested_layers}


KEYS = {  # of each file: what makes a row that row
    "removal": ["model", "captions", "pair", "side", "part"],
    "randomisation": ["model", "stage", "method", "seed", "pair"],
    "suggested_layers": ["model", "layer"],
}


@contextlib.contextmanager
def alone(path: Path) -> Iterator[None]:
    """No other process is in here for this file: one that comes waits. (SQLite's lock: any system has it, it ends with us.)"""
    lock = ROOT / "build" / f"{path.name}.lock"
    lock.parent.mkdir(exist_ok=True)
    with contextlib.closing(sqlite3.connect(lock, timeout=60, isolation_level=None)) as database:
        database.execute("BEGIN EXCLUSIVE")
        yield


def put(path: Path, rows: pd.DataFrame, keys: list[str]) -> None:
    """Rows put in the place of the file's rows of the same keys, new ones at its end; other rows and other columns stay.

    The file is read now, and no other process writes it meanwhile: what others stored since our run began is kept.
    """
    with alone(path):
        old = pd.read_csv(path) if path.is_file() else rows[:0]
        columns = old.columns.union(rows.columns, sort=False)
        old, new = (table.set_index(keys) for table in (old, rows))
        order = old.index.append(new.index.difference(old.index, sort=False))
        new = new.join(old[old.columns.difference(new.columns)])
        table = pd.concat([old[~old.index.isin(new.index)], new]).reindex(order).reset_index()[columns]
        with written_whole(path) as file:
            table.to_csv(file, index=False, float_format="%.4g")


def main() -> None:
    """Make the CSVs that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=["shapes"], help="names of bundled models (default: shapes)")
    parser.add_argument("--only", choices=RUNS, action="append", help="one of the files; may be given again (default: all)")
    parser.add_argument("--without", choices=METHODS, nargs="+", default=[], help="methods that take too long")
    parser.add_argument("--pairs", type=int, help="of each kind of captions (default: 100, for randomisation.csv 24)")
    parser.add_argument("--stages", nargs="+", help="of randomisation.csv, such as image_projection, image, text (default: all)")
    args = parser.parse_args()
    if args.pairs is not None and args.pairs < 1:
        parser.error(f"--pairs {args.pairs}: give 1 or more")
    clips = {model: nk.load_clip(model) for model in args.models}
    for model, clip in clips.items():
        if unknown := set(args.stages or ()) - stages_of(clip).keys():
            parser.error(f"--stages {' '.join(sorted(unknown))}: the stages of {model} are {', '.join(stages_of(clip))}")
    for model, clip in clips.items():
        for name in args.only or RUNS:
            table = RUNS[name](clip, args)
            table.insert(0, "model", model)
            put(RESULTS / f"{name}.csv", table, KEYS[name])
            print(f"{name}.csv: {len(table)} rows of {model}")


if __name__ == "__main__":
    main()
