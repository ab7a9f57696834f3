"""A synthetic world whose truth is known: coloured shapes on a noisy background, with captions and exact masks.

Photographs with captions never say *where* the evidence is. Here it is known to the pixel, so an explanation can be
scored against the truth, and a caption can be made wrong in exactly one word.

>>> scene = sample(1, seed=0)[0]
>>> scene.caption, len(scene.objects) == len(scene.masks)
('a yellow square and a blue circle and a blue heart', True)
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from .outlines import DISTANCE
from .scenes import SIZE, Scene, arrange, find_place, scene_maker, visible

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
OBJECTS, RADII, CLUTTER = (1, 3), (24.0, 40.0), 0.25  # what ``sample`` and ``draw`` take by default
SHAPES = ("circle", "square", "triangle", "diamond", "star", "cross", "ring", "heart")


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
    objects: int | tuple[int, int] = OBJECTS,
    size: tuple[float, float] = RADII,
    clutter: float = CLUTTER,
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


def world(n: int, seed: int = 0, captions: str = "all", **options: Any) -> Callable[[int], Scene]:
    """The function that draws scene i of ``sample`` with these arguments, which are checked now."""
    settings: dict[str, Any] = {"objects": OBJECTS, "size": RADII, "clutter": CLUTTER, "contrast": 1.0} | options
    return scene_maker(_paint, alternatives, n, seed, captions, **settings)


def _paint(rng: np.random.Generator, count: int, **options: Any) -> tuple[Image.Image, tuple[Object, ...], np.ndarray]:
    """``draw`` of so many shapes."""
    return draw(draw_names(rng, count), rng, **options)


def draw_names(rng: np.random.Generator, k: int) -> list[tuple[str, str]]:
    """k different (colour, shape) pairs. Colours or shapes alone may repeat: telling them apart is what binding means."""
    codes = rng.choice(len(COLORS) * len(SHAPES), size=k, replace=False)
    return [(list(COLORS)[c // len(SHAPES)], SHAPES[c % len(SHAPES)]) for c in codes]


def alternatives(thing: Any) -> Iterable[str]:
    """The phrases of the same shape in all colours; for None all phrases of the world."""
    return phrases() if thing is None else (phrase(color, thing.shape) for color in COLORS)


def draw(
    names: Sequence[tuple[str, str]],
    rng: np.random.Generator,
    *,
    size: tuple[float, float] = RADII,
    clutter: float = CLUTTER,
    contrast: float = 1.0,
    without: Collection[int] = (),
) -> tuple[Image.Image, tuple[Object, ...], np.ndarray]:
    """Draw the named shapes at random places: (image, placed objects, masks bool [k, 224, 224]).

    without: numbers of objects that are left out; all random numbers are drawn as with them. Their masks are empty, and those
    of objects that they covered are whole.
    """
    canvas = _background(rng, clutter)
    base = canvas.mean(axis=(0, 1))
    objects, coverage = arrange(lambda: _place(names, rng, size), _coverage, size)
    for i, (thing, (rows, cols, alpha)) in enumerate(zip(objects, coverage)):
        color = base + contrast * (np.array(COLORS[thing.color]) + rng.uniform(-0.04, 0.04, 3) - base)
        if i not in without:
            canvas[rows, cols] += alpha[..., None] * (color - canvas[rows, cols])
    canvas += 0.02 * rng.standard_normal((SIZE, SIZE, 1), dtype=np.float32)
    return Image.fromarray((255 * canvas.clip(0, 1)).astype(np.uint8)), objects, visible(coverage, without)


def _place(names: Sequence[tuple[str, str]], rng: np.random.Generator, size: tuple[float, float]) -> tuple[Object, ...]:
    """Random places, at which shapes don't touch where that can be had."""
    objects: list[Object] = []
    for color, shape in names:
        objects.append(Object(color, shape, *find_place(rng, size, objects), rng.uniform(-0.2, 0.2)))
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
