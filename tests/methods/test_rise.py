"""RISE: its masks against scikit-image's, its maps against the weighted mean of them."""

import numpy as np
import pytest
import torch
from helpers import relative, tiny_clip, tiny_inputs
from own_forward import picture_score, text_score
from skimage.transform import resize

import nibkit as nk
from nibkit.methods.rise import Masks


@pytest.mark.parametrize("cells, size", [(8, 224), (7, 224), (8, 50), (7, 48)])
def test_picture_masks_are_those_of_scikit_images_resize(cells, size):
    """Enlarged to cells + 1 whole cells, then cut out at a random place: as Petsiuk et al. make them."""
    masks = Masks(20, (cells, cells), 0.5, seed=3)
    cell = -(-size // cells)
    for i, mask in enumerate(masks(torch.arange(20), size, torch.ones(1))):
        large = resize(
            masks.open[i].numpy().astype("float32"), [(cells + 1) * cell] * 2, order=1, mode="reflect", anti_aliasing=False
        )
        y, x = (int(share * cell) for share in masks.shift[i])
        assert np.abs(mask.numpy() - large[y : y + size, x : x + size]).max() < 1e-5


@pytest.mark.parametrize("length", [2, 8, 9, 20, 77])
def test_token_masks_are_those_of_scikit_images_resize(length):
    masks = Masks(20, (8,), 0.3, seed=3)
    cell = -(-length // 8)
    for i, mask in enumerate(masks(np.arange(20), length, torch.ones(1))):
        large = resize(masks.open[i].numpy().astype("float32"), (9 * cell, 5), order=1, mode="reflect", anti_aliasing=False)
        begin = int(masks.shift[i, 0] * cell)
        assert np.abs(mask.numpy()[:, None] - large[begin : begin + length]).max() < 1e-5


def test_masks_are_open_with_the_given_probability_everywhere_and_the_first_n_stay():
    masks = Masks(4000, (8, 8), 0.1, seed=0)
    drawn = masks(torch.arange(4000), 48, torch.ones(1))
    assert drawn.min() >= 0 and drawn.max() <= 1 + 1e-6
    assert float((drawn.mean(0) - 0.1).abs().max()) < 0.03  # the border too
    fewer = Masks(100, (8, 8), 0.1, seed=0)
    assert torch.equal(fewer(torch.arange(100), 48, torch.ones(1)), drawn[:100])
    assert float(Masks(4000, (8,), 0.1, 0)(torch.arange(4000), 5, torch.ones(1)).amax(1).eq(0).float().mean()) > 0.43


@pytest.mark.parametrize("variant, cells, keep", [("paper", 8, 0.1), ("original", 7, 0.5)])
def test_rise_is_the_weighted_mean_of_its_masks(variant, cells, keep):
    clip, inputs = tiny_clip(), tiny_inputs((6, 6))
    att = nk.rise(clip, inputs, num_masks=40, num_text_masks=25, seed=5, variant=variant)
    score, total = picture_score(clip, inputs), 0.0
    for mask in Masks(40, (cells, cells), keep, 5)(torch.arange(40), 48, torch.ones(1)):
        total = total + score(inputs.pixel_values * mask)[:, None, None] * mask
    assert relative(att.pixels, total / (40 * keep)) < 1e-5
    (score, rows), total = text_score(clip, inputs), 0.0
    for mask in Masks(25, (8,), 0.1, 5)(torch.arange(25), 6, torch.ones(1)):
        total = total + score(rows * mask[:, None])[:, None] * mask
    assert relative(att.text, total / (25 * 0.1)) < 1e-5
    assert att.class_token is None


def test_rise_shows_its_progress_on_request(capsys):
    for progress in (False, True):
        assert capsys.readouterr() == ("", "")
        nk.rise(tiny_clip(), tiny_inputs(), num_masks=20, num_text_masks=15, progress=progress)
    assert "105/105" in capsys.readouterr().err
