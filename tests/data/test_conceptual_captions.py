"""Conceptual Captions, however its pictures are named."""

import zlib

import pytest
from datafiles import COLORS, encoded, is_color, listed, picture, skipping, truncated, write

from nibkit.data import datasets

GCC = [
    "a very typical bus station",
    "sierra looked stunning in this top",
    'young confused girl says "no" , and',
    "interior design",
]
URLS = [f"http://example.com/{i}.jpg?x={i}&é" for i in range(4)]
TABLE = "Validation_GCC-1.1.0-Validation"


def conceptual(root, names, *, third=None, header="", end="\n", where="images"):
    """The table and, under ``where``, a picture for every row that has a name."""
    for name, color in zip(names, COLORS):
        if name is not None:
            file = root / where / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(encoded(color))
    lines = ["\t".join([caption, url, *([third[i]] if third else [])]) for i, (caption, url) in enumerate(zip(GCC, URLS))]
    write(root / f"{TABLE}.tsv", header + end.join(lines) + end)


CODES = [zlib.crc32(url.encode()) for url in URLS]
THIRD = ["x/one.jpg", "x/two.jpg", "x/three.jpg", "y/four.png"]


@pytest.mark.parametrize(
    "names, options",
    [
        (["0.jpg", "1.jpg", None, "3.jpg"], {}),
        (["000000000.jpg", "000000001.png", None, "000000003.webp"], {}),
        (["00000/000000000.jpg", "00000/000000001.jpg", None, "00001/000000003.jpg"], {}),
        ([f"0_{CODES[0]}", f"1_{CODES[1]}", None, f"3_{CODES[3]}"], {}),
        ([*THIRD[:2], None, THIRD[3]], {"third": THIRD}),
        ([*THIRD[:2], None, THIRD[3]], {"third": [f"images/{name}" for name in THIRD]}),
        ([*THIRD[:2], None, THIRD[3]], {"third": THIRD, "where": ""}),
        (["0.jpg", "1.jpg", None, "3.jpg"], {"header": "caption\turl\n"}),
        (["0.JPG", "1.JPG", None, "3.JPEG"], {"end": "\r\n\r\n"}),
    ],
    ids="number,padded,shards,number and CRC,third column,from the root,no images folder,header,CRLF and upper case".split(","),
)
def test_conceptual_captions(tmp_path, names, options):
    conceptual(tmp_path, names, **options)
    pairs = skipping(lambda: datasets.conceptual_captions(tmp_path), {f"{TABLE}:2": "missing picture: there is none"})
    assert listed(pairs) == [(f"{TABLE}:{i}", GCC[i]) for i in (0, 1, 3)]
    assert [is_color(p.image, c) for p, c in zip(pairs, ["red", "green", "white"])] == [True] * 3
    assert pairs[0].info == {"url": URLS[0]}
    assert datasets.conceptual_captions(tmp_path, limit=2, images=options.get("where", "images")).skipped == []


def test_conceptual_captions_numbered_from_1(tmp_path):
    conceptual(tmp_path, ["1.jpg", "2.jpg", "3.jpg", "4.jpg"])
    for first in (None, 1):
        pairs = datasets.conceptual_captions(tmp_path, first=first)
        assert listed(pairs) == [(f"{TABLE}:{i}", caption) for i, caption in enumerate(GCC)]
        assert [is_color(pair.image, color) for pair, color in zip(pairs, COLORS)] == [True] * 4
    (tmp_path / "images/4.jpg").unlink()
    with pytest.warns(UserWarning, match=f"the first is '{TABLE}:3'"):
        assert is_color(datasets.conceptual_captions(tmp_path, first=1)[0].image, "red")
    with pytest.raises(ValueError, match="first must be a whole number within 0 … 1, or None; got 2"):
        datasets.conceptual_captions(tmp_path, first=2)


def test_conceptual_captions_bad_rows(tmp_path):
    conceptual(tmp_path, ["0.jpg", "1.jpg", "2.jpg", "3.jpg"])
    file = tmp_path / f"{TABLE}.tsv"
    file.write_text(file.read_text().replace(GCC[0], "  ").replace(f"{GCC[1]}\t", f"{GCC[1]} "))
    truncated(tmp_path / "images/2.jpg")
    wrong = {f"{TABLE}:0": "empty caption", f"{TABLE}:1": "damaged row: no tab", f"{TABLE}:2": "unreadable picture"}
    pairs = skipping(lambda: datasets.conceptual_captions(tmp_path), wrong)
    assert listed(pairs) == [(f"{TABLE}:3", GCC[3])]


def test_conceptual_captions_as_img2dataset_writes_them(tmp_path):
    for i, color in enumerate(COLORS):
        picture(tmp_path / f"00000/00000000{i}.jpg", color)
        write(tmp_path / f"00000/00000000{i}.json", "metadata")
        write(tmp_path / f"00000/00000000{i}.txt", GCC[i])
    write(tmp_path / "00000.parquet", "metadata")
    write(tmp_path / "00000_stats.json", "{}")
    pairs = datasets.conceptual_captions(tmp_path)
    assert listed(pairs) == [(f"00000/00000000{i}.jpg", caption) for i, caption in enumerate(GCC)]


def test_conceptual_captions_never_takes_a_picture_by_guess(tmp_path):
    conceptual(tmp_path, ["a/0.jpg", "b/0.jpg"])
    with pytest.raises(ValueError, match="0.jpg and .*0.jpg have the same number: say which folder to search"):
        datasets.conceptual_captions(tmp_path)
    with pytest.warns(UserWarning, match="3 of 4 rows skipped"):
        assert is_color(datasets.conceptual_captions(tmp_path, images="images/b")[0].image, "green")
    conceptual(tmp_path, [], third=["a/0.jpg", "b/0.jpg", "", "0"])
    with pytest.warns(UserWarning, match="2 of 4 rows skipped"):
        named = datasets.conceptual_captions(tmp_path)
    assert [is_color(pair.image, color) for pair, color in zip(named, COLORS)] == [True, True]
    write(tmp_path / "Train_GCC-training.tsv", "x\ty\n")
    with pytest.raises(ValueError, match="several tables: choose one, for example table='Train_GCC-training.tsv'"):
        datasets.conceptual_captions(tmp_path)


@pytest.mark.parametrize("name", ["5.jpg", f"{CODES[0]}"])
def test_conceptual_captions_refuses_numbers_that_no_row_has(tmp_path, name):
    """Pictures of another table, or named by the URL's CRC alone: else some would be taken for another row's."""
    conceptual(tmp_path, ["0.jpg", name])
    with pytest.raises(ValueError, match=f"{name} must be named by its row's number, but {TABLE}.tsv has 4 rows"):
        datasets.conceptual_captions(tmp_path)


def test_conceptual_captions_without_any_picture(tmp_path):
    conceptual(tmp_path, [])
    with pytest.raises(FileNotFoundError, match=r"4 of 4 rows skipped \(4 missing picture\)(.|\n)*img2dataset"):
        datasets.conceptual_captions(tmp_path)
    write(tmp_path / f"{TABLE}.tsv", "")
    with pytest.raises(ValueError, match="there are no rows"):
        datasets.conceptual_captions(tmp_path)
