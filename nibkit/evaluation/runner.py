"""What a benchmark does with one batch of pairs: prepare it, explain it by every method, time, count, score."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import torch

from ..methods.attribution import Attribution
from ..methods.registry import Method
from ..metrics.confidence import confidence
from ..metrics.costs import COSTS, PASSES, count_passes, timed, with_peak_memory
from ..metrics.curves import insertion_deletion
from ..metrics.localisation import localisation, named_masks, named_words
from ..model.clip import Clip
from ..model.inputs import Inputs
from .store import ALL

OF_A_PAIR = (ValueError, TypeError, OSError)  # what a single pair may be the cause of; all else ends the run


@dataclass(frozen=True)
class Measures:
    """What is measured of every map, and how; see ``evaluate``."""

    protocol: str = "paper"
    timing: int = 1
    curve_steps: int | None = None


@dataclass(frozen=True)
class Job:
    """A batch: the pairs, their positions in the data set, and for each method's label the rows that it has yet to explain."""

    pairs: list
    positions: list[int]
    missing: dict[str, list[int]]


@dataclass
class Outcome:
    """Rows to be written together: ``rows`` of results, ``skipped`` as (pair, method, reason)."""

    pairs: list[tuple]
    rows: list[dict] = field(default_factory=list)
    skipped: list[tuple] = field(default_factory=list)


class Runner:
    """A model and its methods, each warmed up at its first batch."""

    def __init__(self, clip: Clip, methods: Sequence[Method], measures: Measures):
        self.clip, self.methods, self.measures = clip, methods, measures
        self.peak_memory: dict[str, float] = {}  # of the methods that are warm

    def __call__(self, job: Job) -> Iterator[Outcome]:
        """An outcome for each method that has rows to add, and before them one if pairs can't be prepared."""
        names = [(pair.id, position, str(pair.caption)) for pair, position in zip(job.pairs, job.positions)]
        wanted = sorted({row for rows in job.missing.values() for row in rows})

        def prepare(rows: list[int]) -> Inputs:
            return self.clip.prepare([job.pairs[i].image for i in rows], [job.pairs[i].caption for i in rows])

        inputs, good, bad = attempt(prepare, wanted)
        if bad:
            yield Outcome(names, skipped=[(names[i][0], ALL, reason) for i, reason in bad.items()])
        for method in self.methods:
            rows = [i for i in job.missing.get(method.label, []) if i in good]
            if rows:
                part = inputs[[good.index(i) for i in rows]]
                found, skipped = self.explain(method, part, [job.pairs[i] for i in rows])
                yield Outcome(names, found, skipped)

    def all(self, jobs: Iterable[Job]) -> Iterator[Outcome]:
        """The outcomes of many jobs, one after the other."""
        for job in jobs:
            yield from self(job)

    def explain(self, method: Method, inputs: Inputs, pairs: list) -> tuple[list[dict], list[tuple]]:
        """(rows of ``results``, rows of ``skipped``) of one method on prepared pairs."""
        device, everything = self.clip.device, list(range(len(pairs)))
        if method.label not in self.peak_memory:
            self.warm_up(method, inputs, pairs)

        def call(rows: list[int]):
            part = inputs[rows]
            options = method.options | truth(method, part, [pairs[i] for i in rows])
            with count_passes(self.clip) as passes:
                att, seconds = timed(lambda: method.function(self.clip, part, **options), device, self.measures.timing)
            return att, seconds / len(rows), passes

        result, explained, bad = attempt(call, everything)
        rows: list[dict] = []
        if explained:
            att, seconds, passes = result
            finite = all_finite(att)
            bad |= {i: "the map holds NaN or infinity" for i, ok in zip(explained, finite) if not ok}
            place = {i: k for k, (i, ok) in enumerate(zip(explained, finite)) if ok}

            def score(rows: list[int]) -> pd.DataFrame:
                return scores(self.clip, inputs[rows], att[[place[i] for i in rows]], [pairs[i] for i in rows], self.measures)

            metrics, scored, unscored = attempt(score, list(place))
            bad |= unscored
            each = len(explained) * self.measures.timing
            costs = dict(zip(COSTS, (seconds, 1 / seconds, self.peak_memory[method.label])))
            costs |= {name: getattr(passes, name) / each for name in PASSES}
            if scored:
                rows = [
                    {"pair": pairs[i].id, "method": method.label} | {name: float(v) for name, v in values.items()} | costs
                    for i, values in zip(scored, metrics.to_dict("records"))
                ]
        return rows, [(pairs[i].id, method.label, bad[i]) for i in sorted(bad)]

    def warm_up(self, method: Method, inputs: Inputs, pairs: list) -> None:
        """First calls set up what later ones find ready: one of one pair, then one of the batch, whose peak memory is kept."""

        def call(rows: list[int]) -> float:
            part, batch = inputs[rows], [pairs[i] for i in rows]
            method.function(self.clip, part[0], **method.options, **truth(method, part[0], batch[:1]))
            options = method.options | truth(method, part, batch)
            return with_peak_memory(lambda: method.function(self.clip, part, **options), self.clip.device)[1]

        peak, good, bad = attempt(call, list(range(len(pairs))))
        if not good:
            raise ValueError(f"method {method.label!r} fails on every pair of its first batch: {bad[0]}")
        self.peak_memory[method.label] = peak


def scores(clip: Clip, inputs: Inputs, att: Attribution, pairs: list, measures: Measures) -> pd.DataFrame:
    """The metrics of a batch, a row per pair: confidence, areas if asked for, localisation where the truth is known."""
    table = confidence(clip, inputs, att, protocol=measures.protocol)
    if measures.curve_steps is not None:
        table = table.join(insertion_deletion(clip, inputs, att, steps=measures.curve_steps))
    found = []
    for i, pair in enumerate(pairs):
        mask, distractor = true_masks(pair)
        if mask is not None and mask.any():
            found.append(localisation(att[i], mask[None], None if distractor is None else distractor[None]).set_axis([i]))
    return table.join(pd.concat(found)) if found else table


def true_masks(pair) -> tuple[np.ndarray | None, np.ndarray | None]:
    """What the caption names and what else is there, bool [H, W] each; None where that is not known.

    Of a pair without ``scene`` all masks together count as what the caption names.
    """
    if getattr(pair, "scene", None) is not None:
        masks, distractors = named_masks([pair.scene])
        return masks[0], distractors[0]
    masks = getattr(pair, "masks", None)
    return (None if masks is None else np.asarray(masks).any(0)), None


def truth(method: Method, inputs: Inputs, pairs: list) -> dict[str, np.ndarray]:
    """What the method wants to know of the truth: masks [B, H, W], words [B, T]. ValueError if a pair has no masks."""
    found = {}
    if "masks" in method.truth:
        masks = [true_masks(pair)[0] for pair in pairs]
        if any(mask is None for mask in masks):
            raise ValueError(f"{method.label!r} needs true masks, which this pair has not")
        found["masks"] = np.stack(masks)
    scenes = [getattr(pair, "scene", None) for pair in pairs]
    if "words" in method.truth and None not in scenes:
        found["words"] = named_words(scenes, inputs)
    return found


def all_finite(att: Attribution) -> list[bool]:
    """For each pair: does its map hold numbers alone?"""
    maps = [m for m in (att.image, att.text, att.pixels) if m is not None]
    return torch.stack([torch.isfinite(m).flatten(1).all(1) for m in maps]).all(0).tolist()


def attempt(call: Callable[[list[int]], object], rows: list[int]) -> tuple[object, list[int], dict[int, str]]:
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
