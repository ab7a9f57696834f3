"""Pictures of every mode, depth, rotation and size: read as a person would expect."""

import numpy as np
import pytest
import torch
from PIL import Image
from plain_pictures import close, pixels, plain

from nibkit.model.pictures import to_rgb

# --- other kinds of pictures ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["1", "L", "P", "CMYK", "YCbCr", "HSV"])
def test_every_mode_becomes_the_same_grey(mode, tmp_path):
    assert close(to_rgb(plain("white").convert(mode)), 255, 2)
    assert close(to_rgb(plain("black").convert(mode)), 0, 2)


def test_cmyk_file_keeps_its_colour(tmp_path):
    plain((200, 30, 60)).convert("CMYK").save(tmp_path / "x.jpg", quality=95)
    with Image.open(tmp_path / "x.jpg") as file:
        assert file.mode == "CMYK"
    assert close(to_rgb(tmp_path / "x.jpg"), (200, 30, 60), 4)


def test_grey_file(tmp_path):
    plain((90, 90, 90)).convert("L").save(tmp_path / "x.png")
    assert close(to_rgb(tmp_path / "x.png"), 90)


@pytest.mark.parametrize("alpha, expected", [(255, (200, 0, 0)), (0, (255, 255, 255)), (128, (227, 127, 127))])
def test_alpha_is_laid_on_white(tmp_path, alpha, expected):
    Image.new("RGBA", (9, 9), (200, 0, 0, alpha)).save(tmp_path / "x.png")
    assert close(to_rgb(tmp_path / "x.png"), expected, 1)
    assert close(to_rgb(np.full((9, 9, 4), (200, 0, 0, alpha), np.uint8)), expected, 1)


def test_grey_with_alpha_is_laid_on_white(tmp_path):
    Image.new("LA", (9, 9), (0, 128)).save(tmp_path / "x.png")
    assert close(to_rgb(tmp_path / "x.png"), 127, 1)


def test_palette_with_transparency_is_laid_on_white(tmp_path):
    picture = plain((10, 200, 10)).convert("P", palette=Image.Palette.ADAPTIVE)
    picture.putpixel((3, 3), picture.getpixel((0, 0)))
    picture.save(tmp_path / "clear.png", transparency=picture.getpixel((0, 0)))
    picture.save(tmp_path / "opaque.png")
    assert close(to_rgb(tmp_path / "clear.png"), 255) and close(to_rgb(tmp_path / "opaque.png"), (10, 200, 10), 3)


def test_one_transparent_colour_in_an_rgb_file(tmp_path):
    plain((1, 2, 3)).save(tmp_path / "x.png", transparency=(1, 2, 3))
    assert close(to_rgb(tmp_path / "x.png"), 255)


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_16_bits_are_brought_to_8(tmp_path, suffix):
    """The whole range, not clipped at 255: a ramp stays a ramp."""
    ramp = np.linspace(0, 65535, 256).astype(np.uint16)[None].repeat(4, 0)
    Image.fromarray(ramp).save(tmp_path / f"x.{suffix}")
    for picture in (tmp_path / f"x.{suffix}", ramp, ramp.astype(np.int32)):
        out = np.asarray(to_rgb(picture))
        assert np.abs(out[0, :, 0].astype(int) - np.arange(256)).max() <= 1


def test_dark_16_bits_stay_dark(tmp_path):
    """And it is said, since 12 bits in a file of 16 look the same."""
    for suffix, largest in [("png", 200), ("tif", 4095)]:
        Image.fromarray(np.full((5, 5), largest, np.uint16)).save(tmp_path / f"x.{suffix}")
        with pytest.warns(UserWarning, match=rf"16-bit numbers of at most {largest}.* scale it first \(12 bits: × 16\)"):
            assert close(to_rgb(tmp_path / f"x.{suffix}"), largest >> 8)
    Image.fromarray(np.full((5, 5), 4096, np.uint16)).save(tmp_path / "x.tif")
    assert close(to_rgb(tmp_path / "x.tif"), 16)


def test_float_pictures(tmp_path):
    Image.fromarray(np.full((5, 5), 0.5, np.float32)).save(tmp_path / "x.tif")
    assert close(to_rgb(tmp_path / "x.tif"), 128)


@pytest.mark.parametrize(
    "array, expected",
    [
        (np.ones((5, 6), bool), 255),
        (np.full((5, 6), 7, np.uint8), 7),
        (np.full((5, 6, 1), 7, np.uint8), 7),
        (np.full((5, 6, 3), 0.2), 51),
        (np.full((5, 6, 3), 9, np.int64), 9),
        (np.full((3, 3, 3), 9, np.uint8), 9),
    ],
    ids=["bool", "grey", "one channel", "float", "int64", "3 × 3"],
)
def test_arrays(array, expected):
    out = to_rgb(array)
    assert close(out, expected) and out.size == array.shape[1::-1]


CORNER = {1: (0, 0), 2: (0, 1), 3: (1, 1), 4: (1, 0), 5: (0, 0), 6: (0, 1), 7: (1, 1), 8: (1, 0)}  # (bottom, right)


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "webp"])
@pytest.mark.parametrize("orientation, corner", CORNER.items())
def test_exif_rotation_is_applied(tmp_path, orientation, corner, suffix):
    """A red patch stored at the top left of a wide picture shows where a viewer would show it."""
    stored = plain("white", (64, 32))
    stored.paste((255, 0, 0), (0, 0, 16, 8))
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored.save(tmp_path / f"x.{suffix}", exif=exif, **({} if suffix in ("png", "tif") else {"quality": 95}))
    shown = to_rgb(tmp_path / f"x.{suffix}")
    assert shown.size == ((64, 32) if orientation < 5 else (32, 64))
    red = np.asarray(shown).astype(int)[..., 1] < 128
    bottom, right = np.argwhere(red).mean(0) / red.shape > 0.5
    assert (bottom, right) == corner


def test_first_picture_of_an_animation(tmp_path):
    plain("red").save(tmp_path / "x.gif", save_all=True, append_images=[plain("blue")])
    assert close(to_rgb(tmp_path / "x.gif"), (255, 0, 0), 3)


# --- sizes ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(1, 1), (1, 60), (60, 1), (3, 50), (50, 3), (3, 3), (2, 1), (5000, 60), (3000, 4000)])
def test_tiny_elongated_and_huge_pictures(clip, size):
    """One colour in, one colour out: no axis is taken for the channels'."""
    small, large = pixels(clip, plain((200, 100, 50), size)), pixels(clip, plain((200, 100, 50), (224, 224)))
    assert small.shape == (3, 224, 224) and torch.allclose(small, large, atol=0.02)


@pytest.mark.parametrize("size", [(1, 300), (30000, 20)])
def test_absurdly_elongated_pictures_are_refused(clip, size):
    with pytest.raises(ValueError, match=f"image 0 is {size[0]} × {size[1]} pixels: crop it"):
        pixels(clip, plain("red", size))
