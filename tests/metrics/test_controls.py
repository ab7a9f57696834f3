"""The controls that say what a metric rewards: everything, chance, the centre and the truth."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers import new_clip, same, state, tiny_clip, tiny_inputs

import nibkit as nk
from nibkit.methods.attribution import Scaled
from nibkit.methods.controls import centre_map, controls, oracle_map, random_map
from nibkit.metrics.confidence import confidence
from nibkit.metrics.curves import insertion_deletion
from nibkit.metrics.localisation import localisation


def test_controls_are_attributions_for_every_metric():
    clip, inputs = tiny_clip(), tiny_inputs((5, 8, 3))
    masks = np.zeros((3, 48, 48), dtype=bool)
    masks[:, 5:20, 17:40] = True
    found = controls(clip, inputs, masks=masks)
    assert list(found) == ["ones", "random", "centre", "oracle"] and list(controls(clip, inputs)) == ["ones", "random", "centre"]
    for name, att in found.items():
        assert att.method == name and len(att) == 3 and att.image.shape == (3, 3, 3) and att.text.shape == (3, 8)
        assert torch.allclose(att.similarity, clip.similarity(inputs)) and att.tokens == clip.tokens(inputs)
        assert (att.text[inputs.attention_mask == 0] == 0).all() and (att.image >= 0).all() and (att.image <= 1).all()
        for table in (
            confidence(clip, inputs, att).iloc[:, :4],
            confidence(clip, inputs, att, "eos").iloc[:, :4],
            insertion_deletion(clip, inputs, att),
            localisation(att, masks, ~masks),
        ):
            assert len(table) == 3 and np.isfinite(table).all(axis=None)
    assert (
        localisation(found["ones"], masks)["average_precision"]
        .round(9)
        .equals(localisation(found["ones"], masks)["chance"].round(9))
    )
    assert (localisation(found["oracle"], masks)[["pointing", "iou", "average_precision"]] == 1).all(axis=None)


def test_random_map_is_the_pairs_own():
    clip, inputs = tiny_clip(), tiny_inputs((5, 8, 3))
    att, wide = random_map(clip, inputs, seed=3), random_map(clip, tiny_inputs((5, 8, 3), columns=11), seed=3)
    alone, turned = random_map(clip, inputs[1], seed=3), random_map(clip, inputs[[2, 1, 0]], seed=3)
    assert torch.equal(alone.image[0], att.image[1]) and torch.equal(alone.text[0], att.text[1])
    assert torch.equal(turned.image[[2, 1, 0]], att.image) and torch.equal(wide.text[:, :8], att.text)
    other = random_map(clip, inputs, seed=4)
    assert not torch.isclose(other.image, att.image).any() and not torch.isclose(att.image[0], att.image[1]).any()
    same_picture = replace(inputs, pixel_values=inputs.pixel_values[[0, 0, 0]])
    assert not torch.isclose(random_map(clip, same_picture).image[0], random_map(clip, same_picture).image[1]).any()
    same_caption = nk.Inputs(inputs.pixel_values, inputs.input_ids[[0, 0, 0]])
    assert not torch.isclose(random_map(clip, same_caption).image[0], random_map(clip, same_caption).image[1]).any()
    assert len(att.image.unique()) == 27 and not isinstance(att, Scaled)
    for bad in (-1, 1.5, None, True):
        with pytest.raises(ValueError, match="seed must be"):
            random_map(clip, inputs, seed=bad)


def test_random_maps_are_uniform():
    clip, inputs = tiny_clip(), tiny_inputs((9,) * 200)
    att = random_map(clip, inputs)
    for values in (att.image.flatten(), att.text.flatten()):  # 1800 numbers each
        counts = np.histogram(values, bins=6, range=(0, 1))[0]
        assert counts.sum() == 1800 and np.abs(counts - 300).max() < 5 * np.sqrt(250)


def test_centre_map():
    clip, inputs = tiny_clip(), tiny_inputs((5, 8, 3))
    att = centre_map(clip, inputs)
    image = att.image[0]
    assert torch.allclose(image, image.flip(0)) and torch.allclose(image, image.T) and image.argmax() == 4 and image[1, 1] == 1
    assert torch.isclose(image[0, 1], torch.exp(torch.tensor(-0.5 * (1 / 3 / 0.25) ** 2)))
    text = att.text[1, 1:7]
    assert torch.allclose(text, text.flip(0)) and (text.diff()[:2] > 0).all() and (att.text[:, 0] == 0).all()
    assert att.text[0, 4] == 0 and att.text[0].argmax() == 2 and att.text[2].tolist() == [0, 1, 0, 0, 0, 0, 0, 0]
    with pytest.raises(ValueError, match="width must be a finite number above 0"):
        centre_map(clip, inputs, width=0)


def test_oracle_map_is_the_mask():
    clip, inputs = tiny_clip(), tiny_inputs((5, 8, 3))
    masks = np.random.default_rng(2).random((3, 48, 48)) < 0.2
    att = oracle_map(clip, inputs, masks)
    assert (att.heatmap(48).numpy() == masks).all()
    assert np.isclose(att.image[1, 2, 0], masks[1, 32:, :16].mean())
    words = np.zeros((3, 8), dtype=bool)
    words[1, 2:5] = True
    assert (
        oracle_map(clip, inputs, torch.from_numpy(masks), torch.from_numpy(words)).text.tolist() == words.astype(float).tolist()
    )
    assert att.text[2].tolist() == [0, 1, 0, 0, 0, 0, 0, 0]
    for bad in (words[:, :5], words.astype(float)):
        with pytest.raises(ValueError, match=r"words must be bool \[3, 8\]"):
            oracle_map(clip, inputs, masks, bad)
    with pytest.raises(ValueError, match=r"masks must be \[3, 48, 48\]"):
        oracle_map(clip, inputs, masks[:, ::2])
    masks[0] = False
    with pytest.raises(ValueError, match="the mask of pair 0 is empty"):
        oracle_map(clip, inputs, masks)


def test_controls_leave_nothing_behind():
    clip, inputs = new_clip(), tiny_inputs((5, 8, 3))
    clip.model.train()
    before = state(clip)
    controls(clip, inputs, masks=np.ones((3, 48, 48), dtype=bool))
    assert same(state(clip), before)
