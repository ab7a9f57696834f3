"""RSICD, aerial photographs with five captions each; part of ``nk.datasets``, which has the common options."""

from __future__ import annotations

import itertools
import json
import os
from pathlib import Path

from ..model.clip import Clip
from .files import Finder, first_there, missing
from .flickr8k import _one_of_several, check_caption
from .pairs import Pairs, Skipped, check_options, shuffled

RSICD = """\
RSICD is by Lu, Wang, Zheng and Li (2017); the links are in their repository on GitHub, 201528014227051/RSICD_optimal.
Lay it out so:
    folder/
    ├── dataset_rsicd.json
    └── RSICD_images/
        └── airport_1.jpg"""


def rsicd(
    path: str | os.PathLike,
    caption: int | str = 0,
    *,
    clip: Clip | None = None,
    split: str | None = None,
    limit: int | None = None,
    seed: int | None = None,
    check: bool = True,
) -> Pairs:
    """RSICD (Lu et al., 2017): 10,921 aerial photographs with five captions each, some of them repeated.

    Args:
        path: the folder with dataset_rsicd.json and ``RSICD_images``.
        caption, clip: as of ``flickr8k``.
        split: "train", "val" or "test", as the JSON file has it; None: all pictures.

    A pair's id is "airport_1.jpg#0"; ``info`` has "split".

    Raises FileNotFoundError if something is missing, saying where to get it and how to lay it out; ValueError on other options or
    a damaged JSON file.
    """
    check_options(limit=limit, seed=seed)
    check_caption(caption, clip)
    root = Path(path).expanduser()
    table = first_there(root, "dataset_rsicd.json", "annotations_rsicd/dataset_rsicd.json")
    images = first_there(root, "RSICD_images/RSICD_images", "RSICD_images")
    if table is None:
        raise missing("RSICD", path, "there is no dataset_rsicd.json", RSICD)
    if images is None:
        raise missing("RSICD", path, "the folder with the pictures is not there", RSICD)
    captions, splits, twice = _entries(table)
    if split is not None:
        if split not in splits.values():
            raise ValueError(f"there is no split {split!r}, only {', '.join(sorted(map(str, set(splits.values()))))}")
        captions = {name: texts for name, texts in captions.items() if splits[name] == split}
    info = {name: {"split": of} for name, of in splits.items()}
    rows = _one_of_several(shuffled(captions.items(), seed), Finder(images), caption, clip, limit, info)
    return Pairs("RSICD", itertools.chain(twice, rows), limit=limit, check=check, hint=RSICD)


def _entries(table: Path) -> tuple[dict[str, dict[int, str]], dict[str, str | None], list[Skipped]]:
    """The same of dataset_rsicd.json, with {picture: split} in between."""
    captions, splits, twice = {}, {}, []
    try:
        for entry in json.loads(table.read_text(encoding="utf-8-sig"))["images"]:
            name = entry["filename"]
            if name in captions:
                twice.append(Skipped(name, "duplicate id: an earlier entry has it"))
            else:
                captions[name] = {k: sentence.get("raw") for k, sentence in enumerate(entry.get("sentences") or [])}
                splits[name] = entry.get("split")
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        what = f"{type(error).__name__}: {error}"
        raise ValueError(f"{table} is damaged, or of another layout ({what}): download it again") from error
    return captions, splits, twice
