"""The paper's figures: what the authors' published code returned for a tiny CLIP. Skipped where that fixture is not at hand."""

import numpy as np
import pytest
import torch

import nibkit as nk

SETTINGS = {"L9_n10": (9, 10), "L3_n5": (3, 5)}


@pytest.fixture(scope="module", params=SETTINGS)
def attribution(request, fixture_clip, fixture_inputs):
    layer, steps = SETTINGS[request.param]
    return request.param, nk.nib(fixture_clip, fixture_inputs, layer=layer, num_steps=steps)


def scaled(values: np.ndarray) -> np.ndarray:
    """Min–max, as the published maps are."""
    return (values - values.min()) / (values.max() - values.min())


def text_maps(attribution, figures) -> list[np.ndarray]:
    return [scaled(attribution.text[i, : len(figures[f"ids_{i}"])].cpu().numpy()) for i in range(6)]


def test_features(fixture_clip, fixture_inputs, figures):
    assert np.abs(fixture_clip.encode_image(fixture_inputs).cpu().numpy() - figures["image_features"]).max() < 1e-4
    assert np.abs(fixture_clip.encode_text(fixture_inputs).cpu().numpy() - figures["text_features"]).max() < 1e-4


def test_image_maps_are_the_published_ones(attribution, figures):
    name, att = attribution
    assert np.abs(att.heatmap().cpu().numpy()[:, ::16, ::16] - figures[f"nib_v_{name}"]).max() < 1e-4


def test_text_maps_are_the_published_ones(attribution, figures):
    name, att = attribution
    for i, ours in enumerate(text_maps(att, figures)):
        assert np.abs(ours - figures[f"nib_t_{name}_{i}"]).max() < 1e-4, f"caption {i}"


def test_text_maps_are_not_those_against_the_mean_of_the_batch(attribution, figures):
    """The published driver attributes each caption against the mean of its batch's images; ours treats every pair alone."""
    name, att = attribution
    assert (
        max(np.abs(ours - figures[f"nib_t_batchmean_{name}_{i}"]).max() for i, ours in enumerate(text_maps(att, figures))) > 1e-3
    )


def test_pairs_alone_give_the_same(fixture_clip, fixture_inputs, attribution, figures):
    name, att = attribution
    layer, steps = SETTINGS[name]
    for i in range(6):
        alone = nk.nib(fixture_clip, fixture_inputs[i], layer=layer, num_steps=steps)
        assert torch.allclose(alone.image[0], att.image[i], atol=1e-6) and torch.allclose(alone.text[0], att.text[i], atol=1e-6)


def test_m2ib_maps_are_the_published_ones_up_to_their_noise(fixture_clip, fixture_inputs, figures):
    """The published figures are one draw of the noise, so ours agree closely, not to the digit."""
    found = nk.m2ib(fixture_clip, fixture_inputs)
    for ours, theirs in zip(found.heatmap().cpu().numpy()[:, ::16, ::16], figures["m2ib_v"]):
        assert np.corrcoef(ours.ravel(), theirs.ravel())[0, 1] > 0.999
    for i, ours in enumerate(text_maps(found, figures)):
        assert np.abs(ours - figures[f"m2ib_t_{i}"].ravel()).max() < 0.05
