"""Data sets: iterables of pairs with ``id``, ``image``, ``caption`` and, where the truth is known, ``masks``.

    shapes                 the synthetic world, with masks
    folder                 pictures in a folder, captions in a CSV, TSV or JSONL table or in text files beside them
    huggingface            a data set of the ``datasets`` library, or anything that yields dicts
    conceptual_captions, imagenet, flickr8k, rsicd    in the layouts in which people have them

Nothing is downloaded. A row that can't be used (no picture, no caption, a damaged file, an id that came before) is skipped,
listed in ``.skipped`` with the reason, and counted in a warning. Whether a caption has too many tokens depends on the model:
``nk.evaluate`` finds and lists those. Options that all loaders share:

    limit    at most this many pairs, the first that can be used
    seed     None: in the order of the table, or sorted by name where folders are the table. A number: in a random order, so that
             ``limit`` pairs are a random subset; a larger limit only adds pairs behind
    check    open every picture once, now, so that damaged files are skipped (a few ms each). False: ``nk.evaluate`` finds them

>>> pairs = shapes(3, seed=0)
>>> pairs
<shapes: 3 pairs>
>>> pairs[0].id, pairs[0].caption, pairs[0].image.size
('shapes-0-all-0', 'a yellow square and a blue circle and a blue heart', (224, 224))
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from .captioned import flickr8k, rsicd
from .layouts import conceptual_captions, imagenet
from .pairs import Pair, Pairs, Skipped, Stream, check_options, pairs_of, shuffled
from .shapes import sample
from .tables import Finder, read_csv, read_jsonl, sidecars

__all__ = ["Pair", "Pairs", "Skipped", "Stream", "conceptual_captions", "flickr8k", "folder", "huggingface", "imagenet", "rsicd"]
__all__ += ["shapes"]
IMAGE_COLUMNS = ("image", "file_name", "filename", "file", "path", "image_path", "image_file", "image_name", "img", "filepath")
CAPTION_COLUMNS = ("caption", "text", "captions", "sentence", "sentences", "description", "comment")
TABLES = (".csv", ".tsv", ".jsonl")


def shapes(n: int, seed: int = 0, captions: str = "all", **options) -> Pairs:
    """``n`` scenes of the synthetic world as pairs with ``masks`` bool [k, 224, 224] and ``scene``.

    captions, options: see ``nk.shapes.sample``, which makes them; ValueError if one is out of range. With captions other than
    "all", ``scene.named`` says which objects (rows of ``masks``) the caption names. ``shapes(9, 0)`` begins with
    ``shapes(4, 0)``.
    """
    said = "-".join([str(seed), captions, *(f"{name}={value}".replace(" ", "") for name, value in sorted(options.items()))])
    scenes = sample(n, seed, captions, **options)
    rows = (Pair(f"shapes-{said}-{i}", scene.image, scene.caption, scene.masks, scene) for i, scene in enumerate(scenes))
    return Pairs("shapes", rows, check=False, empty=True)


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


def huggingface(
    dataset: Iterable[Mapping],
    image: str = "image",
    caption: str | Callable[[Mapping], str] | None = None,
    *,
    id: str | None = None,
    limit: int | None = None,
    seed: int | None = None,
    check: bool = True,
) -> Pairs | Stream:
    """Pairs from a data set of Hugging Face's ``datasets``, or from anything that yields dicts any number of times.

    Args:
        dataset: a ``datasets.Dataset`` or ``IterableDataset`` (one split of it), or a list of dicts.
        image: the column with the pictures: PIL images, dicts with ``bytes`` or ``path`` (undecoded), bytes, paths or arrays.
        caption: the column with the captions; or a function that makes one of a row. None: the first of ``CAPTION_COLUMNS`` that
            is there. Where a row has a list of captions, each makes a pair: "17#0", "17#1", …
        id: the column with the ids; None: the row's number.
        limit, seed, check: see the module. seed is for data sets with a length; shuffle a stream yourself.

    Pictures are decoded by ``nibkit``, not by ``datasets``, where one damaged file would end the pass.

    Returns Pairs where the data set has a length (pictures stay in it until they are looked at), else Stream.
    Raises TypeError or ValueError on a data set of all splits, an iterator that can be gone through only once, rows that are no
    dicts, no such column, or a seed for a stream.
    """
    check_options(limit=limit, seed=seed)
    if isinstance(dataset, Mapping):
        raise ValueError(f"this is a data set of all splits ({', '.join(map(str, dataset))}): give one of them")
    if isinstance(dataset, Iterator) or not isinstance(dataset, Iterable):
        raise TypeError(f"dataset must be something that yields dicts any number of times; got {type(dataset).__name__}")
    dataset = _undecoded(dataset, image)
    name = "huggingface"
    if hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__"):
        numbers = shuffled(range(len(dataset)), seed)
        rows = (
            pair for i in numbers for pair in _row_pairs(i, dataset[int(i)], Cell(dataset, int(i), image), image, caption, id)
        )
        return Pairs(name, rows, limit=limit, check=check)
    if seed is not None:
        raise ValueError("this data set has no length, so no random subset can be drawn: shuffle it first (dataset.shuffle)")
    return Stream(
        name,
        lambda: (pair for i, row in enumerate(dataset) for pair in _row_pairs(i, row, None, image, caption, id)),
        limit=limit,
        check=check,
    )


@dataclass(frozen=True)
class Cell:
    """A picture that stays in its data set until it is looked at."""

    dataset: Sequence
    row: int
    column: str

    def __call__(self):
        return _picture(self.dataset[self.row][self.column])


def _row_pairs(number: int, row: Mapping, source: Cell | None, image: str, caption, id: str | None) -> Iterator[Pair | Skipped]:
    if not isinstance(row, Mapping):
        raise TypeError(f"row {number} of the data set must be a dict; got {type(row).__name__}")
    _column(row, image, (), "image")
    if not callable(caption):
        caption = _column(row, caption, CAPTION_COLUMNS, "caption")
    key = _text(row[_column(row, id, (), "id")]) if id is not None else str(number)
    said = caption(row) if callable(caption) else row[caption]
    there = _picture(row[image])
    source = source if source is not None and there is not None else there
    info = {k: v for k, v in row.items() if k not in (image, caption, id) and isinstance(v, (str, int, float))}
    yield from pairs_of(key, source, said, info)


def _picture(value):
    """What a cell holds, as ``Pair.source`` takes it."""
    if isinstance(value, Mapping) and ("bytes" in value or "path" in value):
        return value.get("bytes") or value.get("path")
    return value


def _undecoded(dataset, image: str):
    """The data set with its pictures as bytes or paths, where it is one that would decode them."""
    if isinstance(getattr(dataset, "features", None), Mapping) and hasattr(dataset, "cast_column"):
        dataset = dataset.with_format(None)  # rows as dicts, whatever they were shown as
        feature = dataset.features.get(image)
        if type(feature).__name__ == "Image":
            return dataset.cast_column(image, type(feature)(decode=False))
    return dataset
