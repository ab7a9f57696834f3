"""Scores against true masks."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import nibkit as nk
from nibkit.methods.controls import controls
from nibkit.metrics.confidence import confidence
from nibkit.metrics.localisation import average_precision, iou, localisation, named_masks, named_words, pointing_game


def att_of(*maps) -> nk.Attribution:
    """Maps of pixels, given as nested lists or arrays."""
    pixels = torch.stack([torch.as_tensor(np.asarray(values), dtype=torch.float32) for values in maps])
    text = torch.zeros(len(pixels), 3)
    return nk.Attribution(pixels.mean((1, 2), keepdim=True), text, (("a", "b", "c"),) * len(pixels), text[:, 0], pixels=pixels)


def patch_maps(count: int) -> nk.Attribution:
    """Random maps of 3 × 3 patches."""
    values = np.random.RandomState(3).standard_normal((count, 3, 3)).astype(np.float32)
    return replace(att_of(*values), image=torch.from_numpy(values), pixels=None)


def mask_of(*rows: str) -> np.ndarray:
    """A mask [1, H, W] drawn with # and ·."""
    return np.array([[[sign == "#" for sign in row] for row in rows]])


def brute_force(values: np.ndarray, mask: np.ndarray) -> float:
    """Average precision by its definition, threshold by threshold."""
    total = recalled = 0.0
    for threshold in sorted(set(values.ravel()), reverse=True):
        chosen = values >= threshold
        hits = (chosen & mask).sum()
        total += (hits / mask.sum() - recalled) * hits / chosen.sum()
        recalled = hits / mask.sum()
    return total


# --- scores -------------------------------------------------------------------------------------------------------------------


def test_scores_by_hand():
    att = att_of([[9, 8, 1], [0, 7, 5], [2, 3, -4]])
    mask = mask_of("#··", "··#", "···")
    assert pointing_game(att, mask).tolist() == [1.0]
    assert pointing_game(att, ~mask).tolist() == [0.0]
    # min–max: half of the maximum is reached at 2.5, by 9, 8, 7, 5, 3; two of them are on the mask
    assert iou(att, mask).tolist() == [2 / 5]
    assert iou(att, mask, threshold=0.99).tolist() == [1 / 2]
    assert np.isclose(average_precision(att, mask)[0], (1 / 1 + 2 / 4) / 2)


def test_signed_scores_by_hand():
    att = att_of([[4, 2, -1], [0, -3, 1], [0, 0, 0]], [[4, 2, 1], [0, 3, 1], [0, 0, 0]])
    named, other = mask_of("##·", "···", "···"), mask_of("··#", "·#·", "···")
    found = localisation(att, np.concatenate([named] * 2), np.concatenate([other] * 2))
    assert np.allclose(found["on_named"], [0.75, 0.75]) and np.allclose(found["on_distractor"], [-0.5, 0.5])
    assert found["beats"].tolist() == [1, 1] and found["against"].tolist() == [1, 0]
    assert np.isclose(found["against_precision"][0], 1)  # the two lowest values are on the distractor
    assert np.isclose(found["against_precision"][1], brute_force(-att.pixels[1].numpy(), other[0]))
    assert np.allclose(found["chance"], 2 / 9)
    assert list(localisation(att, np.concatenate([named] * 2))) == ["pointing", "iou", "average_precision", "chance"]


def test_nothing_else_in_the_picture():
    named = mask_of("#·", "··")
    found = localisation(att_of([[1, 2], [3, 4]]), named, np.zeros_like(named))
    assert found[["on_distractor", "beats", "against", "against_precision"]].isna().all(axis=None)
    assert np.isclose(found["on_named"][0], 0.25) and found["pointing"][0] == 0


@given(seed=st.integers(0, 2**32 - 1), levels=st.integers(1, 6), share=st.floats(0.01, 1))
def test_average_precision_is_its_definition(seed, levels, share):
    """Also with many equal values; between 0 and 1; the same under any growing change of the map."""
    draw = np.random.default_rng(seed)
    values, mask = draw.integers(-levels, levels, (6, 5)), draw.random((6, 5)) < share
    mask[2, 3] = True
    found = average_precision(att_of(values), mask[None])[0]
    assert np.isclose(found, brute_force(values, mask)) and 0 < found <= 1
    assert np.isclose(average_precision(att_of(2.0**values), mask[None])[0], found)


@given(seed=st.integers(0, 2**32 - 1), levels=st.integers(2, 9), threshold=st.floats(0.01, 1))
def test_bounds(seed, levels, threshold):
    draw = np.random.default_rng(seed)
    values, mask = draw.integers(0, levels, (6, 5)), draw.random((6, 5)) < 0.3
    values[0, :2], mask[2, 3] = (0, levels), True
    other = ~mask & (draw.random((6, 5)) < 0.5)
    other[0, 0], mask[0, 0] = True, False
    found = localisation(att_of(values), mask[None], other[None]).iloc[0]
    assert found.drop(["on_named", "on_distractor"]).between(0, 1).all()
    assert found[["on_named", "on_distractor"]].between(-1, 1).all()
    region = values >= threshold * levels
    assert np.isclose(iou(att_of(values), mask[None], threshold)[0], (region & mask).sum() / (region | mask).sum())


def test_the_mask_itself_scores_best_and_a_constant_map_by_chance():
    draw = np.random.default_rng(0)
    masks = draw.random((3, 8, 8)) < 0.3
    best = localisation(att_of(*masks), masks)
    assert (best[["pointing", "iou", "average_precision"]] == 1).all(axis=None)
    for value in (0.0, 0.3, -1.7):
        constant = replace(att_of(*masks), image=torch.full((3, 3, 3), value), pixels=None)  # patches, brought to 8 × 8
        found = localisation(constant, masks)
        assert np.allclose(found["average_precision"], found["chance"]) and np.allclose(found["pointing"], found["chance"])
        assert (found["iou"] == 0).all()


def test_pointing_with_ties_and_tolerance():
    att = att_of([[5, 5, 0, 0], [0, 5, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]])
    mask = mask_of("##··", "····", "····", "····")
    assert np.isclose(pointing_game(att, mask)[0], 2 / 3)
    rounded = att_of([[5, 5 - 1e-6, 0, 0], [0, 5, 0, 0], [0, 0, 0, 0], [0, 0, 1e-6, 0]])  # as bilinear maps are at their borders
    assert not torch.equal(rounded.pixels, att.pixels)
    assert pointing_game(rounded, mask) == pointing_game(att, mask)
    assert average_precision(rounded, mask) == average_precision(att, mask) == 2 / 3
    far = mask_of("···#", "····", "····", "····")
    point = att_of([[0, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]])
    assert [pointing_game(point, far, tolerance)[0] for tolerance in (0, 1.9, 2)] == [0, 0, 1]


def test_masks_at_any_size_and_as_tensors():
    att = patch_maps(3)
    draw = np.random.default_rng(1)
    masks = draw.random((3, 12, 20)) < 0.2
    others = ~masks & (draw.random((3, 12, 20)) < 0.5)
    found = localisation(att, torch.from_numpy(masks), torch.from_numpy(others))
    assert found.equals(localisation(att, masks, others))
    assert found.iloc[[2]].reset_index(drop=True).equals(localisation(att[2], masks[2:], others[2:]))
    values = att.heatmap((12, 20), "minmax").double().numpy().round(6)  # bilinear maps are flat at their borders but for rounding
    expected = [brute_force(v, m) for v, m in zip(values, masks)]
    assert np.allclose(found["average_precision"], expected, atol=1e-4)
    assert np.allclose(found["pointing"], [m[v == v.max()].mean() for v, m in zip(values, masks)])


@pytest.mark.parametrize("score", [pointing_game, iou, average_precision, localisation])
def test_masks_that_will_not_do(score):
    att = patch_maps(3)
    masks = np.ones((3, 48, 48), dtype=bool)
    with pytest.raises(TypeError, match="masks must be booleans, True on the object; got float64"):
        score(att, masks.astype(float))
    for bad in (masks[:2], masks[0], masks[:, None], masks[:, :0]):
        with pytest.raises(ValueError, match=r"masks must be \[3, H, W\], one for each pair"):
            score(att, bad)
    masks[1] = False
    with pytest.raises(ValueError, match="the mask of pair 1 is empty"):
        score(att, masks)
    with pytest.raises(ValueError, match="NaN"):
        score(replace(att, image=torch.full((3, 3, 3), torch.nan)), ~np.zeros_like(masks))


def test_options_out_of_range():
    att, masks = patch_maps(1), np.ones((1, 48, 48), dtype=bool)
    for bad in (0, 1.1, -0.5, np.nan):
        with pytest.raises(ValueError, match="threshold must be a finite number within 0 … 1, 0 left out"):
            iou(att, masks, bad)
    for bad in (-1, np.inf, np.nan, True, "1"):
        with pytest.raises(ValueError, match="tolerance must be a finite number, 0 or more"):
            pointing_game(att, masks, bad)
    assert pointing_game(att, masks, np.int64(1)) == 1 and iou(att, masks, np.float32(0.5)) == iou(att, masks)
    with pytest.raises(ValueError, match="masks and distractors of pair 0 overlap"):
        localisation(att, masks, masks)
    with pytest.raises(ValueError, match=r"distractors must be \[1, 48, 48\]"):
        localisation(att, masks, np.ones((1, 24, 24), dtype=bool))


# --- the synthetic world ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shapes():
    return nk.load_clip("shapes", device="cpu")


def prepare(clip: nk.Clip, scenes: list) -> nk.Inputs:
    return clip.prepare([s.image for s in scenes], [s.caption for s in scenes])


def test_named_masks_and_words(shapes):
    for captions in ("all", "one", "absent", "wrong"):
        scenes = nk.shapes.sample(8, seed=2, captions=captions, objects=(2, 3))
        inputs = prepare(shapes, scenes)
        masks, distractors = named_masks(scenes)
        words = named_words(scenes, inputs)
        assert masks.shape == distractors.shape == (8, 224, 224) and words.shape == inputs.input_ids.shape
        for i, scene in enumerate(scenes):
            named = {n for n in scene.named if n is not None}
            assert masks[i].sum() == sum(scene.masks[n].sum() for n in named)
            assert (masks[i] | distractors[i]).sum() == scene.masks.any(0).sum() and not (masks[i] & distractors[i]).any()
            true = [phrase for phrase, n in zip(scene.phrases, scene.named) if n is not None]
            read = [token for token, chosen in zip(inputs.tokens[i], words[i, : len(inputs.tokens[i])]) if chosen]
            assert " ".join(read) == " ".join(true)
    with pytest.raises(ValueError, match="is not"):
        named_words(scenes[::-1], inputs)
    longer = shapes.prepare([s.image for s in scenes], [s.caption + " and a red star" for s in scenes])
    with pytest.raises(ValueError, match="caption 0 is not"):
        named_words(scenes, longer)
    with pytest.raises(ValueError, match="7 scenes but 8 pairs"):
        named_words(scenes[:7], inputs)
    with pytest.raises(ValueError, match="no word numbers"):
        named_words(scenes, replace(inputs, words=None))


def test_oracle_beats_nib_beats_random(shapes):
    """One of three objects is named: the truth scores best, chance worst, and the method lies between."""
    scenes = nk.shapes.sample(12, seed=4, captions="one", objects=3)
    inputs, (masks, distractors) = prepare(shapes, scenes), named_masks(scenes)
    found = {"nib": nk.nib(shapes, inputs)} | controls(shapes, inputs, masks=masks)
    scores = {name: localisation(att, masks, distractors).mean() for name, att in found.items()}
    for score in ("pointing", "iou", "average_precision", "beats"):
        assert 1 == scores["oracle"][score] >= scores["nib"][score] > scores["random"][score]
    assert scores["nib"]["average_precision"] > 5 * scores["nib"]["chance"] > scores["random"]["average_precision"]
    assert scores["nib"]["against"] > 0.5 and scores["oracle"]["against"] == 0
    drops = {name: confidence(shapes, inputs, att).mean() for name, att in found.items()}
    assert drops["oracle"]["image_drop"] < 0.5 and drops["nib"]["image_drop"] < drops["random"]["image_drop"] / 3
    assert drops["ones"]["image_drop"] == 0  # which no metric should reward
