"""A synthetic world whose truth is known: coloured shapes on a noisy background, with captions and exact masks.

Photographs with captions never say *where* the evidence is. Here it is known to the pixel, so an explanation can be
scored against the truth, and a caption can be made wrong in exactly one word.

>>> scene = sample(1, seed=0)[0]
>>> scene.caption, len(scene.objects) == len(scene.masks)
('a yellow square and a blue circle and a blue heart', True)
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from ..checks import check_choice, check_number, check_seed, check_whole
from .outlines import DISTANCE
from .scenes import Scene as Scene

SIZE = 224  # pixels; the input size of CLIP ViT-B/32

COLORS = {
    "red": (0.85, 0.12, 0.12),
    "orange": (0.98, 0.55, 0.05),
    "yellow": (0.97, 0.90, 0.15),
    "green": (0.12, 0.62, 0.20),
    "blue": (0.12, 0.30, 0.88),
    "purple": (0.58, 0.18, 0.72),
    "white": (0.97, 0.97, 0.97),
    "black": (0.05, 0.05, 0.05),
}
SHAPES = ("circle", "square", "triangle", "diamond", "star", "cross", "ring", "heart")
CAPTIONS = ("all", "some", "one", "two", "wrong", "absent")


@dataclass(frozen=True)
class Object:
    """One coloured shape. ``center`` (x, y) and ``radius`` in pixels, ``angle`` in radians."""

    color: str
    shape: str
    center: tuple[float, float] = (SIZE / 2, SIZE / 2)
    radius: float = 32.0
    angle: float = 0.0

    @property
    def phrase(self) -> str:
        return phrase(self.color, self.shape)


def phrase(color: str, shape: str) -> str:
    """``'a red circle'``, ``'an orange star'``."""
    return f"{'an' if color[0] in 'aeiou' else 'a'} {color} {shape}"


def sample(
    n: int,
    seed: int = 0,
    captions: str = "all",
    *,
    objects: int | tuple[int, int] = (1, 3),
    size: tuple[float, float] = (24.0, 40.0),
    clutter: float = 0.25,
    contrast: float = 1.0,
) -> list[Scene]:
    """``n`` scenes; scene i depends on (seed, i) and the options alone, so ``sample(9, 0)[:4] == sample(4, 0)`` in content.

    captions: what the caption names.
        ``"all"`` every object; ``"some"`` at least one but, where there are several, not all; ``"one"``, ``"two"`` that many;
        ``"wrong"`` every object, but one with a colour that makes its phrase false;
        ``"absent"`` one object that is there and one that is not, in random order.
    objects: how many (or a range, both ends included), 1 to 6. size: range of the radius in pixels, within 8 … 60.
    clutter: 0 … 1, grey specks behind the objects and the amplitude of the background.
    contrast: 0 … 1, how far the objects' colours stand off the background (1: full colours).

    Raises ValueError, naming the argument, if one is out of range.
    """
    make = world(n, seed, captions, objects=objects, size=size, clutter=clutter, contrast=contrast)
    return [make(i) for i in range(n)]


def world(
    n: int,
    seed: int = 0,
    captions: str = "all",
    *,
    objects: int | tuple[int, int] = (1, 3),
    size: tuple[float, float] = (24.0, 40.0),
    clutter: float = 0.25,
    contrast: float = 1.0,
) -> Callable[[int], Scene]:
    """The function that draws scene i of ``sample`` with these arguments, which are checked now."""
    n, seed = check_whole("n", n, least=0), check_seed(seed)
    check_choice("captions", captions, CAPTIONS)
    fewest, most = _range("objects", objects if isinstance(objects, Sequence | np.ndarray) else (objects, objects))
    fewest, most = check_whole("objects", fewest, 1, 6), check_whole("objects", most, 1, 6)
    if captions == "two" and fewest < 2:
        raise ValueError(f'captions="two" needs objects=2 or more, for example objects=(2, 3); got {objects!r}')
    small, large = (check_number("size, in pixels,", radius, least=8, most=60) for radius in _range("size", size))
    clutter, contrast = check_number("clutter", clutter, least=0, most=1), check_number("contrast", contrast, above=0, most=1)

    def make(i: int) -> Scene:
        paint = functools.partial(_paint, (seed, i), (fewest, most), size=(small, large), clutter=clutter, contrast=contrast)
        image, placed, masks, rng = paint()
        phrases, named = write_caption(placed, rng, captions)
        return Scene(image, " and ".join(phrases), placed, masks, phrases, named, functools.partial(_redraw, paint))

    return make


def _paint(
    key: tuple[int, int], count: tuple[int, int], **options: Any
) -> tuple[Image.Image, tuple[Object, ...], np.ndarray, np.random.Generator]:
    """The picture of scene ``key``, (seed, i), with its objects and masks, and the generator, which its caption goes on with."""
    rng = np.random.default_rng(key)
    return *draw(draw_names(rng, int(rng.integers(count[0], count[1] + 1))), rng, **options), rng


def _redraw(paint: Callable[..., tuple], without: frozenset[int]) -> tuple[Image.Image, np.ndarray]:
    """The same random draws once more, without these objects: (picture, masks)."""
    image, _, masks, _ = paint(without=without)
    return image, masks


def _range(name: str, value: Any) -> tuple[Any, Any]:
    """Both ends of a range, the smaller one first."""
    if not isinstance(value, Sequence | np.ndarray) or isinstance(value, str) or len(value) != 2 or value[0] > value[1]:
        raise ValueError(f"{name} must be a range, such as (2, 3), the smaller end first; got {value!r}")
    return value[0], value[1]


def draw_names(rng: np.random.Generator, k: int) -> list[tuple[str, str]]:
    """k different (colour, shape) pairs. Colours or shapes alone may repeat: telling them apart is what binding means."""
    codes = rng.choice(len(COLORS) * len(SHAPES), size=k, replace=False)
    return [(list(COLORS)[c // len(SHAPES)], SHAPES[c % len(SHAPES)]) for c in codes]


def write_caption(
    objects: Sequence[Object], rng: np.random.Generator, captions: str = "all"
) -> tuple[tuple[str, ...], tuple[int | None, ...]]:
    """The caption's phrases and, for each, the index of the object that it names (None: no such object)."""
    k = len(objects)
    order = [int(i) for i in rng.permutation(k)]
    count = {"one": 1, "two": 2, "some": int(rng.integers(1, max(k, 2))), "absent": 1}.get(captions, k)
    named: list[int | None] = list(order[:count])
    phrases = [objects[i].phrase for i in order[:count]]
    present = {o.phrase for o in objects}
    if captions == "wrong":
        where = int(rng.integers(len(named)))
        shape = objects[order[where]].shape
        choices = [phrase(color, shape) for color in COLORS if phrase(color, shape) not in present]
        phrases[where] = choices[int(rng.integers(len(choices)))]
        named[where] = None
    if captions == "absent":
        choices = [phrase(color, shape) for color in COLORS for shape in SHAPES if phrase(color, shape) not in present]
        absent = choices[int(rng.integers(len(choices)))]
        where = int(rng.integers(2))
        phrases.insert(where, absent)
        named.insert(where, None)
    return tuple(phrases), tuple(named)


def draw(
    names: Sequence[tuple[str, str]],
    rng: np.random.Generator,
    *,
    size: tuple[float, float] = (24.0, 40.0),
    clutter: float = 0.25,
    contrast: float = 1.0,
    without: Collection[int] = (),
) -> tuple[Image.Image, tuple[Object, ...], np.ndarray]:
    """Draw the named shapes at random places: (image, placed objects, masks bool [k, 224, 224]).

    without: numbers of objects that are left out; all random numbers are drawn as with them. Their masks are empty, and those
    of objects that they covered are whole.
    """
    canvas = _background(rng, clutter)
    base = canvas.mean(axis=(0, 1))
    while True:  # placed again in the rare case that an object would be mostly hidden
        objects = _place(names, rng, size)
        coverage = [_coverage(o) for o in objects]
        masks = _visible(coverage)
        if all(m.sum() >= 0.6 * (a > 0.5).sum() for m, (_, _, a) in zip(masks, coverage)):
            break
    for i, (thing, (rows, cols, alpha)) in enumerate(zip(objects, coverage)):
        color = base + contrast * (np.array(COLORS[thing.color]) + rng.uniform(-0.04, 0.04, 3) - base)
        if i not in without:
            canvas[rows, cols] += alpha[..., None] * (color - canvas[rows, cols])
    canvas += 0.02 * rng.standard_normal((SIZE, SIZE, 1), dtype=np.float32)
    return Image.fromarray((255 * canvas.clip(0, 1)).astype(np.uint8)), objects, _visible(coverage, without)


def _visible(coverage: Sequence[tuple[slice, slice, np.ndarray]], without: Collection[int] = ()) -> np.ndarray:
    """What can be seen of each object, bool [k, 224, 224]: what it covers and no later one does; nothing of those left out."""
    masks = np.zeros((len(coverage), SIZE, SIZE), dtype=bool)
    for i, (rows, cols, alpha) in enumerate(coverage):
        if i not in without:
            masks[:i, rows, cols] &= alpha <= 0.5
            masks[i, rows, cols] = alpha > 0.5
    return masks


def _place(names: Sequence[tuple[str, str]], rng: np.random.Generator, size: tuple[float, float]) -> tuple[Object, ...]:
    """Random places with little overlap: of 40 tries the first that touches no earlier object, else the farthest."""
    objects: list[Object] = []
    for color, shape in names:
        radius = rng.uniform(*size)
        tries = rng.uniform(radius + 2, SIZE - radius - 2, size=(40, 2))
        gap = np.full(40, np.inf)
        for other in objects:
            gap = np.minimum(gap, np.hypot(*(tries - other.center).T) - radius - other.radius)
        best = int(np.argmax(gap > 0)) if (gap > 0).any() else int(np.argmax(gap))
        objects.append(Object(color, shape, tuple(tries[best].tolist()), radius, rng.uniform(-0.2, 0.2)))
    return tuple(objects)


_SMOOTH = np.maximum(0, 1 - np.abs(np.linspace(0, 7, SIZE)[:, None] - np.arange(8)))  # [224, 8] linear interpolation


def _background(rng: np.random.Generator, clutter: float) -> np.ndarray:
    """Smooth grey noise [224, 224, 3] in 0 … 1, with specks."""
    coarse = rng.normal(rng.uniform(0.38, 0.6), 0.03 + 0.09 * clutter, (8, 8, 1)) + rng.normal(0, 0.03, (8, 8, 3))
    canvas = np.einsum("yi,xj,ijc->yxc", _SMOOTH, _SMOOTH, coarse, optimize=True)
    for _ in range(round(24 * clutter)):
        rows, cols, alpha = _coverage(Object("", "circle", tuple(rng.uniform(8, SIZE - 8, 2)), rng.uniform(2, 6)))
        canvas[rows, cols] += alpha[..., None] * (rng.uniform(0.25, 0.75) - canvas[rows, cols])
    return canvas.astype(np.float32)


def _coverage(thing: Object) -> tuple[slice, slice, np.ndarray]:
    """The part of the canvas around an object and how much of each pixel it covers, 0 … 1 (soft by about a pixel)."""
    x, y = thing.center
    reach = thing.radius + 2
    cols = slice(max(0, int(x - reach)), min(SIZE, int(x + reach) + 1))
    rows = slice(max(0, int(y - reach)), min(SIZE, int(y + reach) + 1))
    u = (np.arange(cols.start, cols.stop) + 0.5 - x)[None, :] / thing.radius
    v = (np.arange(rows.start, rows.stop) + 0.5 - y)[:, None] / thing.radius
    cos, sin = np.cos(thing.angle), np.sin(thing.angle)
    distance = DISTANCE[thing.shape](cos * u + sin * v, cos * v - sin * u)
    return rows, cols, np.clip(0.5 - distance * thing.radius, 0, 1)


def phrases() -> Iterator[str]:
    """All 64 phrases of the world, colours outermost."""
    return (phrase(c, s) for c in COLORS for s in SHAPES)
