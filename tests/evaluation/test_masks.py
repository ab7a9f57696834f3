"""A benchmark scores maps against what the model saw of each picture, whatever its size."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import nibkit as nk
from nibkit.methods.controls import oracle_map

SCORES = ["pointing", "iou", "average_precision", "chance"]
METHODS = {"nib": ("nib", {"num_steps": 2}), "oracle": oracle_map}


@pytest.fixture(scope="module")
def clip():
    return nk.load_clip("shapes", device="cpu")


@pytest.fixture(scope="module")
def scene():
    return nk.shapes.sample(1, seed=0, captions="one")[0]


def pair(id: str, scene, margin: int, high: bool = False) -> nk.datasets.Pair:
    """The scene with so many black columns (or rows) on both sides of it, which the model's crop takes away."""
    named = scene.masks[[number for number in scene.named if number is not None]]
    margins = ((margin, margin), (0, 0)) if high else ((0, 0), (margin, margin))
    image = Image.fromarray(np.pad(np.asarray(scene.image), (*margins, (0, 0))))
    return nk.datasets.Pair(id, image, scene.caption, np.pad(named, ((0, 0), *margins)))


def run(clip, pairs, **options) -> pd.DataFrame:
    return nk.evaluate(clip, pairs, METHODS, progress=False, **options)


@pytest.mark.parametrize("batch_size", [1, 8])
def test_masks_are_cropped_as_their_pictures(clip, scene, batch_size):
    pairs = [pair("square", scene, 0), pair("wide", scene, 112), pair("high", scene, 50, high=True)]
    table = run(clip, pairs, batch_size=batch_size)
    for method, rows in table.groupby("method"):
        assert len(rows) == 3
        for row in rows[SCORES].to_numpy():
            np.testing.assert_allclose(row, rows[SCORES].to_numpy()[0], rtol=1e-4)
        assert method != "oracle" or (rows[SCORES[:3]] == 1).all(axis=None)


def test_what_the_model_never_saw_is_not_scored(clip, scene):
    """The named thing lies outside of the crop: the pair keeps its other metrics."""
    beside = pair("beside", scene, 112)
    masks = np.zeros_like(beside.masks)
    masks[:, :, :50] = True
    table = nk.evaluate(clip, [nk.datasets.Pair("a", beside.source, scene.caption, masks), beside], ["nib"], progress=False)
    assert table["average_precision"].isna().tolist() == [True, False] and table["image_drop"].notna().all()


def test_a_mask_that_fits_no_size_costs_its_pair_alone(clip, scene):
    bad = nk.datasets.Pair("bad", scene.image, scene.caption, np.ones((1, 9, 9), dtype=bool))
    with pytest.warns(UserWarning, match="the mask of pair is 9 × 9, the picture is 224 × 224 and the model sees 224 × 224"):
        table = nk.evaluate(clip, [pair("good", scene, 30), bad], ["nib"], progress=False)
    assert table["pair"].tolist() == ["good"] and table.attrs["skipped"][0]["pair"] == "bad"
