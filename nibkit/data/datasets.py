"""Data sets: iterables of pairs with ``id``, ``image``, ``caption`` and, where the truth is known, ``masks``.

    shapes, emoji          the synthetic worlds, with masks
    folder                 pictures in a folder, captions in a CSV, TSV or JSONL table or in text files beside them
    huggingface            a data set of the ``datasets`` library, or anything that yields dicts
    conceptual_captions, imagenet, flickr8k, rsicd    in the layouts in which people have them

Nothing is downloaded. A row that can't be used (no picture, no caption, a damaged file, an id that came before) is skipped,
listed in ``.skipped`` with the reason, and counted in a warning. Whether a caption has too many tokens depends on the model:
``nk.evaluate`` finds and lists those. Options that all loaders share:

    limit    at most this many pairs, the first that can be used
    seed     None: in the order of the table, or sorted by name where folders are the table. A number: in a random order, so that
             ``limit`` pairs are a random subset; a larger limit only adds pairs behind
    check    open every picture once, now, so that damaged files are skipped (a few ms each). False: ``nk.evaluate`` finds them
    outside  False: a table names pictures in its own data set's folder alone; one elsewhere (an absolute path, "..", a link that
             points out) is skipped, since a table from the net could name any file of yours. True: they are opened, too

>>> pairs = shapes(3, seed=0)
>>> pairs
<shapes: 3 pairs>
>>> pairs[0].id, pairs[0].caption, pairs[0].image.size
('shapes-0-all-0', 'a yellow square and a blue circle and a blue heart', (224, 224))
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from . import emoji as emoji_world
from . import shapes as shapes_world
from .conceptual_captions import conceptual_captions
from .drawn import Drawn
from .files import CAPTION_COLUMNS, IMAGE_COLUMNS
from .flickr8k import flickr8k
from .folder import folder
from .huggingface import huggingface
from .imagenet import imagenet
from .pairs import Pair, Pairs, Skipped, Stream
from .rsicd import rsicd
from .scenes import Scene

__all__ = ["CAPTION_COLUMNS", "IMAGE_COLUMNS", "Pair", "Pairs", "Skipped", "Stream"]
__all__ += ["conceptual_captions", "emoji", "flickr8k", "folder", "huggingface", "imagenet", "rsicd", "shapes"]


def shapes(n: int, seed: int = 0, captions: str = "all", **options: Any) -> Pairs:
    """``n`` scenes of coloured shapes as pairs with ``masks`` bool [k, 224, 224] and ``scene``.

    captions, options: see ``nk.shapes.sample``, which makes them; ValueError if one is out of range. With captions other than
    "all", ``scene.named`` says which objects (rows of ``masks``) the caption names. ``shapes(9, 0)`` begins with
    ``shapes(4, 0)``. A scene is drawn when its pair is asked for (some ms), and not kept.
    """
    return _drawn("shapes", shapes_world.world(n, seed, captions, **options), n, seed, captions, options)


def emoji(n: int, seed: int = 0, captions: str = "all", **options: Any) -> Pairs:
    """``n`` scenes of everyday things on photographs, as ``shapes`` gives its scenes; see ``nk.emoji.sample``."""
    return _drawn("emoji", emoji_world.world(n, seed, captions, **options), n, seed, captions, options)


def _drawn(world: str, make: Callable[[int], Scene], n: int, seed: int, captions: str, options: dict) -> Pairs:
    """The pairs of a world's scenes, their ids made of all that a scene depends on."""
    settings = [f"{name}={value}".replace(" ", "") for name, value in sorted(options.items())]
    label = "-".join([world, str(seed), captions, *settings])

    def draw_pair(i: int) -> Pair:
        scene = make(i)
        return Pair(f"{label}-{i}", scene.image, scene.caption, scene.masks, scene)

    return Drawn(world, operator.index(n), draw_pair)
