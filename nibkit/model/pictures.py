"""Any picture as an RGB PIL image, checked before any work is done."""

from __future__ import annotations

import contextlib
import io
import os
import threading
import warnings
from collections.abc import Iterable, Mapping
from typing import IO, Any, NoReturn

import numpy as np
import torch
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from ..checks import one_line, outside

BYTES = (bytes, bytearray, memoryview)
PICTURE = (str, os.PathLike, Image.Image)  # these count as one picture, not as a list of pictures
MAX_ASPECT = 100  # a picture more elongated than this is refused: its resized form would not fit in memory


def to_rgb(image: Any, name: str = "image") -> Image.Image:
    """Any picture as an RGB PIL image: rotated as its EXIF says, alpha laid on white, 16 bits and floats brought to 8.

    Where the EXIF data are damaged, the picture is taken as it lies, and a warning says so.

    Args:
        image: a path, a PIL image, a picture's file as bytes or opened in binary mode (``io.BytesIO``, say), a dict with one of
            these under "bytes" or "path" (a cell of a Hugging Face data set), or anything that numpy makes an array: [H, W],
            [H, W, 1], [H, W, 3] or [H, W, 4], of bytes, of 16-bit numbers, of booleans or of floats in 0 … 1. 16-bit numbers
            count as 0 … 65535; where none is above 4095, as a camera of 12 bits writes them, a warning says that they are to be
            scaled.
        name: how error messages call it.

    Raises:
        FileNotFoundError, ValueError, TypeError: missing or corrupt file, wrong shape, type or range.
    """
    if isinstance(image, Mapping):  # an undecoded cell of a Hugging Face data set
        image = image.get("bytes") or image.get("path") or _refuse(name, "a dict without bytes or path")
    if isinstance(image, (str, os.PathLike)):
        image = _open(image, name)
    elif isinstance(image, BYTES):
        image = _decode(io.BytesIO(image), f"{name}, of {len(image)} bytes,")
    elif hasattr(image, "read"):
        image = _decode(image, f"{name}, a file object,")
    elif isinstance(image, torch.Tensor):
        raise TypeError(
            f"{name} is a tensor {list(image.shape)}: give an array [H, W, 3] (tensor.permute(1, 2, 0).numpy(), say), "
            "a PIL image or a path; pixels that are normalised already go into nk.Inputs"
        )
    if not isinstance(image, Image.Image):
        image = _from_array(_as_array(image, name), name)
    if 0 in image.size:
        raise ValueError(f"{name} is {image.size[0]} × {image.size[1]} pixels: there is nothing in it")
    try:
        _load(image, name)  # PIL opens lazily: damage shows only now
        image = _upright(image, name)
    except Exception as error:  # whatever damage makes PIL do, such as dividing by zero, or asking for memory without end
        reason = one_line(error) or type(error).__name__
        if "closed" in reason:
            raise ValueError(f"{name} is a PIL image that was closed ({reason}): open its file again") from error
        raise ValueError(f"{name} can't be read ({reason}): the file is damaged, save it again") from error
    if image.mode.startswith(("I", "F")):
        image = _from_array(np.asarray(image), name)
    try:
        if "A" in image.mode or "transparency" in image.info:
            image = image.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
        image = image.convert("RGB")
    except MemoryError:  # no fault of the picture's: its pixels are there already
        raise
    except Exception as error:  # ValueError of a mode without a way to RGB; another of a transparency that does not fit the mode
        raise ValueError(f"{name} has PIL mode {image.mode!r} ({one_line(error)}): save it as RGB first") from error
    if max(image.size) > MAX_ASPECT * min(image.size):
        raise ValueError(f"{name} is {image.size[0]} × {image.size[1]} pixels: crop it to a less elongated picture first")
    return image


def _open(path: str | os.PathLike, name: str) -> Image.Image:
    if os.path.isdir(path):
        raise ValueError(f"{name}: {os.fspath(path)!r} is a folder: give a picture in it")
    if os.path.exists(path) and not os.path.isfile(path):
        raise ValueError(f"{name}: {os.fspath(path)!r} is a pipe or a device: give a picture's file")
    if not os.path.isfile(path):
        raise FileNotFoundError(f"{name}: there is no file {os.fspath(path)!r}")
    return _decode(path, f"{name}: {os.fspath(path)!r}")


def _decode(file: str | os.PathLike | IO[bytes], what: str) -> Image.Image:
    """The picture in a file; ValueError, which calls it ``what``, if there is none, or none that can be read."""
    try:
        with Image.open(file) as picture:
            _load(picture, what)
            return picture
    except Image.DecompressionBombError as error:
        raise ValueError(f"{what} is too large to open safely ({error}): make it smaller first") from error
    except UnidentifiedImageError as error:
        raise ValueError(f"{what} is no readable picture: it is damaged, or of a kind that is not known") from error
    except Exception as error:  # whatever damage makes PIL do
        raise ValueError(f"{what} is no readable picture ({one_line(error) or type(error).__name__}): save it again") from error


_one_at_a_time = threading.Lock()


def _load(picture: Image.Image, name: str) -> None:
    """Its pixels. What libtiff itself says of damage on standard error is left out: an error tells it."""
    modes = [str(tile[3]) for tile in getattr(picture, "tile", ())]  # how the file has them; none once they are loaded
    with contextlib.ExitStack() as stack:
        if picture.format == "TIFF" and modes:
            stack.enter_context(_one_at_a_time)
            with contextlib.suppress(OSError):  # where there is no standard error
                before = os.dup(2)
                stack.callback(os.close, before)
                with open(os.devnull, "wb") as nowhere:
                    stack.callback(os.dup2, before, 2)
                    os.dup2(nowhere.fileno(), 2)
        picture.load()
    if picture.mode in ("RGB", "RGBA") and any(";16" in mode for mode in modes):  # PIL has kept the higher 8 bits
        extrema: Any = picture.getextrema()[:3]
        largest = max(top for _, top in extrema)
        _tell_dark(name, largest << 8 | 255 if largest else 0)


def _tell_dark(name: str, largest: int) -> None:
    """Warn if 16-bit numbers are those of 12 bits or fewer."""
    if 0 < largest <= 4095:
        warnings.warn(
            f"{name} has 16-bit numbers of at most {largest}, so it is nearly black: if a camera wrote fewer than 16 bits, "
            "scale it first (12 bits: × 16)",
            stacklevel=outside(),
        )


def _upright(image: Image.Image, name: str) -> Image.Image:
    """The picture rotated as its EXIF says; where that is damaged, as far as it can be read. The pixels are whole."""
    with contextlib.suppress(Exception):  # whatever a damaged tag makes PIL do, such as dividing by zero
        return ImageOps.exif_transpose(image)
    orientation = None
    with contextlib.suppress(Exception):
        orientation = image.getexif().get(ExifTags.Base.Orientation)
    clean = image.copy()
    for tag in ("exif", "Raw profile type exif", "xmp", "XML:com.adobe.xmp"):
        clean.info.pop(tag, None)
    clean.getexif()[ExifTags.Base.Orientation] = orientation
    turned = ImageOps.exif_transpose(clean)
    if orientation is None:
        warnings.warn(f"{name} has damaged EXIF data, so it is taken as it lies: turn it if need be", stacklevel=outside())
    return turned


def _as_array(image: Any, name: str) -> np.ndarray:
    try:
        return np.asarray(image)
    except MemoryError:
        raise
    except Exception as error:  # lists of unequal lengths, or a foreign type's own error
        raise TypeError(
            f"{name} must be a picture, a path or an array; got {type(image).__name__} ({one_line(error)})"
        ) from error


def _refuse(name: str, what: str) -> NoReturn:
    raise TypeError(f"{name} must be a picture, a path or an array; got {what}")


def _from_array(array: np.ndarray, name: str) -> Image.Image:
    if array.ndim == 3 and array.shape[-1] == 1:
        array = array[..., 0]
    if array.size == 0 or array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[-1] not in (3, 4)):
        mend = " (colours come last: array.transpose(1, 2, 0))" if array.ndim == 3 and array.shape[0] in (1, 3, 4) else ""
        raise ValueError(f"{name} must be an array [H, W], [H, W, 3] or [H, W, 4]; got {list(array.shape)}{mend}")
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
        if wide:
            _tell_dark(name, largest)
        array = (array >> 8).astype(np.uint8) if wide else array.astype(np.uint8)
    return Image.fromarray(array)


def as_list(value: Any, kind: type | tuple[type, ...], name: str) -> list:
    """One thing or many: a string, a path, a picture, bytes, a dict, an open file or an array [H, W(, C)] counts as one.

    TypeError if it is neither.
    """
    if isinstance(value, kind) or isinstance(value, (*BYTES, Mapping)) or hasattr(value, "read"):
        return [value]
    if hasattr(value, "__array__"):  # numpy's, torch's and whoever else's
        with contextlib.suppress(Exception):  # what can't be made an array is refused as one
            if np.ndim(value) not in (2, 3):
                return list(value)
        return [value]
    if not isinstance(value, Iterable):
        raise TypeError(f"{name} must be one or a list of them; got {type(value).__name__}")
    return list(value)
