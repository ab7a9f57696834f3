"""What a benchmark does with one batch of pairs: prepare it, explain it by every method, time, count, score."""

from __future__ import annotations

import functools
import hashlib
import operator
import re
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

import numpy as np
import pandas as pd
import torch

from ..methods.attribution import Attribution
from ..methods.registry import Method
from ..metrics.confidence import confidence
from ..metrics.costs import count_passes, timed, with_peak_memory
from ..metrics.curves import insertion_deletion
from ..metrics.localisation import localisation, named_masks, named_words
from ..metrics.names import COSTS, PASSES
from ..model.clip import Clip
from ..model.inputs import Inputs
from ..model.views import seen_masks
from .store import ALL

OF_A_PAIR = (ValueError, TypeError, OSError)  # what a single pair may be the cause of; all else ends the run


Result = TypeVar("Result")


class Pair(Protocol):
    """What ``evaluate`` explains: a picture (anything that ``clip.prepare`` takes) and its caption, under an id of their own.

    Where the truth is known it has ``masks``, too (bool [k, H, W], of what the caption names, at the picture's own size or as
    the model sees it), or ``scene``.
    """

    @property
    def id(self) -> Any:
        """Text or a whole number, each once; see ``id_of``."""

    @property
    def image(self) -> Any:
        """May raise ValueError, TypeError or OSError: the pair is then skipped."""

    @property
    def caption(self) -> str: ...


def id_of(pair: Pair) -> str | int:
    """The pair's id as Python's own type: 1 and numpy's 1 (an id from pandas) are one id, in a table and in a file."""
    return pair.id if isinstance(pair.id, str) else operator.index(pair.id)


@dataclass(frozen=True)
class Measures:
    """What is measured of every map, and how; see ``evaluate``."""

    protocol: str = "paper"
    timing: int = 1
    curve_steps: int | None = None


@dataclass(frozen=True)
class Job:
    """A batch: the pairs, their positions in the data set, and for each method's label the rows that it has yet to explain."""

    pairs: Sequence[Pair]
    positions: list[int]
    missing: dict[str, list[int]]


Row = dict[str, Any]  # of ``results``: a column's name and its value
Skipped = tuple[str | int, str, str]  # pair, method, reason


@dataclass
class Outcome:
    """What is written together: ``pairs`` as (id, position, caption), ``rows`` of results, and what was skipped."""

    pairs: list[tuple[str | int, int, str]]
    rows: list[Row] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)


Work = Callable[[Iterator[Job]], Generator[Outcome, None, None]]


class Runner:
    """A model and its methods, each warmed up at its first batch."""

    def __init__(self, clip: Clip, methods: Sequence[Method], measures: Measures):
        self.clip, self.methods, self.measures = clip, methods, measures
        self.peak_memory: dict[str, float] = {}  # of the methods that are warm

    def __call__(self, job: Job) -> Iterator[Outcome]:
        """An outcome for each method that has rows to add, and before them one if pairs can't be prepared."""
        pairs = [(id_of(pair), position, str(pair.caption)) for pair, position in zip(job.pairs, job.positions)]
        wanted = sorted({row for rows in job.missing.values() for row in rows})

        def prepare(rows: list[int]) -> Inputs:
            return self.clip.prepare([job.pairs[i].image for i in rows], [job.pairs[i].caption for i in rows])

        inputs, good, bad = attempt(prepare, wanted)
        if bad:
            yield Outcome(pairs, skipped=[(pairs[i][0], ALL, reason) for i, reason in bad.items()])
        if inputs is None:
            return
        for method in self.methods:
            rows = [i for i in job.missing.get(method.label, []) if i in good]
            if rows:
                part = inputs[[good.index(i) for i in rows]]
                yield Outcome(pairs, *self.explain(method, part, [job.pairs[i] for i in rows]))

    def all(self, jobs: Iterable[Job]) -> Generator[Outcome, None, None]:
        """The outcomes of many jobs, one after the other."""
        for job in jobs:
            yield from self(job)

    def explain(self, method: Method, inputs: Inputs, pairs: Sequence[Pair]) -> tuple[list[Row], list[Skipped]]:
        """(rows of ``results``, rows of ``skipped``) of one method on prepared pairs."""
        if method.label not in self.peak_memory:
            self.warm_up(method, inputs, pairs)

        def call(rows: list[int]) -> tuple[Attribution, Row]:
            explain_rows = bound(self.clip, method, inputs[rows], [pairs[i] for i in rows])
            with count_passes(self.clip) as passes:
                att, seconds = timed(explain_rows, self.clip.device, self.measures.timing)
            seconds, calls = seconds / len(rows), len(rows) * self.measures.timing
            costs = dict(zip(COSTS, (seconds, 1 / seconds, self.peak_memory[method.label])))
            return att, costs | {name: getattr(passes, name) / calls for name in PASSES}

        table: list[Row] = []
        result, explained, bad = attempt(call, list(range(len(pairs))))
        if result is not None:
            att, costs = result
            place = {i: k for k, (i, finite) in enumerate(zip(explained, all_finite(att))) if finite}
            bad |= {i: "the map holds NaN or infinity" for i in explained if i not in place}

            def score(rows: list[int]) -> pd.DataFrame:
                maps = att[[place[i] for i in rows]]
                return scores(self.clip, inputs[rows], maps, [pairs[i] for i in rows], self.measures)

            metrics, scored, unscored = attempt(score, list(place))
            bad |= unscored
            records: list[Any] = [] if metrics is None else metrics.astype(float).to_dict("records")
            table = [{"pair": id_of(pairs[i]), "method": method.label} | row | costs for i, row in zip(scored, records)]
        return table, [(id_of(pairs[i]), method.label, bad[i]) for i in sorted(bad)]

    def warm_up(self, method: Method, inputs: Inputs, pairs: Sequence[Pair]) -> None:
        """First calls set up what later ones find ready: one of one pair, then one of the batch, whose peak memory is kept."""

        def call(rows: list[int]) -> float:
            bound(self.clip, method, inputs[rows[:1]], [pairs[rows[0]]])()
            return with_peak_memory(bound(self.clip, method, inputs[rows], [pairs[i] for i in rows]), self.clip.device)[1]

        peak, _, bad = attempt(call, list(range(len(pairs))))
        if peak is None:
            raise ValueError(f"method {method.label!r} fails on every pair of its first batch: {bad[0]}")
        self.peak_memory[method.label] = peak


def bound(clip: Clip, method: Method, inputs: Inputs, pairs: Sequence[Pair]) -> Callable[[], Attribution]:
    """The method's call on these pairs, with its options and what it wants to know of the truth."""
    return functools.partial(method.function, clip, inputs, **method.options, **truth(method, inputs, pairs))


def scores(clip: Clip, inputs: Inputs, att: Attribution, pairs: Sequence[Pair], measures: Measures) -> pd.DataFrame:
    """The metrics of a batch, a row per pair: confidence, areas if asked for, localisation where the truth is known."""
    table = confidence(clip, inputs, att, protocol=measures.protocol)
    if measures.curve_steps is not None:
        table = table.join(insertion_deletion(clip, inputs, att, steps=measures.curve_steps))
    localised = []
    for i, pair in enumerate(pairs):
        mask, distractor = true_masks(pair)
        if mask is not None and seen_masks([mask], att[i].views, 1, empty=True).any():  # else the model saw nothing of it
            row = localisation(att[i], mask[None], None if distractor is None else distractor[None])
            localised.append(row.set_axis([i]))
    return table.join(pd.concat(localised)) if localised else table


def true_masks(pair: Pair) -> tuple[np.ndarray | None, np.ndarray | None]:
    """What the caption names and what else is there, bool [H, W] each; None where that is not known.

    Their size is the picture's own, or what the model sees. Of a pair without ``scene`` all masks together count as named.
    """
    if (scene := getattr(pair, "scene", None)) is not None:
        named, distractors = named_masks([scene])
        return named[0], distractors[0]
    masks = getattr(pair, "masks", None)
    return (None if masks is None else np.logical_or.reduce(masks)), None


def truth(method: Method, inputs: Inputs, pairs: Sequence[Pair]) -> dict[str, Any]:
    """What the method wants to know of the truth: masks [B, H, W] (a list where pictures differ in size), words [B, T].

    ValueError if a pair has no masks.
    """
    wanted = {}
    if "masks" in method.truth:
        masks = [mask for mask, _ in map(true_masks, pairs) if mask is not None]
        if len(masks) < len(pairs):
            raise ValueError(f"{method.label!r} needs true masks, which this pair has not")
        wanted["masks"] = np.stack(masks) if len({mask.shape for mask in masks}) == 1 else masks
    scenes = [scene for pair in pairs if (scene := getattr(pair, "scene", None)) is not None]
    if "words" in method.truth and len(scenes) == len(pairs):
        wanted["words"] = named_words(scenes, inputs)
    return wanted


def all_finite(att: Attribution) -> list[bool]:
    """For each pair: does its map hold numbers alone?"""
    maps = [m for m in (att.image, att.text, att.pixels) if m is not None]
    return torch.stack([torch.isfinite(m).flatten(1).all(1) for m in maps]).all(0).tolist()


def attempt(call: Callable[[list[int]], Result], rows: list[int]) -> tuple[Result | None, list[int], dict[int, str]]:
    """``call`` on all rows at once; if that fails, on those that do not fail alone.

    Returns (result or None, the rows that it is of, for each other row the reason).
    """
    if not rows:
        return None, [], {}
    try:
        return call(rows), rows, {}
    except OF_A_PAIR as error:
        if len(rows) == 1:
            return None, [], {rows[0]: re.sub(r"\b(image|caption|pair) 0\b", r"\1", str(error)) or type(error).__name__}
        failure = error
    bad: dict[int, str] = {}
    for row in rows:
        bad |= attempt(call, [row])[2]
    if not bad:
        raise failure  # no pair's own fault
    good = [row for row in rows if row not in bad]
    return (call(good) if good else None), good, bad


def fingerprint(clip: Clip) -> str:
    """A digest of the weights' names, shapes and values, and of the end token's id."""
    digest = hashlib.blake2b(str(clip.text.end).encode(), digest_size=16)
    for name, weight in sorted(clip.model.state_dict().items()):
        digest.update(f"{name} {tuple(weight.shape)} {weight.dtype}".encode())
        digest.update(weight.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()
