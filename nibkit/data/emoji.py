"""A second world whose truth is known: everyday things, cut from an emoji font, on photographs.

Closer to what CLIP sees than coloured shapes are: a thing has a texture, several colours and a name of its own, things overlap,
and the ground is no noise. And still every pixel's owner is known. Pictures: Noto Color Emoji (SIL Open Font License 1.1) and
photographs that are free to use; see ``data/emoji/README.md``.

>>> scene = sample(1, seed=2)[0]
>>> scene.caption, scene.masks.shape
('a turtle and a penguin and a frog and a bear', (4, 224, 224))
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from ..resources import data_dir
from .scenes import SIZE, Scene, arrange, find_place, scene_maker, visible

CHARACTERS = {
    "dog": "🐶", "cat": "🐱", "rabbit": "🐰", "fox": "🦊", "bear": "🐻", "panda": "🐼", "lion": "🦁", "cow": "🐮",
    "pig": "🐷", "frog": "🐸", "monkey": "🐵", "penguin": "🐧", "fish": "🐟", "octopus": "🐙", "butterfly": "🦋", "bee": "🐝",
    "turtle": "🐢", "elephant": "🐘", "banana": "🍌", "strawberry": "🍓", "pizza": "🍕", "cake": "🍰", "carrot": "🥕",
    "sunflower": "🌻", "tree": "🌳", "car": "🚗", "bus": "🚌", "rocket": "🚀", "house": "🏠", "guitar": "🎸", "key": "🔑",
    "ball": "⚽", "clock": "⏰", "gift": "🎁", "red apple": "🍎", "green apple": "🍏", "red book": "📕", "green book": "📗",
    "red heart": "❤", "green heart": "💚",
}  # fmt: skip
NAMES = tuple(CHARACTERS)
GROUND = 256  # pixels; the side of a photograph's square
TILT = 25.0  # degrees; the farthest that a thing leans to a side
OBJECTS, RADII, CLUTTER = (1, 4), (24.0, 44.0), 0.5  # what ``sample`` and ``draw`` take by default
OVERLAP = 0.35  # of two things' radii: how far they may reach into each other


@dataclass(frozen=True)
class Emoji:
    """One thing. ``center`` (x, y) and ``radius`` (half its longer side) in pixels, ``angle`` in degrees, counter-clockwise."""

    name: str
    center: tuple[float, float] = (SIZE / 2, SIZE / 2)
    radius: float = 36.0
    angle: float = 0.0

    @property
    def phrase(self) -> str:
        return phrase(self.name)


def phrase(name: str) -> str:
    """``'a red apple'``, ``'an octopus'``."""
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def phrases() -> Iterator[str]:
    """All 40 phrases of the world."""
    return map(phrase, NAMES)


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
        ``"all"`` everything; ``"some"`` at least one thing but, where there are several, not all; ``"one"``, ``"two"`` that many;
        ``"wrong"`` everything, but one thing by the name of one that is not there;
        ``"absent"`` one thing that is there and one that is not, in random order.
    objects: how many (or a range, both ends included), 1 to 6. size: range of the radius in pixels, within 8 … 60.
    clutter: 0 … 1, how strong the photograph behind is: 0 its mean colour, 1 as it was taken.
    contrast: 0 … 1, how far the things' colours stand off the ground's mean (1: full colours).

    Raises ValueError, naming the argument, if one is out of range.
    """
    make = world(n, seed, captions, objects=objects, size=size, clutter=clutter, contrast=contrast)
    return [make(i) for i in range(n)]


def world(n: int, seed: int = 0, captions: str = "all", **options: Any) -> Callable[[int], Scene]:
    """The function that draws scene i of ``sample`` with these arguments, which are checked now."""
    settings: dict[str, Any] = {"objects": OBJECTS, "size": RADII, "clutter": CLUTTER, "contrast": 1.0} | options
    return scene_maker(_paint, alternatives, n, seed, captions, **settings)


def _paint(rng: np.random.Generator, count: int, **options: Any) -> tuple[Image.Image, tuple[Emoji, ...], np.ndarray]:
    """``draw`` of so many things, all different."""
    return draw([NAMES[j] for j in rng.choice(len(NAMES), size=count, replace=False)], rng, **options)


def alternatives(thing: Emoji | None) -> Iterable[str]:
    """What may stand for a thing in a "wrong" caption, and what may be absent: every phrase."""
    return phrases()


def draw(
    names: Sequence[str],
    rng: np.random.Generator,
    *,
    size: tuple[float, float] = RADII,
    clutter: float = CLUTTER,
    contrast: float = 1.0,
    without: Collection[int] = (),
) -> tuple[Image.Image, tuple[Emoji, ...], np.ndarray]:
    """Draw the named things at random places: (image, placed things, masks bool [k, 224, 224]).

    Of each thing at least six tenths are seen. without: numbers of things that are left out; all random numbers are drawn as with
    them. Their masks are empty, and those of things that they covered are whole.
    """
    canvas = _ground(rng, clutter)
    base = canvas.mean(axis=(0, 1))
    things, layers = arrange(lambda: _place(names, rng, size), _layer, size)
    for i, (rows, cols, alpha, color) in enumerate(layers):
        if i not in without:
            canvas[rows, cols] += alpha[..., None] * (base + contrast * (color - base) - canvas[rows, cols])
    canvas += 0.02 * rng.standard_normal((SIZE, SIZE, 1), dtype=np.float32)
    return Image.fromarray((255 * canvas.clip(0, 1)).astype(np.uint8)), things, visible(layers, without)


def _place(names: Sequence[str], rng: np.random.Generator, size: tuple[float, float]) -> tuple[Emoji, ...]:
    """Random places, at which things reach into each other by ``OVERLAP`` at most where that can be had."""
    things: list[Emoji] = []
    for name in names:
        things.append(Emoji(name, *find_place(rng, size, things, OVERLAP), rng.uniform(-TILT, TILT)))
    return tuple(things)


@functools.cache
def _picture(kind: str, name: str, mode: str) -> Image.Image:
    """A bundled picture; a glyph with its colours multiplied by alpha ("RGBa"): where it is clear, no colour mixes in."""
    with Image.open(data_dir() / "emoji" / kind / f"{name.replace(' ', '-')}.png") as image:
        return image.convert("RGBA").convert(mode) if mode == "RGBa" else image.convert(mode)


@functools.cache
def _grounds() -> tuple[str, ...]:
    """The photographs' names, in order."""
    return tuple(sorted(path.stem for path in (data_dir() / "emoji" / "grounds").glob("*.png")))


def _ground(rng: np.random.Generator, clutter: float) -> np.ndarray:
    """A random part of a random photograph, mirrored or not, [224, 224, 3] in 0 … 1."""
    photograph = _picture("grounds", _grounds()[int(rng.integers(len(_grounds())))], "RGB")
    top, left = (int(i) for i in rng.integers(GROUND - SIZE + 1, size=2))
    canvas = np.asarray(photograph, dtype=np.float32)[top : top + SIZE, left : left + SIZE] / 255
    canvas = canvas[:, ::-1] if rng.random() < 0.5 else canvas
    mean = canvas.mean(axis=(0, 1))
    middle = 0.5 + 0.6 * (mean - 0.5) + rng.uniform(-0.1, 0.1)  # no ground is nearly black or nearly white
    return (middle + clutter * (canvas - mean)).astype(np.float32)


def _layer(thing: Emoji) -> tuple[slice, slice, np.ndarray, np.ndarray]:
    """The part of the canvas that a thing lies in, and its pixels there: alpha [h, w] and colours [h, w, 3] in 0 … 1."""
    glyph = _picture("glyphs", thing.name, "RGBa")
    scale = 2 * thing.radius / max(glyph.size)
    width, height = (max(round(scale * side), 1) for side in glyph.size)
    turned = glyph.resize((width, height), Image.Resampling.LANCZOS).rotate(thing.angle, Image.Resampling.BICUBIC, expand=True)
    pixels = np.asarray(turned, dtype=np.float32) / 255
    left, top = (round(at - side / 2) for at, side in zip(thing.center, turned.size))
    cut_top, cut_left = max(0, -top), max(0, -left)
    pixels = pixels[cut_top : SIZE - top, cut_left : SIZE - left]
    color = pixels[..., :3] / np.maximum(pixels[..., 3:], 1 / 255)
    rows, cols = (slice(start, start + length) for start, length in zip((top + cut_top, left + cut_left), pixels.shape))
    return rows, cols, pixels[..., 3], color.clip(0, 1)
