"""A scene without one of its objects: the same picture to the pixel, where that object was not."""

import pickle

import numpy as np
import pytest

import nibkit as nk
from nibkit.data import shapes


def crowded(n: int = 12, seed: int = 3, captions: str = "all", **options) -> list[nk.Scene]:
    """Scenes whose objects overlap."""
    return shapes.sample(n, seed, captions, **({"objects": 5, "size": (40, 60)} | options))


def cover(thing: shapes.Object, least: float = 0.0) -> np.ndarray:
    """The pixels that it covers by more than ``least``, bool [224, 224]."""
    rows, cols, alpha = shapes._coverage(thing)
    whole = np.zeros((224, 224), dtype=bool)
    whole[rows, cols] = alpha > least
    return whole


def test_only_the_pixels_of_the_object_change():
    for scene in [*crowded(), *shapes.sample(20, seed=4)]:
        for i, thing in enumerate(scene.objects):
            gone = np.asarray(scene.without(i).image) != np.asarray(scene.image)
            assert not (gone.any(2) & ~cover(thing)).any()
            assert gone.any(2)[scene.masks[i]].mean() > 0.9


def test_what_stood_behind_comes_into_sight():
    """Ground is what the ground's own random numbers draw; an object that was covered is whole."""
    seen = 0
    for scene in crowded():
        for i in range(len(scene.objects)):
            left = scene.without(i)
            others = [thing for k, thing in enumerate(scene.objects) if k != i]
            covers = [cover(thing, 0.5) for thing in others]
            for k, mask in enumerate(left.masks):
                assert np.array_equal(mask, covers[k] & ~np.logical_or.reduce([*covers[k + 1 :], np.zeros_like(mask)]))
                uncovered = mask & ~scene.masks[k + (k >= i)]
                seen += uncovered.sum()
                picture = np.asarray(left.image)[uncovered] / 255
                assert len(picture) < 50 or np.abs(np.median(picture, axis=0) - shapes.COLORS[others[k].color]).max() < 0.1
    assert seen > 1000


def test_the_ground_is_the_same_whatever_stood_on_it():
    """Without all its objects, one after another, in either order: the ground alone, on which every scene's pixels agree."""
    for scene in crowded(5):
        ground, other = scene, scene
        for _ in scene.objects:
            ground, other = ground.without(0), other.without(len(other.objects) - 1)
        assert ground.image.tobytes() == other.image.tobytes() and ground.masks.shape == (0, 224, 224)
        bare = ~np.logical_or.reduce([cover(thing) for thing in scene.objects])
        assert np.array_equal(np.asarray(ground.image)[bare], np.asarray(scene.image)[bare])
        assert np.asarray(ground.image).std(axis=(0, 1)).max() < 40  # grey noise: nothing coloured is left
        assert np.ptp(np.asarray(ground.image).astype(int), axis=2).max() < 60


def test_two_gone_in_either_order():
    scene = crowded(1)[0]
    one, other = scene.without(1).without(2), scene.without(3).without(1)
    assert one.image.tobytes() == other.image.tobytes() and np.array_equal(one.masks, other.masks)
    assert one.objects == other.objects == scene.objects[:1] + scene.objects[2:3] + scene.objects[4:]


@pytest.mark.parametrize("captions", ["all", "two", "wrong", "absent"])
def test_named_points_at_the_objects_that_are_left(captions):
    for scene in crowded(captions=captions):
        for i, gone in enumerate(scene.objects):
            left = scene.without(i)
            assert (left.caption, left.phrases) == (scene.caption, scene.phrases)
            assert left.objects == scene.objects[:i] + scene.objects[i + 1 :] and len(left.masks) == len(left.objects)
            for phrase, before, after in zip(scene.phrases, scene.named, left.named):
                if before is None or before == i:
                    assert after is None
                else:
                    assert left.objects[after].phrase == phrase != gone.phrase


def test_the_scene_itself_stays_and_can_be_pickled():
    scene = crowded(1)[0]
    picture, masks = scene.image.tobytes(), scene.masks.copy()
    left = pickle.loads(pickle.dumps(scene)).without(0)
    assert left.image.tobytes() == scene.without(0).image.tobytes()
    assert pickle.loads(pickle.dumps(left)).without(1).image.tobytes() == scene.without(0).without(1).image.tobytes()
    assert scene.image.tobytes() == picture and np.array_equal(scene.masks, masks)


def test_options_of_the_world_are_kept():
    scene = shapes.sample(1, 8, objects=2, clutter=0.9, contrast=0.4, size=(50, 55))[0]
    same = np.asarray(scene.without(0).image) == np.asarray(scene.image)
    assert same.all(2)[~cover(scene.objects[0])].all()


@pytest.mark.parametrize("i", [-1, 5, 1.0, True, None])
def test_no_such_object(i):
    with pytest.raises(ValueError, match=r"i must be a whole number within 0 … 4: the scene has 5 objects; got"):
        crowded(1)[0].without(i)


def test_a_scene_of_ones_own_says_what_it_needs():
    scene = crowded(1)[0]
    own = nk.Scene(scene.image, scene.caption, scene.objects, scene.masks, scene.phrases, scene.named)
    with pytest.raises(ValueError, match="can't be drawn again: it needs redraw="):
        own.without(0)
