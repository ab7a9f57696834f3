"""Pictures as bytes, open files and tensors; damaged ones of every format: read, or refused by name."""

import contextlib
import io
import os
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image
from PIL.PngImagePlugin import PngInfo

from nibkit.model.pictures import to_rgb

CAPTION = "a red circle"


@pytest.fixture(scope="module")
def picture() -> Image.Image:
    return Image.fromarray(np.random.RandomState(0).randint(0, 256, (30, 40, 3)).astype(np.uint8))


def encoded(picture: Image.Image, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind)
    return buffer.getvalue()


class Foreign:
    """Another library's array, of which only numpy's protocol is known."""

    def __init__(self, array):
        self.array = array

    def __array__(self, *_, **__):
        if isinstance(self.array, Exception):
            raise self.array
        return self.array


def test_bytes_and_open_files_are_read(clip, picture, tmp_path):
    data = encoded(picture)
    (tmp_path / "x.png").write_bytes(data)
    expected = clip.prepare(picture, CAPTION).pixel_values
    buffer = io.BytesIO(data)
    with (tmp_path / "x.png").open("rb") as file:
        cells = [{"bytes": data, "path": None}, {"bytes": None, "path": str(tmp_path / "x.png")}]
        arrays = [Foreign(np.asarray(picture)), [Foreign(np.asarray(picture))]]
        for way in (data, bytearray(data), memoryview(data), buffer, buffer, file, [data], [buffer], *cells, [cells[0]], *arrays):
            assert torch.equal(clip.prepare(way, CAPTION).pixel_values, expected), type(way)
    assert torch.equal(clip.prepare([data, buffer], [CAPTION] * 2).pixel_values[1], expected[0])
    assert not buffer.closed


@pytest.mark.parametrize(
    "thing, message",
    [
        (b"\x89PNG....", "image 0, of 8 bytes, is no readable picture"),
        (b"", "image 0, of 0 bytes, is no readable picture"),
        (bytearray(b"text"), "image 0, of 4 bytes, is no readable picture"),
        (io.BytesIO(b"text"), "image 0, a file object, is no readable picture"),
        (io.StringIO("text"), "image 0, a file object, is no readable picture"),
        (torch.zeros(3, 224, 224), r"image 0 is a tensor \[3, 224, 224\]: give an array \[H, W, 3\]"),
        (torch.zeros(3, 224, 224, dtype=torch.uint8), r"image 0 is a tensor \[3, 224, 224\]"),
        (torch.zeros(224, 224), r"image 0 is a tensor \[224, 224\]"),
        (torch.zeros(1, 3, 224, 224), r"image 0 is a tensor \[3, 224, 224\]"),
        (np.zeros((3, 224, 224)), r"image 0 must be an array .*; got \[3, 224, 224\] \(colours come last"),
        ([[[1, 2], [3]]], "image 0 must be a picture, a path or an array; got list"),
        ([{"bytes": b""}], "image 0 must be a picture, a path or an array; got a dict without bytes or path"),
        ({"bytes": None, "path": None}, "image 0 must be a picture, a path or an array; got a dict without bytes or path"),
        ({"bytes": b"text"}, "image 0, of 4 bytes, is no readable picture"),
        (Image.new("RGB", (0, 10)), "image 0 is 0 × 10 pixels: there is nothing in it"),
        (Image.new("RGB", (0, 0)), "image 0 is 0 × 0 pixels: there is nothing in it"),
        (Foreign(RuntimeError("the device\nis lost")), "image 0 must be a picture, .*; got Foreign .the device is lost."),
        (Foreign(np.zeros((0, 4, 3))), r"image 0 must be an array .*; got \[0, 4, 3\]"),
        (3, "images must be one or a list of them; got int"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_what_is_no_picture_is_named(clip, thing, message):
    with pytest.raises((TypeError, ValueError), match=message) as refused:
        clip.prepare(thing, CAPTION)
    assert " at 0x" not in str(refused.value)


def test_pipes_and_closed_pictures_are_named(clip, picture, tmp_path):
    os.mkfifo(tmp_path / "pipe.png")  # which would wait for ever
    with pytest.raises(ValueError, match="image 0: '.*pipe.png' is a pipe or a device: give a picture's file"):
        clip.prepare(tmp_path / "pipe.png", CAPTION)
    picture.save(tmp_path / "x.png")
    with Image.open(tmp_path / "x.png") as closed:
        pass
    closed.close()
    with pytest.raises(ValueError, match="image 0 is a PIL image that was closed .*: open its file again"):
        clip.prepare(closed, CAPTION)


@pytest.mark.parametrize("captions", [b"a ring", io.StringIO("a ring"), torch.zeros(2, 3)])
def test_captions_that_are_no_text_are_named(clip, picture, captions):
    with pytest.raises(TypeError, match=f"caption 0 must be a string; got {type(captions).__name__}"):
        clip.prepare(picture, captions)


@pytest.mark.parametrize("caption", ["a red \ud83d heart", "caf\udce9"])
def test_half_a_letter_in_a_caption_is_named(clip, picture, caption):
    with pytest.raises(ValueError, match=r"caption 1 is no whole text \(a lone surrogate, '\\ud.*' at position [36]\)"):
        clip.prepare([picture] * 2, [CAPTION, caption])


@pytest.mark.parametrize("transparency", [(1, 2), "x", b"", (1, 2, 3, 4)])
def test_a_transparency_that_does_not_fit_is_one_named_error_or_none(picture, transparency):
    """As a damaged file or another program's picture has it: PIL raises a TypeError of its own."""
    strange = picture.copy()
    strange.info["transparency"] = transparency
    with pytest.raises(ValueError, match=r"image 3 has PIL mode 'RGB' \(.+\): save it as RGB first"):
        to_rgb(strange, "image 3")


KINDS = ["PNG", "JPEG", "GIF", "TIFF", "WEBP", "BMP", "PPM", "TGA", "ICO", "JPEG2000", "PCX", "SGI", "DDS", "EPS", "ICNS"]


@pytest.mark.filterwarnings("ignore")  # PIL's own remarks on what it finds
@pytest.mark.parametrize("kind", KINDS)
def test_damage_of_any_kind_is_a_picture_or_one_value_error(picture, tmp_path, kind):
    """Cut off anywhere or with bytes changed, as bytes and as a file."""
    whole, draw, path = encoded(picture, kind), np.random.RandomState(1), tmp_path / "x"
    for cut in np.linspace(0, len(whole) - 1, 25).astype(int):
        broken = bytearray(whole)
        for where in draw.randint(0, min(len(whole), 200), 4):  # headers are what makes PIL stumble
            broken[where] = draw.randint(256)
        for content in (whole[:cut], bytes(broken)):
            path.write_bytes(content)
            for given in (content, path):
                try:
                    assert to_rgb(given, "image 7").mode == "RGB"
                except ValueError as error:
                    assert str(error).startswith("image 7") and "\n" not in str(error)


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate", "jpeg"])
def test_libtiff_does_not_speak_for_itself(picture, capfd, compression):
    buffer, draw = io.BytesIO(), np.random.RandomState(1)
    picture.save(buffer, "TIFF", compression=compression)
    for _ in range(40):
        broken = bytearray(buffer.getvalue())
        for where in draw.randint(0, len(broken), 6):
            broken[where] = draw.randint(256)
        with contextlib.suppress(ValueError), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PIL's own remarks
            to_rgb(bytes(broken))
    os.write(2, b"heard")
    assert capfd.readouterr().err == "heard"


@pytest.mark.parametrize("error", [KeyError("x"), IndexError(), OverflowError("big"), NotImplementedError(), MemoryError()])
def test_whatever_pil_stumbles_over_is_named(picture, tmp_path, monkeypatch, error):
    """When it opens a file, and when it reads the pixels of an image that is open."""

    def fail(*_):
        raise error

    picture.save(tmp_path / "x.png")
    lazy = Image.open(tmp_path / "x.png")
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", fail)
    reason = str(error) or type(error).__name__
    with pytest.raises(ValueError, match=f"image 7: '.*x.png' is no readable picture .{reason}.: save it again"):
        to_rgb(tmp_path / "x.png", "image 7")
    with pytest.raises(ValueError, match=f"image 7 can't be read .{reason}.: the file is damaged"):
        to_rgb(lazy, "image 7")


@pytest.mark.parametrize("as_bytes", [False, True])
def test_a_decompression_bomb_is_refused_in_any_form(tmp_path, monkeypatch, as_bytes):
    Image.new("RGB", (100, 100)).save(tmp_path / "x.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(ValueError, match="image.* is too large to open safely .*: make it smaller first"):
        to_rgb(Path(tmp_path / "x.png").read_bytes() if as_bytes else tmp_path / "x.png")


# --- damaged EXIF data: the pixels are whole ---------------------------------------------------------------------------


def test_a_picture_whose_exif_data_are_damaged_is_taken_as_it_lies(picture):
    info = PngInfo()
    info.add_text("Raw profile type exif", "\nexif\n  8\nno digits")
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", pnginfo=info)
    with pytest.warns(UserWarning, match="image 7 has damaged EXIF data, so it is taken as it lies: turn it if need be") as told:
        read = to_rgb(buffer, "image 7")
    assert len(told) == 1 and np.array_equal(read, picture)


def test_a_picture_is_turned_as_far_as_its_exif_data_can_be_read(picture, monkeypatch):
    """PIL writes the whole of them anew when it turns a picture, and stumbles over another damaged tag."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", exif=exif)
    monkeypatch.setattr(Image.Exif, "tobytes", lambda *_: 1 / 0)
    assert np.array_equal(to_rgb(buffer), picture.transpose(Image.Transpose.ROTATE_270))


# --- 12 bits in 16, in colour ---------------------------------------------------------------------------------------------


def png_of_16_bits(array: np.ndarray) -> bytes:
    """A PNG file, [H, W, 3 or 4] of 16 bits each, which PIL can't write."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    height, width, channels = array.shape
    header = struct.pack(">IIBBBBB", width, height, 16, {3: 2, 4: 6}[channels], 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in array)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize("largest, told", [(4095, True), (300, True), (4096, False), (60_000, False), (0, False)])
def test_12_bits_in_a_colour_file_of_16_are_told(tmp_path, largest, told, alpha):
    array = np.full((4, 5, 4 if alpha else 3), largest)
    array[..., 3:] = 65535
    (tmp_path / "x.png").write_bytes(png_of_16_bits(array))
    for given in (tmp_path / "x.png", (tmp_path / "x.png").read_bytes(), Image.open(tmp_path / "x.png")):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            assert np.abs(np.asarray(to_rgb(given, "image 7")).astype(int) - (largest >> 8)).max() <= 1
        warned = [str(one.message) for one in caught]
        assert [one.startswith("image 7") and "12 bits: × 16" in one for one in warned] == [True] * told, warned
