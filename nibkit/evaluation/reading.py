"""What ``evaluate`` is given to explain, met pair by pair; what can't be met, or can't be written down, is told from the rest."""

from __future__ import annotations

import inspect
import operator
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from PIL import Image

from ..checks import escaped, is_whole
from ..model.pictures import to_rgb
from .attempts import OF_NO_PAIR, reason_of
from .digests import masks_digest, picture_digest
from .store import Id, Seen

PATIENCE = 100  # errors in a row after which an iterator is given up


class Pair(Protocol):
    """What ``evaluate`` explains: a picture (anything that ``clip.prepare`` takes) and its caption, under an id of their own.

    Where the truth is known it has ``masks``, too (bool [k, H, W], of what the caption names, at the picture's own size or as the
    model sees it), or ``scene``.
    """

    @property
    def id(self) -> Any:
        """Text or a whole number, each once; see ``id_of``."""

    @property
    def image(self) -> Any:
        """May raise any Exception: the pair is then skipped."""

    @property
    def caption(self) -> str: ...


def id_of(pair: Pair) -> Id:
    """The pair's id as Python's own type: 1 and numpy's 1 (an id from pandas) are one id, in a table and in a file."""
    return pair.id if isinstance(pair.id, str) else operator.index(pair.id)


class Unmet(NamedTuple):
    """A pair that can't be read, or that no file can hold. caption: what it says, as far as it can be written down."""

    id: Id
    reason: str
    caption: str | None = None


def read_pairs(pairs: Iterable[Pair]) -> Iterator[Pair | Unmet]:
    """The pairs one by one. Where one raises, an ``Unmet`` stands in its place and the next one is asked for.

    Raises what an iterator raises at once, without a single pair, or over and over.
    """
    if isinstance(pairs, Sequence) or not hasattr(pairs, "__iter__"):
        for position in range(len(pairs)):  # type: ignore[arg-type]
            try:
                pair = pairs[position]  # type: ignore[index]
            except OF_NO_PAIR:
                raise
            except Exception as error:  # whatever a data set raises
                pair = Unmet(f"position {position}", reason_of(error))
            yield pair
        return
    stream, position, errors = iter(pairs), 0, list[Exception]()
    while True:
        try:
            pair, errors = next(stream), []
        except StopIteration:
            if errors and position == len(errors):
                raise errors[0] from None
            return
        except OF_NO_PAIR:
            raise
        except Exception as error:
            errors.append(error)
            if len(errors) == PATIENCE:
                raise
            end = "; a generator ends at its first error" if inspect.isgenerator(stream) else ""
            pair = Unmet(f"position {position}", reason_of(error) + end)
        yield pair
        position += 1


class NoPair(TypeError):
    """What stands in the place of a pair is something else."""


def check_kind_of(pair: Any, position: int) -> None:
    """NoPair if it lacks an id, a picture or a caption, or has an id of another type; whatever its properties raise.

    The picture is not looked at: reading it may take long, and what it raises costs its own row later.
    """
    for name in ("id", "image", "caption"):
        owner, asked = (type(pair), "__getattr__") if name == "image" else (pair, name)
        if inspect.getattr_static(pair, name, pair) is pair and not hasattr(owner, asked):
            kind = type(pair).__name__
            raise NoPair(f"pair {position} must have id, image and caption, as those of nk.datasets; got {kind}")
    if not isinstance(pair.id, str) and not is_whole(pair.id):
        raise NoPair(f"the id of pair {position} must be text or a whole number; got {pair.id!r}")


def check_pair(pair: Any, position: int, known: Mapping[Id, int]) -> Seen | Unmet:
    """A pair's id, position and caption, without its picture; or why it can't be met.

    Raises ValueError if its id came before, TypeError if the very first is something else than a pair: then all of them are.
    """
    if isinstance(pair, Unmet):
        return pair
    try:
        check_kind_of(pair, position)
        id = id_of(pair)
    except OF_NO_PAIR:
        raise
    except Exception as error:  # a property may raise anything
        if isinstance(error, NoPair) and not known:
            raise
        return Unmet(f"position {position}", reason_of(error))
    if id in known:
        raise same_id(known[id], position, id)
    if isinstance(id, str) and escaped(id) != id:
        return Unmet(escaped(id), "its id holds half a character, as a file name that is not UTF-8 does: give it another")
    if isinstance(id, int) and not -(2**63) <= id < 2**63:
        return Unmet(str(id) if id.bit_length() < 10_000 else hex(id), "its id is a number of over 64 bits: give it as text")
    try:
        caption = str(pair.caption)
    except OF_NO_PAIR:
        raise
    except Exception as error:
        return Unmet(id, reason_of(error))
    if escaped(caption) != caption:
        return Unmet(id, "its caption holds half a character (a lone surrogate): write it anew", escaped(caption))
    return Seen(id, position, caption)


def check_ids(pairs: Sequence[Pair]) -> None:
    """ValueError on a repeated id, before any work; where the pairs are only met one by one, it comes when the second is met."""
    seen: dict[Any, int] = {}
    for position, pair in enumerate(pairs):
        try:
            first = seen.setdefault(pair.id, position)
        except Exception:  # there is none, or none of its kind: ``check_pair`` says so
            continue
        if first != position:
            raise same_id(first, position, pair.id)


def same_id(first: int, second: int, id: Any) -> ValueError:
    """What is told of two pairs at these positions."""
    return ValueError(f"pairs {first} and {second} have the same id {id!r}: give each its own")


def look_at(pair: Pair) -> tuple[Image.Image, str, str]:
    """(picture, its digest, the masks' digest): read once, for all that the pair is needed for."""
    picture = to_rgb(pair.image)
    return picture, picture_digest(picture), masks_digest(pair)
