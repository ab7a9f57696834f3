"""Measure the bundled model on scenes that it has not seen, and write its card.

    python data/recipes/evaluate_shapes_clip.py            # about two minutes on two cores; writes data/shapes-clip/README.md

Every figure of the card comes from here.
"""

from __future__ import annotations

import csv
import string
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as nnf
from tqdm import tqdm

import nibkit as nk
from nibkit.data.scenes import Scene
from nibkit.data.shapes import COLORS, SHAPES, phrase

FOLDER = Path(__file__).resolve().parents[1] / "shapes-clip"
SEED = 424242


def embed(clip: nk.Clip, images: list, captions: list[str]) -> tuple[torch.Tensor, torch.Tensor]:
    """Normalised image and text features."""
    inputs = clip.prepare(images, captions)
    return nnf.normalize(clip.encode_image(inputs), dim=-1), nnf.normalize(clip.encode_text(inputs), dim=-1)


def true_of(caption_phrases: tuple[str, ...], scene: Scene) -> bool:
    """Is everything that the caption names in the picture?"""
    return set(caption_phrases) <= {thing.phrase for thing in scene.objects}


def retrieval(clip: nk.Clip, batches: int = 8, size: int = 128) -> dict[str, float]:
    """Full captions of scenes of two or three shapes, in batches of 128.

    strict: the pair's own partner comes first; true: whatever comes first is truly described (the caption of two shapes is also
    true of a picture that has these two and a third one).
    """
    hits = {"i2t": [], "t2i": [], "t2i_true": []}
    scenes = nk.shapes.sample(batches * size, SEED, objects=(2, 3))
    for i in tqdm(range(0, len(scenes), size), desc="retrieval"):
        part = scenes[i : i + size]
        image, text = embed(clip, [s.image for s in part], [s.caption for s in part])
        cosine = (image @ text.T).cpu().numpy()
        hits["i2t"] += list(cosine.argmax(1) == np.arange(size))
        hits["t2i"] += list(cosine.argmax(0) == np.arange(size))
        hits["t2i_true"] += [true_of(s.phrases, part[j]) for s, j in zip(part, cosine.argmax(0))]
    return {name: float(np.mean(values)) for name, values in hits.items()}


def told_apart(clip: nk.Clip, count: int = 1024) -> dict[str, float]:
    """How often the true caption is more similar than one with a wrong colour, a wrong shape, or an absent object."""
    rng = np.random.default_rng(SEED)
    scenes = nk.shapes.sample(count, SEED + 1, objects=(1, 3))
    false = {"color": [], "shape": [], "absent": []}
    for scene in scenes:
        present = {thing.phrase for thing in scene.objects}
        where = int(rng.integers(len(scene.phrases)))
        thing = scene.objects[scene.named[where]]
        options = {
            "color": [phrase(c, thing.shape) for c in COLORS],
            "shape": [phrase(thing.color, s) for s in SHAPES],
            "absent": [phrase(c, s) for c in COLORS for s in SHAPES],
        }
        for kind, phrases in options.items():
            wrong = list(scene.phrases)
            wrong[where] = str(rng.choice([p for p in phrases if p not in present]))
            false[kind].append(" and ".join(wrong))
    images = [s.image for s in scenes]
    image, right = embed(clip, images, [s.caption for s in scenes])
    shares = {}
    for kind, captions in false.items():
        wrong = nnf.normalize(clip.encode_text(clip.prepare([images[0]] * count, captions)), dim=-1)
        shares[kind] = float(((image * right).sum(-1) > (image * wrong).sum(-1)).float().mean())
    return shares


def maps(clip: nk.Clip, count: int = 500) -> dict[str, float]:
    """The default NIB map (layer 9, ten right-Riemann steps) against the masks, one of three shapes named; and the words."""
    scenes = nk.shapes.sample(count, SEED + 2, captions="one", objects=3)
    attribution = nk.nib(clip, clip.prepare([s.image for s in scenes], [s.caption for s in scenes]), progress=True)
    beats, points = [], []
    for values, scene in zip(attribution.heatmap(224, normalize=None).cpu().numpy(), scenes):
        beats.append(int(np.argmax([values[mask].mean() for mask in scene.masks])) == scene.named[0])
        points.append(bool(scene.masks[scene.named[0]].flat[values.argmax()]))
    scenes = nk.shapes.sample(count, SEED + 3, captions="absent", objects=(2, 3))
    attribution = nk.nib(clip, clip.prepare([s.image for s in scenes], [s.caption for s in scenes]), progress=True)
    above = []
    for i, scene in enumerate(scenes):
        values = [value for _, value in attribution.words_of(i)]
        phrases = (sum(values[0:3]), sum(values[4:7]))
        absent = scene.named.index(None)
        above.append(phrases[1 - absent] > phrases[absent])
    chance = float(np.mean([s.masks[s.named[0]].mean() for s in nk.shapes.sample(200, SEED + 2, captions="one", objects=3)]))
    return {"beats": float(np.mean(beats)), "points": float(np.mean(points)), "above": float(np.mean(above)), "chance": chance}


def curve() -> str:
    """The training log as a table, every 200 steps."""
    with (FOLDER / "training.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["i2t"]]
    lines = ["| step | loss | picture → caption | caption → picture | true above false caption |", "|---|---|---|---|---|"]
    for row in rows:
        shares = (f"{100 * float(row[name]):.1f} %" for name in ("i2t", "t2i", "told"))
        lines.append(f"| {row['step']} | {float(row['loss']):.2f} | {' | '.join(shares)} |")
    return "\n".join(lines)


def main() -> None:
    """Measure everything and fill in the card."""
    clip = nk.load_clip("shapes")
    figures = retrieval(clip) | told_apart(clip) | maps(clip)
    texts = {name: f"{100 * value:.1f} %" for name, value in figures.items()}
    texts |= {"curve": curve(), "size": f"{(FOLDER / 'model.safetensors').stat().st_size / 1e6:.1f} MB"}
    texts["parameters"] = f"{sum(p.numel() for p in clip.model.parameters()) / 1e6:.2f} million"
    card = string.Template((Path(__file__).parent / "shapes-clip-card.md").read_text(encoding="utf-8")).substitute(texts)
    (FOLDER / "README.md").write_text(card, encoding="utf-8")
    for name, value in figures.items():
        print(f"{name:10s} {value:.3f}")


if __name__ == "__main__":
    main()
