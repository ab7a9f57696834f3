"""Pictures in a folder, captions in a table or in text files beside them; part of ``nk.datasets``."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pandas as pd

from .files import Finder, read_csv, read_jsonl, sidecars
from .pairs import Pair, Pairs, Skipped, check_options, pairs_of, shuffled

IMAGE_COLUMNS = ("image", "file_name", "filename", "file", "path", "image_path", "image_file", "image_name", "img", "filepath")
CAPTION_COLUMNS = ("caption", "text", "captions", "sentence", "sentences", "description", "comment")
TABLES = (".csv", ".tsv", ".jsonl")


def folder(
    path: str | os.PathLike,
    table: str | os.PathLike | pd.DataFrame | None = None,
    *,
    image: str | None = None,
    caption: str | None = None,
    id: str | None = None,
    delimiter: str | None = None,
    encoding: str = "utf-8-sig",
    limit: int | None = None,
    seed: int | None = None,
    check: bool = True,
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
        limit, seed, check: see the module.

    The table's other columns are in ``info``. A name that is not there exactly is also found where only its case or the Unicode
    form of its accents differ. Blank lines don't count as rows.

    Raises:
        FileNotFoundError: no such folder or table, or none of the pictures is there.
        ValueError: several tables, no such column, a file in another encoding or with an open quote, or nothing that can be used.
    """
    check_options(limit=limit, seed=seed)
    root = Path(path).expanduser().absolute()
    if not root.is_dir():
        raise FileNotFoundError(f"there is no folder {os.fspath(path)!r}")
    if table is None:
        tables = sorted(file.name for file in root.iterdir() if file.suffix.lower() in TABLES and file.is_file())
        if len(tables) > 1:
            raise ValueError(f"{root} holds several tables: choose one, for example table={tables[0]!r} (of {', '.join(tables)})")
        if not tables:
            return Pairs(root.name, sidecars(root, seed), limit=limit, check=check, hint=NO_TABLE)
        table = tables[0]
    rows = _table_pairs(root, _read(root, table, delimiter, encoding), image, caption, id)
    return Pairs(root.name, shuffled(rows, seed), limit=limit, check=check)


NO_TABLE = "Give the folder a table (captions.csv, say, with the header image,caption) or each picture a text file (a.jpg, a.txt)"


def _table_pairs(
    root: Path, rows: Iterator[tuple[str, Mapping | Skipped]], image: str | None, caption: str | None, id: str | None
) -> Iterator[Pair | Skipped]:
    find, times, columns = Finder(root), Counter(), None
    for where, row in rows:
        if isinstance(row, Skipped):
            yield row
            continue
        if columns is None:
            columns = _column(row, image, IMAGE_COLUMNS, "image"), _column(row, caption, CAPTION_COLUMNS, "caption")
            if id is not None:
                _column(row, id, (), "id")
        name = _text(row.get(columns[0]))
        key = _text(row.get(id)) if id is not None else name + (f"#{times[name]}" if times[name] else "")
        times[name] += 1
        info = {column: value for column, value in row.items() if column not in (*columns, id)}
        file = find(name)
        if not key:
            yield Skipped(where, "no id: its column is empty" if id is not None else "missing picture: no name is given")
        elif file is None:
            yield Skipped(key, f"missing picture: {name or 'no name is given'}")
        else:
            yield from pairs_of(key, file, row.get(columns[1]), info)


def _text(value) -> str:
    """A cell as text; "" where it is empty."""
    return "" if pd.api.types.is_scalar(value) and pd.isna(value) else str(value).strip()


def _column(row: Mapping, named: str | None, usual: Sequence[str], what: str) -> str:
    if named is None:
        lower = {str(column).lower(): column for column in row}
        named = next((lower[name] for name in usual if name in lower), None)
    if named is None or named not in row:
        asked = f"no column {named!r}" if named is not None else f"no column that looks like the {what}s"
        raise ValueError(f'{asked}; there are {", ".join(map(repr, row))}: name it, for example {what}="{next(iter(row), what)}"')
    return named


def _read(root: Path, table, delimiter: str | None, encoding: str) -> Iterator[tuple[str, Mapping | Skipped]]:
    if isinstance(table, pd.DataFrame):
        return ((f"row {i}", row) for i, row in zip(table.index, table.to_dict("records")))
    file = next((path for path in (root / table, Path(table).expanduser()) if path.is_file()), None)
    if file is None:
        raise FileNotFoundError(f"there is no table {os.fspath(table)!r}, neither in {root} nor as a path of its own")
    return read_jsonl(file, encoding) if file.suffix.lower() == ".jsonl" else read_csv(file, delimiter, encoding)
