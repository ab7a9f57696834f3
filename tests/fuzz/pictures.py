"""Pictures of any kind, format, size and damage, given in any way."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

import nibkit as nk
from nibkit.model.pictures import MAX_ASPECT, to_rgb

from .cases import Case, Fault, check_equal, check_finite

MODES = ["1", "L", "P", "RGB", "RGB", "RGB", "RGBA", "LA", "PA", "CMYK", "YCbCr", "HSV", "LAB", "I", "I;16", "F", "RGBX",
         "La", "RGBa"]  # fmt: skip
FORMATS = ["PNG", "PNG", "JPEG", "JPEG", "GIF", "BMP", "TIFF", "TIFF", "WEBP", "PPM", "TGA", "ICO", "JPEG2000", "PCX", "SGI",
           "DDS"]  # fmt: skip
FORMATS += ["AVIF", "MPO", "IM", "SPIDER", "MSP", "XBM", "DIB", "ICNS", "BLP"]
PLAIN = {"1", "L", "P", "RGB", "RGBA", "LA", "CMYK", "I;16"}  # modes that must be taken
DTYPES = ["uint8", "uint8", "bool", "int8", "int16", "uint16", ">u2", "int32", "int64", "uint64", "float16", "float32", "float64",
          ">f4", "complex64", "object", "U3", "datetime64[s]"]  # fmt: skip


def draw_size(case: Case) -> tuple[int, int]:
    """1 × 1 to large, some very long."""
    kind = case.one("small", "small", "usual", "usual", "line", "tiny", "large")
    if kind == "line":
        long, short = case.whole(2, 3000), case.whole(1, 3)
        return (long, short) if case.chance(0.5) else (short, long)
    low, high = {"small": (1, 40), "usual": (50, 500), "tiny": (1, 3), "large": (800, 2500)}[kind]
    return case.whole(low, high), case.whole(low, high)


def draw_picture(case: Case, mode: str | None = None) -> Image.Image:
    """A picture of a random mode: noise, one colour, or bands."""
    mode, size = mode or case.one(*MODES), draw_size(case)
    kind = case.one("noise", "flat", "bands")
    count = 3 if kind != "noise" else size[0] * size[1] * 3
    pixels = case.rng.integers(0, 256, count, dtype=np.uint8)
    if kind != "noise":
        pixels = np.broadcast_to(pixels, (size[1], size[0], 3)).copy()
        if kind == "bands":
            pixels[:: case.whole(2, 9)] ^= 255
    picture = Image.fromarray(pixels.reshape(size[1], size[0], 3))
    if mode == "I;16":
        return Image.fromarray(np.asarray(picture.convert("L")).astype(np.uint16) << case.one(0, 4, 8))
    between = {"La": "LA", "PA": "LA", "RGBa": "RGBA", "LAB": "RGB"}.get(mode)  # what PIL converts to this mode
    if mode == "LAB":
        picture = Image.merge("LAB", picture.split())
    else:
        picture = picture.convert(between).convert(mode)
    if mode == "F" and case.chance(0.5):
        picture = picture.point(lambda value: value * (1 / 255) + 0)
    if mode in ("RGBA", "LA", "PA") and case.chance(0.5):
        picture.putalpha(case.whole(0, 255))
    if mode in ("P", "L", "RGB") and case.chance(0.2):
        picture.info["transparency"] = case.one(0, 255, b"\x00\x80", (1, 2, 3), (1, 2), "x")
    return picture


def save(case: Case, picture: Image.Image) -> tuple[bytes, str]:
    """(the encoded file, its format); as PNG where PIL can't save that mode so."""
    options: dict[str, Any] = {}
    if case.chance(0.3):
        exif = Image.Exif()
        exif[0x0112] = case.one(1, 2, 3, 6, 8, 9, 0, 255)
        if case.chance(0.3):
            exif[case.one(0x010E, 0x9286, 0x0132)] = case.one("text", "\0" * 9, 7, b"\xff\xfe")
        data = bytearray(exif.tobytes())
        if case.chance(0.3):
            damage(case, data)
        options["exif"] = bytes(data)
    if case.chance(0.1):
        options["icc_profile"] = case.rng.bytes(case.whole(0, 200))
    if case.chance(0.15):
        options |= {"save_all": True, "append_images": [picture.copy() for _ in range(case.whole(1, 4))]}
    if case.chance(0.2):
        options["dpi"] = case.one((72, 72), (0, 0), (10**6, 1))
    kind = case.one(*FORMATS)
    if kind == "AVIF":  # whose writer dies of damaged EXIF data
        options = {}
    elif kind == "TIFF":
        options["compression"] = case.one(None, "tiff_lzw", "jpeg", "packbits", "tiff_adobe_deflate", "group4", "lzma")
    for how, settings in ((kind, options), (kind, {}), ("PNG", options), ("PNG", {})):
        file = io.BytesIO()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                picture.save(file, how, **settings)
            return file.getvalue(), how
        except Exception:  # whatever a writer can't write
            continue
    file = io.BytesIO()
    Image.new("RGB", picture.size, (9, 99, 199)).save(file, "PNG")
    return file.getvalue(), "PNG"


def damage(case: Case, data: bytearray) -> str:
    """Damage in place: cut, bits flipped, a piece lost, doubled, zeroed or drawn anew, numbers made huge."""
    if not data:
        return "empty"
    how = case.one("cut", "bits", "bits", "head bits", "lost", "doubled", "zeros", "noise", "huge", "end")
    start = case.whole(0, len(data) - 1)
    end = min(len(data), start + case.whole(1, max(1, len(data) // 4)))
    if how == "cut":
        del data[start:]
    elif how in ("bits", "head bits"):
        for _ in range(case.whole(1, 20)):
            place = case.whole(0, (len(data) if how == "bits" else min(len(data), 100)) - 1)
            data[place] ^= 1 << case.whole(0, 7)
    elif how == "lost":
        del data[start:end]
    elif how == "doubled":
        data[start:start] = data[start:end]
    elif how == "zeros":
        data[start:end] = bytes(end - start)
    elif how == "noise":
        data[start:end] = case.rng.bytes(end - start)
    elif how == "huge":
        place = case.whole(0, min(len(data), 64) - 1)
        data[place : place + 4] = case.one(b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\0\0\0", b"\x00\x01\x00\x00")
    else:
        data += case.rng.bytes(case.whole(1, 200))
    return how


def draw_array(case: Case) -> Any:
    """An array, or a list or tensor made of one, of any shape and type; many of them are no pictures."""
    shape = case.one((9, 8, 3), (9, 8), (9, 8, 4), (9, 8, 1), (9, 8, 3), (3, 9, 8), (9, 8, 2), (0, 3), (9,), (), (2, 9, 8, 3),
                     (1, 1))  # fmt: skip
    dtype = np.dtype(case.one(*DTYPES))
    values = case.rng.random(shape) * case.one(1, 1, 255, 255, 4000, 65535, 1e9, -1)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        array = values.astype("int64").astype(dtype) if dtype.kind in "M" else np.asarray(values).astype(dtype)
    if dtype.kind in "fc" and array.size and case.chance(0.2):
        array.reshape(-1)[0] = case.one(np.nan, np.inf, -np.inf)
    how = case.one("array", "array", "array", "strided", "list", "tensor", "masked", "read-only", "turned")
    if how == "strided" and array.ndim > 1:
        return array[::2, ::-1]
    if how == "turned":
        return array.T
    if how == "list":
        return array.tolist()
    if how == "masked":
        return np.ma.masked_array(array)
    if how == "tensor":
        try:
            return torch.from_numpy(array.copy())
        except (TypeError, ValueError):  # a type or an order of bytes that torch has not
            return array
    if how == "read-only":
        array.setflags(write=False)
    return array


def draw_any(case: Case) -> Any:
    """What is no picture at all."""
    return case.one(None, 3, 2.5, "", "nowhere.png", b"", {}, {"bytes": None}, {"path": "nowhere.png"}, [], [[]], "a\0b",
                    object(), case.folder, Path("x" * 300), {"bytes": b"\x89PNG"}, (), "é" * 100,
                    range(3), float("nan"))  # fmt: skip


def given(case: Case, data: bytes, suffix: str) -> Any:
    """The encoded file as nibkit may be given it."""
    path = case.folder / case.one("a", "ä b", "x" * 100, "日本", "a%20b#?", "-x", "~").__add__(suffix)
    path.write_bytes(data)
    forms: list[Any] = [path, str(path), data, bytearray(data), memoryview(data), io.BytesIO(data), {"bytes": data},
                        {"path": str(path)}]  # fmt: skip
    return case.one(*forms)


def a_picture(case: Case) -> str:
    """Read it, prepare it with a caption, explain it; the same bytes give the same picture however they come."""
    kind = case.one(*["file"] * 8, "lazy", "image", "array", "array", "any")
    whole, data = False, b""
    if kind in ("file", "lazy"):
        picture = draw_picture(case)
        data, how = save(case, picture)
        if not (whole := case.chance(0.35)):
            changed = bytearray(data)
            for _ in range(case.whole(1, 2)):
                damage(case, changed)
            data = bytes(changed)
        image = given(case, data, case.one(f".{how.lower()}", ".png", ".jpg", ""))
        whole = whole and picture.mode in PLAIN and how in ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM")
        whole = whole and "transparency" not in picture.info and max(picture.size) <= MAX_ASPECT * min(picture.size)
        if kind == "lazy":
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    image = Image.open(io.BytesIO(data))
            except Exception:
                whole = False
    else:
        image = draw_picture(case) if kind == "image" else draw_array(case) if kind == "array" else draw_any(case)
    before = image.tobytes() if isinstance(image, np.ndarray) and image.dtype != object else None
    with case.unchanged():
        rgb, error = case.ask(lambda: to_rgb(image), refused=not whole)
        if before is not None and image.tobytes() != before:
            raise Fault("the array that was given is changed")
        if error is not None:
            return f"{kind} refused"
        if not isinstance(rgb, Image.Image) or rgb.mode != "RGB" or 0 in rgb.size:
            raise Fault(f"no RGB picture: {rgb!r}")
        if kind == "file":
            other, _ = case.ask(lambda: to_rgb(data), refused=False)
            if other.size != rgb.size or other.tobytes() != rgb.tobytes():
                raise Fault(f"another picture from its bytes: {other.size} in place of {rgb.size}")
        inputs, _ = case.ask(
            lambda: case.world.clip.prepare([rgb, case.world.picture], ["a red ring", "a blue heart"]), refused=False
        )
        alone, _ = case.ask(lambda: case.world.clip.prepare(rgb, "a red ring"), refused=False)
    check_finite("pixel_values", inputs.pixel_values)
    check_equal("a picture in a batch", inputs.pixel_values[:1], alone.pixel_values, 0)
    if case.chance(0.3):
        att, _ = case.ask(lambda: nk.nib(case.world.clip, inputs, num_steps=2), refused=False)
        check_finite("a map", att.image, att.text, att.similarity)
        single, _ = case.ask(lambda: nk.nib(case.world.clip, alone, num_steps=2), refused=False)
        check_equal("a map in a batch", att.image[:1], single.image, 1e-4)
    return f"{kind} taken"
