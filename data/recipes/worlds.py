"""What a training recipe has to know of a world: things by number, phrases as token ids, scenes in twos, false captions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from tokenizers import AddedToken
from transformers import CLIPImageProcessorPil, CLIPProcessor, CLIPTokenizer

from nibkit.data import emoji, shapes

START, END, UNKNOWN = "<|startoftext|>", "<|endoftext|>", "<unk>"
GRID, PATCH, MOST = 7, 32, 4  # patches a side, pixels a patch, things in a scene at most
COLORS, SHAPES = list(shapes.COLORS), list(shapes.SHAPES)


@dataclass(frozen=True)
class World:
    """phrases: of each thing, by its number. change: another number in a thing's place, for a false caption, or None: two of the
    caption are exchanged in part (``swap``). paint: things by number and a generator -> picture, masks. size, clutter: what the
    scenes have at most.
    """

    name: str
    phrases: tuple[str, ...]
    most: int
    change: Callable[[int, np.random.Generator], int]
    swap: Callable[[int, int], tuple[int, int] | None]
    paint: Callable[[list[int], np.random.Generator], tuple]
    size: tuple[float, float]
    clutter: float

    @property
    def words(self) -> list[str]:
        """Every word of the world, "a" apart, in the order of the vocabulary."""
        return ["an", "and", *dict.fromkeys(word for phrase in self.phrases for word in phrase.split()[1:])]

    @property
    def ids(self) -> dict[str, int]:
        """Token ids. The end token is the highest: transformers pools there."""
        return {name: i for i, name in enumerate([UNKNOWN, "a</w>", *self.words, START, END])}

    def processor(self) -> CLIPProcessor:
        """CLIP's own tokenizer class over whole words; what it does not know becomes ``<unk>``, one per character.

        CLIPTokenizer's default unknown token is the end token, which would move the pooled position.
        """
        tokenizer = CLIPTokenizer(
            vocab=self.ids, merges=[], unk_token=UNKNOWN, bos_token=START, eos_token=END, pad_token=END, model_max_length=77
        )
        tokenizer.add_tokens([AddedToken(word, single_word=True, normalized=True) for word in self.words])
        return CLIPProcessor(CLIPImageProcessorPil(), tokenizer)

    def falsify(self, named: list[int], present: set[int], rng: np.random.Generator) -> list[int]:
        """The same things with one changed, or with two that exchange a colour, so that it is false of the scene."""
        while True:
            changed, where = list(named), int(rng.integers(len(named)))
            if len(named) > 1 and rng.random() < 0.25:
                other = int(rng.choice([i for i in range(len(named)) if i != where]))
                exchanged = self.swap(named[where], named[other])
                if exchanged is None:
                    continue
                changed[where], changed[other] = exchanged
            else:
                changed[where] = self.change(named[where], rng)
            if not set(changed) <= present and len(set(changed)) == len(changed):
                return changed

    def draw_siblings(self, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Two scenes that differ in one thing.

        Images uint8 [2, 3, 224, 224], numbers [2, MOST] (−1: none), what covers each patch [2, 49] (−1: nothing).
        """
        rng = np.random.default_rng([2026, seed])
        k = int(rng.integers(1, self.most + 1))
        things = [int(i) for i in rng.choice(len(self.phrases), size=k, replace=False)]
        images, labels, table = [], [], np.full((2, MOST), -1, dtype=np.int64)
        knobs = dict(size=self.size, clutter=float(rng.uniform(0, self.clutter)), contrast=float(rng.uniform(0.75, 1)))
        for i, row in enumerate((things, self.falsify(things, set(things), rng))):
            image, masks = self.paint(row, rng, **knobs)
            cover = masks.reshape(k, GRID, PATCH, GRID, PATCH).mean((2, 4)).reshape(k, -1)
            labels.append(np.where(cover.max(0) > 0.2, np.asarray(row)[cover.argmax(0)], -1))
            images.append(np.asarray(image).transpose(2, 0, 1))
            table[i, :k] = row
        return np.stack(images), table, np.stack(labels)


# --- coloured shapes: thing 8 · colour + shape --------------------------------------------------------------------------------


def change_shape(thing: int, rng: np.random.Generator) -> int:
    """Another colour, another shape, or any other thing."""
    color, shape = divmod(thing, 8)
    return int([8 * rng.integers(8) + shape, 8 * color + rng.integers(8), rng.integers(64)][int(rng.integers(3))])


def swap_shapes(first: int, second: int) -> tuple[int, int]:
    """The colours of the two exchanged."""
    return first // 8 * 8 + second % 8, second // 8 * 8 + first % 8


def paint_shapes(things: list[int], rng: np.random.Generator, **knobs: float) -> tuple:
    """A picture of these shapes, and their masks."""
    image, _, masks = shapes.draw([(COLORS[i // 8], SHAPES[i % 8]) for i in things], rng, **knobs)
    return image, masks


# --- emoji: thing i of ``emoji.NAMES`` -----------------------------------------------------------------------------------------


def change_emoji(thing: int, rng: np.random.Generator) -> int:
    """Any other thing."""
    return int(rng.integers(len(emoji.NAMES)))


def swap_emoji(first: int, second: int) -> tuple[int, int] | None:
    """The colours of two things that are named with one exchanged: a red apple and a green book; None for others."""
    words = [emoji.NAMES[i].split() for i in (first, second)]
    if {len(w) for w in words} != {2} or words[0][0] == words[1][0]:
        return None
    return tuple(emoji.NAMES.index(f"{words[1 - i][0]} {words[i][1]}") for i in (0, 1))


def paint_emoji(things: list[int], rng: np.random.Generator, **knobs: float) -> tuple:
    """A picture of these things, and their masks."""
    image, _, masks = emoji.draw([emoji.NAMES[i] for i in things], rng, **knobs)
    return image, masks


WORLDS = {
    "shapes": World(
        "shapes",
        tuple(shapes.phrases()),
        3,
        change_shape,
        swap_shapes,
        paint_shapes,
        (20.0, 44.0),
        0.5,
    ),
    "emoji": World(
        "emoji",
        tuple(emoji.phrases()),
        4,
        change_emoji,
        swap_emoji,
        paint_emoji,
        (22.0, 48.0),
        1.0,
    ),
}
