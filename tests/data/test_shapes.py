"""The synthetic world: seeded, exact masks, true captions (and false ones that are false), knobs that do what they say."""

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nibkit.data import shapes

MODES = {"all": (1, 3), "some": (1, 3), "one": (1, 3), "two": (2, 3), "wrong": (1, 3), "absent": (1, 3)}


def equal(a: shapes.Scene, b: shapes.Scene) -> bool:
    """The same picture, caption and truth."""
    return (
        a.image.tobytes() == b.image.tobytes()
        and np.array_equal(a.masks, b.masks)
        and (a.caption, a.objects, a.phrases, a.named) == (b.caption, b.objects, b.phrases, b.named)
    )


def present(scene: shapes.Scene) -> set[str]:
    return {thing.phrase for thing in scene.objects}


@pytest.fixture(scope="module")
def scenes():
    return shapes.sample(50, seed=11)


# --- seeds ------------------------------------------------------------------------------------------------------------


@given(st.integers(0, 10**6), st.sampled_from(["all", "some", "one", "wrong", "absent"]))
def test_a_scene_depends_on_seed_and_number_alone(seed, captions):
    long, short = shapes.sample(5, seed, captions), shapes.sample(3, seed, captions)
    assert all(equal(a, b) for a, b in zip(long[:3], short, strict=True))


def test_other_seeds_other_scenes():
    first, second = shapes.sample(3, 0), shapes.sample(3, 1)
    assert not any(equal(a, b) for a in first for b in second) and not equal(first[0], first[1])


def test_no_other_generator_is_touched():
    before = np.random.get_state()[1].copy(), random.getstate()
    shapes.sample(3, 0)
    assert np.array_equal(np.random.get_state()[1], before[0]) and random.getstate() == before[1]


def test_no_scenes():
    assert shapes.sample(0, 0) == []


# --- pictures and masks -----------------------------------------------------------------------------------------------


def test_form(scenes):
    for scene in scenes:
        assert scene.image.size == (224, 224) and scene.image.mode == "RGB"
        assert scene.masks.dtype == bool and scene.masks.shape == (len(scene.objects), 224, 224)
        assert 1 <= len(scene.objects) <= 3 and isinstance(scene.caption, str)
        assert len(present(scene)) == len(scene.objects)  # no two alike


def test_masks_are_never_empty_and_never_overlap(scenes):
    for scene in [*scenes, *shapes.sample(20, seed=5, objects=6, size=(40, 60))]:
        assert all(mask.sum() >= 50 for mask in scene.masks)
        assert scene.masks.sum(0).max() <= 1


def test_objects_lie_within_the_picture(scenes):
    for scene in scenes:
        for thing, mask in zip(scene.objects, scene.masks):
            (x, y), r = thing.center, thing.radius
            assert r <= x <= 224 - r and r <= y <= 224 - r
            rows, cols = np.nonzero(mask)
            assert np.abs(rows + 0.5 - y).max() <= r + 2 and np.abs(cols + 0.5 - x).max() <= r + 2


def test_the_mask_has_the_objects_colour(scenes):
    for scene in scenes:
        picture = np.asarray(scene.image) / 255
        for thing, mask in zip(scene.objects, scene.masks):
            assert np.abs(np.median(picture[mask], axis=0) - shapes.COLORS[thing.color]).max() < 0.08


def test_the_mask_is_where_the_colour_is():
    """One object alone: the pixels of its colour are its mask, to a pixel's width along the edge."""
    for scene in shapes.sample(50, seed=12, objects=1, clutter=0):
        picture, mask = np.asarray(scene.image) / 255, scene.masks[0]
        colored = np.abs(picture - shapes.COLORS[scene.objects[0].color]).max(-1) < 0.17
        assert (colored & mask).sum() > 0.85 * (colored | mask).sum(), scene.caption


def test_later_objects_cover_earlier_ones():
    """Where two overlap, the mask belongs to what is seen."""
    names = [("red", "square"), ("blue", "circle")]
    for seed in range(40):
        image, _, masks = shapes.draw(names, np.random.default_rng(seed), size=(58, 60))
        picture = np.asarray(image).astype(int)
        assert (picture[masks[0]][:, 0] > picture[masks[0]][:, 2]).mean() > 0.97  # red where the square is seen
        assert (picture[masks[1]][:, 2] > picture[masks[1]][:, 0]).mean() > 0.97


def test_the_eight_shapes_differ():
    """Drawn alike (same place, size, angle) no two cover the same pixels."""
    covers = []
    for shape in shapes.SHAPES:
        rows, cols, alpha = shapes._coverage(shapes.Object("red", shape, radius=40.0))
        cover = np.zeros((224, 224), bool)
        cover[rows, cols] = alpha > 0.5
        covers.append(cover)
    assert all(cover.sum() > 800 for cover in covers)
    ratios = [(a & b).sum() / (a | b).sum() for i, a in enumerate(covers) for b in covers[:i]]
    assert max(ratios) < 0.9


def test_eight_colours_eight_shapes():
    assert len(shapes.COLORS) == len(set(shapes.COLORS.values())) == len(set(shapes.SHAPES)) == 8
    assert len(set(shapes.phrases())) == 64
    seen = {(o.color, o.shape) for s in shapes.sample(120, seed=1, objects=6) for o in s.objects}
    assert len(seen) == 64  # all of them turn up


def test_objects_of_one_colour_or_one_shape_meet():
    """Colours and shapes repeat within a scene, so that neither alone tells objects apart."""
    several = shapes.sample(60, seed=2, objects=3)
    assert any(len({o.color for o in s.objects}) < 3 for s in several) and any(
        len({o.shape for o in s.objects}) < 3 for s in several
    )


# --- captions ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode, objects", MODES.items())
def test_captions_are_their_phrases_and_named_says_what_they_mean(mode, objects):
    for scene in shapes.sample(50, seed=3, captions=mode, objects=objects):
        assert scene.caption == " and ".join(scene.phrases) and len(scene.named) == len(scene.phrases)
        for phrase, index in zip(scene.phrases, scene.named):
            assert phrase not in present(scene) if index is None else scene.objects[index].phrase == phrase
        meant = [index for index in scene.named if index is not None]
        assert len(set(meant)) == len(meant)


def test_all_names_every_object(scenes):
    assert all(sorted(scene.named) == list(range(len(scene.objects))) for scene in scenes)
    assert any(scene.named != tuple(range(len(scene.objects))) for scene in scenes)  # in random order


def test_some_names_some_but_not_all():
    drawn = shapes.sample(60, seed=4, captions="some")
    for scene in drawn:
        k = len(scene.objects)
        assert None not in scene.named and (1 <= len(scene.named) < k or k == 1)
    assert {len(s.named) for s in drawn if len(s.objects) == 3} == {1, 2}


@pytest.mark.parametrize("mode, count", [("one", 1), ("two", 2)])
def test_one_and_two_name_that_many(mode, count):
    assert all(len(s.named) == count and None not in s.named for s in shapes.sample(30, seed=5, captions=mode, objects=3))


def test_wrong_is_false_in_one_colour_alone():
    for scene in shapes.sample(60, seed=6, captions="wrong"):
        assert len(scene.named) == len(scene.objects) and scene.named.count(None) == 1
        false = scene.phrases[scene.named.index(None)]
        (left_out,) = set(range(len(scene.objects))) - set(scene.named)
        assert false.split()[-1] == scene.objects[left_out].shape and false.split()[1] != scene.objects[left_out].color


def test_absent_names_one_that_is_there_and_one_that_is_not():
    drawn = shapes.sample(60, seed=7, captions="absent")
    assert all(len(s.named) == 2 and s.named.count(None) == 1 for s in drawn)
    assert {s.named.index(None) for s in drawn} == {0, 1}  # in either order


def test_articles():
    assert shapes.phrase("orange", "star") == "an orange star" and shapes.Object("red", "circle").phrase == "a red circle"


# --- knobs ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("objects, counts", [(1, {1}), (6, {6}), ((2, 3), {2, 3}), ((1, 6), {1, 2, 3, 4, 5, 6})])
def test_number_of_objects(objects, counts):
    assert {len(s.objects) for s in shapes.sample(60, seed=8, objects=objects)} == counts


def test_numpys_integers_count():
    ours, numpys = shapes.sample(2, 3, objects=2), shapes.sample(np.int64(2), np.int64(3), objects=np.int64(2))
    assert all(equal(a, b) for a, b in zip(ours, numpys, strict=True))
    assert len(shapes.sample(n=np.int64(3), objects=(np.int64(1), np.int64(2)))) == 3


def test_size():
    radii = [o.radius for s in shapes.sample(20, seed=9, size=(10, 12)) for o in s.objects]
    assert 10 <= min(radii) < max(radii) <= 12
    small, large = (np.mean([s.masks.sum() for s in shapes.sample(20, seed=9, objects=1, size=z)]) for z in ((10, 12), (50, 52)))
    assert 15 < large / small < 30  # (51 / 11)² = 21


def test_clutter():
    """Specks and a rougher background; none of it on the objects, none of it coloured."""
    spread = [
        np.mean([np.asarray(s.image)[~s.masks.any(0)].std() for s in shapes.sample(15, seed=10, clutter=c)]) for c in (0, 0.5, 1)
    ]
    assert spread[0] < spread[1] < spread[2]


def test_contrast():
    """How far the objects stand off the background: in proportion."""

    def distance(contrast):
        drawn = shapes.sample(20, seed=13, objects=1, contrast=contrast, clutter=0)
        pictures = [(np.asarray(s.image) / 255, s.masks[0]) for s in drawn]
        return np.mean([np.abs(p[m].mean(0) - p[~m].mean(0)).max() for p, m in pictures])

    assert distance(0.3) / distance(1.0) == pytest.approx(0.3, abs=0.06)


@pytest.mark.parametrize(
    "options, message",
    [
        (dict(n=-1), "n must be a whole number, 0 or more; got -1"),
        (dict(n=2.5), "n must be a whole number"),
        (dict(captions="none"), 'captions must be "all", "some", "one", "two", "wrong" or "absent"; got'),
        (dict(captions="two"), r'captions="two" needs objects=2 or more, for example objects=\(2, 3\); got \(1, 3\)'),
        (dict(objects=0), "objects must be a whole number within 1 … 6; got 0"),
        (dict(objects=7), "objects must be a whole number within 1 … 6; got 7"),
        (dict(objects=(3, 1)), "objects must be a range, .*the smaller end first; got"),
        (dict(size=(4, 20)), "size, in pixels, must be a finite number within 8 … 60; got 4"),
        (dict(size=(20, 90)), "size, in pixels, must be a finite number within 8 … 60; got 90"),
        (dict(size=(30, 20)), "size must be a range, .*the smaller end first"),
        (dict(size=30), "size must be a range"),
        (dict(seed=-1), "seed must be a whole number, 0 or more; got -1"),
        (dict(objects=True), "objects must be a whole number"),
        (dict(clutter=-0.1), "clutter must be a finite number within 0 … 1; got -0.1"),
        (dict(clutter=1.5), "clutter must be"),
        (dict(clutter=float("nan")), "clutter must be"),
        (dict(contrast=0), "contrast must be a finite number within 0 … 1, 0 left out; got 0"),
        (dict(contrast=1.01), "contrast must be"),
    ],
)
def test_bad_knobs_are_refused_by_name(options, message):
    with pytest.raises(ValueError, match=message):
        shapes.sample(**({"n": 1} | options))
