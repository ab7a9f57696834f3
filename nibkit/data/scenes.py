"""A scene of a synthetic world: a picture, its caption and its truth. The worlds (shapes, …) draw them."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image

from ..checks import check_whole

Redraw = Callable[[frozenset[int]], tuple[Image.Image, np.ndarray]]


@dataclass(frozen=True)
class Scene:
    """A picture, its caption and its truth.

    image: RGB PIL image, 224 × 224. objects: k objects, drawn in this order (later ones cover earlier ones).
    masks: bool [k, 224, 224], the *visible* part of each object, never empty.
    phrases: what the caption names, in order; named: for each phrase the index of its object, None if there is none.
    redraw: (numbers of objects) -> the picture without them and all masks then, theirs empty; what ``without`` asks.
    """

    image: Image.Image
    caption: str
    objects: tuple[Any, ...]
    masks: np.ndarray
    phrases: tuple[str, ...]
    named: tuple[int | None, ...]
    redraw: Redraw | None = field(default=None, repr=False, compare=False)

    def without(self, i: int) -> Scene:
        """The same scene without object i: what stood behind it, ground or object, comes into sight, to the pixel.

        The caption stays as it is; a phrase that named object i now names nothing. Every other pixel stays as it was.
        Raises ValueError if there is no object i, or if the world that drew the scene can't draw it again.
        """
        i = check_whole("i", i, 0, len(self.objects) - 1, purpose=f": the scene has {len(self.objects)} objects")
        if self.redraw is None:
            raise ValueError("this scene can't be drawn again: it needs redraw=, which the worlds' own sample gives it")
        image, masks = self.redraw(frozenset({i}))
        return Scene(
            image,
            self.caption,
            self.objects[:i] + self.objects[i + 1 :],
            np.delete(masks, i, axis=0),
            self.phrases,
            tuple(None if k in (None, i) else k - (k > i) for k in self.named),
            functools.partial(_without, i, self.redraw),
        )


def _without(i: int, redraw: Redraw, more: frozenset[int]) -> tuple[Image.Image, np.ndarray]:
    """The drawing of a scene that lacks object i already, without ``more`` of those that are left."""
    image, masks = redraw(frozenset({i}) | {k + (k >= i) for k in more})
    return image, np.delete(masks, i, axis=0)
