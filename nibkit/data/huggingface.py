"""Data sets of Hugging Face's ``datasets``, and whatever else yields dicts; part of ``nk.datasets``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from .folder import CAPTION_COLUMNS, _column, _text
from .pairs import Pair, Pairs, Skipped, Stream, check_options, pairs_of, shuffled


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
