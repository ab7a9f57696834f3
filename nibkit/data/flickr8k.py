"""Flickr8k is by Hodosh, Young and Hockenmaier (2013), University of Illinois, on request from the page of "Framing Image
Description as a Ranking Task"; a copy is on Kaggle (adityajn105/flickr8k). Lay it out in one of these ways:
    folder/                                     folder/
    ├── captions.txt    (image,caption)         ├── Flickr8k.token.txt    (name.jpg#0, tab, caption)
    └── Images/                                 └── Flicker8k_Dataset/
        └── 1000268201_693b08cb0e.jpg               └── 1000268201_693b08cb0e.jpg
"""

from __future__ import annotations

import csv
import itertools
import os
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
from torch.nn import functional as nnf

from ..checks import check_choice, check_whole
from ..model.captions import check_captions, tokenize
from ..model.clip import Clip
from ..model.inputs import Inputs
from .files import finder, first_there, read_lines, refuser
from .pairs import Pair, Pairs, Refuse, Skipped, fault, pair_of, shuffled


def flickr8k(
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
    """Flickr8k (Hodosh et al., 2013): photographs with five captions each.

    Args:
        path: the folder with ``Images`` and captions.txt (a CSV table with the header image,caption: Kaggle's), or with
            ``Flicker8k_Dataset`` and Flickr8k.token.txt (the original).
        caption: 0 … 4, the caption of this number; "closest", the one with the highest cosine similarity to its own picture (the
            paper's choice; captions with more tokens than the model reads are left out); "all", a pair for each.
        clip: the model, for "closest".
        split: "train", "dev" or "test", as in the original's Flickr_8k.testImages.txt; None: all pictures.
        limit, seed, check, outside: see the module ``datasets``.

    A pair's id is the original's, "1000268201_693b08cb0e.jpg#0". The original lists captions of 2258277193_586949ec62.jpg.1,
    which is not among the pictures: it is skipped.

    Raises FileNotFoundError if something is missing, saying where to get it and how to lay it out; ValueError on other options.
    """
    limit, seed = check_whole("limit", limit, optional=True), check_whole("seed", seed, least=0, optional=True)
    caption = check_caption(caption, clip)
    root = Path(path).expanduser()
    table = first_there(root, __doc__, "captions.txt", "Flickr8k.token.txt", "Flickr8k_text/Flickr8k.token.txt")
    folders = "Images", "images", "Flicker8k_Dataset", "Flickr8k_Dataset/Flicker8k_Dataset", "Flickr8k_Dataset"
    images = first_there(root, __doc__, *folders)
    captions, damaged = _read_captions(table)
    if split is not None:
        names = f"Flickr_8k.{split}Images.txt", f"Flickr8k_text/Flickr_8k.{split}Images.txt"
        listed = (line.strip() for _, line in read_lines(first_there(root, __doc__, *names)))
        captions = {name: captions.get(name, {}) for name in listed}
    refuse, chosen = refuser(outside, images), shuffled(captions.items(), seed)
    rows = choose_captions(((name, texts, {}) for name, texts in chosen), images, caption, clip, refuse)
    return Pairs("Flickr8k", itertools.chain(damaged, rows), limit=limit, check=check, hint=__doc__)


def _read_captions(table: Path) -> tuple[dict[str, dict[int, str]], list[Skipped]]:
    """{picture: {number: caption}}, and the damaged rows. Kaggle's commas in captions may be quoted or not.

    Each line is read alone, so that a quote that is never closed damages no other row.
    """
    captions: dict[str, dict[int, str]] = {}
    damaged = []
    kaggle = table.name == "captions.txt"
    for number, line in read_lines(table):
        try:
            name, *cells = next(csv.reader([line])) if kaggle else re.split(r"#(\d{1,9})\t", line, maxsplit=1)
        except csv.Error as error:  # a field of over 131,072 characters
            damaged.append(Skipped(f"line {number}", f"damaged row: {error}"))
            continue
        if not cells:
            damaged.append(Skipped(f"line {number}", "damaged row: neither name,caption nor name#0, tab, caption"))
        elif not (kaggle and number == 1 and name.strip().lower() == "image"):
            texts = captions.setdefault(name.strip(), {})
            k = len(texts) if kaggle else int(cells.pop(0))
            if k in texts:
                damaged.append(Skipped(f"{name}#{k}", "duplicate id: an earlier line has it"))
            texts.setdefault(k, ",".join(cells))
    return captions, damaged


def check_caption(caption: object, clip: Clip | None) -> int | str:
    """0 … 4, "all" or "closest". ValueError if it is none of them, or "closest" without a model."""
    if caption == "closest" and not isinstance(clip, Clip):
        raise ValueError('caption="closest" compares captions and pictures: give the model, clip=nk.load_clip(…)')
    if isinstance(caption, str):
        return check_choice("caption, if no number,", caption, ("all", "closest"))
    return check_whole('caption, if not "all" or "closest",', caption, 0, 4)


def choose_captions(
    rows: Iterable[tuple[str, Mapping[int, str], Mapping]],
    images: Path,
    caption: int | str,
    clip: Clip | None,
    refuse: Refuse,
) -> Iterator[Pair | Skipped]:
    """The pairs of rows (picture, {number: caption}, info): of a row one, or with caption="all" one for each of its captions."""
    find = finder(images)
    for name, texts, info in rows:
        picture = find(name)
        if picture is None:
            yield Skipped(name, f"missing picture: {name}")
        elif reason := refuse(picture):
            yield Skipped(name, reason)
        elif not texts:
            yield Skipped(name, "empty caption: there is none")
        elif clip is not None and caption == "closest":
            yield _closest(clip, name, picture, texts, info)
        else:
            for k in sorted(texts) if caption == "all" else [int(caption)]:
                yield pair_of(f"{name}#{k}", picture, texts.get(k), info)


def _closest(clip: Clip, name: str, picture: Path, texts: Mapping[int, str], info: Mapping) -> Pair | Skipped:
    """The picture with the caption of the highest cosine to it; of equals, the first."""
    if reason := fault(picture):
        return Skipped(name, reason)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # words that the model does not know: whoever explains the pair is warned of them
        readable = [k for k in sorted(texts) if isinstance(texts[k], str) and _fits(clip, texts[k])]
        if not readable:
            return Skipped(name, "empty caption: there is none that the model can read")
        image = clip.prepare(picture, texts[readable[0]])
        tokens = tokenize([texts[k].strip() for k in readable], clip.tokenizer)
    text = Inputs(image.pixel_values.expand(len(readable), -1, -1, -1), *tokens)  # the text encoder looks at no picture
    cosines = nnf.cosine_similarity(clip.encode_image(image), clip.encode_text(text), dim=-1)
    k = readable[int(np.argmax(cosines.tolist()))]
    return pair_of(f"{name}#{k}", picture, texts[k], info)


def _fits(clip: Clip, caption: str) -> bool:
    """Can the model read it?"""
    try:
        check_captions([caption], clip.tokenizer, clip.text.positions)
    except ValueError:
        return False
    return True
