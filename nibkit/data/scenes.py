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


def visible(coverage: Sequence[tuple], without: Collection[int] = ()) -> np.ndarray:
    """What can be seen of each object, bool [k, 224, 224]: what it covers and no later one does; nothing of those left out.

    coverage: of each object rows and columns of the canvas, and alpha there (whatever follows is not looked at).
    """
    masks = np.zeros((len(coverage), SIZE, SIZE), dtype=bool)
    for i, (rows, cols, alpha, *_) in enumerate(coverage):
        if i not in without:
            masks[:i, rows, cols] &= alpha <= 0.5
            masks[i, rows, cols] = alpha > 0.5
    return masks


def arrange(place: Callable[[], tuple], cover: Callable[[Any], tuple], size: tuple[float, float]) -> tuple[tuple, list[tuple]]:
    """(objects as ``place`` put them, what each covers): placed again in the rare case that one would be mostly hidden.

    cover: object -> (rows, columns, alpha there, …). Of each object at least six tenths are seen. ValueError if that can't be.
    """
    for _ in range(TRIES):
        things = place()
        layers = [cover(thing) for thing in things]
        masks = visible(layers)
        if all(mask.sum() >= 0.6 * (layer[2] > 0.5).sum() for mask, layer in zip(masks, layers)):
            return things, layers
    raise ValueError(f"{len(things)} objects of size {size} don't fit side by side: take fewer objects or a smaller size")


def find_place(
    rng: np.random.Generator, size: tuple[float, float], others: Sequence[Thing], overlap: float = 0.0
) -> tuple[tuple[float, float], float]:
    """(center, radius) of one more object: of 40 random places the first that is free, else the farthest from the others.

    overlap: how far objects may reach into each other, as a share of their radii.
    """
    radius = rng.uniform(*size)
    tries = rng.uniform(radius + 2, SIZE - radius - 2, size=(40, 2))
    gap = np.full(40, np.inf)
    for other in others:
        gap = np.minimum(gap, np.hypot(*(tries - other.center).T) - (1 - overlap) * (radius + other.radius))
    best = int(np.argmax(gap > 0)) if (gap > 0).any() else int(np.argmax(gap))
    return tuple(tries[best].tolist()), radius


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


def scene_maker(
    paint: Callable[..., tuple],
    alternatives: Callable[[Any], Iterable[str]],
    n: int,
    seed: int,
    captions: str,
    objects: int | tuple[int, int],
    size: tuple[float, float],
    clutter: float,
    contrast: float,
) -> Callable[[int], Scene]:
    """The function that draws scene i of a world's ``sample``. Its arguments are checked now: ValueError if one is out of range.

    paint: (generator, how many objects, size=, clutter=, contrast=, without=) -> picture, objects, masks. alternatives: see
    ``write_caption``.
    """
    check_whole("n", n, least=0)
    seed = check_seed(seed)
    check_choice("captions", captions, CAPTIONS)
    fewest, most = _range("objects", objects if isinstance(objects, Sequence | np.ndarray) else (objects, objects))
    fewest, most = check_whole("objects", fewest, 1, 6), check_whole("objects", most, 1, 6)
    if captions == "two" and fewest < 2:
        raise ValueError(f'captions="two" needs objects=2 or more, for example objects=(2, 3); got {objects!r}')
    small, large = (check_number("size, in pixels,", radius, least=8, most=60) for radius in _range("size", size))
    clutter, contrast = check_number("clutter", clutter, least=0, most=1), check_number("contrast", contrast, above=0, most=1)

    options = {"size": (small, large), "clutter": clutter, "contrast": contrast}
    painted = functools.partial(_painted, paint, seed, (fewest, most), options)

    def make(i: int) -> Scene:
        image, things, masks, rng = painted(i)
        written, named = write_caption(things, rng, captions, alternatives=alternatives)
        return Scene(image, " and ".join(written), things, masks, written, named, functools.partial(_redraw, painted, i))

    return make


def _painted(
    paint: Callable[..., tuple], seed: int, count: tuple[int, int], options: dict, i: int, without: Collection[int] = ()
) -> tuple:
    """Scene i: picture, objects, masks, and the generator, which its caption goes on with."""
    rng = np.random.default_rng([seed, i])
    return *paint(rng, int(rng.integers(count[0], count[1] + 1)), **options, without=without), rng


def _redraw(painted: Callable[..., tuple], i: int, without: frozenset[int]) -> tuple[Image.Image, np.ndarray]:
    """The same random draws once more, without these objects: (picture, masks). What a scene asks; it can be pickled."""
    image, _, masks, _ = painted(i, without)
    return image, masks


def _range(name: str, value: Any) -> tuple[Any, Any]:
    """Both ends of a range, the smaller one first."""
    if not isinstance(value, Sequence | np.ndarray) or isinstance(value, str) or len(value) != 2 or value[0] > value[1]:
        raise ValueError(f"{name} must be a range, such as (2, 3), the smaller end first; got {value!r}")
    return value[0], value[1]
