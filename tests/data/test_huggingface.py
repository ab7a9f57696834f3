"""Dicts and Hugging Face's datasets."""

import pickle
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from datafiles import COLORS, encoded, is_color, listed, picture, skipping
from PIL import Image

from nibkit.data import datasets
from nibkit.data.pairs import Skipped, Stream


def rows(file=None) -> list[dict]:
    return [
        {"image": Image.new("RGB", (20, 12), "red"), "caption": "one", "label": 3},
        {"image": encoded("green"), "caption": " two ", "label": 4},
        {"image": {"bytes": encoded("blue"), "path": "x.jpg"}, "caption": "three", "label": 5},
        {"image": {"bytes": None, "path": str(file)}, "caption": "four", "label": 6},
        {"image": np.full((12, 20, 3), 255, np.uint8), "caption": "five", "label": 7},
    ]


def test_a_list_of_dicts(tmp_path):
    pairs = datasets.huggingface(rows(picture(tmp_path / "a.jpg", "white")))
    assert listed(pairs) == [(str(i), caption) for i, caption in enumerate(["one", "two", "three", "four", "five"])]
    assert [is_color(p.image, c) for p, c in zip(pairs, [*COLORS, "white"])] == [True] * 5
    assert pairs[2].info == {"label": 5}


def test_bad_dicts_are_skipped():
    bad = [
        {"image": None, "caption": "no picture"},
        {"image": encoded()[:300], "caption": "damaged"},
        {"image": b"", "caption": "x"},
    ]
    bad += [{"image": {"bytes": None, "path": None}, "caption": "x"}, {"image": encoded(), "caption": None}]
    bad += [{"image": "/nowhere/at/all.jpg", "caption": "x"}]
    wrong = {"1": "missing picture", "2": "unreadable picture", "3": "unreadable picture", "4": "missing picture"}
    wrong |= {"5": "empty caption", "6": "missing picture: image: there is no file"}
    pairs = skipping(lambda: datasets.huggingface([{"image": encoded(), "caption": "good"}, *bad]), wrong)
    assert listed(pairs) == [("0", "good")]
    assert not any("0x" in reason for _, reason in pairs.skipped), "an address is another in every run"


BAD_ROWS = {
    "no caption": ({"image": encoded()}, "damaged row: no column that looks like the captions"),
    "no picture": ({"caption": "x"}, "damaged row: no column 'image'"),
    "nothing": ({}, "damaged row: no column 'image'"),
    "no dict": (["a"], "damaged row: row {} of the data set must be a dict; got list"),
    "none": (None, "damaged row: row {} of the data set must be a dict; got NoneType"),
}


@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize("form", [list, lambda rows: Rows(rows)], ids=["list", "stream"])
@pytest.mark.parametrize("row, reason", BAD_ROWS.values(), ids=BAD_ROWS)
def test_a_row_without_the_columns_costs_itself_alone_wherever_it_stands(row, reason, form, place):
    table = [{"image": encoded(), "caption": "one"}, {"image": encoded(), "text": "two"}]
    table.insert(place, row)
    with pytest.warns(UserWarning, match="1 of 3 rows skipped"):  # of a list at once, of a stream at its end
        pairs = datasets.huggingface(form(table))
        assert [caption for _, caption in listed(pairs)] == ["one", "two"]
    assert pairs.skipped == [Skipped(str(place), reason.format(place))]


class Unreadable(dict):
    """A row that is read when it is asked for, from a place that fails."""

    def __getitem__(self, name):
        raise OSError("disk gone; there are others")


def test_a_row_that_can_not_be_read_costs_itself_alone():
    table = [{"image": encoded(), "caption": "one"}, Unreadable(image=1, caption="x"), {"image": encoded(), "caption": "two"}]
    pairs = skipping(lambda: datasets.huggingface(table), {"1": "damaged row: OSError: disk gone; there are others"})
    assert [caption for _, caption in listed(pairs)] == ["one", "two"]


def test_a_column_that_no_row_has_is_told_before_a_long_stream_ends():
    def rows():
        yield from ({"img": 1, "caption": "x"} for _ in range(100))
        pytest.fail("over 100 rows were asked for")

    class Long:
        def __iter__(self):
            return rows()

    with pytest.raises(ValueError, match="no column 'image'; there are 'img', 'caption'"):
        list(datasets.huggingface(Long()))


def test_captions_of_dicts():
    table = [
        {"image": encoded(), "captions": ["one", "two"], "key": "a"},
        {"image": encoded(), "captions": ["three"], "key": "b"},
    ]
    assert listed(datasets.huggingface(table)) == [("0#0", "one"), ("0#1", "two"), ("1#0", "three")]
    assert listed(datasets.huggingface(table, id="key", limit=2)) == [("a#0", "one"), ("a#1", "two")]
    last = datasets.huggingface(table, caption=lambda row: row["captions"][-1], id="key")
    assert listed(last) == [("a", "two"), ("b", "three")]


class Rows:
    """Dicts without a length, any number of times."""

    def __init__(self, rows):
        self.rows = rows

    def __iter__(self):
        return iter(self.rows)


def test_a_stream_has_no_length_but_all_else():
    good = [{"image": encoded(), "caption": str(i)} for i in range(4)]
    pairs = datasets.huggingface(Rows([*good[:2], {"image": None, "caption": "x"}, *good[2:]]))
    assert isinstance(pairs, Stream) and not hasattr(pairs, "__len__")
    for _ in range(2):
        with pytest.warns(UserWarning, match="huggingface: 4 pairs; 1 of 5 rows skipped") as caught:
            assert listed(pairs) == [("0", "0"), ("1", "1"), ("3", "2"), ("4", "3")]
        assert len(caught) == 1 and pairs.skipped == [Skipped("2", "missing picture: there is none")]
    assert repr(pairs) == "<huggingface: 4 pairs; 1 of 5 rows skipped (1 missing picture), a stream>"
    short = datasets.huggingface(Rows(good), limit=2)
    assert [pair.id for pair in short] == [pair.id for pair in short] == ["0", "1"]


@pytest.mark.parametrize(
    "dataset, options, error, message",
    [
        ({"train": [], "test": []}, {}, ValueError, r"all splits \(train, test\): give one"),
        (iter([{}]), {}, TypeError, "any number of times; got list_iterator"),
        (7, {}, TypeError, "got int"),
        (["a"], {}, TypeError, "row 0 of the data set must be a dict; got str"),
        ([{"img": 1, "caption": "x"}], {}, ValueError, "no column 'image'; there are 'img', 'caption'"),
        ([{"image": 1, "said": "x"}], {}, ValueError, "no column that looks like the captions"),
        ([{"image": 1, "caption": "x"}], {"id": "key"}, ValueError, "no column 'key'"),
        (Rows([]), {"seed": 1}, ValueError, "no length.*shuffle it first"),
        ([], {}, ValueError, "there are no rows"),
    ],
)
def test_what_is_no_data_set_is_refused(dataset, options, error, message):
    with pytest.raises(error, match=message):
        datasets.huggingface(dataset, **options)


@pytest.fixture
def hugging():
    library = pytest.importorskip("datasets")
    pictures = [encoded(color) for color in COLORS]
    table = {"image": [{"bytes": p, "path": None} for p in pictures], "text": list(COLORS)}
    table["image"][1]["bytes"] = pictures[1][:300]  # a damaged file, at which the library's own decoding stops
    return library.Dataset.from_dict(table).cast_column("image", library.Image())


GOOD = [("0", "red"), ("2", "blue"), ("3", "white")]


@pytest.mark.parametrize("form", [None, "torch", "pandas", "arrow"])
def test_a_data_set_of_the_library(hugging, form):
    pairs = skipping(lambda: datasets.huggingface(hugging.with_format(form)), {"1": "unreadable picture"})
    assert listed(pairs) == GOOD and len(pairs) == 3 and all(is_color(pair.image, pair.caption) for pair in pairs)
    assert is_color(pickle.loads(pickle.dumps(pairs[1])).image, "blue")


@pytest.mark.filterwarnings("ignore:.*rows skipped")
def test_a_random_subset_of_the_library(hugging):
    orders = [listed(datasets.huggingface(hugging, seed=seed)) for seed in range(8)]
    assert all(sorted(order) == GOOD for order in orders) and len({str(order) for order in orders}) > 2
    assert listed(datasets.huggingface(hugging, seed=5, limit=2)) == orders[5][:2]


def test_a_stream_of_the_library(hugging):
    pairs = datasets.huggingface(hugging.to_iterable_dataset())
    for _ in range(2):
        with pytest.warns(UserWarning, match="1 of 4 rows skipped"):
            found = list(pairs)
        assert listed(found) == GOOD and all(is_color(pair.image, pair.caption) for pair in found)


def test_the_library_is_not_needed(monkeypatch):
    """It is an extra: nothing imports it."""
    monkeypatch.setitem(sys.modules, "datasets", None)
    assert listed(datasets.huggingface([{"image": encoded(), "caption": "x"}])) == [("0", "x")]
    for file in Path(datasets.__file__).parent.glob("*.py"):
        assert not re.search(r"^\s*(import|from) datasets\b", file.read_text(encoding="utf-8"), re.M), file.name
