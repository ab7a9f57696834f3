"""The emoji world: seeded, exact masks under overlap, captions true or false as asked, knobs that do what they say."""

import hashlib

import numpy as np
import pytest
from PIL import Image

import nibkit as nk
from nibkit.data import emoji
from nibkit.resources import data_dir

MODES = {"all": (1, 4), "some": (2, 4), "one": (1, 4), "two": (2, 4), "wrong": (1, 4), "absent": (1, 4)}


@pytest.fixture(scope="module")
def scenes():
    return emoji.sample(40, seed=11)


def equal(a, b) -> bool:
    same = a.image.tobytes() == b.image.tobytes() and np.array_equal(a.masks, b.masks)
    return same and (a.caption, a.objects, a.phrases, a.named) == (b.caption, b.objects, b.phrases, b.named)


def test_a_scene_depends_on_seed_and_number_alone(scenes):
    assert all(equal(a, b) for a, b in zip(emoji.sample(3, seed=11), scenes))
    assert not equal(scenes[0], emoji.sample(1, seed=12)[0])


def test_form(scenes):
    for scene in scenes:
        k = len(scene.objects)
        assert scene.image.size == (224, 224) and scene.image.mode == "RGB" and 1 <= k <= 4
        assert scene.masks.shape == (k, 224, 224) and scene.masks.dtype == bool and scene.masks.any((1, 2)).all()
        assert scene.masks.sum(0).max() == 1  # a pixel belongs to one thing at most
        assert scene.caption == " and ".join(scene.phrases) and len({thing.name for thing in scene.objects}) == k
    assert any(len(scene.objects) == 4 for scene in scenes)


@pytest.mark.parametrize("captions", MODES)
def test_captions_say_what_they_should(captions):
    for scene in emoji.sample(30, seed=5, captions=captions, objects=MODES[captions]):
        there = [thing.phrase for thing in scene.objects]
        assert all(number is None or there[number] == phrase for phrase, number in zip(scene.phrases, scene.named))
        assert all(phrase not in there for phrase, number in zip(scene.phrases, scene.named) if number is None)
        wanted = {"one": 1, "two": 2, "absent": 2, "some": None}.get(captions, len(there))
        assert len(scene.phrases) == wanted if wanted else 1 <= len(scene.phrases) < len(there)
        assert scene.named.count(None) == (captions in ("wrong", "absent"))


def test_masks_are_what_is_seen():
    """On a flat ground without a photograph, what differs from the ground is what a mask holds, to a border of a pixel or two."""
    scene = emoji.sample(1, seed=3, objects=3, clutter=0)[0]
    pixels = np.asarray(scene.image).astype(float)
    ground = np.median(pixels[~scene.masks.any(0)], axis=0)
    seen = np.abs(pixels - ground).max(2) > 40
    outside = seen & ~scene.masks.any(0)
    assert outside.mean() < 0.01 and (seen & scene.masks.any(0)).sum() > 0.7 * scene.masks.sum()


def test_a_later_thing_hides_an_earlier_one():
    """Drawn alone, a thing's mask is larger than under one that lies over it; what is lost belongs to the other."""
    names = ["dog", "car", "fish", "tree", "lion", "key"]
    for seed in range(4):
        _, things, masks = emoji.draw(names, np.random.default_rng(seed), size=(50, 60))
        alone = []
        for thing in things:
            mask = np.zeros((224, 224), bool)
            rows, cols, alpha, _ = emoji._layer(thing)
            mask[rows, cols] = alpha > 0.5
            alone.append(mask)
        assert all((mask & ~whole).sum() == 0 for mask, whole in zip(masks, alone))
        hidden = alone[0] & ~masks[0]
        assert np.array_equal(hidden, alone[0] & np.any(alone[1:], axis=0))
        assert masks[0].sum() >= 0.6 * alone[0].sum()


def test_knobs():
    flat, busy = (emoji.sample(1, seed=7, clutter=c)[0] for c in (0, 1))
    assert np.array_equal(flat.masks, busy.masks)
    off = ~flat.masks.any(0)
    assert np.asarray(busy.image)[off].std() > 2 * np.asarray(flat.image)[off].std()
    small, large = (emoji.sample(20, seed=7, size=(r, r), objects=1) for r in (12, 60))
    assert np.mean([s.masks.mean() for s in large]) > 15 * np.mean([s.masks.mean() for s in small])
    pale, full = (emoji.sample(1, seed=7, contrast=c, clutter=0)[0] for c in (0.1, 1))
    spread = [np.asarray(s.image)[s.masks.any(0)].std() for s in (pale, full)]
    assert spread[0] < 0.3 * spread[1]


@pytest.mark.parametrize(
    "options, message",
    [
        ({"n": -1}, "n must be a whole number"),
        ({"captions": "none"}, "captions must be"),
        ({"objects": 7}, "objects must be"),
        ({"size": (4, 20)}, "size, in pixels, must be"),
        ({"clutter": 2}, "clutter must be"),
        ({"contrast": 0}, "contrast must be"),
        ({"captions": "two", "objects": 1}, 'captions="two" needs'),
    ],
)
def test_bad_arguments_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        emoji.sample(**({"n": 1} | options))


def test_the_glyphs_are_the_fonts_own_and_all_there():
    folder = data_dir() / "emoji"
    assert {path.stem.replace("-", " ") for path in (folder / "glyphs").glob("*.png")} == set(emoji.NAMES)
    assert len(emoji.NAMES) == 40 and (folder / "OFL.txt").is_file()
    for path in (folder / "grounds").glob("*.png"):
        with Image.open(path) as image:
            assert image.size == (emoji.GROUND, emoji.GROUND)
    assert sum(path.stat().st_size for path in folder.rglob("*.*")) < 1e6


def test_the_same_picture_on_every_machine():
    """No FreeType has a say: thumbnails of a scene are these, to a rounding of colours."""
    scene = emoji.sample(1, seed=2)[0]
    coarse = np.asarray(scene.image.resize((4, 4), Image.Resampling.BOX)) // 32
    assert scene.caption == "a turtle and a penguin and a frog and a bear"
    assert hashlib.sha256(np.packbits(scene.masks[:, ::32, ::32]).tobytes()).hexdigest()[:8] == "c90a496e"
    assert coarse.mean() == pytest.approx(2.729, abs=0.1)


def test_a_scene_without_a_thing_shows_what_stood_behind_it():
    scene = emoji.sample(1, seed=2)[0]
    for i, thing in enumerate(scene.objects):
        less = scene.without(i)
        rows, cols, alpha, _ = emoji._layer(thing)
        touched = np.zeros((224, 224), bool)
        touched[rows, cols] = alpha > 0
        changed = (np.asarray(less.image) != np.asarray(scene.image)).any(2)
        assert changed[scene.masks[i]].mean() > 0.9 and not changed[~touched].any()
        assert less.objects == scene.objects[:i] + scene.objects[i + 1 :] and less.caption == scene.caption
        assert less.named == tuple(None if k == i else k - (k > i) for k in scene.named)


def test_things_that_do_not_fit_are_refused():
    with pytest.raises(
        ValueError, match="6 objects of size .60.0, 60.0. don't fit side by side: take fewer objects or a smaller"
    ):
        emoji.sample(8, seed=0, objects=6, size=(60, 60))


def test_pairs():
    pairs = nk.datasets.emoji(3, seed=1, captions="some", objects=2)
    assert [pair.id for pair in pairs] == [f"emoji-1-some-objects=2-{i}" for i in range(3)]
    assert pairs[1].caption == emoji.sample(2, seed=1, captions="some", objects=2)[1].caption
    assert pairs[0].masks.shape == (2, 224, 224)
