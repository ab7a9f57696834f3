"""One bad pair costs one row: a call on a batch, tried again without the pairs that it fails on."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeVar

import torch

from ..checks import escaped

OF_NO_PAIR = (torch.OutOfMemoryError, torch.AcceleratorError, Warning)  # a GPU that is full or lost; warnings made errors
LONGEST = 500  # characters of a reason
Result = TypeVar("Result")


def attempt(call: Callable[[list[int]], Result], rows: list[int]) -> tuple[list[tuple[list[int], Result]], dict[int, Exception]]:
    """``call`` on all rows at once; if that fails, on those that do not fail alone; if that fails, too, on each of these alone.

    Returns ([(rows, their result), …], {row that fails alone: why}). What is nobody's own fault is raised: see ``OF_NO_PAIR``.
    """
    try:
        return ([(rows, call(rows))] if rows else []), {}
    except OF_NO_PAIR:
        raise
    except Exception as error:  # a damaged picture or a method may raise anything
        if len(rows) == 1:
            return [], {rows[0]: error}
    alone: list[tuple[list[int], Result]] = []
    bad: dict[int, Exception] = {}
    for row in rows:
        one, why = attempt(call, [row])
        alone, bad = alone + one, bad | why
    if bad and len(alone) > 1:
        good, failed = attempt(call, [row for row in rows if row not in bad])
        return (good, bad) if not failed else (alone, bad)
    return alone, bad


def reason_of(error: Exception) -> str:
    """What the list of skipped pairs says of an error: one line that can be printed and stored anywhere."""
    try:
        text = " ".join(str(error).split())
    except Exception:  # an error that can't even say what it is
        text = ""
    text = re.sub(r"\b(image|caption|pair) 0\b", r"\1", text)
    name = "" if text and isinstance(error, (ValueError, TypeError, OSError)) else type(error).__name__
    return escaped(": ".join(filter(None, [name, text])))[:LONGEST]
