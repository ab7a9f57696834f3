"""Measure the bundled models on scenes that they have not seen, and write their cards.

    python data/recipes/evaluate_clip.py            # all, some minutes each on two cores; or names: emoji shapes …

Every figure of a card comes from here; its words, from data/recipes/model-card.md.
"""

from __future__ import annotations

import argparse
import csv
import string
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional as nnf
from tqdm import tqdm

import nibkit as nk
from nibkit.data import emoji, shapes
from nibkit.data.scenes import Scene

DATA = Path(__file__).resolve().parents[1]
SEED = 424242
LAYERS = (3, 6, 9)


def embed(clip: nk.Clip, images: list, captions: list[str]) -> tuple[torch.Tensor, torch.Tensor]:
    """Normalised image and text features."""
    inputs = clip.prepare(images, captions)
    return nnf.normalize(clip.encode_image(inputs), dim=-1), nnf.normalize(clip.encode_text(inputs), dim=-1)


def true_of(phrases: tuple[str, ...], scene: Scene) -> bool:
    """Is everything that the caption names in the picture?"""
    return set(phrases) <= {thing.phrase for thing in scene.objects}


def retrieval(clip: nk.Clip, world: Any, batches: int = 8, size: int = 128) -> dict[str, float]:
    """Full captions of scenes of two or three things, in batches of 128.

    strict: the pair's own partner comes first; true: whatever comes first is truly described (the caption of two things is also
    true of a picture that has these two and a third one).
    """
    hits: dict[str, list] = {"i2t": [], "t2i": [], "t2i_true": []}
    scenes = world.sample(batches * size, SEED, objects=(2, 3))
    for i in tqdm(range(0, len(scenes), size), desc="retrieval"):
        part = scenes[i : i + size]
        image, text = embed(clip, [s.image for s in part], [s.caption for s in part])
        cosine = (image @ text.T).cpu().numpy()
        hits["i2t"] += list(cosine.argmax(1) == np.arange(size))
        hits["t2i"] += list(cosine.argmax(0) == np.arange(size))
        hits["t2i_true"] += [true_of(s.phrases, part[j]) for s, j in zip(part, cosine.argmax(0))]
    return {name: float(np.mean(values)) for name, values in hits.items()}


def wrong_phrases(world: Any, thing: Any) -> dict[str, list[str]]:
    """What may stand falsely in a thing's place, by kind."""
    if world is shapes:
        return {
            "colour": [shapes.phrase(color, thing.shape) for color in shapes.COLORS],
            "shape": [shapes.phrase(thing.color, shape) for shape in shapes.SHAPES],
            "absent": list(shapes.phrases()),
        }
    kind = thing.name.split()
    recoloured = [emoji.phrase(name) for name in emoji.NAMES if len(kind) == 2 and name.endswith(f" {kind[1]}")]
    return {"colour": recoloured, "absent": list(emoji.phrases())}


def told_apart(clip: nk.Clip, world: Any, count: int = 1024) -> dict[str, float]:
    """How often the true caption is more similar than one that is false in one thing, by kind of falsehood."""
    rng = np.random.default_rng(SEED)
    false: dict[str, list] = {}
    scenes = world.sample(count, SEED + 1, objects=(1, 3))
    for i, scene in enumerate(scenes):
        present = {thing.phrase for thing in scene.objects}
        where = int(rng.integers(len(scene.phrases)))
        for kind, phrases in wrong_phrases(world, scene.objects[scene.named[where]]).items():
            if choices := [p for p in phrases if p not in present]:
                wrong = list(scene.phrases)
                wrong[where] = str(rng.choice(choices))
                false.setdefault(kind, []).append((i, " and ".join(wrong)))
    images = [s.image for s in scenes]
    image, right = embed(clip, images, [s.caption for s in scenes])
    shares = {}
    for kind, found in false.items():
        rows, captions = zip(*found)
        wrong = nnf.normalize(clip.encode_text(clip.prepare([images[0]] * len(captions), list(captions))), dim=-1)
        picture = image[list(rows)]
        shares[kind] = float(((picture * right[list(rows)]).sum(-1) > (picture * wrong).sum(-1)).float().mean())
    return shares


def maps(clip: nk.Clip, world: Any, layer: int, count: int = 300) -> dict[str, float]:
    """NIB's map (ten right-Riemann steps) against the masks, one of three things named; and the words of a present, an absent."""
    scenes = world.sample(count, SEED + 2, captions="one", objects=3)
    attribution = nk.nib(clip, clip.prepare([s.image for s in scenes], [s.caption for s in scenes]), layer=layer)
    beats, points = [], []
    for values, scene in zip(attribution.heatmap(224, normalize=None).cpu().numpy(), scenes):
        beats.append(int(np.argmax([values[mask].mean() for mask in scene.masks])) == scene.named[0])
        points.append(bool(scene.masks[scene.named[0]].flat[values.argmax()]))
    absent = world.sample(count, SEED + 3, captions="absent", objects=(2, 3))
    attribution = nk.nib(clip, clip.prepare([s.image for s in absent], [s.caption for s in absent]), layer=layer)
    above = []
    for i, scene in enumerate(absent):
        values, first = [value for _, value in attribution.words_of(i)], len(scene.phrases[0].split())
        both = float(np.sum(values[:first])), float(np.sum(values[first + 1 :]))
        missing = scene.named.index(None)
        above.append(both[1 - missing] > both[missing])
    chance = float(np.mean([s.masks[s.named[0]].mean() for s in scenes]))
    return {"beats": float(np.mean(beats)), "points": float(np.mean(points)), "above": float(np.mean(above)), "chance": chance}


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A markdown table."""
    return "\n".join("| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *rows])


def curve(folder: Path) -> str:
    """The training log as a table."""
    with (folder / "training.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["i2t"]]
    percent = lambda value: f"{100 * float(value):.1f} %"  # noqa: E731
    lines = [[row["step"], row.get("match") or row["loss"], *map(percent, (row["i2t"], row["t2i"], row["told"]))] for row in rows]
    return table(["step", "contrastive loss", "picture → caption", "caption → picture", "true above false caption"], lines)


def write_card(name: str) -> None:
    """Measure one model and fill in its card."""
    folder, clip = DATA / f"{name}-clip", nk.load_clip(name)
    world, percent = (nk.emoji if name == "emoji" else nk.shapes), lambda value: f"{100 * value:.1f} %"
    found, told = retrieval(clip, world), told_apart(clip, world)
    good = [
        ["retrieval in batches of 128, full captions of two or three things: picture → caption", percent(found["i2t"])],
        ["caption → picture, its own picture first", percent(found["t2i"])],
        ["caption → picture, a picture that it truly describes first", percent(found["t2i_true"])],
    ]
    names = {"colour": "with a wrong colour", "shape": "with a wrong shape", "absent": "with an absent thing for a present one"}
    good += [[f"true caption above one {names[kind]}", percent(share)] for kind, share in told.items()]
    by_layer = {layer: maps(clip, world, layer) for layer in LAYERS}
    rows = [[str(layer), *(percent(by[key]) for key in ("beats", "points", "above"))] for layer, by in by_layer.items()]
    rows.append(["chance", percent(1 / 3), percent(by_layer[9]["chance"]), percent(1 / 2)])
    sections = (DATA / "recipes" / "model-card.md").read_text(encoding="utf-8").split("\n<!-- ")
    texts = dict(part.split(" -->\n", 1) for part in sections[1:])
    card = string.Template(sections[0]).substitute(
        name=name,
        what=texts[f"{name}: what"].strip(),
        words=texts[f"{world.__name__.rpartition('.')[2]}: words"].strip(),
        training=texts[f"{name}: training"].strip(),
        size=f"{(folder / 'model.safetensors').stat().st_size / 1e6:.1f} MB",
        parameters=f"{sum(p.numel() for p in clip.model.parameters()) / 1e6:.2f} million",
        good=table(["", "measured"], good),
        maps=table(["layer", "mean on the named of three things highest", "maximum on it", "present above absent phrase"], rows),
        curve=curve(folder),
    )
    (folder / "README.md").write_text(card, encoding="utf-8")
    print(card)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=list(nk.MODELS))
    for chosen in parser.parse_args().names:
        write_card(chosen)
