"""What every data set yields: pairs of a picture and its caption, each with an id; what can't be used is listed."""

from __future__ import annotations

import io
import os
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import pandas as pd
from PIL import Image
from tqdm.auto import tqdm

from ..model.pictures import to_rgb
from .shapes import Scene

UNREADABLE = (OSError, ValueError, TypeError)  # what ``Pair.image`` raises of a damaged picture


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
    source: object = field(repr=False)
    caption: str
    masks: np.ndarray | None = field(default=None, repr=False)
    scene: Scene | None = field(default=None, repr=False)
    info: Mapping = field(default_factory=dict, repr=False)

    @property
    def image(self) -> Image.Image:
        """The picture as an RGB PIL image (see ``inputs.to_rgb``). ValueError, TypeError or OSError if it can't be read."""
        try:
            source = self.source() if callable(self.source) else self.source
            return to_rgb(_decode(source) if isinstance(source, bytes) else source)
        except (*UNREADABLE, MemoryError):
            raise
        except Exception as error:  # PIL lets through whatever a damaged file makes it do, such as dividing by zero
            raise ValueError(f"image can't be read ({type(error).__name__}: {error})") from error


def _decode(encoded: bytes) -> Image.Image:
    try:
        return Image.open(io.BytesIO(encoded))
    except (OSError, SyntaxError) as error:
        raise ValueError(f"image is no readable picture ({len(encoded)} bytes)") from error


class Skipped(NamedTuple):
    """A row that can't be used. ``reason`` begins with its kind and a colon: "missing picture: a.jpg"."""

    id: str
    reason: str


def pair_of(id: str, source, caption, **more) -> Pair | Skipped:
    """The pair, or why there is none: no picture, no caption."""
    if isinstance(caption, str):
        caption = caption.strip()
    elif pd.api.types.is_scalar(caption) and pd.isna(caption):
        caption = ""
    else:
        return Skipped(id, f"caption is no text: {caption!r:.60}")
    if not caption:
        return Skipped(id, "empty caption: there is none")
    if source is None:
        return Skipped(id, "missing picture: there is none")
    return Pair(id, source, caption, **more)


def pairs_of(id: str, source, captions, info: Mapping) -> Iterator[Pair | Skipped]:
    """The pair of a row; of a row that has a list of captions, a pair for each."""
    if isinstance(captions, (list, tuple)):
        yield from (pair_of(f"{id}#{k}", source, caption, info=info) for k, caption in enumerate(captions))
    else:
        yield pair_of(id, source, captions, info=info)


class Pairs(Sequence):
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
        hint: str = "",
        empty: bool = False,
    ):
        self.name, self.skipped = name, []
        rows = tqdm(rows, desc=name, unit="row", delay=5, leave=False)  # a bar only where it takes long
        self._pairs: list[Pair] = list(choose(rows, self.skipped, limit, check, per_class))
        rows.close()
        if not self._pairs and not empty:
            missing = self.skipped and all(reason.startswith("missing") for _, reason in self.skipped)
            message = f"{self.summary()}{_first(self.skipped)}" if self.skipped else f"{name}: there are no rows"
            raise (FileNotFoundError if missing else ValueError)("\n".join(filter(None, [message, hint])))
        if self.skipped:
            warnings.warn(f"{self.summary()}{_first(self.skipped)}; all are in .skipped", stacklevel=3)

    def __len__(self) -> int:
        return len(self._pairs)

    def __getitem__(self, index):
        return self._pairs[index]

    def summary(self) -> str:
        """One line: how many pairs there are, how many rows were skipped, and why."""
        return summary(self.name, len(self._pairs), self.skipped)

    def __repr__(self) -> str:
        return f"<{self.summary()}>"


class Stream:
    """A data set that is met pair by pair, of unknown length. ``skipped`` and ``summary()`` are of the latest pass so far."""

    def __init__(self, name: str, rows: Callable[[], Iterable[Pair | Skipped]], *, limit: int | None = None, check: bool = True):
        self.name, self.skipped, self.yielded = name, [], 0
        self._rows, self._limit, self._check = rows, limit, check

    def __iter__(self) -> Iterator[Pair]:
        self.skipped, self.yielded = skipped, _ = [], 0
        for pair in choose(self._rows(), skipped, self._limit, self._check):
            self.yielded += 1
            yield pair
        if skipped:
            warnings.warn(f"{self.summary()}{_first(skipped)}; all are in .skipped", stacklevel=2)

    def summary(self) -> str:
        """One line: how many pairs there were, how many rows were skipped, and why."""
        return summary(self.name, self.yielded, self.skipped)

    def __repr__(self) -> str:
        return f"<{self.summary()}, a stream>"


def summary(name: str, count: int, skipped: Sequence[Skipped]) -> str:
    """Such as "Flickr8k: 998 pairs; 2 of 1000 rows skipped (1 missing picture, 1 empty caption)"."""
    if not skipped:
        return f"{name}: {count} pairs"
    kinds = Counter(reason.partition(":")[0] for _, reason in skipped)
    listed = ", ".join(f"{number} {kind}" for kind, number in kinds.most_common())
    return f"{name}: {count} pairs; {len(skipped)} of {count + len(skipped)} rows skipped ({listed})"


def _first(skipped: Sequence[Skipped]) -> str:
    return f"; the first is {skipped[0].id!r}, {skipped[0].reason}" if skipped else ""


def choose(
    rows: Iterable[Pair | Skipped],
    skipped: list[Skipped],
    limit: int | None = None,
    check: bool = True,
    per_class: int | None = None,
) -> Iterator[Pair]:
    """The first ``limit`` rows that can be used, of each class (``info["class"]``) at most ``per_class``.

    What can't be used and was met on the way goes to ``skipped``. check: open each picture, once where several captions share it.
    """
    ids: set[str] = set()
    verdicts: dict = {}  # path -> what is wrong with the picture, or None
    classes: Counter = Counter()
    found = 0
    for row in rows:
        if isinstance(row, Pair):
            if per_class is not None and classes[row.info.get("class")] >= per_class:
                continue
            if row.id in ids:
                row = Skipped(row.id, "duplicate id: an earlier row has it")
            elif check:
                key = os.fspath(row.source) if isinstance(row.source, (str, os.PathLike)) else None
                wrong = verdicts[key] if key in verdicts else wrong_with(row)
                if key is not None:
                    verdicts[key] = wrong
                if wrong:
                    row = Skipped(row.id, wrong)
        if isinstance(row, Skipped):
            skipped.append(row)
            continue
        ids.add(row.id)
        classes[row.info.get("class")] += 1
        found += 1
        yield row
        if found == limit:
            return


def wrong_with(pair: Pair) -> str | None:
    """Why the picture can't be read; None if it can."""
    try:
        pair.image  # noqa: B018
    except FileNotFoundError as error:
        return f"missing picture: {error}"
    except UNREADABLE as error:
        return f"unreadable picture: {error}"
    return None


def check_options(**values: int | None) -> None:
    """ValueError, naming the option, if one is neither None nor a whole number in range: seeds from 0, all else from 1."""
    for name, value in values.items():
        low = 0 if name == "seed" else 1
        whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
        if value is not None and (not whole or value < low):
            raise ValueError(f"{name} must be a whole number, {low} or more, or None; got {value!r}")


def shuffled(rows: Iterable, seed: int | None) -> Iterable:
    """The rows as they come; with a seed in a random order, so that the first n of them are a random subset."""
    if seed is None:
        return rows
    rows = list(rows)
    return (rows[i] for i in np.random.default_rng(seed).permutation(len(rows)))
