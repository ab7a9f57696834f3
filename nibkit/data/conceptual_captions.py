"""Conceptual Captions is Google's; Train_GCC-training.tsv and Validation_GCC-1.1.0-Validation.tsv (caption, tab, URL) are on its
page, ai.google.com/research/ConceptualCaptions. The pictures must be downloaded from the URLs, for example with img2dataset
(--output_format files --caption_col caption). Lay them out in one of these ways:
    folder/                                             folder/
    ├── Validation_GCC-1.1.0-Validation.tsv             └── 00000/
    └── images/                                             ├── 000000000.jpg
        ├── 0.jpg    (the row's number)                     └── 000000000.txt    (the caption)
        └── 1.jpg
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from ..checks import check_whole
from .files import finder, first_there, is_picture, read_lines, refuser, sidecars
from .pairs import Pair, Pairs, Skipped, pair_of, shuffled


def conceptual_captions(
    path: str | os.PathLike[str],
    table: str | None = None,
    *,
    images: str | None = None,
    first: int | None = None,
    limit: int | None = None,
    seed: int | None = None,
    check: bool = True,
    outside: bool = False,
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
        limit, seed, check, outside: see the module ``datasets``.

    Pictures are named by the row's number: 17.jpg, 000000017.jpg, or 17_2483920116 (with the URL's CRC-32, no suffix), as the
    common download scripts write them; or the TSV has a third column, a file in ``images`` or in ``path``. A row's id is the
    table's name and the row's number, from 0.

    Raises FileNotFoundError if something is missing, saying where to get it and how to lay it out; ValueError if there are
    several tables, two pictures of one number, or a picture whose number no row has.
    """
    limit, seed = check_whole("limit", limit, optional=True), check_whole("seed", seed, least=0, optional=True)
    first = check_whole("first", first, 0, 1, optional=True)
    root, name = Path(path).expanduser(), "Conceptual Captions"
    tables = [table] if table else sorted(file.name for file in root.glob("*.tsv"))
    if len(tables) > 1:
        raise ValueError(f"{root} holds several tables: choose one, for example table={tables[0]!r}")
    refuse = refuser(outside, root)
    if not tables and any(map(is_picture, root.rglob("*"))):
        return Pairs(name, sidecars(root, seed, refuse), limit=limit, check=check, refuse=refuse, hint=__doc__)
    file = first_there(root, __doc__, *tables or ["table of captions (.tsv)"])
    folder = first_there(root, __doc__, *[images] if images else ["images", "."])
    rows, refuse = shuffled(_read_pairs(file, folder, first), seed), refuser(outside, root, folder)
    return Pairs(name, rows, limit=limit, check=check, refuse=refuse, hint=__doc__)


def _read_pairs(table: Path, folder: Path, first: int | None) -> Iterator[Pair | Skipped]:
    in_folder, in_root = finder(folder), finder(table.parent)
    thirds = [cells[2] if len(cells) > 2 else "" for cells in _read_rows(table)]  # the rows may be millions: they are read again
    named = any((in_folder(name) or in_root(name)) is not None for name in filter(None, thirds))  # a stray tab names no picture
    pictures: dict[int, Path] = {}
    for file in () if named else sorted(folder.rglob("*")):
        number = re.fullmatch(r"(\d+)(_\d+)?", file.stem)
        if number and (is_picture(file) or not file.suffix) and file.is_file():
            if pictures.setdefault(int(number[1]), file) != file:
                raise ValueError(
                    f"{pictures[int(number[1])]} and {file} have the same number: say which folder to search, images=…"
                )
            if int(number[1]) > len(thirds):
                raise ValueError(f"{file} must be named by its row's number, but {table.name} has {len(thirds)} rows")
    first = int(0 not in pictures and len(thirds) in pictures) if first is None else first
    for i, cells in enumerate(_read_rows(table)):
        id, (caption, url, name) = f"{table.stem}:{i}", [*cells, "", ""][:3]
        if len(cells) < 2:
            yield Skipped(id, "damaged row: no tab between caption and URL")
        else:
            yield pair_of(id, (in_folder(name) or in_root(name)) if named else pictures.get(i + first), caption, {"url": url})


def _read_rows(table: Path) -> Iterator[list[str]]:
    """The cells of each row under the header, if there is one."""
    for number, line in read_lines(table):
        cells = [cell.strip() for cell in line.split("\t")]
        if number > 1 or [cell.lower() for cell in cells[:2]] != ["caption", "url"]:
            yield cells
