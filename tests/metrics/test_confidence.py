"""Confidence drop and increase: against the protocols written out with transformers alone."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers import END, tiny_clip, tiny_inputs
from protocols import (
    COLUMNS,
    LENGTHS,
    PROTOCOLS,
    SCORES,
    cosine,
    image_features,
    minmax,
    some_inputs,
    some_maps,
    text_features,
    written_out,
)
from torch.nn import functional as nnf

import nibkit as nk
from nibkit.methods.attribution import Scaled
from nibkit.methods.controls import ones_map
from nibkit.metrics.confidence import confidence, relative_drop
from nibkit.metrics.curves import curves
from nibkit.metrics.masking import compound, cut_captions, token_weights
from nibkit.model.clip import find_words

# --- the protocols ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("end", [2, END])
def test_protocols_written_out_with_transformers_alone(protocol, end):
    clip, inputs = tiny_clip(end=end), some_inputs()
    for att in (some_maps(clip, inputs), nk.nib(clip, inputs)):
        found = confidence(clip, inputs, att, protocol)
        assert list(found)[:4] == COLUMNS and len(found) == len(inputs)
        expected = written_out(clip, inputs, att, protocol)
        assert (found[COLUMNS] - expected[COLUMNS]).abs().max(axis=None) < 1e-3  # percent
        assert (found[SCORES] - expected[SCORES]).abs().max(axis=None) < 1e-5
        for side in ("image", "text"):  # else nothing would be compared
            assert (np.abs(found[f"{side}_before"] - found[f"{side}_after"]) > 1e-3).sum() >= 3


def test_columns_follow_from_before_and_after():
    clip, inputs = tiny_clip(), some_inputs()
    found = confidence(clip, inputs, some_maps(clip, inputs))
    for side in ("image", "text"):
        before, after = found[f"{side}_before"], found[f"{side}_after"]
        assert np.allclose(found[f"{side}_drop"], 100 * (before - after).clip(lower=0))
        assert (found[f"{side}_increase"] == 100.0 * (after > before)).all()
        assert np.allclose(found[f"{side}_relative_drop"], relative_drop(before, after), equal_nan=True)
    assert np.allclose(found["image_before"], clip.similarity(inputs), atol=1e-6)


def test_eos_keeps_the_whole_similarity_and_paper_does_not():
    clip, inputs = tiny_clip(), some_inputs()
    att, whole = some_maps(clip, inputs), clip.similarity(inputs).numpy()
    assert np.allclose(confidence(clip, inputs, att, "eos")["text_before"], whole, atol=1e-6)
    assert (np.abs(confidence(clip, inputs, att, "paper")["text_before"] - whole) > 1e-3).all()


@pytest.mark.parametrize("end", [2, END])
def test_position_that_is_read(end):
    """Without its end token a caption is read at its highest id, or at its first word; the end token's place is length − 1."""
    clip, inputs = tiny_clip(end=end), some_inputs()
    att = some_maps(clip, inputs)
    expected = [int(ids[1 : n - 1].argmax()) + 1 if end == 2 else 1 for ids, n in zip(inputs.input_ids, LENGTHS)]
    assert confidence(clip, inputs, att)["text_position"].tolist() == expected
    assert confidence(clip, inputs, att, "eos")["text_position"].tolist() == [n - 1 for n in LENGTHS]


def test_paper_what_stands_behind_the_position_read_is_inert():
    clip, inputs = tiny_clip(end=END), some_inputs()  # reads the first word alone
    att = Scaled(**vars(ones_map(clip, inputs)))
    att.text[:, 2:] = 0.25
    found = confidence(clip, inputs, att)
    again = (inputs.input_ids[:, 1:2] == inputs.input_ids[:, 2:]).any(1)  # the first word stands there again: its row is scaled
    assert again.tolist() == [True, False, False, False]
    assert ((found["text_after"] != found["text_before"]) == again.numpy()).all()
    assert (confidence(clip, inputs, att, "eos")["text_before"] != confidence(clip, inputs, att, "eos")["text_after"])[
        [0, 1, 3]
    ].all()


def test_paper_repeats_compound():
    clip, inputs = tiny_clip(), tiny_inputs((5,))
    inputs.input_ids[0, 1:4] = torch.tensor([7, 50, 7])
    att = Scaled(**vars(ones_map(clip, inputs)))
    att.text[0, 1:4] = torch.tensor([0.5, 1.0, 0.5])
    once = replace(att, text=torch.tensor([[1.0, 0.25, 1.0, 1.0, 1.0]]))
    assert confidence(clip, inputs, att).equals(confidence(clip, inputs, once))
    assert not confidence(clip, inputs, att, "eos").equals(confidence(clip, inputs, once, "eos"))
    weights = compound(inputs, att.text)
    assert weights.tolist() == [[1.0, 0.25, 1.0, 0.25, 1.0]]


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("batch_size", [None, 1, 3])
def test_ones_map_takes_nothing_away(protocol, batch_size):
    clip, inputs = tiny_clip(), some_inputs()
    found = confidence(clip, inputs, ones_map(clip, inputs), protocol, batch_size)
    assert (found[COLUMNS] == 0).all(axis=None)
    assert (found["image_after"] == found["image_before"]).all() and (found["text_after"] == found["text_before"]).all()


@pytest.mark.parametrize("value", [0.0, 0.3, -2.0])
def test_constant_maps_become_zeros(value):
    clip, inputs = tiny_clip(), some_inputs()
    att = some_maps(clip, inputs)
    att = replace(att, image=torch.full_like(att.image, value), text=torch.full_like(att.text, value))
    found = confidence(clip, inputs, att, "eos")
    grey = clip.encode_image(replace(inputs, pixel_values=torch.zeros_like(inputs.pixel_values)))
    assert np.allclose(found["image_after"], nnf.cosine_similarity(grey, clip.encode_text(inputs)), atol=1e-6)
    for i, n in enumerate(LENGTHS):
        rows = torch.tensor([1.0, *[0.0] * (n - 2), 1.0])
        image = image_features(clip.model, inputs.pixel_values[i])
        expected = cosine(image, text_features(clip.model, inputs.input_ids[i, :n], rows=rows))
        assert abs(found["text_after"][i] - expected) < 1e-5
    assert np.isfinite(confidence(clip, inputs, att, "paper")[COLUMNS]).all(axis=None)


def test_text_map_scaled_over_all_tokens_or_over_the_words():
    clip, inputs = tiny_clip(), tiny_inputs((5, 3))
    att = replace(some_maps(clip, inputs), text=torch.tensor([[-6.0, 1.0, 2.0, 0.0, 4.0], [5.0, 1.0, 9.0, 0.0, 0.0]]))
    real, words = find_words(clip, inputs)
    assert torch.allclose(token_weights(att, real), torch.tensor([[0, 0.7, 0.8, 0.6, 1.0], [0.5, 0, 1, 0, 0]]))
    assert torch.allclose(token_weights(att, words), torch.tensor([[0, 0.5, 1.0, 0, 0], [0.0, 0, 0, 0, 0]]))


def test_pixel_maps_are_used_as_pixels():
    clip, inputs = tiny_clip(), some_inputs()
    att = some_maps(clip, inputs)
    pixels = torch.from_numpy(np.random.RandomState(5).standard_normal((4, 48, 48)).astype(np.float32))
    found = confidence(clip, inputs, replace(att, pixels=pixels))
    masked = inputs.pixel_values[2] * minmax(pixels[2])
    text = text_features(clip.model, inputs.input_ids[2, :3])
    assert abs(found["image_after"][2] - cosine(image_features(clip.model, masked), text)) < 1e-5


def test_cut_captions():
    clip, inputs = tiny_clip(), some_inputs()
    inputs = replace(inputs, tokens=tuple(tuple(f"t{j}" for j in range(n)) for n in LENGTHS))
    found = cut_captions(clip, inputs)
    assert found.input_ids.shape == (4, 10)
    for i, n in enumerate(LENGTHS):
        assert found.input_ids[i, : n - 2].tolist() == inputs.input_ids[i, 1 : n - 1].tolist()
        assert found.attention_mask[i].tolist() == [1] * (n - 2) + [0] * (12 - n)
        assert found.tokens[i] == tuple(f"t{j}" for j in range(1, n - 1))
        assert clip.text.pooled(found)[i] == inputs.input_ids[i, 1 : n - 1].argmax()


def test_relative_drop_by_hand():
    found = relative_drop([0.5, 0.5, 0.2, 0.0, -0.3, 0.4], [0.4, 0.6, -0.1, -0.1, -0.5, 0.4])
    assert np.allclose(found, [20, 0, 150, np.nan, np.nan, 0], equal_nan=True)
    assert np.isclose(relative_drop(0.8, 0.6), 25)


# --- maps on another grid, captions of one word, with holes, without a mask ---------------------------------------------------


def test_maps_on_another_grid():
    """A heatmap has any grid, also one that is not square; whole patches must be the model's."""
    clip, inputs = tiny_clip(), some_inputs()
    att = some_maps(clip, inputs)
    finer = replace(att, image=torch.from_numpy(np.random.RandomState(1).standard_normal((4, 6, 5)).astype(np.float32)))
    heat = minmax(nnf.interpolate(finer.image[:1, None], size=(48, 48), mode="bilinear")[0, 0])
    text = text_features(clip.model, inputs.input_ids[0, :5])
    expected = cosine(image_features(clip.model, inputs.pixel_values[0] * heat), text)
    assert abs(confidence(clip, inputs, finer)["image_after"][0] - expected) < 1e-5
    with pytest.raises(ValueError, match=r'att.image has 6 × 5 patches, the model 3 × 3: use unit="pixel"'):
        curves(clip, inputs, finer)
    assert len(curves(clip, inputs, finer, unit="pixel", steps=3)) == 4 * 4 + sum(n - 1 for n in LENGTHS)


def test_caption_of_one_word():
    """ "eos" takes a lone word away, since its map is constant; "paper" scales it over its three tokens."""
    clip, inputs = tiny_clip(), tiny_inputs((3,))
    att = replace(some_maps(clip, inputs), text=torch.tensor([[0.0, 1.0, 4.0]]))
    image = image_features(clip.model, inputs.pixel_values[0])
    lone = text_features(clip.model, inputs.input_ids[0], rows=torch.tensor([1.0, 0.0, 1.0]))
    assert abs(confidence(clip, inputs, att, "eos")["text_after"][0] - cosine(image, lone)) < 1e-5
    quarter = text_features(clip.model, inputs.input_ids[0, 1:2], rows=torch.tensor([0.25]))
    assert abs(confidence(clip, inputs, att, "paper")["text_after"][0] - cosine(image, quarter)) < 1e-5


def test_holes_in_the_attention_mask():
    """A token that is masked out is neither scaled nor counted; the others keep their places, as in transformers."""
    clip, inputs = tiny_clip(), tiny_inputs((9,))
    inputs.input_ids[0, 1:8] = torch.tensor([11, 12, 5, 30, 40, 13, 14])
    inputs.attention_mask[0, [3, 4]] = 0
    att = some_maps(clip, inputs)
    mask, values, real = inputs.attention_mask[0], att.text[0], inputs.attention_mask[0].bool()
    image = image_features(clip.model, inputs.pixel_values[0])
    low, high = values[real].min(), values[real].max()
    rows = torch.where(real, (values - low) / (high - low), 1.0)[1:8]
    found = confidence(clip, inputs, att, "paper")
    ids = inputs.input_ids[0]
    assert abs(found["text_before"][0] - cosine(image, text_features(clip.model, ids[1:8], mask[1:8]))) < 1e-5
    assert abs(found["text_after"][0] - cosine(image, text_features(clip.model, ids[1:8], mask[1:8], rows))) < 1e-5
    words = values[1:8][real[1:8]]
    rows = torch.where(real, (values - words.min()) / (words.max() - words.min()), 1.0)
    rows[[0, 8]] = 1.0
    found = confidence(clip, inputs, att, "eos")
    assert abs(found["text_after"][0] - cosine(image, text_features(clip.model, ids, mask, rows))) < 1e-5
    assert (curves(clip, inputs, att)["side"] == "text").sum() == 6  # five words


def test_padding_that_no_mask_marks():
    """input_ids padded with end tokens and no attention mask: what stands behind the first end token is not a word."""
    clip, inputs = tiny_clip(), tiny_inputs((5, 8))
    bare = nk.Inputs(inputs.pixel_values, inputs.input_ids)
    marked, unmarked = nk.nib(clip, inputs), nk.nib(clip, bare)
    lifted = marked.text + 10 * inputs.attention_mask  # all above the padding's 0, which must not count as the least
    for protocol in PROTOCOLS:
        expected = confidence(clip, inputs, replace(marked, text=lifted), protocol)
        found = confidence(clip, bare, replace(unmarked, text=lifted), protocol)
        assert np.allclose(found, expected, rtol=1e-5, atol=1e-4, equal_nan=True)
