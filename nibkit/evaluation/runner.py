"""What a benchmark does with one batch of pairs: prepare it, explain it by every method, time, count, score."""

from __future__ import annotations

import functools
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import torch
from PIL import Image

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
from .attempts import attempt, reason_of
from .reading import Pair, id_of, look_at
from .store import ALL, Id, Seen


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
Skipped = tuple[Id, str, str]  # pair, method, reason


@dataclass
class Outcome:
    """What is written together: the pairs that were looked at, ``rows`` of results, and what was skipped."""

    pairs: list[Seen]
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
        wanted = sorted({row for rows in job.missing.values() for row in rows})
        seen = {i: Seen(id_of(job.pairs[i]), job.positions[i], str(job.pairs[i].caption)) for i in wanted}
        pictures: dict[int, Image.Image] = {}
        bad: dict[int, Exception] = {}
        for i in wanted:
            loaded, failed = attempt(lambda rows: look_at(job.pairs[rows[0]]), [i])
            bad |= failed
            for _, (picture, *digests) in loaded:
                pictures[i], seen[i] = picture, Seen(*seen[i][:3], *digests)

        def prepare(rows: list[int]) -> Inputs:
            return self.clip.prepare([pictures[i] for i in rows], [job.pairs[i].caption for i in rows])

        parts, failed = attempt(prepare, list(pictures))
        bad |= failed
        pictures.clear()  # full size, while the methods need room
        if bad:
            yield Outcome([seen[i] for i in bad], skipped=[(seen[i].id, ALL, reason_of(bad[i], alone=True)) for i in sorted(bad)])
        for good, inputs in parts:
            for method in self.methods:
                rows = [i for i in job.missing.get(method.label, []) if i in good]
                if rows:
                    part = inputs[[good.index(i) for i in rows]]
                    yield Outcome([seen[i] for i in rows], *self.explain(method, part, [job.pairs[i] for i in rows]))

    def all(self, jobs: Iterable[Job]) -> Generator[Outcome, None, None]:
        """The outcomes of many jobs, one after the other."""
        for job in jobs:
            yield from self(job)

    def explain(self, method: Method, inputs: Inputs, pairs: Sequence[Pair]) -> tuple[list[Row], list[Skipped]]:
        """(rows of ``results``, rows of ``skipped``) of one method on prepared pairs."""
        if method.label not in self.peak_memory and (failed := self.warm_up(method, inputs, pairs)):
            return [], [(id_of(pair), method.label, reason_of(failed, alone=True)) for pair in pairs]

        def call(rows: list[int]) -> tuple[Attribution, Row]:
            explain_rows = bound(self.clip, method, inputs[rows], [pairs[i] for i in rows])
            with count_passes(self.clip) as passes:
                att, seconds = timed(explain_rows, self.clip.device, self.measures.timing)
            check_maps(att, inputs[rows])
            seconds, calls = seconds / len(rows), len(rows) * self.measures.timing
            costs = dict(zip(COSTS, (seconds, 1 / seconds, self.peak_memory[method.label])))
            return att, costs | {name: getattr(passes, name) / calls for name in PASSES}

        table: list[Row] = []
        parts, bad = attempt(call, list(range(len(pairs))))
        for explained, (att, costs) in parts:
            place = {i: k for k, (i, finite) in enumerate(zip(explained, all_finite(att))) if finite}
            bad |= {i: ValueError("the map holds NaN or infinity") for i in explained if i not in place}

            def score(rows: list[int], att: Attribution = att, place: dict[int, int] = place) -> pd.DataFrame:
                maps = att[[place[i] for i in rows]]
                return scores(self.clip, inputs[rows], maps, [pairs[i] for i in rows], self.measures)

            scored, unscored = attempt(score, list(place))
            bad |= unscored
            for rows, metrics in scored:
                records: list[Any] = metrics.astype(float).to_dict("records")
                table += [{"pair": id_of(pairs[i]), "method": method.label} | row | costs for i, row in zip(rows, records)]
        return table, [(id_of(pairs[i]), method.label, reason_of(bad[i], alone=True)) for i in sorted(bad)]

    def warm_up(self, method: Method, inputs: Inputs, pairs: Sequence[Pair]) -> Exception | None:
        """First calls set up what later ones find ready: one of one pair, then one of the batch, whose peak memory is kept.

        Returns why it fails on a batch of one pair, which may be that pair's fault; raises ValueError if it fails on all of more.
        """

        def call(rows: list[int]) -> float:
            bound(self.clip, method, inputs[rows[:1]], [pairs[rows[0]]])()
            return with_peak_memory(bound(self.clip, method, inputs[rows], [pairs[i] for i in rows]), self.clip.device)[1]

        parts, bad = attempt(call, list(range(len(pairs))))
        if not parts and len(pairs) == 1:
            return bad[0]
        if not parts:
            why = reason_of(bad[0], alone=True)
            raise ValueError(f"method {method.label!r} fails on every pair of its first batch: {why}") from bad[0]
        self.peak_memory[method.label] = max(peak for _, peak in parts)
        return None


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
    if masks is None:
        return None, None
    given = masks.detach().cpu().numpy() if isinstance(masks, torch.Tensor) else np.asarray(masks)
    if given.dtype != bool:
        raise TypeError(f"masks must be booleans; got {given.dtype} (compare: masks > .5)")
    return np.logical_or.reduce(given), None


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


def check_maps(att: Attribution, inputs: Inputs) -> None:
    """TypeError or ValueError if a method returned something else than a map for each pair and a value for each token."""
    if not isinstance(att, Attribution):
        raise TypeError(f"it must return an nk.Attribution; got {type(att).__name__}")
    count, tokens = inputs.input_ids.shape
    for name, maps, shape in (("image", att.image, "gh, gw"), ("pixels", att.pixels, "H, W"), ("text", att.text, f"{tokens}")):
        if name == "pixels" and maps is None:
            continue
        if not isinstance(maps, torch.Tensor):
            raise TypeError(f"its {name} must be a torch.Tensor; got {type(maps).__name__}")
        fits = tuple(maps.shape) == (count, tokens) if name == "text" else maps.ndim == 3 and len(maps) == count
        if not fits or 0 in maps.shape:
            raise ValueError(f"its {name} must be [{count}, {shape}] for {count} pairs; got {list(maps.shape)}")
