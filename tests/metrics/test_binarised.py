"""protocol="m2ib": a caption's ids multiplied by 0 or 1, as M2IB's own published code has it."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers import END, own_similarity, tiny_clip, tiny_inputs
from torch.nn import functional as nnf

import nibkit as nk
from nibkit.methods.controls import ones_map
from nibkit.metrics.confidence import confidence

LENGTHS = (5, 8, 3, 12)


def maps_of(clip, inputs) -> nk.Attribution:
    """Signed maps with equal values among them."""
    att = nk.nib(clip, inputs)
    values = torch.from_numpy(np.random.RandomState(1).randint(-3, 4, tuple(att.text.shape))).to(att.text)
    return replace(att, text=values * inputs.attention_mask)


def features_of(clip, ids) -> torch.Tensor:
    with torch.no_grad():
        output = clip.model.get_text_features(input_ids=ids[None])
    return (output if isinstance(output, torch.Tensor) else output.pooler_output)[0]


@pytest.mark.parametrize("end", [2, END])
def test_written_out_with_transformers_alone(end):
    clip, inputs = tiny_clip(dtype=torch.float64, end=end), tiny_inputs(LENGTHS).to(dtype=torch.float64)
    att = maps_of(clip, inputs)
    found, paper = confidence(clip, inputs, att, "m2ib", batch_size=3), confidence(clip, inputs, att, "paper")
    for i, length in enumerate(LENGTHS):
        ids, values = inputs.input_ids[i, 1 : length - 1], att.text[i, 1 : length - 1].numpy()
        kept = values > np.percentile(values, 50)
        with torch.no_grad():
            output = clip.model(inputs.input_ids[[i]], inputs.pixel_values[[i]])
        before, after = (
            float(nnf.cosine_similarity(features_of(clip, part), output.image_embeds[0], dim=0))
            for part in (ids, ids * torch.from_numpy(kept))
        )
        row = found.iloc[i]
        assert (row["text_before"], row["text_after"]) == pytest.approx((before, after), abs=1e-9)
        assert row["text_drop"] == pytest.approx(100 * max(0, before - after), abs=1e-7)
        assert row["text_increase"] == 100 * (after > before)
    same_as_paper = ["image_drop", "image_increase", "image_after", "text_before", "text_position"]
    assert np.allclose(found[same_as_paper], paper[same_as_paper], atol=1e-9)


def test_half_of_the_words_go_and_the_read_position_moves_with_them():
    """The highest id is gone: what is read then is the highest of those that are left."""
    clip, inputs = tiny_clip(), tiny_inputs((7,))
    inputs.input_ids[0, 1:6] = torch.tensor([10, 60, 20, 30, 5])
    att = replace(nk.nib(clip, inputs), text=torch.tensor([[0.0, 5, 1, 4, 2, 3, 0]]))  # the median is 3: 10 and 20 stay
    after = confidence(clip, inputs, att, "m2ib")["text_after"][0]
    ids = torch.tensor([10, 0, 20, 0, 0])
    image = clip.encode_image(inputs)[0]
    assert after == pytest.approx(float(nnf.cosine_similarity(features_of(clip, ids), image, dim=0)), abs=1e-5)
    read = confidence(clip, inputs, att, "m2ib")["text_position"]
    assert read.tolist() == [2]  # of the caption before


def test_a_map_of_ones_loses_every_word():
    """Nothing lies above the median, so every id becomes 0: the control that no other protocol punishes."""
    clip, inputs = tiny_clip(), tiny_inputs((5, 8))
    found = confidence(clip, inputs, ones_map(clip, inputs), "m2ib")
    nothing = features_of(clip, torch.zeros(6, dtype=torch.long))  # read at position 0 in both
    want = nnf.cosine_similarity(nothing[None], clip.encode_image(inputs), dim=-1)
    assert np.allclose(found["text_after"], want, atol=1e-5)


def test_pairs_stand_alone_whatever_their_padding():
    clip, inputs = tiny_clip(), tiny_inputs(LENGTHS, columns=15)
    att = maps_of(clip, inputs)
    whole = confidence(clip, inputs, att, "m2ib")
    for i in range(len(LENGTHS)):
        assert np.allclose(confidence(clip, inputs[[i]], att[[i]], "m2ib"), whole[i : i + 1], atol=1e-4, equal_nan=True)
    assert np.allclose(whole["text_before"], confidence(clip, inputs, att)["text_before"], atol=1e-6)
    assert not np.allclose(own_similarity(clip, inputs), whole["text_before"], atol=1e-3)
