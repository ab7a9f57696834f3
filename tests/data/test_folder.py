"""A folder and a table, or text files beside the pictures."""

import json
import re
import unicodedata

import pandas as pd
import pytest
from datafiles import COLORS, is_color, listed, picture, skipping, truncated, write

from nibkit.data import datasets
from nibkit.data import pairs as pairs_module

PLAIN = [("a.jpg", "one, two"), ("b.jpg", 'the "big" one'), ("c.jpg", "straße 東京")]
CSV = 'image,caption\na.jpg,"one, two"\nb.jpg,"the ""big"" one"\nc.jpg,straße 東京\n'


@pytest.mark.parametrize(
    "name, text, encoding",
    [
        ("t.csv", CSV, "utf-8"),
        ("t.csv", CSV, "utf-8-sig"),
        ("t.csv", CSV.replace("\n", "\r\n"), "utf-8-sig"),
        ("t.csv", CSV.replace("\n", "\n\n \n").rstrip(), "utf-8"),
        ("t.csv", "\n" + CSV, "utf-8"),
        ("t.csv", CSV.replace("jpg,", "jpg;").replace("image,", "image;"), "utf-8"),
        ("t.csv", CSV.replace("image,caption", "Image , CAPTION"), "utf-8"),
        ("T.TSV", 'file_name\ttext\na.jpg\tone, two\nb.jpg\tthe "big" one\nc.jpg\tstraße 東京', "utf-8"),
        ("t.jsonl", "".join(json.dumps({"file_name": n, "text": c}) + "\r\n\n" for n, c in PLAIN), "utf-8-sig"),
        ("t.jsonl", "".join(json.dumps({"path": n, "caption": c}, ensure_ascii=False) + "\n" for n, c in PLAIN), "utf-8"),
    ],
    ids=["csv", "byte order mark", "CRLF", "blank lines", "blank first", "semicolons", "case", "tsv", "jsonl", "jsonl, as is"],
)
def test_tables(folder, name, text, encoding):
    write(folder / name, text, encoding)
    pairs = datasets.folder(folder)
    assert listed(pairs) == PLAIN and [is_color(p.image, c) for p, c in zip(pairs, COLORS)] == [True] * 3
    assert listed(datasets.folder(folder, name)) == listed(datasets.folder(folder, folder / name)) == PLAIN


def test_a_data_frame_is_a_table(folder):
    table = pd.DataFrame({"image": ["a.jpg", "b.jpg", None, "c.jpg"], "caption": ["one", None, "two", pd.NA]}, index=[5, 6, 7, 8])
    wrong = {"b.jpg": "empty caption", "row 7": "missing picture: no name is given", "c.jpg": "empty caption"}
    assert listed(skipping(lambda: datasets.folder(folder, table), wrong)) == [("a.jpg", "one")]


BAD = """image,caption,source
a.jpg,good,x
nowhere.jpg,no file,x
b.jpg,  ,x
,no name,x
damaged.jpg,half a file,x
c.jpg,too,many,fields
text.jpg,not a picture,x
,,
c.jpg
long.png,a strip,x
folder,a folder,x
b.jpg, good as well ,y
"""


def test_bad_rows_are_skipped_counted_and_listed(folder):
    write(folder / "t.csv", BAD)
    truncated(folder / "damaged.jpg")
    write(folder / "text.jpg", "hello")
    picture(folder / "long.png", size=(300, 1))
    (folder / "folder").mkdir()
    wrong = {
        "nowhere.jpg": "missing picture: nowhere.jpg",
        "b.jpg": "empty caption",
        "line 5": "missing picture: no name",
        "damaged.jpg": "unreadable picture: ",
        "line 7": "damaged row: 4 fields, the header has 3 (a caption that holds ',' must be quoted)",
        "text.jpg": "unreadable picture: ",
        "c.jpg": "empty caption",
        "long.png": "unreadable picture: image is 300 × 1 pixels",
        "folder": "missing picture: folder",
    }
    pairs = skipping(lambda: datasets.folder(folder), wrong)
    assert listed(pairs) == [("a.jpg", "good"), ("b.jpg#1", "good as well")] and len(pairs) == 2
    assert [pair.info for pair in pairs] == [{"source": "x"}, {"source": "y"}]
    counts = "3 missing picture, 3 unreadable picture, 2 empty caption, 1 damaged row"
    assert pairs.summary() == f"{folder.name}: 2 pairs; 9 of 11 rows skipped ({counts})" and repr(pairs) == f"<{pairs.summary()}>"


def test_bad_lines_of_jsonl(folder):
    rows = [
        '{"image": "a.jpg", "caption": "one"}',
        "{broken",
        "[1, 2]",
        '"text"',
        '{"image": "b.jpg"}',
        '{"image": "b.jpg", "caption": 7}',
    ]
    write(folder / "t.jsonl", "\n".join(rows))
    wrong = {"line 2": "damaged row: Expecting", "line 3": "damaged row: no JSON object", "line 4": "damaged row: no JSON object"}
    wrong |= {"b.jpg": "empty caption", "b.jpg#1": "caption is no text: 7"}
    assert listed(skipping(lambda: datasets.folder(folder), wrong)) == [("a.jpg", "one")]


def test_several_captions_of_one_picture(folder):
    write(folder / "t.csv", "image,caption\na.jpg,one\nb.jpg,two\na.jpg,three\na.jpg,four\n")
    assert [pair.id for pair in datasets.folder(folder)] == ["a.jpg", "b.jpg", "a.jpg#1", "a.jpg#2"]
    write(folder / "t.jsonl", json.dumps({"image": "a.jpg", "sentences": ["one", "", "two"]}))
    pairs = skipping(lambda: datasets.folder(folder, "t.jsonl"), {"a.jpg#1": "empty caption"})
    assert listed(pairs) == [("a.jpg#0", "one"), ("a.jpg#2", "two")]


def test_ids_from_a_column_are_used_once(folder):
    write(folder / "t.csv", "image,caption,key\na.jpg,one,7\nb.jpg,two,8\nc.jpg,three,7\na.jpg,four,\n")
    wrong = {"7": "duplicate id: an earlier row has it", "line 5": "no id: its column is empty"}
    assert listed(skipping(lambda: datasets.folder(folder, id="key"), wrong)) == [("7", "one"), ("8", "two")]


def test_a_picture_is_opened_once_whatever_captions_it_has(folder, monkeypatch):
    opened = []
    monkeypatch.setattr(pairs_module, "to_rgb", lambda path: opened.append(path.name))
    datasets.folder(folder, pd.DataFrame({"image": ["a.jpg", "b.jpg", "a.jpg"], "caption": ["one", "two", "three"]}))
    assert opened == ["a.jpg", "b.jpg"]


def test_names_that_differ_as_windows_and_macos_allow(tmp_path):
    for name in ["Ärger.JPG", unicodedata.normalize("NFD", "café.png"), "sub/東京 (1).jpg"]:
        picture(tmp_path / name)
    names = ["ärger.jpg", "café.png", "sub\\東京 (1).JPG"]
    pairs = datasets.folder(tmp_path, pd.DataFrame({"image": names, "caption": "red"}))
    assert [pair.id for pair in pairs] == names and all(is_color(pair.image, "red") for pair in pairs)


def test_the_exact_name_comes_first(tmp_path):
    for name, color in [("a.jpg", "red"), ("a.JPG", "blue")]:
        picture(tmp_path / name, color)
    pairs = datasets.folder(tmp_path, pd.DataFrame({"image": ["a.JPG", "a.jpg"], "caption": "x"}))
    assert [is_color(pair.image, c) for pair, c in zip(pairs, ["blue", "red"])] == [True, True]


def test_named_columns(folder):
    write(folder / "t.csv", "bild|satz|caption|image\na.jpg|eins|no|no\nb.jpg|zwei|no|no\n")
    pairs = datasets.folder(folder, image="bild", caption="satz")
    assert listed(pairs) == [("a.jpg", "eins"), ("b.jpg", "zwei")] and pairs[0].info == {"caption": "no", "image": "no"}


@pytest.mark.parametrize(
    "options, message",
    [
        ({}, """no column that looks like the images; there are 'bild', 'satz': name it, for example image="bild\""""),
        ({"image": "bild"}, "no column that looks like the captions"),
        ({"image": "foto", "caption": "satz"}, "no column 'foto'"),
        ({"image": "bild", "caption": "satz", "id": "nr"}, "no column 'nr'"),
    ],
)
def test_missing_columns_are_named(folder, options, message):
    write(folder / "t.csv", "bild,satz\na.jpg,eins\n")
    with pytest.raises(ValueError, match=re.escape(message)):
        datasets.folder(folder, **options)


def test_other_encodings_are_named_not_guessed(folder):
    write(folder / "t.csv", "image,caption\na.jpg,caf\u00e9\n", "cp1252")
    with pytest.raises(ValueError, match="t.csv is in another encoding than utf-8-sig"):
        datasets.folder(folder)
    assert listed(datasets.folder(folder, encoding="cp1252")) == [("a.jpg", "café")]
    write(folder / "t.csv", CSV, "utf-16")
    assert listed(datasets.folder(folder, encoding="utf-16")) == PLAIN


def test_a_quote_that_is_never_closed_is_an_error(folder):
    """Else all rows behind it would be one caption."""
    write(folder / "t.csv", 'image,caption\na.jpg,"one\nb.jpg,two\n')
    with pytest.raises(ValueError, match="t.csv is no well-formed table .*quote that is never closed"):
        datasets.folder(folder)


def test_which_table(folder):
    write(folder / "one.csv", CSV)
    write(folder / "two.tsv", "image\tcaption\na.jpg\tfrom the other\n")
    with pytest.raises(ValueError, match="several tables: choose one, for example table='one.csv'"):
        datasets.folder(folder)
    assert listed(datasets.folder(folder, "two.tsv")) == [("a.jpg", "from the other")]
    with pytest.raises(FileNotFoundError, match="there is no table 'three.csv'"):
        datasets.folder(folder, "three.csv")
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        datasets.folder(folder / "nowhere")


def test_captions_beside_the_pictures(folder):
    write(folder / "a.txt", "\ufeffone\r\n")
    write(folder / "b.json", json.dumps({"caption": "left to the text files"}))
    write(folder / "b.txt", "two")
    write(folder / "notes.md", "no picture")
    picture(folder / "deep/d.png")
    write(folder / "deep/d.txt", "four")
    write(folder / "deep/.hidden.jpg", "no picture either")
    picture(folder / "deep/e.png")
    write(folder / "deep/e.txt", "caf\u00e9", "cp1252")
    for name in "zx":
        picture(folder / f"deep/{name}/f.png")
        write(folder / f"deep/{name}/f.txt", name)
    wrong = {"c.jpg": "empty caption", "deep/e.png": "unreadable caption: "}
    pairs = skipping(lambda: datasets.folder(folder), wrong)
    above = [("a.jpg", "one"), ("b.jpg", "two"), ("deep/d.png", "four")]
    assert listed(pairs) == [*above, ("deep/x/f.png", "x"), ("deep/z/f.png", "z")]


def test_nothing_that_can_be_used_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="there are no rows\nGive the folder a table"):
        datasets.folder(tmp_path)
    write(tmp_path / "t.csv", "")
    with pytest.raises(ValueError, match="there are no rows"):
        datasets.folder(tmp_path)
    write(tmp_path / "t.csv", CSV)
    with pytest.raises(FileNotFoundError, match=r"3 of 3 rows skipped \(3 missing picture\); the first is 'a.jpg'"):
        datasets.folder(tmp_path)
    write(tmp_path / "t.csv", "image,caption\nb.jpg,x\na.jpg,\n")
    picture(tmp_path / "a.jpg")
    with pytest.raises(ValueError, match="1 missing picture, 1 empty caption"):
        datasets.folder(tmp_path)
