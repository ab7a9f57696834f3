"""Pictures and captions of every kind: read as a person would expect, or refused with the offending input's name and the mend."""

import logging
import re

import numpy as np
import pytest
import torch
from helpers import tiny_clip, tiny_inputs
from PIL import Image
from transformers import CLIPProcessor

import nibkit as nk
from nibkit.model.pictures import to_rgb
from nibkit.resources import data_dir

CAPTION = "a red circle"


@pytest.fixture(scope="module")
def clip():
    return nk.load_clip("shapes", device="cpu")


def pixels(clip, image) -> torch.Tensor:
    return clip.prepare(image, CAPTION).pixel_values[0]


def plain(color, size=(40, 30)) -> Image.Image:
    return Image.new("RGB", size, color)


def noise(size=(40, 30), channels=3, seed=0) -> np.ndarray:
    shape = (size[1], size[0], channels) if channels else (size[1], size[0])
    return np.random.RandomState(seed).randint(0, 256, shape).astype(np.uint8)


def close(image: Image.Image, color, tolerance: int = 1) -> bool:
    return image.mode == "RGB" and np.abs(np.asarray(image).astype(int) - color).max() <= tolerance


# --- a plain picture --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(224, 224), (300, 200), (97, 301), (40, 30)])
def test_prepare_is_transformers_own_processor(clip, size):
    picture = Image.fromarray(noise(size))
    theirs = CLIPProcessor.from_pretrained(data_dir() / "shapes-clip", local_files_only=True)(
        images=picture, text=[CAPTION], return_tensors="pt", padding=True
    )
    ours = clip.prepare(picture, CAPTION)
    for name in ("pixel_values", "input_ids", "attention_mask"):
        assert torch.equal(getattr(ours, name), theirs[name]), name


def test_path_string_picture_and_array_are_the_same(clip, tmp_path):
    array = noise()
    picture = Image.fromarray(array)
    picture.save(tmp_path / "x.png")
    ways = [tmp_path / "x.png", str(tmp_path / "x.png"), picture, array, array / 255, [picture], array[None]]
    assert all(torch.equal(pixels(clip, way), pixels(clip, picture)) for way in ways)


def test_the_given_picture_is_not_changed(clip):
    picture = Image.fromarray(noise(channels=4))
    before = picture.copy()
    pixels(clip, picture)
    assert picture.mode == "RGBA" and picture.tobytes() == before.tobytes()


def test_several_pairs_in_order(clip):
    colors, captions = ["red", "blue", "white"], ["a red circle", "a ring", "a blue heart and an orange star"]
    together = clip.prepare([plain(c) for c in colors], captions)
    assert len(together) == 3 and together.pixel_values.shape == (3, 3, 224, 224)
    for i, (color, caption) in enumerate(zip(colors, captions)):
        alone = clip.prepare(plain(color), caption)
        length = alone.input_ids.shape[1]
        assert torch.equal(together.pixel_values[i], alone.pixel_values[0])
        assert together.input_ids[i, :length].tolist() == alone.input_ids[0].tolist()
        assert together.attention_mask[i].tolist() == [1] * length + [0] * (together.input_ids.shape[1] - length)
        assert together.tokens[i] == alone.tokens[0] and together.words[i] == alone.words[0]


def test_inputs_follow_the_models_type():
    clip = nk.load_clip("shapes", device="cpu", dtype=torch.float64)
    assert clip.prepare(plain("red"), CAPTION).pixel_values.dtype == torch.float64


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


# --- captions ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("images, captions", [(1, 2), (2, 1), (3, 2)])
def test_numbers_must_match(clip, images, captions):
    with pytest.raises(ValueError, match=f"{images} images but {captions} captions: give one caption for each image"):
        clip.prepare([plain("red")] * images, [CAPTION] * captions)


@pytest.mark.parametrize("caption", ["", "   ", "\n\t"])
def test_empty_captions_are_refused(clip, caption):
    with pytest.raises(ValueError, match="caption 1 is empty: write what"):
        clip.prepare([plain("red")] * 2, [CAPTION, caption])


@pytest.mark.parametrize("caption", [None, 3, b"a ring"])
def test_captions_must_be_text(clip, caption):
    with pytest.raises(TypeError, match="caption 0 must be a string; got"):
        clip.prepare(plain("red"), [caption])


def test_too_long_captions_are_told_how_long_they_are(clip):
    with pytest.raises(ValueError, match="caption 1 has 80 tokens, the model reads at most 77: shorten it by 3"):
        clip.prepare([plain("red")] * 2, [CAPTION, " ".join(["red"] * 78)])


def test_too_long_captions_are_told_once():
    """By us alone: transformers' remark would come first, and speak of indexing errors."""
    seen, clip = [], nk.load_clip("shapes", device="cpu")
    handler = logging.Handler()
    handler.emit = lambda record: seen.append(record.getMessage())
    logging.getLogger("transformers").addHandler(handler)
    try:
        with pytest.raises(ValueError, match="caption 0 has 80 tokens"):
            clip.prepare(plain("red"), " ".join(["red"] * 78))
    finally:
        logging.getLogger("transformers").removeHandler(handler)
    assert seen == []


def test_77_tokens_are_read(clip):
    inputs = clip.prepare(plain("red"), " ".join(["red"] * 75))
    assert inputs.input_ids.shape == (1, 77) and torch.isfinite(nk.nib(clip, inputs, num_steps=1).text).all()


def test_tokens_are_spelled_as_the_caption_spells_them(clip):
    inputs = clip.prepare(plain("red"), "A RED   Circle")
    assert inputs.tokens == (("<|startoftext|>", "A", "RED", "Circle", "<|endoftext|>"),)
    assert inputs.words == ((None, 0, 1, 2, None),)
    assert torch.equal(inputs.input_ids, clip.prepare(plain("red"), "a red circle").input_ids)


@pytest.mark.parametrize(
    "caption, unknown",
    [
        ("a zebra", ["zebra"]),
        ("a red Giraffe and a purple cow", ["Giraffe", "cow"]),
        ("redcircle", ["redcircle"]),
        ("a zebra \u2764\ufe0f\u200d\U0001f525 \U0001f468\u200d\U0001f469", ["zebra"]),  # an emoji's selectors and joiners
    ],
)
def test_unknown_words_are_unk_never_the_end_token_and_are_named(clip, caption, unknown):
    tokenizer = clip.tokenizer
    with pytest.warns(UserWarning, match=f"caption 1: this model does not know {', '.join(map(repr, unknown))}$"):
        inputs = clip.prepare([plain("red")] * 2, [CAPTION, caption])
    assert tokenizer.unk_token_id != tokenizer.eos_token_id
    ids = inputs.input_ids[1][inputs.attention_mask[1].bool()]
    assert (ids == tokenizer.unk_token_id).any() and ids.tolist().count(tokenizer.eos_token_id) == 1
    assert int(clip.text.pooled(inputs)[1]) == len(ids) - 1


def test_an_unknown_word_stays_one_word(clip):
    with pytest.warns(UserWarning, match="zebra"):
        inputs = clip.prepare(plain("red"), "a zebra ring")
    att = nk.nib(clip, inputs, num_steps=2)
    assert [word for word, _ in att.words_of(0)] == ["a", "zebra", "ring"]


def test_letters_of_several_bytes_are_not_doubled(clip):
    with pytest.warns(UserWarning, match="does not know"):
        inputs = clip.prepare(plain("red"), "a café ring")
    assert [word for word, _ in nk.nib(clip, inputs, num_steps=1).words_of(0)] == ["a", "café", "ring"]


def test_an_end_token_written_into_a_caption_is_not_obeyed(clip):
    """Text that spells a special token must not end the caption in silence."""
    with pytest.raises(ValueError, match="caption 0"):
        clip.prepare(plain("red"), "a red <|endoftext|> circle")


def test_nothing_at_all_is_refused_in_words(clip):
    with pytest.raises(ValueError, match="nothing to explain"):
        clip.prepare([], [])


# --- Inputs -----------------------------------------------------------------------------------------------------------

PIXELS, IDS = torch.zeros(2, 3, 48, 48), torch.tensor([[98, 5, 99], [98, 7, 99]])


@pytest.mark.parametrize(
    "given, error, message",
    [
        ((PIXELS.numpy(), IDS), TypeError, r"pixel_values must be a torch.Tensor; got ndarray \(use clip.prepare"),
        ((PIXELS, IDS.tolist()), TypeError, "input_ids must be a torch.Tensor; got list"),
        ((PIXELS.to(torch.uint8), IDS), TypeError, "pixel_values must be normalised floats; got torch.uint8"),
        ((PIXELS.long(), IDS), TypeError, "pixel_values must be normalised floats; got torch.int64"),
        ((PIXELS[0], IDS), ValueError, r"pixel_values must be \[B, 3, H, W\]; got \[3, 48, 48\]"),
        ((PIXELS[:, :1], IDS), ValueError, r"got \[2, 1, 48, 48\]"),
        ((PIXELS, IDS[0]), ValueError, r"input_ids must be whole numbers \[B, T\]; got torch.int64 \[3\]"),
        ((PIXELS, IDS.float()), ValueError, "input_ids must be whole numbers.*torch.float32"),
        ((PIXELS[:1], IDS), ValueError, "1 images but 2 captions"),
        ((PIXELS[:0], IDS[:0]), ValueError, "nothing to explain"),
        ((PIXELS, IDS[:, :0]), ValueError, "nothing to explain"),
        ((PIXELS, IDS, IDS[:, :2]), ValueError, r"attention_mask must have input_ids' shape \[2, 3\]; got \[2, 2\]"),
        pytest.param((PIXELS, IDS, IDS.tolist()), TypeError, "attention_mask must be a torch.Tensor; got list"),
        pytest.param((PIXELS, IDS > 9), ValueError, "input_ids must be whole numbers"),
        ((PIXELS, IDS, IDS * 0.0), TypeError, "attention_mask must be whole numbers or bool; got torch.float32"),
        ((PIXELS, IDS, torch.tensor([[1, 1, 1], [0, 1, 1]])), ValueError, "of pair 1 is 0 at its first position: pad.*right"),
        ((PIXELS, IDS, None, (("a",),)), ValueError, "1 lists of token strings but 2 captions"),
    ],
)
def test_bad_tensors_are_named(given, error, message):
    with pytest.raises(error, match=message):
        nk.Inputs(*given)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_bad_pixels_are_named_by_pair(bad):
    broken = PIXELS.clone()
    broken[1, 2, 3, 4] = bad
    with pytest.raises(ValueError, match="pixel_values of pair 1 hold NaN or infinity"):
        nk.Inputs(broken, IDS)


@pytest.mark.parametrize(
    "rows, kept",
    [(1, [1]), (-1, [2]), (slice(0, 2), [0, 1]), ([2, 0], [2, 0]), (torch.tensor([1, 2]), [1, 2]), (np.int64(1), [1])],
)
def test_choosing_pairs(rows, kept):
    inputs = tiny_inputs((5, 8, 3))
    named = nk.Inputs(
        inputs.pixel_values, inputs.input_ids, None, tuple(("x",) * n for n in (5, 8, 3)), tuple(((None,) * n) for n in (5, 8, 3))
    )
    chosen = named[rows]
    assert torch.equal(chosen.pixel_values, inputs.pixel_values[kept]) and torch.equal(chosen.input_ids, inputs.input_ids[kept])
    assert [len(t) for t in chosen.tokens] == [len(w) for w in chosen.words] == [(5, 8, 3)[i] for i in kept]


def test_choosing_a_pair_that_is_not_there():
    with pytest.raises(IndexError):
        tiny_inputs((5, 8))[2]


def test_inputs_cannot_be_changed_in_passing():
    with pytest.raises(AttributeError):
        tiny_inputs((5,)).input_ids = IDS


def test_tensors_of_the_wrong_size_say_what_the_model_takes():
    with pytest.raises(ValueError, match=re.escape("use clip.prepare, or resize and crop first")):
        nk.nib(tiny_clip(), nk.Inputs(torch.zeros(2, 3, 224, 224), IDS))


def test_parts_of_a_batch_are_not_checked_again(monkeypatch):
    """Reading every pixel once is enough: what is cut from a checked batch is whole, too."""
    whole, reads = tiny_inputs((8, 5, 3)), []
    finite = torch.isfinite
    monkeypatch.setattr(torch, "isfinite", lambda x: reads.append(len(x)) or finite(x))
    part = whole[[2, 0]]
    assert part.input_ids.tolist() == whole.input_ids[[2, 0]].tolist() and len(part) == 2
    assert part.crop(4).input_ids.shape == (2, 4) and part.crop(4).attention_mask.shape == (2, 4)
    assert not reads
