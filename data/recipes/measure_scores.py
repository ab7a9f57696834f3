"""What the metrics of notebook 09 say of every method on every bundled model: data/results/model_scores.csv, a row per pair.

    python data/recipes/measure_scores.py               # all bundled models: about 20 minutes on one core

The methods of ``make_faithfulness.py`` (the paper's eight as the paper used them, "chefer", and where it differs as their authors
published them, "chefer original"; NIB also cut where ``nk.suggest_layer`` says, "nib suggested"), FastIG's original, the three of
``nk.BEYOND``, and as controls random numbers and ones. RISE has 200 masks for a picture (the paper 6000, benchmark.csv 500) and
100 for a caption; M2IB and MFABA have all their steps. MFABA's original needs a label, which CLIP has not: left out.
Pairs come in blocks, each for all models and methods. Blocks that are there already are kept; a run that is stopped goes on.
Several processes may run at once, each for other models: none loses what another one has stored.

Columns
    model, method, pair     the pair's number in either sample of scenes below
    image_insertion_auc, image_deletion_auc, text_insertion_auc, text_deletion_auc, image_drop, image_increase,
    text_drop_PROTOCOL, text_increase_PROTOCOL (of "paper", "eos", "m2ib"), average_precision
                            of the scenes of ``measure_models.py``: two or three things, captions that name some of them
    true_above_absent       of the scenes of ``removal.csv``: three things, a caption of two phrases, one of them false; 1 if the
                            map's sum on the true phrase is the larger one, else 0
"""

from __future__ import annotations

import argparse
import functools
import itertools
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from make_faithfulness import methods_of, pairs_of, put, world_of
from measure_models import SEED
from tqdm import tqdm

import nibkit as nk
from nibkit.methods import controls
from nibkit.metrics.localisation import average_precision, named_masks
from nibkit.metrics.names import PROTOCOLS

FILE = Path(__file__).resolve().parents[2] / "data" / "results" / "model_scores.csv"
KEYS = ["model", "method", "pair"]
PAIRS, BLOCK = 40, 10
STEPS = 7  # of a picture's curves, as in benchmark.csv
Explain = Callable[[nk.Clip, nk.Inputs], nk.Attribution]


@functools.cache
def callables(clip: nk.Clip) -> dict[str, Explain]:
    """What is measured, by label."""
    more = {"fastig original": functools.partial(nk.fastig, variant="original"), **nk.BEYOND}
    return methods_of(clip) | more | {"random": controls.random_map, "ones": controls.ones_map}


@functools.cache
def samples(clip: nk.Clip) -> tuple[list[nk.Scene], nk.Inputs, list[nk.Scene], nk.Inputs]:
    """Both samples of scenes, each with the inputs made of it."""
    some = world_of(clip.name).sample(PAIRS, SEED, captions="some", objects=(2, 3))
    inputs = clip.prepare([scene.image for scene in some], [scene.caption for scene in some])
    return some, inputs, *pairs_of(clip, PAIRS, "absent")


def measure(clip: nk.Clip, label: str, pairs: Sequence[int] = range(PAIRS)) -> pd.DataFrame:
    """The rows of one method and these pairs."""
    pairs = np.asarray(pairs)
    some, inputs, absent, two = samples(clip)
    some, inputs = [some[i] for i in pairs], inputs[pairs]
    absent, two = [absent[i] for i in pairs], two[pairs]
    explain = callables(clip)[label]
    att = explain(clip, inputs)
    table = nk.insertion_deletion(clip, inputs, att, steps=STEPS)
    for protocol in PROTOCOLS:
        scores = nk.confidence(clip, inputs, att, protocol=protocol)
        for name in ("image_drop", "image_increase"):
            table[name] = scores[name]  # the same under all protocols
        for name in ("text_drop", "text_increase"):
            table[f"{name}_{protocol}"] = scores[name]
    table["average_precision"] = average_precision(att, named_masks(some)[0])
    if label.startswith("rise"):
        explain = functools.partial(explain, num_masks=1)  # the pictures' masks don't touch the words
    sums = nk.faithfulness.phrase_sums(two, explain(clip, two), absent)
    true = [[number is not None for number in scene.named] for scene in absent]
    table["true_above_absent"] = [float(s[t].item() > s[~t].item()) for s, t in zip(sums, np.array(true))]
    table.insert(0, "pair", pairs)
    table.insert(0, "method", label)
    table.insert(0, "model", clip.name)
    return table


def main() -> None:
    """Measure and store."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=list(nk.MODELS), help="names of bundled models (default: all)")
    clips = [nk.load_clip(model) for model in parser.parse_args().models]
    for start, clip in itertools.product(range(0, PAIRS, BLOCK), clips):
        for label in tqdm(callables(clip), desc=f"{clip.name}, pairs from {start}"):
            table = pd.read_csv(FILE) if FILE.is_file() else pd.DataFrame(columns=KEYS)
            if ((table["model"] == clip.name) & (table["method"] == label) & (table["pair"] == start)).any():
                continue
            put(FILE, measure(clip, label, range(start, start + BLOCK)), KEYS)


if __name__ == "__main__":
    main()
