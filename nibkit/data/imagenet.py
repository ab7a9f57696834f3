"""ImageNet and tiny-ImageNet in the layouts in which people have them; part of ``nk.datasets``."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from .files import Finder, first_there, is_picture, lines, missing, read_csv
from .pairs import Pair, Pairs, Skipped, check_options, pair_of, shuffled

IMAGENET = """\
ImageNet (ILSVRC 2012) is on image-net.org after registration, and on Kaggle as the ImageNet Object Localization Challenge;
tiny-ImageNet (tiny-imagenet-200.zip) comes from Stanford's course CS231n, cs231n.stanford.edu. Lay them out in one of these ways:
    folder/                                     tiny-imagenet-200/
    ├── LOC_synset_mapping.txt                  ├── words.txt
    ├── LOC_val_solution.csv  (for a flat val)  ├── train/n01443537/images/n01443537_0.JPEG
    ├── train/n01440764/n01440764_18.JPEG       └── val/
    └── val/n01440764/ILSVRC2012_val_….JPEG         ├── val_annotations.txt
        (or ILSVRC/Data/CLS-LOC/val/….JPEG)         └── images/val_0.JPEG"""


def imagenet(
    path: str | os.PathLike,
    split: str = "val",
    *,
    caption: str = "a photo of a {names}",
    per_class: int | None = None,
    words: str | os.PathLike | None = None,
    limit: int | None = None,
    seed: int | None = None,
    check: bool = True,
) -> Pairs:
    """ImageNet (Deng et al., 2009) or tiny-ImageNet, captioned by class.

    Args:
        path: the data set's folder, or that of a split.
        split: "val", "train", or another folder in it. It holds a folder for each class, named by its WordNet id (with the
            pictures, or with a folder ``images`` that has them); or tiny-ImageNet's val_annotations.txt and ``images``; or, as on
            Kaggle, all pictures, with LOC_val_solution.csv in the data set's folder.
        caption: what is made of the class: {names} is its whole list of synonyms ("tench, Tinca tinca"), as the paper's code has
            it, {name} the first of them, {wnid} the WordNet id.
        per_class: at most this many of each class. The paper's 1,000 pairs are five of each of tiny-ImageNet's 200 validation
            classes, in the order in which the operating system listed the files, which nobody can repeat; here they are sorted.
        words: the file with the synonyms: LOC_synset_mapping.txt or words.txt; None: in ``path`` or beside it.

    ``info`` has "class" (the WordNet id) and "names".

    Raises FileNotFoundError if something is missing, saying where to get it and how to lay it out; ValueError if the caption has
    other fields.
    """
    check_options(limit=limit, seed=seed, per_class=per_class)
    try:
        caption.format(names="", name="", wnid="")
    except (LookupError, ValueError, AttributeError) as error:
        raise ValueError(f"caption must be a text with {{names}}, {{name}} or {{wnid}}; got {caption!r}") from error
    root = Path(path).expanduser()
    folders = [root / split, root / "ILSVRC/Data/CLS-LOC" / split, root / "Data/CLS-LOC" / split, root]
    rows = next(filter(None, (_classified(folder, root) for folder in folders if folder.is_dir())), None)
    if rows is None:
        raise missing("ImageNet", path, f"there are no pictures of the split {split!r} by class", IMAGENET)
    file = Path(words).expanduser() if words else _words(root)
    if file is None or not file.is_file():
        raise missing("ImageNet", path, "there is no list of the classes' names, LOC_synset_mapping.txt or words.txt", IMAGENET)
    synonyms = dict(line.strip().split(None, 1) for _, line in lines(file) if len(line.split(None, 1)) == 2)

    def pair(row: tuple[str, str, str | Path | None]) -> Pair | Skipped:
        id, wnid, picture = row
        if wnid not in synonyms:
            return Skipped(id, f"class without a name: {wnid or 'none is given'}")
        if picture is None:
            return Skipped(id, f"missing picture: {id}")
        names = synonyms[wnid]
        said = caption.format(names=names, name=names.split(",")[0].strip(), wnid=wnid)
        return pair_of(id, picture, said, info={"class": wnid, "names": names})

    rows = map(pair, shuffled(rows, seed))
    return Pairs("ImageNet", rows, limit=limit, check=check, per_class=per_class, hint=IMAGENET)


def _classified(folder: Path, root: Path) -> Iterator[tuple[str, str, str | Path | None]] | None:
    """(id, WordNet id, picture) of each picture, in whichever layout the folder has; None if in none."""
    classes = sorted(name for name in os.listdir(folder) if re.fullmatch(r"n\d{8}", name) and (folder / name).is_dir())
    if classes:
        inner = [f"{wnid}/images" if (folder / wnid / "images").is_dir() else wnid for wnid in classes]
        keys = (f"{where}/{name}" for where in inner for name in sorted(os.listdir(folder / where)) if is_picture(name))
        return ((key, key[:9], f"{folder}/{key}") for key in keys)
    if (folder / "val_annotations.txt").is_file():
        find = Finder(folder / "images")
        fields = ([*line.split("\t"), ""] for _, line in lines(folder / "val_annotations.txt"))
        return ((name, wnid.strip(), find(name)) for name, wnid, *_ in fields)
    solution = _above(root, f"LOC_{folder.name}_solution.csv")
    if solution:
        find = Finder(folder)
        rows = ({"ImageId": where} if isinstance(row, Skipped) else row for where, row in read_csv(solution))
        pairs = ((f"{row['ImageId']}.JPEG", [*row.get("PredictionString", "").split(), ""][0]) for row in rows)
        return ((name, wnid, find(name)) for name, wnid in pairs)
    return None


def _words(root: Path) -> Path | None:
    """The list of the classes' names: tiny-ImageNet's lies in its folder, Kaggle's up to four above CLS-LOC/val."""
    found = first_there(root, "words.txt") or first_there(root.resolve().parent, "words.txt")
    return _above(root, "LOC_synset_mapping.txt", "synset_words.txt") or found


def _above(root: Path, *names: str) -> Path | None:
    """The first of these files in a folder or in the four above it."""
    root = root.resolve()
    return next((file for folder in [root, *root.parents[:4]] if (file := first_there(folder, *names))), None)
