"""The frame of every method: both encoders cut, the model left as it was, each encoder explained against the other."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch.nn import functional as nnf
from tqdm.auto import tqdm

from ..checks import outside
from ..model.clip import Clip, check_clip
from ..model.inputs import Inputs
from ..model.repeatable import untouched
from ..model.towers import ImageTower
from .attribution import Attribution
from .cut import CutEncoder

VARIANTS = ("paper", "original")
NOTHING = 0.01  # of all that a map gives: what a patch or a word has at most, where a cut says nothing of it
Layers = int | tuple[int | None, int | None] | None


class Importance(NamedTuple):
    """What a method says of one encoder.

    values: tokens [B, S], the class token first for pictures; or pixels [B, H, W]. delta, null: [B], see ``Attribution``.
    """

    values: torch.Tensor
    delta: torch.Tensor | None = None
    null: torch.Tensor | None = None


def explain_both(
    clip: Clip,
    inputs: Inputs,
    layers: tuple[int, int],
    explain: Callable[[CutEncoder, torch.Tensor], Importance],
    method: str,
    options: dict[str, Any],
    batch_size: int | None = None,
    bar: tqdm | None = None,
) -> Attribution:
    """Explain pictures and captions: ``explain(encoder, target)`` is called for each encoder, cut at its layer, with the other's
    features as ``target`` [B, D].

    The model is in evaluation mode meanwhile, gradients are off unless ``explain`` turns them on, and nothing is left behind.
    ``options`` are noted in the result, with "blocks": for each encoder, whether the tail's first and last block were "rewritten"
    in fewer operations (``model.blocks``) or "called" as they are. ValueError, before any explaining, if a similarity is NaN or
    infinite.
    """
    check_clip(clip)
    inputs = clip.check(inputs)
    with both_cut(clip, inputs, layers, batch_size, bar) as (image, text, similarity):
        of_image, of_text = explain(image, text.features), explain(text, image.features)
        class_token, pixels, grid = None, None, (clip.image.grid, clip.image.grid)
        if of_image.values.ndim == 3:
            pixels, patches = of_image.values, patch_means(clip.image, of_image.values)
        else:
            class_token, patches = of_image.values[:, 0], of_image.values[:, 1:].unflatten(1, grid)
        words = torch.where(real_tokens(text), of_text.values, 0.0)
        words = nnf.pad(words, (0, inputs.input_ids.shape[1] - words.shape[1]))
    return Attribution(
        image=patches,
        text=words,
        tokens=clip.tokens(inputs),
        similarity=similarity,
        class_token=class_token,
        image_delta=of_image.delta,
        text_delta=of_text.delta,
        image_null=of_image.null,
        text_null=of_text.null,
        words=inputs.words,
        views=inputs.views,
        pixels=pixels,
        method=method,
        options=options | {"blocks": (way_of(image), way_of(text))},
    )


@contextlib.contextmanager
def both_cut(
    clip: Clip, inputs: Inputs, layers: tuple[int, int], batch_size: int | None = None, bar: tqdm | None = None
) -> Iterator[tuple[CutEncoder, CutEncoder, torch.Tensor]]:
    """(the image encoder cut at its layer, the text encoder, each pair's similarity [B]); the model as ``explain_both`` has it.

    inputs: as ``clip.check`` returns them. ValueError if a similarity is NaN or infinite.
    """
    with untouched(clip.model), torch.inference_mode(False), torch.no_grad():
        image, text = (CutEncoder(tower, inputs, layer, batch_size, bar) for tower, layer in zip((clip.image, clip.text), layers))
        similarity = nnf.cosine_similarity(image.features, text.features, dim=-1)
        if not torch.isfinite(similarity).all():
            pair = int((~torch.isfinite(similarity)).int().argmax())
            raise ValueError(
                f"the similarity of pair {pair} is NaN or infinite: a weight of the model is, or its dtype is too narrow"
            )
        yield image, text, similarity


def way_of(encoder: CutEncoder) -> str:
    """Are the tail's first and last block "rewritten" in fewer operations, or "called" as they are?"""
    return "rewritten" if encoder.tower.rewrites(encoder.layer) else "called"


def check_layers(clip: Clip, layer: Layers, name: str = "layer", looks_at: str = "", default: Layers = None) -> tuple[int, int]:
    """(image, text) of one layer for both, or of a pair; None: ``default``, or ¾ of each depth, floored (9 of 12).

    A cut may lie at 0 … depth. Where a method looks at a block instead, ``looks_at`` says what for: then 0 … depth − 1.
    ValueError, which calls it ``name``, if it is out of range.
    """
    check_clip(clip)
    pair = tuple(layer) if isinstance(layer, (tuple, list)) else (layer, layer)
    if len(pair) != 2:
        raise ValueError(f"{name} must be a whole number or a pair (image, text); got {layer!r}")
    names = (f"{name} (image)", f"{name} (text)") if isinstance(layer, (tuple, list)) else (name, name)
    defaults = default if isinstance(default, tuple) else (default, default)
    chosen = [
        tower.check_layer(usual if block is None else block, of, looks_at)
        for tower, block, usual, of in zip((clip.image, clip.text), pair, defaults, names)
    ]
    return chosen[0], chosen[1]


def warn_of_nothing(clip: Clip, inputs: Inputs, att: Attribution, cuts: tuple[int, int]) -> None:
    """UserWarning where a cut (image, text) explains nothing: behind the last block, or before it where values are rounding."""
    if all(cut < tower.depth - 1 for cut, tower in zip(cuts, (clip.image, clip.text))):
        return
    of_class = torch.zeros_like(att.image[:, 0, 0]) if att.class_token is None else att.class_token.abs()
    patches, words = att.image.flatten(1).abs(), att.text.abs().cpu()
    end = clip.text.pooled(inputs).cpu()[:, None]
    of_end, words = words.gather(1, end)[:, 0], words.scatter(1, end, 0)
    told = []
    for tower, cut, values, read, names in (
        (clip.image, cuts[0], patches, of_class, ("image", "patches", "class token")),
        (clip.text, cuts[1], words, of_end, ("text", "words", "end token")),
    ):
        if cut == tower.depth:
            told.append(f"the {names[0]} encoder is cut behind its last block, where only the {names[2]} is read")
        elif cut == tower.depth - 1 and bool((values.amax(1) <= NOTHING * (values.sum(1) + read)).all()):
            told.append(
                f"the {names[0]} encoder is cut before its last block, which {names[1]} enter through a layer norm alone: that "
                f"does not see how long a state is, so their values are rounding beside the {names[2]}'s"
            )
    if told:
        said = "; ".join(told)
        warnings.warn(
            f"{att.method}'s cut explains nothing there: {said}. Cut earlier (default: ¾ of the depth)", stacklevel=outside()
        )


def real_tokens(encoder: CutEncoder) -> torch.Tensor:
    """bool [B, S]: the tokens that the text encoder reads; what stands behind the end token, and holes, are none."""
    mask = encoder.inputs.attention_mask[:, : encoder.latents.shape[1]] != 0
    return mask & (torch.arange(mask.shape[1], device=mask.device) <= encoder.pooled[:, None])


def patch_means(tower: ImageTower, pixels: torch.Tensor) -> torch.Tensor:
    """The mean of a map [B, H, W] over each patch, [B, gh, gw]; what is left at the edges belongs to no patch."""
    return nnf.avg_pool2d(pixels[:, None], tower.patch_size)[:, 0, : tower.grid, : tower.grid]
