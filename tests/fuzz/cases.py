"""What a case is, what is expected of it, and how one is run: bounded in time and memory, in a folder of its own."""

from __future__ import annotations

import contextlib
import hashlib
import os
import resource
import shutil
import signal
import tempfile
import threading
import traceback
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from evaluations import tiny
from transformers.utils import logging

import nibkit as nk
from nibkit.evaluation.attempts import raised_in_nibkit

SECONDS, PATIENCE, MEMORY = 20, 300, 1500  # of the processor, of the clock, and megabytes that a case may take
EXPECTED = (ValueError, TypeError, OSError)  # what nibkit documents
LONGEST = 2000  # characters of a message
WARNINGS = 12  # that a call may give


class Fault(AssertionError):
    """A promise that is not kept."""


class Hang(BaseException):
    """A case that does not end; no ``except Exception`` on the way takes it."""


@dataclass
class World:
    """What the cases share: a fast model of random weights, in memory and as a folder, and a picture."""

    folder: Path

    def __post_init__(self) -> None:
        self.clip = tiny()
        self.model = self.folder / "model"
        logging.disable_progress_bar()
        for part in (self.clip.model, self.clip.tokenizer, self.clip.image_processor):
            part.save_pretrained(self.model)
        self.picture = nk.shapes.sample(1, seed=3)[0].image


@dataclass
class Case:
    """One case. rng: its own generator. folder: its own, empty. calls: how often nibkit was asked."""

    kind: str
    seed: int
    number: int
    world: World
    folder: Path
    calls: int = 0
    rng: np.random.Generator = field(init=False)

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng([self.seed, self.number, *self.kind.encode()])

    def chance(self, share: float) -> bool:
        return bool(self.rng.random() < share)

    def one(self, *choices: Any) -> Any:
        """One of them."""
        return choices[int(self.rng.integers(len(choices)))]

    def some(self, choices: Any, least: int = 0, most: int | None = None) -> list:
        """So many of them, none twice."""
        choices = list(choices)
        count = int(self.rng.integers(least, (len(choices) if most is None else min(most, len(choices))) + 1))
        return [choices[i] for i in self.rng.permutation(len(choices))[:count]]

    def whole(self, low: int, high: int) -> int:
        """low … high, both included."""
        return int(self.rng.integers(low, high + 1))

    def ask(self, call: Callable[[], Any], refused: bool = True) -> tuple[Any, Exception | None]:
        """(what the call returns, None), or (None, the error in which it ends, as nibkit documents it).

        Fault: an error of another kind, one that nibkit did not raise itself, one without words; a flood of warnings, or one of
        another's; any error where ``refused`` is False.
        """
        self.calls += 1
        error = None
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            try:
                value = call()
            except Exception as caught:
                value, error = None, caught
        if error is not None:
            check_error(error)
            if not refused:
                raise Fault(f"what is fine is refused: {error}") from error
        strange = [w for w in told if w.category not in (UserWarning, DeprecationWarning)]  # Python shows nobody the last
        if strange:
            raise Fault(f"a warning of another's: {strange[0].category.__name__}: {strange[0].message}")
        if len(told) > WARNINGS:
            raise Fault(f"{len(told)} warnings, such as {told[0].message}")
        return value, error

    @contextlib.contextmanager
    def unchanged(self, *new: str) -> Iterator[None]:
        """No file in the folder is changed, lost or added, but for the new ones that are named (and SQLite's own beside them)."""
        new = tuple(filter(None, new))
        before = contents(self.folder)
        yield
        after = contents(self.folder)
        more = {name for name in after.keys() - before.keys() if not name.startswith(new)}
        changed = {name for name in before if before[name] != after.get(name)} - set(new)
        if more or changed:
            raise Fault(f"files that are changed or lost: {sorted(changed)}; that are added: {sorted(more)}")


def contents(folder: Path) -> dict[str, str]:
    """Each file's digest, by its path in the folder."""
    found = {}
    for path in folder.rglob("*"):
        link = os.readlink(path) if path.is_symlink() else ""
        data = path.read_bytes() if path.is_file() else b""
        found[os.fsdecode(path.relative_to(folder))] = link + hashlib.sha256(data).hexdigest()
    return found


def check_error(error: Exception) -> None:
    """Fault if it is none that nibkit raises on purpose."""
    kind, text = type(error).__name__, str(error)
    if not isinstance(error, EXPECTED):
        raise Fault(f"{kind}: {text}") from error
    if not raised_in_nibkit(error):
        raise Fault(f"not raised by nibkit: {kind}: {text}") from error
    if not text.strip() or len(text) > LONGEST:
        raise Fault(f"a message of {len(text)} characters: {kind}: {text[:300]}") from error


def check_finite(name: str, *values: torch.Tensor | None) -> None:
    """Fault if one holds NaN or infinity."""
    if not all(bool(torch.isfinite(value).all()) for value in values if value is not None):
        raise Fault(f"{name} holds NaN or infinity")


def check_equal(name: str, ours: torch.Tensor, other: torch.Tensor, tolerance: float = 1e-5) -> None:
    """Fault if they differ by more than ``tolerance`` of the largest value (a batch's sums are in another order)."""
    if ours.shape != other.shape:
        raise Fault(f"{name} is {list(ours.shape)} in one call, {list(other.shape)} in the other")
    scale = float(other.abs().max()) if other.numel() else 0.0
    if not torch.allclose(ours, other, rtol=0, atol=tolerance * max(scale, 1e-3)):
        raise Fault(f"{name} differs by {float((ours - other).abs().max()):.3g} of {scale:.3g}")


@contextlib.contextmanager
def bounded() -> Iterator[None]:
    """Fault if what is inside takes too long or too much memory. (Only the main thread of a process can be stopped.)"""

    def stop(*_: object) -> None:
        raise Hang(f"no end within {SECONDS} s of the processor")

    timers = {signal.ITIMER_PROF: (signal.SIGPROF, SECONDS), signal.ITIMER_REAL: (signal.SIGALRM, PATIENCE)}
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    old = {}
    if threading.current_thread() is threading.main_thread():
        for timer, (number, seconds) in timers.items():
            old[number] = signal.signal(number, stop)
            signal.setitimer(timer, seconds)
    try:
        yield
    finally:
        if old:
            for timer, (number, _) in timers.items():
                signal.setitimer(timer, 0)
                signal.signal(number, old[number])
    more = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    if more > MEMORY:
        raise Fault(f"it took {more:.0f} MB")


@dataclass
class Outcome:
    """What became of a case. fault: "" where all promises are kept; trace: the traceback, where it is not."""

    name: str
    what: str = ""
    calls: int = 0
    fault: str = ""
    trace: str = ""


def run(kind: str, seed: int, number: int, kinds: dict[str, Callable[[Case], str]], world: World, keep: Path | None) -> Outcome:
    """Run one case; where a promise is broken, its folder and the traceback are kept under ``keep``."""
    outcome = Outcome(f"{kind}-{seed}-{number}")
    before = os.getcwd()
    with tempfile.TemporaryDirectory() as place:
        case = Case(kind, seed, number, world, Path(place))
        try:
            os.chdir(place)
            with bounded(), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # what the drawing of a case gives; nibkit's own are looked at
                outcome.what = kinds[kind](case)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # the tokenizers' own panics are no Exception
            outcome.fault = f"{type(error).__name__}: {error}" if not isinstance(error, Fault) else str(error)
            outcome.trace = traceback.format_exc()
        finally:
            os.chdir(before)
        outcome.calls = case.calls
        if outcome.fault and keep is not None:
            (keep / outcome.name).mkdir(parents=True, exist_ok=True)
            shutil.copytree(place, keep / outcome.name / "files", dirs_exist_ok=True, symlinks=True)
            (keep / outcome.name / "trace.txt").write_text(outcome.trace, encoding="utf-8", errors="backslashreplace")
    return outcome
