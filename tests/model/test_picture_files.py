"""Files and arrays that are no picture, or a damaged one: refused with the input's name and the mend."""

import numpy as np
import pytest
import torch
from PIL import Image
from plain_pictures import CAPTION, noise, pixels, plain

from nibkit.model.pictures import to_rgb

# --- sizes ------------------------------------------------------------------------------------------------------------


def test_a_decompression_bomb_is_refused(clip, tmp_path, monkeypatch):
    plain("red", (100, 100)).save(tmp_path / "x.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(ValueError, match="too large to open safely.*make it smaller"):
        pixels(clip, tmp_path / "x.png")


# --- files that can't be read -----------------------------------------------------------------------------------------


def test_missing_file_is_named(clip, tmp_path):
    with pytest.raises(FileNotFoundError, match="image 1: there is no file '.*nowhere.png'"):
        clip.prepare([plain("red"), tmp_path / "nowhere.png"], [CAPTION, CAPTION])


def test_a_folder_is_no_picture(clip, tmp_path):
    with pytest.raises(ValueError, match="is a folder: give a picture in it"):
        pixels(clip, tmp_path)


@pytest.mark.parametrize("content", [b"", b"hello", b"\x89PNG\r\n\x1a\n" + b"\0" * 50, b"GIF89a"])
def test_corrupt_files_are_named(clip, tmp_path, content):
    (tmp_path / "x.png").write_bytes(content)
    with pytest.raises(ValueError, match=r"image 0: '.*x.png' is no readable picture"):
        pixels(clip, tmp_path / "x.png")


@pytest.mark.filterwarnings("ignore")  # PIL's own remarks on what it finds
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "TIFF", "WEBP", "BMP"])
def test_truncated_and_damaged_files_never_end_in_another_error(tmp_path, kind):
    """Cut off anywhere, or with three bytes changed: a picture, or one clear ValueError."""
    path, rng = tmp_path / "x", np.random.RandomState(0)
    Image.fromarray(noise()).save(path, kind)
    whole = path.read_bytes()
    refused = 0
    for cut in np.linspace(0, len(whole) - 1, 40).astype(int):
        broken = bytearray(whole)
        for where in rng.randint(0, len(whole), 3):
            broken[where] = rng.randint(256)
        for content in (whole[:cut], bytes(broken)):
            path.write_bytes(content)
            try:
                assert to_rgb(path, "image 7").mode == "RGB"
            except ValueError as error:
                refused += 1
                assert str(error).startswith("image 7")
    assert refused >= 30


def test_a_picture_cut_off_after_its_header_is_refused_when_given_as_an_object(tmp_path):
    """PIL opens lazily: the damage shows only when the pixels are read."""
    Image.fromarray(noise()).save(tmp_path / "x.png")
    content = (tmp_path / "x.png").read_bytes()
    (tmp_path / "x.png").write_bytes(content[: len(content) // 2])
    with (
        Image.open(tmp_path / "x.png") as picture,
        pytest.raises(ValueError, match="image can't be read .*: the file is damaged"),
    ):
        to_rgb(picture)


@pytest.mark.parametrize(
    "array, message",
    [
        (np.zeros((5, 5, 2)), r"must be an array \[H, W\], \[H, W, 3\] or \[H, W, 4\]; got \[5, 5, 2\]"),
        (np.zeros((3, 5, 5)), r"got \[3, 5, 5\] \(colours come last: array.transpose\(1, 2, 0\)\)"),
        (np.zeros((0, 5, 3)), r"got \[0, 5, 3\]"),
        (np.full((5, 5), np.nan), "holds NaN or infinity"),
        (np.full((5, 5), 200.0), r"floats outside 0 … 1 \(200 … 200\): scale it first"),
        (np.full((5, 5), -0.1), "floats outside 0 … 1"),
        (np.full((5, 5), -1), "whole numbers outside 0 … 65535"),
        (np.full((5, 5), 70000), "whole numbers outside 0 … 65535"),
    ],
)
def test_bad_arrays_are_refused(clip, array, message):
    with pytest.raises(ValueError, match=f"image 0 .*{message}"):
        pixels(clip, [array])


@pytest.mark.parametrize(
    "thing", [np.zeros((5, 5), complex), np.full((5, 5), "x"), torch.zeros(3, 224, 224)], ids=["complex", "text", "tensor"]
)
def test_what_is_no_picture_is_refused(clip, thing):
    with pytest.raises(TypeError, match=r"image 0 (must be a picture|is a tensor \[3, 224, 224\]: give an array)"):
        pixels(clip, [thing])


def test_memory_that_is_full_is_no_fault_of_a_picture_that_was_read(monkeypatch):
    """A file whose damage makes PIL ask for too much is another matter: test_pictures.py."""

    def full(*_):
        raise MemoryError

    picture = plain("red", (9, 9))
    monkeypatch.setattr(Image.Image, "convert", full)
    with pytest.raises(MemoryError):
        to_rgb(picture)
