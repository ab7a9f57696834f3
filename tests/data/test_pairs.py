"""Pairs and what all loaders share: sources, damage, limit, seed, check; the synthetic world as pairs."""

import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from datafiles import COLORS, is_color, listed, picture, skipping, truncated, write
from PIL import Image, ImageOps

import nibkit as nk
from nibkit.data import datasets
from nibkit.data.pairs import Pair, Pairs


def test_shapes_are_the_scenes():
    pairs, scenes = datasets.shapes(5, seed=3), nk.shapes.sample(5, 3)
    assert len(pairs) == 5 and pairs.skipped == [] and len({pair.id for pair in pairs}) == 5
    for pair, scene in zip(pairs, scenes):
        assert pair.caption == scene.caption and np.array_equal(np.asarray(pair.image), np.asarray(scene.image))
        assert pair.masks.dtype == bool and np.array_equal(pair.masks, scene.masks) and pair.scene.objects == scene.objects


def test_shapes_have_ids_of_their_own():
    """Other pictures, other ids; the same pictures, the same ids."""
    assert listed(datasets.shapes(6, 0))[:3] == listed(datasets.shapes(3, 0))
    sets = [(4, 0), (4, 1), (4, 0, "one")]
    ids = [pair.id for args in sets for pair in datasets.shapes(*args)]
    ids += [pair.id for clutter in (0.1, 0.2) for pair in datasets.shapes(4, 0, clutter=clutter)]
    assert len(set(ids)) == len(ids)


def test_shapes_may_be_none_and_bad_options_are_named():
    assert list(datasets.shapes(0)) == []
    with pytest.raises(ValueError, match="captions must be "):
        datasets.shapes(2, captions="nothing")


def test_every_source_gives_the_same_picture(tmp_path, clip):
    file = picture(tmp_path / "a.png", "blue")
    array = np.full((12, 20, 3), COLORS["blue"], np.uint8)
    sources = [file, str(file), file.read_bytes(), Image.fromarray(array), array, lambda: file, file.read_bytes]
    pairs = [Pair(str(i), source, "a blue square") for i, source in enumerate(sources)]
    assert all(is_color(pair.image, "blue", 0) and pair.image.size == (20, 12) for pair in pairs)
    inputs = clip.prepare([pair.image for pair in pairs], [pair.caption for pair in pairs])
    assert (inputs.pixel_values == inputs.pixel_values[:1]).all()


def test_a_pair_is_light_and_can_be_sent(tmp_path):
    pair = datasets.folder(picture(tmp_path / "a.png").parent, pd.DataFrame({"image": ["a.png"], "caption": ["red"]}))[0]
    packed = pickle.dumps(pair)
    assert len(packed) < 2000 and "source" not in repr(pair)
    again = pickle.loads(packed)
    assert listed([again]) == listed([pair]) and is_color(again.image, "red")


def save_kinds(root):
    """Pictures of every kind, all of which show red, and a tall one that is stored lying down."""
    red = Image.new("RGB", (20, 12), "red")
    red.save(root / "plain.JPG", "JPEG", quality=95)
    red.convert("CMYK").save(root / "cmyk.jpg", quality=95)
    red.convert("RGBA").save(root / "alpha.png")
    red.quantize(4).save(root / "palette.png")
    red.convert("L").save(root / "grey.png")
    Image.fromarray(np.full((12, 20), 65535, np.uint16)).save(root / "sixteen.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    red.save(root / "turned.jpg", exif=exif)
    return ["plain.JPG", "cmyk.jpg", "alpha.png", "palette.png", "grey.png", "sixteen.png", "turned.jpg"]


def test_pictures_of_every_kind(tmp_path, clip):
    names = save_kinds(tmp_path)
    pairs = datasets.folder(tmp_path, pd.DataFrame({"image": names, "caption": "a red square"}))
    assert [pair.id for pair in pairs] == names
    shown = {"grey.png": (76, 76, 76), "sixteen.png": "white"}
    assert all(is_color(pair.image, shown.get(pair.id, "red"), 5) for pair in pairs)
    assert [pair.image.size for pair in pairs] == [(20, 12)] * 6 + [(12, 20)]
    assert clip.prepare([pair.image for pair in pairs], ["a ring"] * 7).pixel_values.shape == (7, 3, 224, 224)


def test_whatever_a_damaged_file_does_it_is_skipped(tmp_path, monkeypatch):
    """PIL lets a division by zero through where a tag of the EXIF data is damaged."""
    for name in "ab":
        picture(tmp_path / f"{name}.jpg", size=(20, 12) if name == "a" else (30, 12))
    original = ImageOps.exif_transpose
    monkeypatch.setattr(ImageOps, "exif_transpose", lambda image: 1 / 0 if image.size[0] == 30 else original(image))
    table = pd.DataFrame({"image": ["a.jpg", "b.jpg"], "caption": ["a", "b"]})
    pairs = skipping(lambda: datasets.folder(tmp_path, table), {"b.jpg": "unreadable picture: image can't be read (division by "})
    assert listed(pairs) == [("a.jpg", "a")]


@pytest.fixture
def many(tmp_path):
    """A folder of 20 pictures, the 4th of them damaged."""
    for i in range(20):
        picture(tmp_path / f"{i:02}.png", (i, 0, 0))
    truncated(tmp_path / "03.png")
    write(tmp_path / "t.csv", "image,caption\n" + "".join(f"{i:02}.png,number {i}\n" for i in range(20)))
    return tmp_path


def test_limit_counts_what_can_be_used(many):
    pairs = skipping(lambda: datasets.folder(many, limit=5), {"03.png": "unreadable picture"})
    assert [pair.id for pair in pairs] == ["00.png", "01.png", "02.png", "04.png", "05.png"]
    assert datasets.folder(many, limit=3).skipped == []


@pytest.mark.filterwarnings("ignore:.*rows skipped")
def test_seed_draws_a_random_subset_that_grows_with_the_limit(many):
    every = datasets.folder(many)
    orders = [listed(datasets.folder(many, seed=seed)) for seed in (0, 0, 1)]
    assert orders[0] == orders[1] != orders[2] and sorted(orders[0]) == sorted(listed(every)) and orders[0] != listed(every)
    assert listed(datasets.folder(many, seed=1, limit=7)) == orders[2][:7]
    firsts = {datasets.folder(many, seed=seed, limit=1)[0].id for seed in range(40)}
    assert len(firsts) > 12


def test_unchecked_pictures_are_left_to_whoever_looks(many):
    pairs = datasets.folder(many, check=False)
    assert len(pairs) == 20 and pairs.skipped == []
    with pytest.raises(ValueError, match="no readable picture"):
        _ = pairs[3].image


@pytest.mark.filterwarnings("ignore:.*rows skipped")
def test_a_data_set_can_be_gone_through_again(many):
    pairs = datasets.folder(many)
    assert listed(pairs) == listed(pairs) and len(pairs) == len(list(pairs)) == 19 and len(pairs.skipped) == 1
    assert pairs[3] is list(pairs)[3] and listed(pairs[:2]) == listed(pairs)[:2] and isinstance(pairs, Pairs)
    assert all(np.array_equal(one.image, two.image) for one, two in zip(pairs, pairs))


def test_no_random_state_is_touched(many):
    before = np.random.get_state()[1].copy(), torch.random.get_rng_state()
    datasets.folder(many, seed=0, check=False)
    assert np.array_equal(np.random.get_state()[1], before[0]) and torch.equal(torch.random.get_rng_state(), before[1])
