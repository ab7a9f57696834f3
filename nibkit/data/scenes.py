"""What the worlds share: a scene with its truth, the caption that is written for it, and the check of their arguments."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from PIL import Image

from ..checks import check_choice, check_number, check_seed, check_whole

SIZE = 224  # pixels; the input size of CLIP ViT-B/32
TRIES = 300  # how often a scene is placed anew before its objects are too large
Redraw = Callable[[frozenset[int]], tuple[Image.Image, np.ndarray]]
CAPTIONS = ("all", "some", "one", "two", "wrong", "absent")


class Thing(Protocol):
    """What a scene is made of, in any world: it lies around ``center`` (x, y), within ``radius`` pixels, and has a name."""

    @property
    def center(self) -> tuple[float, float]: ...
    @property
    def radius(self) -> float: ...
    @property
    def phrase(self) -> str: ...


@dataclass(frozen=True)
class Scene:
    """A picture, its caption and its truth.

    image: RGB PIL image, 224 × 224. objects: k objects, drawn in this order (later ones cover earlier ones); see ``Thing``.
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


def visible(coverage: Sequence[tuple[slice, slice, np.ndarray]], without: Collection[int] = ()) -> np.ndarray:
    """What can be seen of each object, bool [k, 224, 224]: what it covers and no later one does; nothing of those left out."""
    masks = np.zeros((len(coverage), SIZE, SIZE), dtype=bool)
    for i, (rows, cols, alpha) in enumerate(coverage):
        if i not in without:
            masks[:i, rows, cols] &= alpha <= 0.5
            masks[i, rows, cols] = alpha > 0.5
    return masks


def redraw(paint: Callable[..., tuple], without: frozenset[int]) -> tuple[Image.Image, np.ndarray]:
    """``paint``'s random draws once more, without these objects: (picture, masks); what a world gives a scene as ``redraw``."""
    image, _, masks, _ = paint(without=without)
    return image, masks


def _without(i: int, redraw: Redraw, more: frozenset[int]) -> tuple[Image.Image, np.ndarray]:
    """The drawing of a scene that lacks object i already, without ``more`` of those that are left."""
    image, masks = redraw(frozenset({i}) | {k + (k >= i) for k in more})
    return image, np.delete(masks, i, axis=0)


def write_caption(
    objects: Sequence[Thing],
    rng: np.random.Generator,
    captions: str = "all",
    *,
    alternatives: Callable[[Any], Iterable[str]],
) -> tuple[tuple[str, ...], tuple[int | None, ...]]:
    """The caption's phrases and, for each, the index of the object that it names (None: no such object).

    captions: see a world's ``sample``. alternatives: the phrases that may stand in an object's place in a "wrong" caption, and
    for None all phrases of the world; those that are true of the scene are left out here.
    """
    k = len(objects)
    order = [int(i) for i in rng.permutation(k)]
    count = {"one": 1, "two": 2, "some": int(rng.integers(1, max(k, 2))), "absent": 1}.get(captions, k)
    named: list[int | None] = list(order[:count])
    phrases = [objects[i].phrase for i in order[:count]]
    present = {o.phrase for o in objects}
    if captions == "wrong":
        where = int(rng.integers(len(named)))
        choices = [other for other in alternatives(objects[order[where]]) if other not in present]
        phrases[where] = choices[int(rng.integers(len(choices)))]
        named[where] = None
    if captions == "absent":
        choices = [other for other in alternatives(None) if other not in present]
        absent = choices[int(rng.integers(len(choices)))]
        where = int(rng.integers(2))
        phrases.insert(where, absent)
        named.insert(where, None)
    return tuple(phrases), tuple(named)


def check_world(
    n: int, seed: int, captions: str, objects: int | tuple[int, int], size: tuple[float, float]
) -> tuple[int, int, tuple[int, int], tuple[float, float]]:
    """(n, seed, fewest and most objects, smallest and largest radius), checked; ValueError if one is out of range."""
    n, seed = check_whole("n", n, least=0), check_seed(seed)
    check_choice("captions", captions, CAPTIONS)
    fewest, most = _range("objects", objects if isinstance(objects, Sequence | np.ndarray) else (objects, objects))
    fewest, most = check_whole("objects", fewest, 1, 6), check_whole("objects", most, 1, 6)
    if captions == "two" and fewest < 2:
        raise ValueError(f'captions="two" needs objects=2 or more, for example objects=(2, 3); got {objects!r}')
    small, large = (check_number("size, in pixels,", radius, least=8, most=60) for radius in _range("size", size))
    return n, seed, (fewest, most), (small, large)


def _range(name: str, value: Any) -> tuple[Any, Any]:
    """Both ends of a range, the smaller one first."""
    if not isinstance(value, Sequence | np.ndarray) or isinstance(value, str) or len(value) != 2 or value[0] > value[1]:
        raise ValueError(f"{name} must be a range, such as (2, 3), the smaller end first; got {value!r}")
    return value[0], value[1]
