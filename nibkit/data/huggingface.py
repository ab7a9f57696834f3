"""Data sets of Hugging Face's ``datasets``, and whatever else yields dicts; part of ``nk.datasets``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any

from ..checks import check_whole, listed, one_line
from .files import CAPTION_COLUMNS, NoColumn, find_column
from .pairs import Pair, Pairs, Skipped, Stream, cell_text, pairs_of, shuffled

PATIENCE = 100  # rows without the columns after which none is expected to have them


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
        limit, seed, check: see the module ``datasets``. seed is for data sets with a length; shuffle a stream yourself.

    Pictures are decoded by ``nibkit``, not by ``datasets``, where one damaged file would end the pass.

    A row that is no dict or lacks a column is skipped, as an object of JSON is by ``folder``.

    Returns Pairs where the data set has a length (pictures stay in it until they are looked at), else Stream.
    Raises TypeError or ValueError on a data set of all splits, an iterator that can be gone through only once, rows of
    which none (of the first 100) is a dict with these columns, or a seed for a stream.
    """
    limit, seed = check_whole("limit", limit, optional=True), check_whole("seed", seed, least=0, optional=True)
    if isinstance(dataset, Mapping):
        raise ValueError(f"this is a data set of all splits ({listed(dataset)}): give one of them")
    if isinstance(dataset, Iterator) or not isinstance(dataset, Iterable):
        raise TypeError(f"dataset must be something that yields dicts any number of times; got {type(dataset).__name__}")
    source: Any = _undecoded(dataset, image)

    def pairs(rows: Iterable[tuple[int, Any, Callable | None]]) -> Iterator[Pair | Skipped]:
        without: list[Exception] | None = []  # of rows without the columns; None once a row has had them
        for number, row, cell in rows:
            if isinstance(row, Skipped):
                yield row
                continue
            try:
                if not isinstance(row, Mapping):
                    raise TypeError(f"row {number} of the data set must be a dict; got {type(row).__name__}")
                picture = _encoded(row[find_column(row, image, (), "image")])
                column = caption if callable(caption) else find_column(row, caption, CAPTION_COLUMNS, "caption")
                key = str(number) if id is None else cell_text(row[find_column(row, id, (), "id")])
                rest = {k: v for k, v in row.items() if k not in (image, column, id) and isinstance(v, (str, int, float))}
            except MemoryError:
                raise
            except Exception as error:  # also whatever a row that is read lazily raises
                if without is not None:
                    without.append(error)
                    if len(without) == PATIENCE:
                        raise without[0] from None
                own = isinstance(error, (TypeError, ValueError))
                reason = error.short if isinstance(error, NoColumn) else one_line(error, named=not own)
                yield Skipped(str(number), f"damaged row: {reason}")
                continue
            without = None
            try:
                captions = column(row) if callable(column) else row[column]
            except Exception as error:  # the user's own function
                yield Skipped(key, f"unreadable caption: {one_line(error, named=True)}")
                continue
            yield from pairs_of(key, picture if picture is None else cell or picture, captions, rest)
        if without:
            raise without[0]

    if hasattr(source, "__len__") and hasattr(source, "__getitem__"):
        numbers = map(int, shuffled(range(len(source)), seed))
        found = ((i, _row_of(source, i), partial(_read_cell, source, i, image)) for i in numbers)
        return Pairs("huggingface", pairs(found), limit=limit, check=check)
    if seed is not None:
        raise ValueError("this data set has no length, so no random subset can be drawn: shuffle it first (dataset.shuffle)")
    return Stream("huggingface", lambda: pairs((i, row, None) for i, row in enumerate(source)), limit=limit, check=check)


def _row_of(source: Any, i: int) -> Any:
    """Row i. One that its data set can't give costs itself alone."""
    try:
        return source[i]
    except Exception as error:  # whatever a data set raises
        return Skipped(str(i), f"unreadable row: {one_line(error, named=True)}")


def _read_cell(dataset: Any, row: int, column: str) -> Any:
    """A picture that stays in its data set until it is looked at."""
    return _encoded(dataset[row][column])


def _encoded(value: Any) -> Any:
    """What a cell holds, as ``Pair.source`` takes it."""
    if isinstance(value, Mapping) and ("bytes" in value or "path" in value):
        return value.get("bytes") or value.get("path")
    return value


def _undecoded(dataset: Any, image: str) -> Any:
    """The data set with its pictures as bytes or paths, where it is one that would decode them."""
    if isinstance(getattr(dataset, "features", None), Mapping) and hasattr(dataset, "cast_column"):
        dataset = dataset.with_format(None)  # rows as dicts, whatever they were shown as
        feature = dataset.features.get(image)
        if type(feature).__name__ == "Image":
            return dataset.cast_column(image, type(feature)(decode=False))
    return dataset
