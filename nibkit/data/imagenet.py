"""ImageNet (ILSVRC 2012) is on image-net.org after registration, and on Kaggle as the ImageNet Object Localization Challenge;
tiny-ImageNet (tiny-imagenet-200.zip) comes from Stanford's course CS231n, cs231n.stanford.edu. Lay them out in one of these ways:
    folder/                                     tiny-imagenet-200/
    ├── LOC_synset_mapping.txt                  ├── words.txt
    ├── LOC_val_solution.csv  (for a flat val)  ├── train/n01443537/images/n01443537_0.JPEG
    ├── train/n01440764/n01440764_18.JPEG       └── val/
    └── val/n01440764/ILSVRC2012_val_….JPEG         ├── val_annotations.txt
        (or ILSVRC/Data/CLS-LOC/val/….JPEG)         └── images/val_0.JPEG
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

from ..checks import check_whole
from .files import finder, first_there, is_picture, read_lines, refuser
from .pairs import Pair, Pairs, Skipped, pair_of, shuffled


def imagenet(
    path: str | os.PathLike[str],
    split: str = "val",
    *,
    caption: str = "a photo of a {names}",
    per_class: int | None = None,
    words: str | os.PathLike[str] | None = None,
    limit: int | None = None,
    seed: int | None = None,
    check: bool = True,
    outside: bool = False,
) -> Pairs:
    """ImageNet (Deng et al., 2009) or tiny-ImageNet, captioned by class.

    Args:
        path: the data set's folder; or that of a split, with ``words``.
        split: "val", "train", or another folder in it. It holds a folder for each class, named by its WordNet id (with the
            pictures, or with a folder ``images`` that has them); or tiny-ImageNet's val_annotations.txt and ``images``; or, as on
            Kaggle, all pictures, with LOC_val_solution.csv in the data set's folder.
        caption: what is made of the class: {names} is its whole list of synonyms ("tench, Tinca tinca"), as the paper's code has
            it, {name} the first of them, {wnid} the WordNet id.
        per_class: at most this many of each class. The paper's 1,000 pairs are five of each of tiny-ImageNet's 200 validation
            classes, in the order in which the operating system listed the files, which nobody can repeat; here they are sorted.
        words: the file with the synonyms, LOC_synset_mapping.txt or words.txt; None: the one in ``path``.
        limit, seed, check, outside: see the module ``datasets``.

    ``info`` has "class" (the WordNet id) and "names".

    Raises FileNotFoundError if something is missing, saying where to get it and how to lay it out; ValueError if the caption has
    other fields.
    """
    limit, seed = check_whole("limit", limit, optional=True), check_whole("seed", seed, least=0, optional=True)
    per_class = check_whole("per_class", per_class, optional=True)
    try:
        caption.format(names="", name="", wnid="")
    except (LookupError, ValueError, AttributeError) as error:
        raise ValueError(f"caption must be a text with {{names}}, {{name}} or {{wnid}}; got {caption!r}") from error
    root = Path(path).expanduser()
    folders = [folder for part in ("", "ILSVRC/Data/CLS-LOC", "Data/CLS-LOC") if (folder := root / part / split).is_dir()]
    pictures = next(filter(None, (_classified(folder, root) for folder in [*folders, root])), None)
    if pictures is None:
        raise FileNotFoundError(f"there are no pictures of the split {split!r} by class in {str(root)!r}.\n{__doc__}")
    lists = "LOC_synset_mapping.txt", "synset_words.txt", "words.txt"
    file = Path(words).expanduser() if words is not None else first_there(root, __doc__, *lists)
    synonyms = dict(line.split(None, 1) for _, line in read_lines(file) if len(line.split(None, 1)) == 2)

    def pair(row: tuple[str, str, Path | None]) -> Pair | Skipped:
        id, wnid, picture = row
        if wnid not in synonyms:
            return Skipped(id, f"class without a name: {wnid or 'none is given'}")
        if picture is None:
            return Skipped(id, f"missing picture: {id}")
        names = synonyms[wnid].strip()
        text = caption.format(names=names, name=names.split(",")[0].strip(), wnid=wnid)
        return pair_of(id, picture, text, {"class": wnid, "names": names})

    rows, refuse = map(pair, shuffled(pictures, seed)), refuser(outside, root, *folders)
    return Pairs("ImageNet", rows, limit=limit, check=check, per_class=per_class, refuse=refuse, hint=__doc__)


def _classified(folder: Path, root: Path) -> Iterable[tuple[str, str, Path | None]] | None:
    """(id, WordNet id, picture) of each picture, in whichever layout the folder has; None if in none."""
    if not folder.is_dir():
        return None
    if classes := sorted(path for path in folder.iterdir() if re.fullmatch(r"n\d{8}", path.name) and path.is_dir()):
        inner = ((path.name, path / "images" if (path / "images").is_dir() else path) for path in classes)
        files = ((wnid, file) for wnid, path in inner for file in sorted(path.iterdir()) if is_picture(file))
        return ((file.relative_to(folder).as_posix(), wnid, file) for wnid, file in files)
    solution = root / f"LOC_{folder.name}_solution.csv"
    if (folder / "val_annotations.txt").is_file():
        table, find, suffix = folder / "val_annotations.txt", finder(folder / "images"), ""
    elif solution.is_file():
        table, find, suffix = solution, finder(folder), ".JPEG"
    else:
        return None
    cells = (re.split("[\t, ]+", line) + [""] for _, line in read_lines(table))
    return ((name + suffix, wnid, find(name + suffix)) for name, wnid, *_ in cells if name != "ImageId")
