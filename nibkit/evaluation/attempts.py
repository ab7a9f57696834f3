"""One bad pair costs one row: a call on a batch, tried again without the pairs that it fails on."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeVar

from ..checks import one_line
from ..model.fidelity import OF_THE_GPU

OF_NO_PAIR = (*OF_THE_GPU, Warning)  # warnings: where they are made errors
LONGEST = 500  # characters of a reason
FIRST = re.compile(r"^([^'\"]*?\b(?:image|caption|pair)) 0(?![\d.])")  # before any quote: what is quoted is another's
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


def reason_of(error: Exception, alone: bool = False) -> str:
    """What the list of skipped pairs says of an error: one line that can be printed and stored anywhere.

    alone: it was raised by a call on this one pair. Then nibkit's "image 0", the batch's first, is "image".
    """
    text = one_line(error, LONGEST)
    if alone and raised_in_nibkit(error):
        text = FIRST.sub(r"\1", text)
    told = text and isinstance(error, (ValueError, TypeError, OSError))
    return text if told else one_line(error, LONGEST, named=True)


def raised_in_nibkit(error: Exception) -> bool:
    """Was it raised by a line of this package, not by a picture's, a data set's or a method's of another?"""
    place = error.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    return place is not None and str(place.tb_frame.f_globals.get("__name__")).split(".")[0] == "nibkit"
