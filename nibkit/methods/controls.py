"""Maps that explain nothing, or everything: what a metric gives them says what it rewards. Notebook 09.

Each is called as the methods are, (clip, inputs, **options) -> Attribution, so it can stand beside them in any table.
"""

from __future__ import annotations

import zlib

import numpy as np
import torch
from torch.nn import functional as nnf

from ..checks import check_number, check_seed
from ..model.clip import Clip, find_words
from ..model.inputs import Inputs
from ..model.views import seen_masks
from .attribution import Attribution, Scaled


def ones_map(clip: Clip, inputs: Inputs) -> Attribution:
    """Everything counts, nothing is taken away: Confidence Drop and Increase are exactly 0.

    A ``Scaled``, since min–max would make zeros of it.
    """
    inputs = clip.check(inputs)
    image = inputs.pixel_values.new_ones(len(inputs), clip.image.grid, clip.image.grid)
    return _attribution(Scaled, clip, inputs, image, inputs.attention_mask != 0, "ones")


def random_map(clip: Clip, inputs: Inputs, seed: int = 0) -> Attribution:
    """Each patch and each token is uniform on 0 … 1.

    The numbers depend on the seed and on the pair itself, not on where it stands in which batch: a pair has one random map.
    """
    seed = check_seed(seed)
    inputs = clip.check(inputs)
    grid, real = clip.image.grid, inputs.attention_mask.cpu().numpy() != 0
    image, text = np.zeros((len(inputs), grid, grid)), np.zeros(real.shape)
    levels = (16 * inputs.pixel_values.cpu().double()).round().numpy()  # coarse: the last bits differ from machine to machine
    for i, ids in enumerate(inputs.input_ids.cpu().numpy()):
        generator = np.random.default_rng(
            [seed, zlib.crc32(levels[i].tobytes()), zlib.crc32(ids[real[i]].astype(np.int64).tobytes())]
        )
        image[i] = generator.random((grid, grid))
        text[i, real[i]] = generator.random(real[i].sum())
    return _attribution(Attribution, clip, inputs, torch.from_numpy(image), torch.from_numpy(text), "random", seed=seed)


def centre_map(clip: Clip, inputs: Inputs, width: float = 0.25) -> Attribution:
    """A bell around the middle, the same for all pictures: photographers put things there. Likewise for the words of a caption.

    width: the bell's standard deviation, as a share of the picture's side and of the caption's words.
    """
    width = check_number("width", width, above=0)
    inputs = clip.check(inputs)
    middle = (torch.arange(clip.image.grid, device=clip.device) + 0.5) / clip.image.grid - 0.5
    bell = torch.exp(-0.5 * (middle / width) ** 2)
    image = torch.outer(bell, bell).expand(len(inputs), -1, -1)
    _, words = find_words(clip, inputs)
    place = (words.cumsum(1) - 0.5) / words.sum(1, keepdim=True) - 0.5
    text = torch.where(words, torch.exp(-0.5 * (place / width) ** 2), 0.0)
    return _attribution(Attribution, clip, inputs, image, text, "centre", width=width)


def oracle_map(
    clip: Clip, inputs: Inputs, masks: np.ndarray | torch.Tensor, words: np.ndarray | torch.Tensor | None = None
) -> Attribution:
    """The truth as a map (``Scaled``): 1 on the named object's pixels and on the words that are true of the picture, 0 elsewhere.

    Args:
        masks: bool [B, H, W] or B of [H, W], tensor or array: of the pictures' own sizes, which are resized and cropped as the
            pictures were, or at the size of ``inputs.pixel_values``; see ``localisation`` and its ``named_masks``.
        words: bool [B, T], the tokens that name what is there (``localisation.named_words``); None: all between start and end.

    Raises ValueError or TypeError on masks or words of another shape or type, and on an empty mask.
    """
    inputs = clip.check(inputs)
    height, width = inputs.pixel_values.shape[-2:]
    pixels = torch.from_numpy(seen_masks(masks, inputs.views, len(inputs), (height, width))).to(inputs.pixel_values)
    image = nnf.adaptive_avg_pool2d(pixels, clip.image.grid)
    if words is None:
        _, words = find_words(clip, inputs)
    words = torch.as_tensor(words)
    if words.dtype != torch.bool or words.shape != inputs.input_ids.shape:
        raise ValueError(f"words must be bool {list(inputs.input_ids.shape)}; got {words.dtype} {list(words.shape)}")
    return _attribution(Scaled, clip, inputs, image, words, "oracle", pixels)


def controls(
    clip: Clip,
    inputs: Inputs,
    seed: int = 0,
    masks: np.ndarray | torch.Tensor | None = None,
    words: np.ndarray | torch.Tensor | None = None,
) -> dict[str, Attribution]:
    """The controls by name: "ones", "random", "centre" and, where the truth is known, "oracle"."""
    maps = {"ones": ones_map(clip, inputs), "random": random_map(clip, inputs, seed), "centre": centre_map(clip, inputs)}
    return maps if masks is None else maps | {"oracle": oracle_map(clip, inputs, masks, words)}


def _attribution(
    kind: type[Attribution],
    clip: Clip,
    inputs: Inputs,
    image: torch.Tensor,
    text: torch.Tensor,
    method: str,
    pixels: torch.Tensor | None = None,
    **options: float,
) -> Attribution:
    return kind(
        image=image.to(inputs.pixel_values),
        text=text.to(inputs.pixel_values),
        tokens=clip.tokens(inputs),
        similarity=clip.similarity(inputs),
        words=inputs.words,
        views=inputs.views,
        pixels=pixels,
        method=method,
        options=options,
    )
