"""The paper's figures: the metrics that the published code returned for NIB's maps (layer 9, ten steps) of a tiny CLIP."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import nibkit as nk
from nibkit.metrics.confidence import confidence

TOLERANCE = 1e-3  # percent: 1e-5 in cosine


@pytest.fixture(scope="module")
def attribution(fixture_clip, fixture_inputs):
    return nk.nib(fixture_clip, fixture_inputs, layer=9, num_steps=10)


@pytest.mark.parametrize("batch_size", [None, 1, 4])
def test_metrics_are_the_published_ones(fixture_clip, fixture_inputs, attribution, figures, batch_size):
    """In percent, and of the maps of each pair alone."""
    found = confidence(fixture_clip, fixture_inputs, attribution, batch_size=batch_size)
    for ours, theirs in (
        ("image_drop", "vdrop"),
        ("text_drop", "tdrop"),
        ("image_increase", "vincr"),
        ("text_increase", "tincr"),
    ):
        assert np.abs(found[ours] - figures[f"metric_{theirs}"]).max() < TOLERANCE, ours


def test_what_the_text_figures_turn_on(fixture_clip, fixture_inputs, attribution, figures, monkeypatch):
    """Each of these readings of the protocol is off by far more than the tolerance, so parity tells them apart."""
    theirs = figures["metric_tdrop"]

    def off(att, *protocol) -> float:
        return np.abs(confidence(fixture_clip, fixture_inputs, att, *protocol)["text_drop"] - theirs).max()

    assert off(attribution, "eos") > 1  # start and end token kept, min–max over the words
    words = fixture_inputs.attention_mask.bool() & (fixture_inputs.input_ids != 598) & (fixture_inputs.input_ids != 599)
    text = attribution.text.cpu()
    inner = torch.where(words, text, text.masked_fill(~words, torch.inf).amin(1, keepdim=True))
    assert off(replace(attribution, text=inner)) > 1  # min–max over the words alone
    against_the_mean = attribution.text.clone()
    for i in range(6):
        values = torch.from_numpy(figures[f"nib_t_batchmean_L9_n10_{i}"])
        against_the_mean[i, : len(values)] = values
    assert off(replace(attribution, text=against_the_mean)) > 0.05  # their driver's text maps
    alone = lambda inputs, weights: weights  # noqa: E731
    monkeypatch.setattr("nibkit.metrics.confidence.compound", alone)  # each occurrence on its own
    assert off(attribution) > 0.01
    assert (fixture_inputs.input_ids[3] == 509).sum() == 2  # the caption with a repeated token


def test_position_that_is_read_is_that_of_the_highest_id(fixture_clip, fixture_inputs, attribution, figures):
    found = confidence(fixture_clip, fixture_inputs, attribution)["text_position"]
    assert found.tolist() == [int(figures[f"ids_{i}"][1:-1].argmax()) + 1 for i in range(6)]
