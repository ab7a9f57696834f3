"""What goes into a dual encoder: pictures and captions made into tensors, checked before any work is done."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from PIL import Image, ImageOps

PICTURE = (str, os.PathLike, Image.Image)  # these count as one picture, not as a list of pictures
MAX_ASPECT = 100  # a picture more elongated than this is refused: its resized form would not fit in memory


@dataclass(frozen=True)
class Inputs:
    """A batch of B image–caption pairs.

    Args:
        pixel_values: float [B, 3, H, W], normalised as the model expects.
        input_ids: int [B, T], start and end token included, padded on the right.
        attention_mask: int or bool [B, T], 1 at tokens, 0 at padding, which stands on the right; None: no padding.
        tokens: for each pair its T' ≤ T token strings, without the padding, as the caption spells them (``Clip.prepare``
            fills them in).
        words: for each of those tokens the number of its word in the caption, None for start and end tokens.

    Raises ValueError or TypeError, naming the tensor, on wrong shapes, wrong types, NaN or infinite pixels.
    """

    pixel_values: torch.Tensor
    input_ids: torch.Tensor
    attention_mask: torch.Tensor | None = None
    tokens: tuple[tuple[str, ...], ...] | None = None
    words: tuple[tuple[int | None, ...], ...] | None = None

    def __post_init__(self) -> None:
        pixels, ids, mask = self.pixel_values, self.input_ids, self.attention_mask
        for name, value in (("pixel_values", pixels), ("input_ids", ids)):
            if not isinstance(value, torch.Tensor):
                raise TypeError(f"{name} must be a torch.Tensor; got {type(value).__name__} (use clip.prepare for pictures)")
        if not pixels.is_floating_point():
            raise TypeError(f"pixel_values must be normalised floats; got {pixels.dtype} (clip.prepare normalises pictures)")
        if pixels.ndim != 4 or pixels.shape[1] != 3:
            raise ValueError(f"pixel_values must be [B, 3, H, W]; got {list(pixels.shape)}")
        if ids.ndim != 2 or ids.is_floating_point() or ids.dtype == torch.bool:
            raise ValueError(f"input_ids must be whole numbers [B, T]; got {ids.dtype} {list(ids.shape)}")
        if len(pixels) != len(ids):
            raise ValueError(f"{len(pixels)} images but {len(ids)} captions: give one caption for each image")
        if len(ids) == 0 or ids.shape[1] == 0:
            raise ValueError("nothing to explain: give one image and one caption at least")
        if mask is None:
            object.__setattr__(self, "attention_mask", torch.ones_like(ids))
        elif not isinstance(mask, torch.Tensor):
            raise TypeError(f"attention_mask must be a torch.Tensor; got {type(mask).__name__}")
        elif mask.is_floating_point():
            raise TypeError(f"attention_mask must be whole numbers or bool; got {mask.dtype}")
        elif mask.shape != ids.shape:
            raise ValueError(f"attention_mask must have input_ids' shape {list(ids.shape)}; got {list(mask.shape)}")
        elif (mask[:, 0] == 0).any():
            pair = int((mask[:, 0] == 0).int().argmax())
            raise ValueError(f"attention_mask of pair {pair} is 0 at its first position: pad captions on the right")
        if self.tokens is not None and len(self.tokens) != len(ids):
            raise ValueError(f"{len(self.tokens)} lists of token strings but {len(ids)} captions")
        if not torch.isfinite(pixels).all():
            bad = [i for i, image in enumerate(pixels) if not torch.isfinite(image).all()]
            raise ValueError(f"pixel_values of pair {bad[0]} hold NaN or infinity: check that picture")

    def __len__(self) -> int:
        return len(self.input_ids)

    def __getitem__(self, rows: int | slice | Sequence[int] | torch.Tensor) -> Inputs:
        """The chosen pairs, as a batch (also for a single number)."""
        index = torch.arange(len(self))[rows].reshape(-1)
        pick = lambda part: None if part is None else tuple(part[int(i)] for i in index)  # noqa: E731
        here = index.to(self.input_ids.device)
        return self._with(
            self.pixel_values[here], self.input_ids[here], self.attention_mask[here], pick(self.tokens), pick(self.words)
        )

    def _with(self, *parts) -> Inputs:
        """Other parts, cut from these: checked already, so not again (that would read every pixel, and wait for a GPU)."""
        new = object.__new__(Inputs)
        for field, part in zip(fields(Inputs), parts):
            object.__setattr__(new, field.name, part)
        return new

    def crop(self, length: int) -> Inputs:
        """The same pictures, captions without the positions from ``length`` on, and without their strings."""
        return self._with(self.pixel_values, self.input_ids[:, :length], self.attention_mask[:, :length], None, None)

    def to(self, device: torch.device, dtype: torch.dtype) -> Inputs:
        """On ``device``, pixels as ``dtype``."""
        return Inputs(
            self.pixel_values.to(device, dtype),
            self.input_ids.to(device),
            self.attention_mask.to(device),
            self.tokens,
            self.words,
        )


# --- pictures ---------------------------------------------------------------------------------------------------------


def to_rgb(image, name: str = "image") -> Image.Image:
    """Any picture as an RGB PIL image: rotated as its EXIF says, alpha laid on white, 16 bits and floats brought to 8.

    Args:
        image: a path, a PIL image, or an array [H, W], [H, W, 1], [H, W, 3] or [H, W, 4], of bytes, of 16-bit numbers,
            of booleans or of floats in 0 … 1.
        name: how error messages call it.

    Raises:
        FileNotFoundError, ValueError, TypeError: missing or corrupt file, wrong shape, type or range.
    """
    if isinstance(image, (str, os.PathLike)):
        image = _open(image, name)
    elif isinstance(image, torch.Tensor):
        raise TypeError(f"{name} is a tensor: give a picture (PIL, array, path), or normalised pixels to nk.Inputs")
    if not isinstance(image, Image.Image):
        image = _from_array(np.asarray(image), name)
    try:
        image.load()  # PIL opens lazily: damage shows only now
        image = ImageOps.exif_transpose(image)
    except (OSError, SyntaxError, ValueError, ZeroDivisionError) as error:  # the last: a fraction of damaged EXIF
        raise ValueError(f"{name} can't be read ({error}): the file is damaged, save it again") from error
    if image.mode.startswith(("I", "F")):
        image = _from_array(np.asarray(image), name)
    try:
        if "A" in image.mode or "transparency" in image.info:
            image = image.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
        image = image.convert("RGB")
    except ValueError as error:
        raise ValueError(f"{name} has PIL mode {image.mode!r} ({error}): save it as RGB first") from error
    if max(image.size) > MAX_ASPECT * min(image.size):
        raise ValueError(f"{name} is {image.size[0]} × {image.size[1]} pixels: crop it to a less elongated picture first")
    return image


def _open(path: str | os.PathLike, name: str) -> Image.Image:
    if not os.path.isfile(path):
        raise FileNotFoundError(f"{name}: there is no file {os.fspath(path)!r}")
    try:
        with Image.open(path) as file:
            file.load()
            return file
    except Image.DecompressionBombError as error:
        raise ValueError(f"{name}: {os.fspath(path)!r} is too large to open safely ({error}): make it smaller first") from error
    except (OSError, SyntaxError) as error:
        raise ValueError(f"{name}: {os.fspath(path)!r} is no readable picture ({error})") from error


def _from_array(array: np.ndarray, name: str) -> Image.Image:
    if array.ndim == 3 and array.shape[-1] == 1:
        array = array[..., 0]
    if array.size == 0 or array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[-1] not in (3, 4)):
        raise ValueError(f"{name} must be an array [H, W], [H, W, 3] or [H, W, 4]; got {list(array.shape)}")
    if array.dtype == bool:
        array = array.astype(np.uint8) * 255
    elif np.issubdtype(array.dtype, np.floating):
        if not np.isfinite(array).all():
            raise ValueError(f"{name} holds NaN or infinity")
        if array.min() < 0 or array.max() > 1:
            raise ValueError(
                f"{name} is an array of floats outside 0 … 1 ({array.min():.3g} … {array.max():.3g}): scale it first"
            )
        array = np.round(array * 255).astype(np.uint8)
    elif array.dtype != np.uint8:
        if not np.issubdtype(array.dtype, np.integer):
            raise TypeError(f"{name} must be a picture; got an array of {array.dtype}")
        if array.min() < 0 or array.max() > 65535:
            raise ValueError(f"{name} holds whole numbers outside 0 … 65535")
        array = (array >> 8).astype(np.uint8) if array.dtype == np.uint16 or array.max() > 255 else array.astype(np.uint8)
    return Image.fromarray(array)


def as_list(value, kind: type | tuple[type, ...]) -> list:
    """One thing or many: a string, a path, a picture or an array [H, W(, C)] counts as one."""
    if isinstance(value, kind) or (isinstance(value, np.ndarray) and value.ndim in (2, 3)):
        return [value]
    return list(value)


# --- captions ---------------------------------------------------------------------------------------------------------


def check_captions(captions: Sequence[str], tokenizer, limit: int) -> None:
    """Raise on a caption that is no text, is empty or has over ``limit`` tokens; warn of words that the model does not know."""
    for i, caption in enumerate(captions):
        if not isinstance(caption, str):
            raise TypeError(f"caption {i} must be a string; got {type(caption).__name__}")
        if not caption.strip():
            raise ValueError(f"caption {i} is empty: write what the picture should be compared with")
        body = tokenizer(caption, verbose=False)["input_ids"][1:-1]
        count = len(body) + 2
        if {tokenizer.bos_token_id, tokenizer.eos_token_id} & set(body):
            raise ValueError(f"caption {i} spells out a start or end token, which would cut it short: leave it out")
        if count > limit:
            raise ValueError(f"caption {i} has {count} tokens, the model reads at most {limit}: shorten it by {count - limit}")
        unknown, special = tokenizer.unk_token_id, {tokenizer.bos_token_id, tokenizer.eos_token_id}
        if unknown is not None and unknown not in special:
            strange = [w for w in re.findall(r"\w+", caption) if unknown in tokenizer(w)["input_ids"]]
            if strange:
                warnings.warn(f"caption {i}: this model does not know {', '.join(map(repr, strange))}", stacklevel=3)


def tokenize(captions: Sequence[str], tokenizer) -> tuple:
    """input_ids [B, T], attention_mask [B, T], and each caption's tokens as it spells them, with the number of their word."""
    text = tokenizer(list(captions), padding=True, return_tensors="pt", return_attention_mask=True, return_offsets_mapping=True)
    ids, mask = text["input_ids"], text["attention_mask"]
    words = tuple(tuple(text.word_ids(i)[: int(row.sum())]) for i, row in enumerate(mask))
    spans = text["offset_mapping"].tolist()
    tokens = tuple(map(_spell, captions, read_tokens(tokenizer, ids, mask), words, spans))
    return ids, mask, tokens, words


def _spell(caption: str, names: Sequence[str], words: Sequence[int | None], spans: Sequence[Sequence[int]]) -> tuple[str, ...]:
    """Each token as the caption has it. A letter that takes several tokens (é) stands at the first of them."""
    found, reached = [], 0
    for name, number, (a, b) in zip(names, words, spans):
        found.append(name if number is None else caption[max(a, reached) : b])
        reached = max(reached, b)
    return tuple(found)


def read_tokens(tokenizer, ids: torch.Tensor, mask: torch.Tensor) -> tuple[tuple[str, ...], ...]:
    """The token strings of each row, without padding; the ids themselves as strings where there is no tokenizer."""
    rows = [row[keep].tolist() for row, keep in zip(ids.cpu(), mask.cpu().bool())]
    if tokenizer is None:
        return tuple(tuple(map(str, row)) for row in rows)
    return tuple(tuple(tokenizer.decode([i]).strip() or tokenizer.convert_ids_to_tokens(i) for i in row) for row in rows)
