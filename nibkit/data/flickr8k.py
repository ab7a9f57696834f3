"""Flickr8k, photographs with five captions each, and the choice among several; part of ``nk.datasets``."""

from __future__ import annotations

import csv
import itertools
import os
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from torch.nn import functional as nnf

from ..model.captions import check_captions, tokenize
from ..model.clip import Clip
from ..model.inputs import Inputs
from .files import Finder, first_there, lines, missing
from .pairs import UNREADABLE, Pair, Pairs, Skipped, check_options, pair_of, shuffled

FLICKR8K = """\
Flickr8k is by Hodosh, Young and Hockenmaier (2013), University of Illinois, on request from the page of "Framing Image
Description as a Ranking Task"; a copy is on Kaggle (adityajn105/flickr8k). Lay it out in one of these ways:
    folder/                                     folder/
    ├── captions.txt    (image,caption)         ├── Flickr8k.token.txt    (name.jpg#0, tab, caption)
    └── Images/                                 └── Flicker8k_Dataset/
        └── 1000268201_693b08cb0e.jpg               └── 1000268201_693b08cb0e.jpg"""


def flickr8k(
    path: str | os.PathLike,
    caption: int | str = 0,
    *,
    clip: Clip | None = None,
    split: str | None = None,
    limit: int | None = None,
    seed: int | None = None,
    check: bool = True,
) -> Pairs:
    """Flickr8k (Hodosh et al., 2013): photographs with five captions each.

    Args:
        path: the folder with ``Images`` and captions.txt (a CSV table with the header image,caption: Kaggle's), or with
            ``Flicker8k_Dataset`` and Flickr8k.token.txt (the original).
        caption: 0 … 4, the caption of this number; "closest", the one with the highest cosine similarity to its own picture (the
            paper's choice; captions with more tokens than the model reads are left out); "all", a pair for each.
        clip: the model, for "closest".
        split: "train", "dev" or "test", as in the original's Flickr_8k.testImages.txt; None: all pictures.

    A pair's id is the original's, "1000268201_693b08cb0e.jpg#0". The original lists captions of 2258277193_586949ec62.jpg.1,
    which is not among the pictures: it is skipped.

    Raises FileNotFoundError if something is missing, saying where to get it and how to lay it out; ValueError on other options.
    """
    check_options(limit=limit, seed=seed)
    check_caption(caption, clip)
    root = Path(path).expanduser()
    table = first_there(root, "captions.txt", "Flickr8k.token.txt", "Flickr8k_text/Flickr8k.token.txt")
    images = first_there(root, "Images", "images", "Flicker8k_Dataset", "Flickr8k_Dataset/Flicker8k_Dataset", "Flickr8k_Dataset")
    if table is None:
        raise missing("Flickr8k", path, "there is neither captions.txt nor Flickr8k.token.txt", FLICKR8K)
    if images is None:
        raise missing("Flickr8k", path, "the folder with the pictures is not there", FLICKR8K)
    captions, damaged = (_kaggle if table.name == "captions.txt" else _tokens)(table)
    if split is not None:
        file = first_there(root, f"Flickr_8k.{split}Images.txt", f"Flickr8k_text/Flickr_8k.{split}Images.txt")
        if file is None:
            raise missing("Flickr8k", path, f"there is no Flickr_8k.{split}Images.txt, which lists the split {split!r}", FLICKR8K)
        captions = {name: captions.get(name, {}) for name in (line.strip() for _, line in lines(file))}
    rows = _one_of_several(shuffled(captions.items(), seed), Finder(images), caption, clip, limit)
    return Pairs("Flickr8k", itertools.chain(damaged, rows), limit=limit, check=check, hint=FLICKR8K)


# --- which of several captions ----------------------------------------------------------------------------------------


def check_caption(caption: int | str, clip: Clip | None) -> None:
    """ValueError if it is no number of 0 … 4, nor "all", nor "closest" with a model."""
    number = isinstance(caption, int) and not isinstance(caption, bool) and 0 <= caption <= 4
    if not number and caption not in ("all", "closest"):
        raise ValueError(f'caption must be a number of 0 … 4, "closest" or "all"; got {caption!r}')
    if caption == "closest" and not isinstance(clip, Clip):
        raise ValueError('caption="closest" compares captions and pictures: give the model, clip=nk.load_clip(…)')


def _one_of_several(
    rows: Iterable[tuple[str, Mapping[int, str]]],
    find: Finder,
    caption: int | str,
    clip: Clip | None,
    limit: int | None,
    info: Mapping | None = None,
) -> Iterator[Pair | Skipped]:
    """The pairs of rows (picture, {number: caption})."""
    found = ((name, find(name), texts, (info or {}).get(name, {})) for name, texts in rows)
    if caption == "closest":
        while batch := list(itertools.islice(found, min(limit or 16, 16))):
            yield from closest(clip, batch)
        return
    for name, file, texts, more in found:
        if file is None:
            yield Skipped(name, f"missing picture: {name}")
        elif not texts:
            yield Skipped(name, "empty caption: there is none")
        else:
            for k in sorted(texts) if caption == "all" else [caption]:
                yield pair_of(f"{name}#{k}", file, texts.get(k), info=more)


def closest(clip: Clip, batch: list[tuple[str, Path | None, Mapping[int, str], Mapping]]) -> list[Pair | Skipped]:
    """Each picture (name, file, {number: caption}, info) with the caption of the highest cosine to it; of equals, the first."""
    found: list[Pair | Skipped] = []
    pictures, choices, owners = [], [], []
    for name, file, texts, more in batch:
        texts = {k: texts[k].strip() for k in sorted(texts) if isinstance(texts[k], str) and _fits(clip, texts[k])}
        pair = pair_of(name, file, next(iter(texts.values()), None), info=more)
        if file is None:
            pair = Skipped(name, f"missing picture: {name}")
        elif not texts:
            pair = Skipped(name, "empty caption: there is none that the model can read")
        else:
            try:
                pictures.append(pair.image)
                choices += texts.items()
                owners += [len(pictures) - 1] * len(texts)
            except UNREADABLE as error:
                pair = Skipped(name, f"unreadable picture: {error}")
        found.append(pair)
    if not pictures:
        return found
    texts = [text for _, text in choices]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # words that the model does not know: whoever explains the pair is warned of them
        inputs = clip.prepare(pictures, [pair.caption for pair in found if isinstance(pair, Pair)])
    any_picture = inputs.pixel_values[:1].expand(len(texts), -1, -1, -1)  # the text encoder looks at none
    text_features = clip.encode_text(Inputs(any_picture, *tokenize(texts, clip.tokenizer)))
    cosines = nnf.cosine_similarity(clip.encode_image(inputs)[owners], text_features, dim=-1).tolist()
    best: dict[int, int] = {}  # picture -> its choice
    for choice, (owner, cosine) in enumerate(zip(owners, cosines)):
        if owner not in best or cosine > cosines[best[owner]]:
            best[owner] = choice
    chosen = (choices[best[owner]] for owner in range(len(pictures)))
    return [pair if isinstance(pair, Skipped) else _with(pair, *next(chosen)) for pair in found]


def _with(pair: Pair, number: int, caption: str) -> Pair:
    return replace(pair, id=f"{pair.id}#{number}", caption=caption)


def _fits(clip: Clip, caption: str) -> bool:
    """Can the model read it?"""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            check_captions([caption], clip.tokenizer, clip.text.positions)
        except ValueError:
            return False
    return True


# --- the tables -------------------------------------------------------------------------------------------------------


def _kaggle(table: Path) -> tuple[dict[str, dict[int, str]], list[Skipped]]:
    """{picture: {number: caption}} of captions.txt, and the damaged rows. Commas in captions may be quoted or not."""
    captions, damaged = {}, []
    for number, line in lines(table):
        name, *said = next(csv.reader([line]))  # line by line: a quote that is never closed damages no other row
        if not said:
            damaged.append(Skipped(f"line {number}", "damaged row: no comma between picture and caption"))
        elif number > 1 or name.strip().lower() != "image":
            of_picture = captions.setdefault(name.strip(), {})
            of_picture[len(of_picture)] = ",".join(said)
    return captions, damaged


def _tokens(table: Path) -> tuple[dict[str, dict[int, str]], list[Skipped]]:
    """The same of Flickr8k.token.txt."""
    captions, damaged = {}, []
    for number, line in lines(table):
        match = re.fullmatch(r"(.+?)#(\d+)\t(.*)", line)
        if match is None:
            damaged.append(Skipped(f"line {number}", "damaged row: not name.jpg#0, tab, caption"))
        elif int(match[2]) in captions.setdefault(match[1], {}):
            damaged.append(Skipped(f"{match[1]}#{match[2]}", "duplicate id: an earlier line has it"))
        else:
            captions[match[1]][int(match[2])] = match[3]
    return captions, damaged
