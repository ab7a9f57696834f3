"""Pairs that are made when they are asked for: a synthetic world has no end of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import overload

from .pairs import DataSet, Pair, Pairs


class Drawn(Pairs):
    """A data set of ``count`` pairs, each of which ``draw(i)`` makes when it is asked for, and again when it is asked for again.

    So thousands of pictures take no time before the first is looked at, and no memory behind the last.
    """

    def __init__(self, name: str, count: int, draw: Callable[[int], Pair]):
        DataSet.__init__(self, name)
        self.yielded, self._draw = count, draw

    def __len__(self) -> int:
        return self.yielded

    @overload
    def __getitem__(self, index: int) -> Pair: ...
    @overload
    def __getitem__(self, index: slice) -> list[Pair]: ...
    def __getitem__(self, index: int | slice) -> Pair | list[Pair]:
        chosen = range(len(self))[index]
        return self._draw(chosen) if isinstance(chosen, int) else [self._draw(i) for i in chosen]
