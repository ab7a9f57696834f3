"""Maps that explain nothing, or everything, or another model: what a metric gives them says what it rewards. Notebook 09.

Each map is called as the methods are, (clip, inputs, **options) -> Attribution, so it can stand beside them in any table.
``randomised`` makes the other models: copies whose weights are drawn anew (Adebayo et al., 2018).
"""

from __future__ import annotations

import copy
import zlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as nnf

from ..checks import check_choice, check_number, check_seed
from ..model.clip import Clip, check_clip, find_words
from ..model.inputs import Inputs
from ..model.views import seen_masks
from .attribution import Attribution, Scaled
from .nib import nib

SIDES = ("image", "text")


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


def reference_map(clip: Clip, inputs: Inputs, masks: np.ndarray | torch.Tensor) -> Attribution:
    """The truth on the model's own grid: the share of each patch that the named object covers; masks as in ``oracle_map``.

    What a map of patches can reach, where the oracle's pixels can't be reached. (Not shown to be the highest such map.)
    """
    oracle = oracle_map(clip, inputs, masks)
    return replace(oracle, pixels=None, method="reference")


def every_object_map(clip: Clip, inputs: Inputs, all_masks: np.ndarray | torch.Tensor) -> Attribution:
    """Every object alike, whatever the caption names: a map that never read the caption. On the model's grid, every word is 1.

    all_masks: bool [B, H, W], all that is not ground (``localisation``'s masks | distractors); sizes as in ``oracle_map``.
    """
    return replace(reference_map(clip, inputs, all_masks), method="every")


def another_caption_map(
    clip: Clip, inputs: Inputs, others: Inputs, method: Callable[..., Attribution] = nib, **options: Any
) -> Attribution:
    """Each picture explained with another caption, each caption with another picture, by ``method`` with its options.

    A map that stays the same then explains the picture, not the pair. others: as many pairs, or one for all. Raises ValueError
    if they are of another number.
    """
    inputs, others = clip.check(inputs), clip.check(others)
    if len(others) not in (1, len(inputs)):
        raise ValueError(f"others must be one pair or {len(inputs)}, one for each of inputs; got {len(others)}")
    others = others[[0] * len(inputs)] if len(others) == 1 else others
    image = method(clip, replace(others, pixel_values=inputs.pixel_values, views=inputs.views), **options)
    text = method(clip, replace(inputs, pixel_values=others.pixel_values, views=others.views), **options)
    return replace(
        image, text=text.text, tokens=text.tokens, words=text.words, similarity=clip.similarity(inputs), method="another caption"
    )


# --- other models -------------------------------------------------------------------------------------------------------------


def stages(clip: Clip, side: str = "image") -> tuple[str, ...]:
    """The parts of one encoder from the top down, as ``randomised`` calls them: "image_projection", "image_norm",
    "image_block_11", …, "image_block_0", "image_embeddings". Raises ValueError if side is neither "image" nor "text"."""
    check_choice("side", side, SIDES)
    check_clip(clip)
    blocks = [f"block_{k}" for k in reversed(range(getattr(clip, side).depth))]
    return tuple(f"{side}_{part}" for part in ("projection", "norm", *blocks, "embeddings"))


def randomised(clip: Clip, stage: str | Sequence[str], seed: int = 0) -> Clip:
    """A copy with the weights of one stage drawn anew, or of several at once (Adebayo et al., 2018); clip stays as it is.

    Each tensor is drawn from a normal law with its own mean and standard deviation, so that states keep their size while all that
    was learned is lost. What is drawn depends on the seed and the tensor's name alone: a part is the same in every cascade.

    Args:
        stage: one of ``stages``; "last_block" (of both encoders); "image" or "text" (a whole encoder); or several of these.
        seed: of the draws, a whole number, 0 or more.

    Raises:
        ValueError: an unknown stage, a seed that is none, or a weight that is no float (quantised).
    """
    seed, parts = check_seed(seed), check_stages(clip, stage)
    new = Clip(copy.deepcopy(clip.model), clip.tokenizer, clip.image_processor, clip.name)
    for name in parts:
        for key, weight in _part(new, name).named_parameters():
            if not weight.is_floating_point():
                raise ValueError(f"weight {key} of {name} is {weight.dtype}: only floats can be drawn anew")
            generator = np.random.default_rng([seed, zlib.crc32(f"{name}.{key}".encode())])
            old = weight.detach().double().cpu().numpy()
            drawn = old.mean() + old.std() * generator.standard_normal(old.shape)
            weight.data = torch.from_numpy(drawn).to(weight.data)
    return new


def check_stages(clip: Clip, stage: str | Sequence[str]) -> list[str]:
    """The parts that one or several names of ``randomised``'s stages mean, each once. ValueError if one is unknown."""
    check_clip(clip)
    groups = {side: stages(clip, side) for side in SIDES}
    groups["last_block"] = tuple(f"{side}_block_{getattr(clip, side).depth - 1}" for side in SIDES)
    known = [*groups, *groups["image"], *groups["text"]]
    chosen = [check_choice("stage", one, known) for one in ([stage] if isinstance(stage, str) else stage)]
    return list(dict.fromkeys(part for one in chosen for part in groups.get(one, (one,))))


def _part(clip: Clip, name: str) -> nn.Module:
    """The modules of a stage of ``stages``."""
    side, _, part = name.partition("_")
    tower = getattr(clip, side)
    if part.startswith("block_"):
        return tower.blocks[int(part.removeprefix("block_"))]
    if part == "embeddings":  # with the norm that CLIP's image encoder has behind them
        return nn.ModuleList([tower.embeddings, *([tower.pre_norm] if tower.is_image else [])])
    return getattr(tower, part)


def controls(
    clip: Clip,
    inputs: Inputs,
    seed: int = 0,
    masks: np.ndarray | torch.Tensor | None = None,
    words: np.ndarray | torch.Tensor | None = None,
) -> dict[str, Attribution]:
    """The controls by name: "ones", "random", "centre" and, where the truth is known, "oracle" (see also "reference",
    "every object" and "another caption": ``reference_map``, ``every_object_map``, ``another_caption_map``)."""
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
