"""Conceptual Captions in the layouts in which people have it; part of ``nk.datasets``."""

from __future__ import annotations

import itertools
import os
import re
import zlib
from collections.abc import Iterator
from pathlib import Path

from .files import Finder, first_there, is_picture, lines, missing, sidecars, walk
from .pairs import Pair, Pairs, Skipped, check_options, pair_of, shuffled

CONCEPTUAL_CAPTIONS = """\
Conceptual Captions is Google's; Train_GCC-training.tsv and Validation_GCC-1.1.0-Validation.tsv (caption, tab, URL) are on its
page, ai.google.com/research/ConceptualCaptions. The pictures must be downloaded from the URLs, for example with img2dataset
(--output_format files --caption_col caption). Lay them out in one of these ways:
    folder/                                             folder/
    ├── Validation_GCC-1.1.0-Validation.tsv             └── 00000/
    └── images/                                             ├── 000000000.jpg
        ├── 0.jpg    (the row's number)                     ├── 000000000.txt    (the caption)
        └── 1.jpg                                           └── 000000000.json"""


def conceptual_captions(
    path: str | os.PathLike,
    table: str | None = None,
    *,
    images: str | None = None,
    first: int | None = None,
    limit: int | None = None,
    seed: int | None = None,
    check: bool = True,
) -> Pairs:
    """Conceptual Captions (Sharma et al., 2018) with the pictures that were downloaded; rows without one are skipped and counted.

    Args:
        path: the folder.
        table: its TSV of caption and URL, without a header or with "caption, url" as one; None: the only .tsv in the folder.
            Where there is none, the captions are in text files beside the pictures, as img2dataset writes them.
        images: the folder under ``path`` that is searched for the pictures, with all that is below; None: ``images`` where there
            is one, else ``path`` itself.
        first: the number of the first row, for pictures that are named by it: 0 or 1. None: 1 if no picture is called 0 and one
            is called by the number of rows, else 0. Where the first or last ones are missing it can't be told: say it.

    How pictures are named is found out: by a third column of the TSV (a file in ``images`` or in ``path``), if it names any; by
    the row's number (17.jpg, 000000017.jpg); by the URL's CRC-32 (2483920116), if one is called by a number that no row has; or
    by both (17_2483920116), the latter two as the common download scripts write them, without a suffix. A row's id is the table's
    name and the row's number, from 0.

    Raises FileNotFoundError if something is missing, saying where to get it and how to lay it out; ValueError if there are
    several tables, or two pictures of one name.
    """
    check_options(limit=limit, seed=seed)
    if first not in (None, 0, 1):
        raise ValueError(f"first must be 0, 1 or None, the number of the first row's picture; got {first!r}")
    root, name = Path(path).expanduser(), "Conceptual Captions"
    tables = sorted(file.name for file in root.glob("*.tsv")) if table is None else [table]
    if len(tables) > 1:
        raise ValueError(f"{root} holds several tables: choose one, for example table={tables[0]!r}")
    if not tables and any(is_picture(file.name) for file in walk(root)):
        return Pairs(name, sidecars(root, seed), limit=limit, check=check, hint=CONCEPTUAL_CAPTIONS)
    if not tables or not (root / tables[0]).is_file():
        raise missing(name, path, f"there is no table {tables[0] if tables else 'of captions'}", CONCEPTUAL_CAPTIONS)
    folder = root / images if images else first_there(root, "images") or root
    if not folder.is_dir():
        raise missing(name, path, f"there is no folder {images!r}", CONCEPTUAL_CAPTIONS)
    file = root / tables[0]

    def pair(row: int | tuple[int, list[str], Path | None]) -> Pair | Skipped:
        if isinstance(row, int):
            return Skipped(f"{file.stem}:{row}", "missing picture: not downloaded")
        number, fields, picture = row
        if len(fields) < 2:
            return Skipped(f"{file.stem}:{number}", "damaged row: no tab between caption and URL")
        return pair_of(f"{file.stem}:{number}", picture, fields[0], info={"url": fields[1]})

    rows = shuffled(_downloaded(file, folder, first), seed)
    return Pairs(name, map(pair, rows), limit=limit, check=check, hint=CONCEPTUAL_CAPTIONS)


def _downloaded(table: Path, folder: Path, first: int | None) -> Iterator[int | tuple[int, list[str], Path | None]]:
    """(number, fields, picture) of each row; of one without a picture its number alone, for there may be millions."""
    stems: dict[str, Path] = {}
    twice: list[tuple[Path, Path]] = []
    for file in walk(folder):
        if is_picture(file.name) or re.fullmatch(r"\d+(_\d+)?", file.name):
            stem = str(int(file.stem)) if file.stem.isdecimal() else file.stem  # 000000017.jpg is row 17
            if stem in stems:
                twice.append((stems[stem], file))
            stems[stem] = file
    in_folder, in_root = Finder(folder), Finder(table.parent)

    def rows() -> Iterator[list[str]]:
        split = (line.split("\t") for _, line in lines(table))
        begin = list(itertools.islice(split, 1))
        headed = bool(begin) and [part.strip().lower() for part in begin[0][:2]] == ["caption", "url"]
        return split if headed else itertools.chain(begin, split)

    def in_column(fields: list[str]) -> Path | None:
        return (in_folder(fields[2].strip()) or in_root(fields[2].strip())) if len(fields) > 2 else None

    count = sum(1 for _ in rows())
    if first is None:
        first = int("0" not in stems and str(count) in stems)
    by_both = any(re.fullmatch(r"\d+_\d+", stem) for stem in stems)
    by_code = any(stem.isdecimal() and int(stem) > count for stem in stems)  # no row has such a number
    by_column = len(next(rows(), [])) > 2 and any(map(in_column, rows()))
    if twice and not by_column:
        raise ValueError(f"{twice[0][0]} and {twice[0][1]} have the same name: say which folder to search, images=…")
    for i, fields in enumerate(rows()):
        if by_column:
            file = in_column(fields)
        elif by_both or by_code:
            code = zlib.crc32(fields[1].strip().encode()) if len(fields) > 1 else ""
            file = stems.get(f"{i}_{code}" if by_both else str(code))
        else:
            file = stems.get(str(i + first))
        yield i if file is None and len(fields) > 1 else (i, [part.strip() for part in fields], file)
