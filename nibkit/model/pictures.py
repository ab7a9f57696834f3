"""Any picture as an RGB PIL image, checked before any work is done."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps

from ..checks import outside

PICTURE = (str, os.PathLike, Image.Image)  # these count as one picture, not as a list of pictures
MAX_ASPECT = 100  # a picture more elongated than this is refused: its resized form would not fit in memory


def to_rgb(image: Any, name: str = "image") -> Image.Image:
    """Any picture as an RGB PIL image: rotated as its EXIF says, alpha laid on white, 16 bits and floats brought to 8.

    Args:
        image: a path, a PIL image, or an array [H, W], [H, W, 1], [H, W, 3] or [H, W, 4], of bytes, of 16-bit numbers,
            of booleans or of floats in 0 … 1. 16-bit numbers count as 0 … 65535; where none is above 4095, as a camera of
            12 bits writes them, a warning says that they are to be scaled.
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
    if os.path.isdir(path):
        raise ValueError(f"{name}: {os.fspath(path)!r} is a folder: give a picture in it")
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
        wide, largest = array.dtype == np.uint16 or array.max() > 255, int(array.max())
        if wide and 0 < largest <= 4095:  # 12 bits or fewer of the 16
            warnings.warn(
                f"{name} has 16-bit numbers of at most {largest}, so it is nearly black: if a camera wrote fewer than 16 bits, "
                "scale it first (12 bits: × 16)",
                stacklevel=outside(),
            )
        array = (array >> 8).astype(np.uint8) if wide else array.astype(np.uint8)
    return Image.fromarray(array)


def as_list(value: Any, kind: type | tuple[type, ...], name: str) -> list:
    """One thing or many: a string, a path, a picture or an array [H, W(, C)] counts as one. TypeError if it is neither."""
    if isinstance(value, kind) or (isinstance(value, np.ndarray) and value.ndim in (2, 3)):
        return [value]
    if not isinstance(value, Iterable):
        raise TypeError(f"{name} must be one or a list of them; got {type(value).__name__}")
    return list(value)
