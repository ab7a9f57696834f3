"""What every data set yields: pairs of a picture and its caption, each with an id; what can't be used is listed."""

from __future__ import annotations

import functools
import os
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar, overload

import numpy as np
import pandas as pd
from PIL import Image
from tqdm.auto import tqdm

from ..checks import escaped, outside
from ..model.pictures import to_rgb
from .scenes import Scene

Row = TypeVar("Row")
Refuse = Callable[[str | os.PathLike], str | None]  # why a file must not be opened; None: it may be


@dataclass(frozen=True, eq=False)
class Pair:
    """A picture and its caption.

    id: text, unique in its data set and the same in every run. caption: the caption.
    source: what the picture is made of: a path, a PIL image, an encoded file as bytes, an array, or a function that returns one
        of these. Pairs are light: a file is opened when ``image`` is read, each time anew.
    masks: bool [k, H, W], the visible part of each of the k objects, where the truth is known; scene: the synthetic scene.
    info: what else the data set says (a class, a URL, the table's other columns).
    """

    id: str
    source: Any = field(repr=False)
    caption: str
    masks: np.ndarray | None = field(default=None, repr=False)
    scene: Scene | None = field(default=None, repr=False)
    info: Mapping = field(default_factory=dict, repr=False)

    @property
    def image(self) -> Image.Image:
        """The picture as an RGB PIL image (see ``pictures.to_rgb``). ValueError, TypeError or OSError if it can't be read."""
        return read_picture(self.source)


class Skipped(NamedTuple):
    """A row that can't be used. ``reason`` begins with its kind and a colon: "missing picture: a.jpg"."""

    id: str
    reason: str


def read_picture(source: Any) -> Image.Image:
    """What ``Pair.source`` may be, as an RGB PIL image. ValueError, TypeError or OSError if it can't be read."""
    try:
        return to_rgb(source() if callable(source) else source)
    except (OSError, ValueError, TypeError, MemoryError):
        raise
    except Exception as error:  # whatever a function that should return a picture stumbles over
        raise ValueError(f"image can't be read ({type(error).__name__}: {error})") from error


def fault(source: Any) -> str | None:
    """Why there is no picture to read: "missing picture: …" or "unreadable picture: …"; None if there is one."""
    try:
        read_picture(source)
    except (OSError, ValueError, TypeError) as error:
        return f"{'missing' if isinstance(error, FileNotFoundError) else 'unreadable'} picture: {error}"
    return None


def pair_of(id: str, source: object, caption: object, info: Mapping | None = None) -> Pair | Skipped:
    """The pair, or why there is none: no picture, no caption. The id of a file whose name is not UTF-8 is spelt out."""
    text, id = cell_text(caption), escaped(id)
    if text and not isinstance(caption, str):
        return Skipped(id, f"caption is no text: {caption!r:.60}")
    if escaped(text) != text:
        return Skipped(id, f"damaged caption: half a character in {text!r:.60}")
    if not text:
        return Skipped(id, "empty caption: there is none")
    if source is None:
        return Skipped(id, "missing picture: there is none")
    return Pair(id, source, text, info=info or {})


def pairs_of(id: str, source: object, captions: object, info: Mapping) -> Iterator[Pair | Skipped]:
    """The pair of a row; of a row that has a list of captions, a pair for each: "17#0", "17#1", …"""
    if isinstance(captions, (list, tuple)):
        return (pair_of(f"{id}#{k}", source, caption, info) for k, caption in enumerate(captions))
    return iter([pair_of(id, source, captions, info)])


def cell_text(value: Any) -> str:
    """A cell as text; "" where it is empty (None, NaN, pandas' NA)."""
    return "" if pd.api.types.is_scalar(value) and pd.isna(value) else str(value).strip()


def shuffled(rows: Iterable[Row], seed: int | None) -> Iterable[Row]:
    """The rows as they come; with a seed in a random order, so that the first n of them are a random subset."""
    if seed is None:
        return rows
    listed = list(rows)
    return (listed[i] for i in np.random.default_rng(seed).permutation(len(listed)))


class DataSet:
    """What Pairs and Stream share: choosing the rows that can be used, listing and counting the others."""

    def __init__(self, name: str):
        self.name, self.yielded = name, 0
        self.skipped: list[Skipped] = []

    def _choose(
        self,
        rows: Iterable[Pair | Skipped],
        limit: int | None,
        check: bool,
        per_class: int | None = None,
        refuse: Refuse | None = None,
    ) -> Iterator[Pair]:
        """The first ``limit`` rows that can be used, of each ``info["class"]`` at most ``per_class``; the others met are listed.

        check: open each picture, once where several captions share it. refuse: of the files that must not be opened, says why.
        """
        self.skipped, self.yielded = skipped, _ = [], 0
        ids: set[str] = set()
        classes: Counter[object] = Counter()
        fault_once = functools.cache(fault)
        for row in rows:
            if isinstance(row, Pair):
                kind = row.info.get("class")
                if per_class is not None and classes[kind] >= per_class:
                    continue
                is_file = isinstance(row.source, (str, os.PathLike))
                reason = "duplicate id: an earlier row has it" if row.id in ids else None
                reason = reason or (refuse(row.source) if refuse and is_file else None)
                reason = reason or ((fault_once if is_file else fault)(row.source) if check else None)
                if reason is None:
                    ids.add(row.id)
                    classes[kind] += 1
                    self.yielded += 1
                    yield row
                    if len(ids) == limit:
                        return
                    continue
                row = Skipped(row.id, reason)
            skipped.append(row)

    def summary(self) -> str:
        """One line: "Flickr8k: 998 pairs; 2 of 1000 rows skipped (1 missing picture, 1 empty caption)"."""
        if not self.skipped:
            return f"{self.name}: {self.yielded} pairs"
        kinds = Counter(reason.partition(":")[0] for _, reason in self.skipped)
        listed = ", ".join(f"{number} {kind}" for kind, number in kinds.most_common())
        total = self.yielded + len(self.skipped)
        return f"{self.name}: {self.yielded} pairs; {len(self.skipped)} of {total} rows skipped ({listed})"

    def __repr__(self) -> str:
        return f"<{self.summary()}>"

    def _report(self) -> str:
        return "{}; the first is {!r}, {}".format(self.summary(), *self.skipped[0])


class Pairs(DataSet, Sequence[Pair]):
    """A data set that is known as a whole: ``len``, ``pairs[3]``, ``pairs[:9]`` (a list), and any number of passes, all alike.

    name: the data set's. skipped: (id, reason) of each row that was met and can't be used; a warning sums them up, ``summary()``
    says it again. Behind the last pair that ``limit`` allows no row is looked at.

    Raises ValueError if no row can be used, FileNotFoundError if that is so because no picture is there; ``hint`` is added to it.
    """

    def __init__(
        self,
        name: str,
        rows: Iterable[Pair | Skipped],
        *,
        limit: int | None = None,
        check: bool = True,
        per_class: int | None = None,
        refuse: Refuse | None = None,
        hint: str = "",
    ):
        super().__init__(name)
        with tqdm(rows, desc=name, unit="row", delay=5, leave=False) as bar:  # a bar only where it takes long
            self._pairs = list(self._choose(bar, limit, check, per_class, refuse))
        if not self._pairs:
            missing = self.skipped and all(reason.startswith("missing") for _, reason in self.skipped)
            message = self._report() if self.skipped else f"{name}: there are no rows"
            raise (FileNotFoundError if missing else ValueError)("\n".join(filter(None, [message, hint])))
        if self.skipped:
            warnings.warn(f"{self._report()}; all are in .skipped", stacklevel=outside())

    def __len__(self) -> int:
        return len(self._pairs)

    @overload
    def __getitem__(self, index: int) -> Pair: ...
    @overload
    def __getitem__(self, index: slice) -> list[Pair]: ...
    def __getitem__(self, index: int | slice) -> Pair | list[Pair]:
        return self._pairs[index]


class Stream(DataSet):
    """A data set that is met pair by pair, of unknown length. ``skipped`` and ``summary()`` are of the latest pass so far."""

    def __init__(self, name: str, rows: Callable[[], Iterable[Pair | Skipped]], *, limit: int | None = None, check: bool = True):
        super().__init__(name)
        self._rows, self._limit, self._check = rows, limit, check

    def __iter__(self) -> Iterator[Pair]:
        yield from self._choose(self._rows(), self._limit, self._check)
        if self.skipped:
            warnings.warn(f"{self._report()}; all are in .skipped", stacklevel=outside())

    def __repr__(self) -> str:
        return f"<{self.summary()}, a stream>"
