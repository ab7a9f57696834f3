"""``Clip.prepare``: a plain picture goes as transformers' own processor has it; captions are read whole, or told."""

import logging

import pytest
import torch
from PIL import Image
from plain_pictures import CAPTION, noise, pixels, plain
from transformers import CLIPProcessor

import nibkit as nk
from nibkit.resources import data_dir

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
