"""One way to check an argument: the same wording everywhere, before any work is done.

Each check returns the value as Python's own type, so numpy's counts and pandas' ids are welcome; what is refused is named.
Importing this loads neither torch nor numpy: the command line, which prints by it, shows its help at once.
"""

from __future__ import annotations

import math
import numbers
import operator
import sys
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, SupportsIndex, TypeGuard, overload

if TYPE_CHECKING:
    import numpy as np

MOST_STEPS = 10_000  # the command line's bound: no rule needs so many, and the Gauss rules' nodes take memory by its square


def is_whole(value: object) -> TypeGuard[SupportsIndex]:
    """Is it a whole number: an int or a numpy integer, but no Boolean?"""
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


@overload
def check_whole(name: str, value: object, least: int = ..., most: int | None = ..., *, purpose: str = ...) -> int: ...
@overload
def check_whole(name: str, value: object, least: int = ..., most: int | None = ..., *, optional: bool) -> int | None: ...
def check_whole(
    name: str, value: object, least: int = 1, most: int | None = None, *, optional: bool = False, purpose: str = ""
) -> int | None:
    """``value`` as an int, within ``least`` … ``most``; optional: None is fine, too. purpose: what for, in the message.

    Raises ValueError, which names it: no whole number, or one out of range.
    """
    if optional and value is None:
        return None
    if not is_whole(value) or not least <= operator.index(value) <= (math.inf if most is None else most):
        span = f", {least} or more" if most is None else f" within {least} … {most}"
        raise ValueError(f"{name} must be a whole number{span}{purpose}{', or None' if optional else ''}; got {value!r}")
    return operator.index(value)


def check_number(
    name: str,
    value: object,
    *,
    least: float | None = None,
    most: float | None = None,
    above: float | None = None,
    below: float | None = None,
) -> float:
    """``value`` as a float: finite, ``least`` ≤ value ≤ ``most``, ``above`` < value < ``below``.

    Raises ValueError, which names it: no number (Booleans are none), or one out of range.
    """
    try:
        number = float(value) if isinstance(value, numbers.Real) and not isinstance(value, bool) else math.nan
    except OverflowError:  # a whole number beyond every float
        number = math.inf
    low, high = least if above is None else above, most if below is None else below
    inside = (low is None or (number > low if above is not None else number >= low)) and (
        high is None or (number < high if below is not None else number <= high)
    )
    if not (math.isfinite(number) and inside):
        raise ValueError(f"{name} must be a finite number{_span(least, most, above, below)}; got {value!r}")
    return number


def _span(least: float | None, most: float | None, above: float | None, below: float | None) -> str:
    """Such as ", 0 or more", " above 0", " within 0 … 1", " within 0 … 1, 1 left out"."""
    low, high = least if above is None else above, most if below is None else below
    if low is not None and high is not None:
        left_out = [f"{end:g}" for end in (above, below) if end is not None]
        return f" within {low:g} … {high:g}" + (f", {' and '.join(left_out)} left out" if left_out else "")
    if low is not None:
        return f" above {low:g}" if above is not None else f", {low:g} or more"
    return "" if high is None else f" below {high:g}" if below is not None else f", {high:g} or less"


def check_batch_size(value: object) -> int | None:
    """How many go through a model at once: a whole number, 1 or more, or None. ValueError if it is neither."""
    return check_whole("batch_size", value, optional=True)


def check_seed(value: object) -> int:
    """The seed of a generator: a whole number, 0 or more. ValueError if it is none."""
    return check_whole("seed", value, least=0)


@overload
def check_choice(name: str, value: object, choices: Collection[str]) -> str: ...
@overload
def check_choice(name: str, value: object, choices: Collection[str], *, optional: bool) -> str | None: ...
def check_choice(name: str, value: object, choices: Collection[str], *, optional: bool = False) -> str | None:
    """``value`` itself, one of these texts; optional: None is fine, too. ValueError, which lists them, if it is none."""
    if optional and value is None:
        return None
    if not isinstance(value, str) or value not in choices:
        quoted = [*(f'"{choice}"' for choice in choices), *(["None"] if optional else [])]
        listed = " or ".join(filter(None, (", ".join(quoted[:-1]), quoted[-1])))
        raise ValueError(f"{name} must be {listed}; got {value!r}")
    return value


def check_masks(
    masks: object, count: int, size: tuple[int, int] | None = None, name: str = "masks", empty: bool = False
) -> np.ndarray:
    """The masks as a bool array [B, H, W]; ``count`` is B, ``size`` is (H, W) where it is known.

    Raises TypeError or ValueError on another type or shape, and where one of them is empty (unless ``empty`` allows it).
    """
    import numpy as np

    array = masks.detach().cpu().numpy() if hasattr(masks, "detach") else np.asarray(masks)  # a tensor's, or any array's
    if array.dtype != bool:
        raise TypeError(f"{name} must be booleans, True on the object; got {array.dtype} (compare: {name} > .5)")
    if array.ndim != 3 or len(array) != count or 0 in array.shape or (size is not None and array.shape[1:] != tuple(size)):
        wanted = ", ".join(map(str, size)) if size is not None else "H, W"
        raise ValueError(f"{name} must be [{count}, {wanted}], one for each pair; got {list(array.shape)}")
    if not empty and not (some := array.any((1, 2))).all():
        raise ValueError(f"the mask of pair {some.argmin()} is empty: there is nothing to find, leave the pair out")
    return array


def one_line(text: object, most: int = 600, named: bool = False) -> str:
    """A text, or what an error says, in one line of printable characters: ``most`` of them in all, with the "…" of a cut.

    named: the type comes first, "KeyError: 'x'". Of an error that can't even say what it is, nothing else is told.
    """
    try:
        line = " ".join(str(text).split())
    except Exception:
        line = ""
    line = ": ".join(filter(None, (type(text).__name__ if named else "", line)))[: most + 1]
    line = "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in line)
    return line if len(line) <= most else f"{line[: most - 1]}…"


def escaped(text: str) -> str:
    """An id or a caption that can be stored: half characters (lone surrogates, as a file name that is not UTF-8 has them) are
    spelt out, ``\\udce9``, and all else stays as it is, so that two ids stay two. (For messages see ``one_line``.)"""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def listed(names: Iterable[object], most: int = 8) -> str:
    """The names for a message, one behind the other: "a, b, c"; of more than ``most`` the first, "… and 92 more"."""
    shown = [str(name) for name in names]
    return ", ".join(shown[:most]) + (f", … and {len(shown) - most} more" if len(shown) > most else "")


def outside() -> int:
    """The ``stacklevel`` at which ``warnings.warn`` in the calling function names the first line outside nibkit: the user's."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and str(frame.f_globals.get("__name__")).split(".")[0] == "nibkit":
        level, frame = level + 1, frame.f_back
    return level
