"""Pictures in a folder, captions in a table or in text files beside them; part of ``nk.datasets``."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import pandas as pd

from ..checks import check_whole, listed
from .files import CAPTION_COLUMNS, IMAGE_COLUMNS, check_names, find_column, finder, read_table, refuser, sidecars
from .pairs import Pair, Pairs, Skipped, cell_text, pairs_of, shuffled

NO_TABLE = "Give the folder a table (captions.csv, say, with the header image,caption) or each picture a text file (a.jpg, a.txt)"


def folder(
    path: str | os.PathLike[str],
    table: str | os.PathLike[str] | pd.DataFrame | None = None,
    *,
    image: str | None = None,
    caption: str | None = None,
    id: str | None = None,
    delimiter: str | None = None,
    encoding: str = "utf-8-sig",
    limit: int | None = None,
    seed: int | None = None,
    check: bool = True,
    outside: bool = False,
) -> Pairs:
    """Pictures in a folder, captions in a table.

    Args:
        path: the folder with the pictures.
        table: a CSV or TSV file with a header, a JSONL file (an object a line), or a DataFrame; a name is looked for in ``path``
            first. None: the one .csv, .tsv or .jsonl in ``path``; where there is none, text files beside the pictures
            (a.jpg, a.txt).
        image, caption: the columns with the pictures' names, relative to ``path``, and with the captions. None: the first of
            ``IMAGE_COLUMNS`` and of ``CAPTION_COLUMNS`` that is there, in any case.
        id: the column with the ids. None: the picture's name; its second, third, … caption gets "#1", "#2", … behind it.
        delimiter: of a CSV or TSV file; None: "," ";" tab or "|", whichever the header has most of.
        encoding: the default is UTF-8 with or without a byte order mark.
        limit, seed, check, outside: see the module ``datasets``.

    The table's other columns are in ``info``. A name that is not there exactly is also found where only its case or the Unicode
    form of its accents differ. Blank lines don't count as rows.

    Raises FileNotFoundError: no such folder or table, or none of the pictures is there. ValueError: several tables, no such
    column, a column twice, a file in another encoding or with an open quote, or nothing that can be used.
    """
    limit, seed = check_whole("limit", limit, optional=True), check_whole("seed", seed, least=0, optional=True)
    root = Path(path).expanduser().absolute()
    if not root.is_dir():
        raise FileNotFoundError(f"there is no folder {os.fspath(path)!r}")
    refuse = refuser(outside, root)
    if table is None:
        tables = sorted(file.name for file in root.iterdir() if file.suffix.lower() in (".csv", ".tsv", ".jsonl"))
        if len(tables) > 1:
            raise ValueError(f"{root} holds several tables: choose one, for example table={tables[0]!r} (of {listed(tables)})")
        if not tables:
            return Pairs(root.name, sidecars(root, seed, refuse), limit=limit, check=check, refuse=refuse, hint=NO_TABLE)
        table = tables[0]
    rows: Iterable[tuple[str, Mapping | Skipped]]
    own_names = False
    if isinstance(table, pd.DataFrame):
        check_names(list(table.columns), "the table")
        rows = ((f"row {label}", row) for label, row in zip(table.index, table.to_dict("records")))
    else:
        file = next((file for file in (root / table, Path(table).expanduser()) if file.is_file()), None)
        if file is None:
            raise FileNotFoundError(f"there is no table {os.fspath(table)!r}, neither in {root} nor as a path of its own")
        rows, own_names = read_table(file, delimiter, encoding), file.suffix.lower() == ".jsonl"
    pairs = shuffled(_read_pairs(root, rows, image, caption, id, own_names), seed)
    return Pairs(root.name, pairs, limit=limit, check=check, refuse=refuse)


def _read_pairs(
    root: Path,
    rows: Iterable[tuple[str, Mapping | Skipped]],
    image: str | None,
    caption: str | None,
    id: str | None,
    own_names: bool = False,
) -> Iterator[Pair | Skipped]:
    """own_names: each row has names of its own, as an object of JSON has: one without the usual ones costs itself alone."""
    find, uses, columns, without = finder(root), Counter[str](), None, None
    for where, row in rows:
        if isinstance(row, Skipped):
            yield row
            continue
        if columns is None:
            try:
                names = find_column(row, image, IMAGE_COLUMNS, "image"), find_column(row, caption, CAPTION_COLUMNS, "caption")
                id = id and find_column(row, id, (), "id")
            except ValueError as error:
                if not own_names:
                    raise
                without = without or error
                yield Skipped(where, f"damaged row: {str(error).partition(': ')[0]}")
                continue
            columns = names
        name = cell_text(row.get(columns[0]))
        key = cell_text(row.get(id)) if id else name + (f"#{uses[name]}" if uses[name] else "")
        uses[name] += 1
        picture = find(name)
        if not key:
            yield Skipped(where, "no id: its column is empty" if id else "missing picture: no name is given")
        elif picture is None:
            yield Skipped(key, f"missing picture: {name or 'no name is given'}")
        else:
            info = {column: value for column, value in row.items() if column not in (*columns, id)}
            yield from pairs_of(key, picture, row.get(columns[1]), info)
    if columns is None and without is not None:
        raise without
