"""Masks are resized and cropped as their pictures were, so that a map is scored against what the model saw."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

import nibkit as nk
from nibkit.methods.controls import controls, oracle_map
from nibkit.metrics.localisation import average_precision, iou, named_masks, pointing_game


@pytest.fixture(scope="module")
def clip():
    return nk.load_clip("shapes", device="cpu")


@pytest.fixture(scope="module")
def scenes():
    return nk.shapes.sample(3, seed=4, captions="one", objects=3)


def around(array: np.ndarray, right: int = 112, left: int = 112, below: int = 0) -> np.ndarray:
    """A picture or a mask with what the model won't see added around it."""
    margins = ((0, below), (left, right), (0, 0))[: array.ndim]
    return np.pad(array, margins)


def maps_of(clip: nk.Clip, images: list, scenes: list) -> nk.Attribution:
    return nk.nib(clip, clip.prepare(images, [scene.caption for scene in scenes]), num_steps=4)


def test_a_wide_picture_is_scored_as_its_middle(clip, scenes):
    """The model sees the same, so all scores are the same: with masks of the picture's size, and of the model's."""
    masks, distractors = named_masks(scenes)
    expected = nk.localisation(maps_of(clip, [scene.image for scene in scenes], scenes), masks, distractors)
    att = maps_of(clip, [around(np.asarray(scene.image)) for scene in scenes], scenes)
    for given in (np.stack([around(m) for m in masks]), masks, torch.from_numpy(masks)):
        others = [around(m) for m in distractors]
        np.testing.assert_allclose(nk.localisation(att, given, others), expected, rtol=1e-5, atol=1e-6)
    assert (expected["average_precision"] > 3 * expected["chance"]).all()


def test_each_mask_may_have_its_own_pictures_size(clip, scenes):
    masks, _ = named_masks(scenes)
    images = [around(np.asarray(scenes[0].image)), np.asarray(scenes[1].image), around(np.asarray(scenes[2].image), 3, 4, 7)]
    att = maps_of(clip, images, scenes)
    own = [around(masks[0]), masks[1], around(masks[2], 3, 4, 7)]
    table = nk.localisation(att, own)
    for i in range(3):
        alone = nk.localisation(att[i], [own[i]]).iloc[0]
        assert alone.equals(table.iloc[i].rename(0))
    for score, column in ((pointing_game, "pointing"), (iou, "iou"), (average_precision, "average_precision")):
        assert score(att, own).tolist() == table[column].tolist()


def test_a_squashed_picture_has_squashed_masks(scenes):
    clip, scene = nk.load_clip("shapes", device="cpu"), scenes[0]
    clip.image_processor.size, clip.image_processor.do_center_crop = {"height": 224, "width": 224}, False
    wide = scene.image.resize((448, 224), Image.Resampling.NEAREST)
    masks, _ = named_masks([scene])
    att = maps_of(clip, [wide], [scene])
    assert np.array_equal(att.views[0].mask(masks[0].repeat(2, 1)), masks[0])
    assert nk.localisation(att, masks.repeat(2, 2)).equals(nk.localisation(att, masks))


def test_what_fits_neither_the_picture_nor_the_model_is_refused(clip, scenes):
    masks, _ = named_masks(scenes[:1])
    att = maps_of(clip, [around(np.asarray(scenes[0].image))], scenes[:1])
    for score in (nk.localisation, pointing_game, iou, average_precision):
        with pytest.raises(ValueError, match="the mask of pair 0 is 200 × 224, the picture is 224 × 448 and the model sees 224"):
            score(att, masks[:, :200])
    with pytest.raises(ValueError, match="the distractor of pair 0 is 224 × 200"):
        nk.localisation(att, masks, masks[:, :, :200])
    with pytest.raises(ValueError, match="masks must be"):
        nk.localisation(att, np.concatenate([masks] * 2))
    with pytest.raises(ValueError, match="the mask of pair 0 is empty"):  # all of it lies in what was cropped away
        nk.localisation(att, np.eye(224, 448, dtype=bool)[None, :, ::-1] & (np.arange(448) > 400))
    assert len(nk.localisation(replace(att, views=None), masks[:, :200])) == 1  # maps that know no picture take any size


def test_the_oracle_takes_masks_of_either_size(clip, scenes):
    masks, distractors = named_masks(scenes)
    inputs = clip.prepare([around(np.asarray(scene.image)) for scene in scenes], [scene.caption for scene in scenes])
    own = [around(m) for m in masks]
    att = oracle_map(clip, inputs, own)
    assert torch.equal(att.pixels, oracle_map(clip, inputs, masks).pixels) and (att.heatmap(224).numpy() == masks).all()
    assert (nk.localisation(controls(clip, inputs, masks=own)["oracle"], own).iloc[:, :3] == 1).all(axis=None)
