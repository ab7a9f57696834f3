"""RSICD is by Lu, Wang, Zheng and Li (2017); the links are in their repository on GitHub, 201528014227051/RSICD_optimal.
Lay it out so:
    folder/
    ├── dataset_rsicd.json
    └── RSICD_images/
        └── airport_1.jpg
"""

from __future__ import annotations

import itertools
import os
from pathlib import Path

from ..checks import check_whole, listed
from ..model.clip import Clip
from .files import first_there, read_json, refuser
from .flickr8k import check_caption, choose_captions
from .pairs import Pairs, Skipped, shuffled


def rsicd(
    path: str | os.PathLike[str],
    caption: int | str = 0,
    *,
    clip: Clip | None = None,
    split: str | None = None,
    limit: int | None = None,
    seed: int | None = None,
    check: bool = True,
    outside: bool = False,
) -> Pairs:
    """RSICD (Lu et al., 2017): 10,921 aerial photographs with five captions each, some of them repeated.

    Args:
        path: the folder with dataset_rsicd.json and ``RSICD_images``.
        caption, clip: as of ``flickr8k``.
        split: "train", "val" or "test", as the JSON file has it; None: all pictures.
        limit, seed, check, outside: see the module ``datasets``.

    A pair's id is "airport_1.jpg#0"; ``info`` has "split".

    Raises FileNotFoundError if something is missing, saying where to get it and how to lay it out; ValueError on other options or
    a damaged JSON file.
    """
    limit, seed = check_whole("limit", limit, optional=True), check_whole("seed", seed, least=0, optional=True)
    caption = check_caption(caption, clip)
    root = Path(path).expanduser()
    table = first_there(root, __doc__, "dataset_rsicd.json", "annotations_rsicd/dataset_rsicd.json")
    images = first_there(root, __doc__, "RSICD_images/RSICD_images", "RSICD_images")
    rows: dict[str, tuple[str, dict[int, str], dict]] = {}
    twice = []
    try:
        for entry in read_json(table.read_text(encoding="utf-8-sig"))["images"]:
            texts = {k: sentence.get("raw") for k, sentence in enumerate(entry.get("sentences") or [])}
            row = entry["filename"], texts, {"split": entry.get("split")}
            if rows.setdefault(row[0], row) is not row:
                twice.append(Skipped(row[0], "duplicate id: an earlier entry has it"))
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise ValueError(f"{table} is damaged, or of another layout ({reason}): download it again") from error
    splits = {info["split"] for _, _, info in rows.values()}
    if split is not None and split not in splits:
        raise ValueError(f"there is no split {split!r}, only {listed(sorted(map(str, splits)))}")
    chosen = [row for row in rows.values() if split in (None, row[2]["split"])]
    pairs = choose_captions(shuffled(chosen, seed), images, caption, clip, refuser(outside, images))
    return Pairs("RSICD", itertools.chain(twice, pairs), limit=limit, check=check, hint=__doc__)
