"""The public namespace; the options that all loaders check; data that are not there."""

import importlib

import numpy as np
import pytest
from datafiles import listed, picture, write

from nibkit.data import datasets

LOADERS = ["conceptual_captions", "flickr8k", "folder", "imagenet", "rsicd"]


def test_the_namespace_has_functions_also_where_modules_have_their_names():
    assert sorted(datasets.__all__) == sorted(
        ["CAPTION_COLUMNS", "IMAGE_COLUMNS", "Pair", "Pairs", "Skipped", "Stream", "emoji", "huggingface", "shapes", *LOADERS]
    )
    for name in ["huggingface", *LOADERS]:
        module = importlib.import_module(f"nibkit.data.{name}")
        assert getattr(datasets, name) is getattr(module, name) and callable(getattr(datasets, name))


@pytest.mark.parametrize(
    "options, message",
    [
        ({"limit": 0}, "limit must be a whole number, 1 or more, or None; got 0"),
        ({"limit": True}, "limit must be"),
        ({"limit": 2.0}, "limit must be"),
        ({"seed": -1}, "seed must be a whole number, 0 or more"),
        ({"seed": "x"}, "seed must be"),
    ],
)
def test_bad_options_are_named(tmp_path, options, message):
    for name in LOADERS:
        with pytest.raises(ValueError, match=message):
            getattr(datasets, name)(tmp_path, **options)
    with pytest.raises(ValueError, match=message):
        datasets.huggingface([], **options)


def test_numpys_integers_count(tmp_path):
    for i in range(4):
        picture(tmp_path / f"{i}.jpg")
        write(tmp_path / f"{i}.txt", str(i))
    pairs = datasets.folder(tmp_path, limit=np.int64(3), seed=np.int64(1))
    assert listed(pairs) == listed(datasets.folder(tmp_path, limit=3, seed=1)) and all(type(pair.id) is str for pair in pairs)
    ids = [pair.id for pair in datasets.shapes(np.int64(2), np.int64(3), objects=np.int64(2))]
    assert ids == [pair.id for pair in datasets.shapes(2, 3, objects=2)] and all(type(id) is str for id in ids)


@pytest.mark.parametrize("load", [datasets.flickr8k, datasets.rsicd])
@pytest.mark.parametrize("caption", [5, -1, True, "nearest", 1.0, None])
def test_which_caption_is_checked(tmp_path, load, caption):
    with pytest.raises(ValueError, match="caption, if .* must be .*; got"):
        load(tmp_path, caption)
    with pytest.raises(ValueError, match="give the model, clip="):
        load(tmp_path, "closest")


@pytest.mark.parametrize(
    "load, what, words",
    [
        (
            "conceptual_captions",
            "no table",
            ["Conceptual Captions is", "ai.google.com", "Validation_GCC", "img2dataset"],
        ),
        (
            "imagenet",
            "no pictures",
            ["ImageNet (", "image-net.org", "LOC_synset_mapping.txt", "val_annotations.txt"],
        ),
        ("flickr8k", "no captions.txt or Fl", ["Flickr8k is", "University of Illinois", "captions.txt", "Flickr8k.token.txt"]),
        ("rsicd", "no dataset_rsicd.json", ["RSICD is", "RSICD_optimal", "dataset_rsicd.json", "RSICD_images"]),
    ],
)
@pytest.mark.parametrize("there", [True, False])
def test_missing_data_say_what_to_get_and_where_to_put_it(tmp_path, load, what, words, there):
    root = tmp_path if there else tmp_path / "nowhere"
    with pytest.raises(FileNotFoundError, match=what) as error:
        getattr(datasets, load)(root)
    message = str(error.value)
    assert f"in {str(root)!r}.\n{words[0]}" in message and all(word in message for word in words) and "├──" in message


@pytest.mark.parametrize(
    "load, table, folder", [(datasets.flickr8k, "captions.txt", "Images"), (datasets.rsicd, "dataset_rsicd.json", "RSICD_images")]
)
def test_tables_without_pictures(tmp_path, load, table, folder):
    write(tmp_path / table, "")
    with pytest.raises(FileNotFoundError, match=f"there is no {folder}"):
        load(tmp_path)
