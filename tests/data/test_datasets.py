"""Data sets in the layouts in which people have them, written here on a small scale, bad rows included."""

import io
import json
import pickle
import re
import sys
import unicodedata
import zlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image, ImageOps

import nibkit as nk
from nibkit.data import datasets
from nibkit.data.pairs import Pair, Pairs, Skipped, Stream

COLORS = {"red": (255, 0, 0), "green": (0, 128, 0), "blue": (0, 0, 255), "white": (255, 255, 255)}


@pytest.fixture(scope="module")
def clip():
    return nk.load_clip("shapes", device="cpu")


def encoded(color="red", size=(20, 12), kind="JPEG", **options) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size, color).save(file, kind, **options)
    return file.getvalue()


def picture(path, color="red", size=(20, 12)):
    """A small JPEG or PNG file, its folders made on the way."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encoded(color, size, "PNG" if path.suffix.lower() == ".png" else "JPEG"))
    return path


def truncated(path):
    """A JPEG file whose second half is not there."""
    noise = np.random.RandomState(0).randint(0, 256, (40, 40, 3)).astype(np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(noise).save(path, "JPEG")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path


def write(path, text: str, encoding="utf-8"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode(encoding))
    return path


def said(pairs) -> list[tuple[str, str]]:
    return [(pair.id, pair.caption) for pair in pairs]


def is_color(image, color, tolerance=4) -> bool:
    expected = COLORS.get(color, color)
    return image.mode == "RGB" and np.abs(np.asarray(image).astype(int) - expected).max() <= tolerance


def skipping(call, wrong: dict[str, str]):
    """Call it: it warns once, and skips exactly these, {id: beginning of the reason}; returns the data set."""
    with pytest.warns(UserWarning, match=rf"; {len(wrong)} of \d+ rows skipped .*all are in .skipped") as caught:
        pairs = call()
    assert len(caught) == 1 and caught[0].filename == __file__
    assert all(isinstance(row, Skipped) for row in pairs.skipped)
    begun = [(id, reason[: len(wrong.get(id, reason))]) for id, reason in pairs.skipped]
    assert begun == list(wrong.items())
    return pairs


# --- the synthetic world ----------------------------------------------------------------------------------------------


def test_shapes_are_the_scenes():
    pairs, scenes = datasets.shapes(5, seed=3), nk.shapes.sample(5, 3)
    assert len(pairs) == 5 and pairs.skipped == [] and len({pair.id for pair in pairs}) == 5
    for pair, scene in zip(pairs, scenes):
        assert pair.caption == scene.caption and np.array_equal(np.asarray(pair.image), np.asarray(scene.image))
        assert pair.masks.dtype == bool and np.array_equal(pair.masks, scene.masks) and pair.scene.objects == scene.objects


def test_shapes_have_ids_of_their_own():
    """Other pictures, other ids; the same pictures, the same ids."""
    assert said(datasets.shapes(6, 0))[:3] == said(datasets.shapes(3, 0))
    sets = [(4, 0), (4, 1), (4, 0, "one")]
    ids = [pair.id for args in sets for pair in datasets.shapes(*args)]
    ids += [pair.id for clutter in (0.1, 0.2) for pair in datasets.shapes(4, 0, clutter=clutter)]
    assert len(set(ids)) == len(ids)


def test_shapes_may_be_none_and_bad_options_are_named():
    assert list(datasets.shapes(0)) == []
    with pytest.raises(ValueError, match="captions must be one of"):
        datasets.shapes(2, captions="nothing")


# --- pairs ------------------------------------------------------------------------------------------------------------


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
    assert said([again]) == said([pair]) and is_color(again.image, "red")


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
    assert said(pairs) == [("a.jpg", "a")]


# --- a folder and a table ---------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path):
    for name, color in zip("abc", COLORS):
        picture(tmp_path / f"{name}.jpg", color)
    return tmp_path


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
    assert said(pairs) == PLAIN and [is_color(p.image, c) for p, c in zip(pairs, COLORS)] == [True] * 3
    assert said(datasets.folder(folder, name)) == said(datasets.folder(folder, folder / name)) == PLAIN


def test_a_data_frame_is_a_table(folder):
    table = pd.DataFrame({"image": ["a.jpg", "b.jpg", None, "c.jpg"], "caption": ["one", None, "two", pd.NA]}, index=[5, 6, 7, 8])
    wrong = {"b.jpg": "empty caption", "row 7": "missing picture: no name is given", "c.jpg": "empty caption"}
    assert said(skipping(lambda: datasets.folder(folder, table), wrong)) == [("a.jpg", "one")]


BAD = """image,caption,source
a.jpg,good,x
nowhere.jpg,no file,x
b.jpg,  ,x
,no name,x
damaged.jpg,half a file,x
c.jpg,too,many,fields
text.jpg,not a picture,x
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
    assert said(pairs) == [("a.jpg", "good"), ("b.jpg#1", "good as well")] and len(pairs) == 2
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
    assert said(skipping(lambda: datasets.folder(folder), wrong)) == [("a.jpg", "one")]


def test_several_captions_of_one_picture(folder):
    write(folder / "t.csv", "image,caption\na.jpg,one\nb.jpg,two\na.jpg,three\na.jpg,four\n")
    assert [pair.id for pair in datasets.folder(folder)] == ["a.jpg", "b.jpg", "a.jpg#1", "a.jpg#2"]
    write(folder / "t.jsonl", json.dumps({"image": "a.jpg", "sentences": ["one", "", "two"]}))
    pairs = skipping(lambda: datasets.folder(folder, "t.jsonl"), {"a.jpg#1": "empty caption"})
    assert said(pairs) == [("a.jpg#0", "one"), ("a.jpg#2", "two")]


def test_ids_from_a_column_are_used_once(folder):
    write(folder / "t.csv", "image,caption,key\na.jpg,one,7\nb.jpg,two,8\nc.jpg,three,7\na.jpg,four,\n")
    wrong = {"7": "duplicate id: an earlier row has it", "line 5": "no id: its column is empty"}
    assert said(skipping(lambda: datasets.folder(folder, id="key"), wrong)) == [("7", "one"), ("8", "two")]


def test_a_picture_is_opened_once_whatever_captions_it_has(folder, monkeypatch):
    opened = []
    monkeypatch.setattr(datasets.Pair, "image", property(lambda pair: opened.append(pair.source.name)))
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
    assert said(pairs) == [("a.jpg", "eins"), ("b.jpg", "zwei")] and pairs[0].info == {"caption": "no", "image": "no"}


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
    assert said(datasets.folder(folder, encoding="cp1252")) == [("a.jpg", "café")]
    write(folder / "t.csv", CSV, "utf-16")
    assert said(datasets.folder(folder, encoding="utf-16")) == PLAIN


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
    assert said(datasets.folder(folder, "two.tsv")) == [("a.jpg", "from the other")]
    with pytest.raises(FileNotFoundError, match="there is no table 'three.csv'"):
        datasets.folder(folder, "three.csv")
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        datasets.folder(folder / "nowhere")


def test_captions_beside_the_pictures(folder):
    write(folder / "a.txt", "\ufeffone\r\n")
    write(folder / "b.json", json.dumps({"caption": "two", "url": "…"}))
    write(folder / "notes.md", "no picture")
    picture(folder / "deep/d.png")
    write(folder / "deep/d.txt", "four")
    write(folder / "deep/.hidden.jpg", "no picture either")
    picture(folder / "deep/e.png")
    write(folder / "deep/e.json", "[")
    for name in "zx":
        picture(folder / f"deep/{name}/f.png")
        write(folder / f"deep/{name}/f.txt", name)
    wrong = {"c.jpg": "empty caption", "deep/e.png": "unreadable caption: "}
    pairs = skipping(lambda: datasets.folder(folder), wrong)
    above = [("a.jpg", "one"), ("b.jpg", "two"), ("deep/d.png", "four")]
    assert said(pairs) == [*above, ("deep/x/f.png", "x"), ("deep/z/f.png", "z")]


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


# --- options that all share -------------------------------------------------------------------------------------------


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
    orders = [said(datasets.folder(many, seed=seed)) for seed in (0, 0, 1)]
    assert orders[0] == orders[1] != orders[2] and sorted(orders[0]) == sorted(said(every)) and orders[0] != said(every)
    assert said(datasets.folder(many, seed=1, limit=7)) == orders[2][:7]
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
    assert said(pairs) == said(pairs) and len(pairs) == len(list(pairs)) == 19 and len(pairs.skipped) == 1
    assert pairs[3] is list(pairs)[3] and said(pairs[:2]) == said(pairs)[:2] and isinstance(pairs, Pairs)
    assert all(np.array_equal(one.image, two.image) for one, two in zip(pairs, pairs))


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
    loaders = [datasets.conceptual_captions, datasets.imagenet, datasets.flickr8k, datasets.rsicd, datasets.folder]
    for load in loaders:
        with pytest.raises(ValueError, match=message):
            load(tmp_path, **options)
    with pytest.raises(ValueError, match=message):
        datasets.huggingface([], **options)


def test_no_random_state_is_touched(many):
    before = np.random.get_state()[1].copy(), torch.random.get_rng_state()
    datasets.folder(many, seed=0, check=False)
    assert np.array_equal(np.random.get_state()[1], before[0]) and torch.equal(torch.random.get_rng_state(), before[1])


# --- dicts and Hugging Face's datasets --------------------------------------------------------------------------------


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
    assert said(pairs) == [(str(i), caption) for i, caption in enumerate(["one", "two", "three", "four", "five"])]
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
    assert said(pairs) == [("0", "good")]
    assert not any("0x" in reason for _, reason in pairs.skipped), "an address is another in every run"


def test_captions_of_dicts():
    table = [
        {"image": encoded(), "captions": ["one", "two"], "key": "a"},
        {"image": encoded(), "captions": ["three"], "key": "b"},
    ]
    assert said(datasets.huggingface(table)) == [("0#0", "one"), ("0#1", "two"), ("1#0", "three")]
    assert said(datasets.huggingface(table, id="key", limit=2)) == [("a#0", "one"), ("a#1", "two")]
    last = datasets.huggingface(table, caption=lambda row: row["captions"][-1], id="key")
    assert said(last) == [("a", "two"), ("b", "three")]


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
            assert said(pairs) == [("0", "0"), ("1", "1"), ("3", "2"), ("4", "3")]
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
    assert said(pairs) == GOOD and len(pairs) == 3 and all(is_color(pair.image, pair.caption) for pair in pairs)
    assert is_color(pickle.loads(pickle.dumps(pairs[1])).image, "blue")


@pytest.mark.filterwarnings("ignore:.*rows skipped")
def test_a_random_subset_of_the_library(hugging):
    orders = [said(datasets.huggingface(hugging, seed=seed)) for seed in range(8)]
    assert all(sorted(order) == GOOD for order in orders) and len({str(order) for order in orders}) > 2
    assert said(datasets.huggingface(hugging, seed=5, limit=2)) == orders[5][:2]


def test_a_stream_of_the_library(hugging):
    pairs = datasets.huggingface(hugging.to_iterable_dataset())
    for _ in range(2):
        with pytest.warns(UserWarning, match="1 of 4 rows skipped"):
            found = list(pairs)
        assert said(found) == GOOD and all(is_color(pair.image, pair.caption) for pair in found)


def test_the_library_is_not_needed(monkeypatch):
    """It is an extra: nothing imports it."""
    monkeypatch.setitem(sys.modules, "datasets", None)
    assert said(datasets.huggingface([{"image": encoded(), "caption": "x"}])) == [("0", "x")]
    for file in Path(datasets.__file__).parent.glob("*.py"):
        assert not re.search(r"^\s*(import|from) datasets\b", file.read_text(encoding="utf-8"), re.M), file.name


# --- Conceptual Captions ----------------------------------------------------------------------------------------------

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
        ([str(CODES[0]), str(CODES[1]), None, str(CODES[3])], {}),
        ([f"0_{CODES[0]}", f"1_{CODES[1]}", None, f"3_{CODES[3]}"], {}),
        ([*THIRD[:2], None, THIRD[3]], {"third": THIRD}),
        ([*THIRD[:2], None, THIRD[3]], {"third": [f"images/{name}" for name in THIRD]}),
        ([*THIRD[:2], None, THIRD[3]], {"third": THIRD, "where": ""}),
        (["0.jpg", "1.jpg", None, "3.jpg"], {"header": "caption\turl\n"}),
        (["0.JPG", "1.JPG", None, "3.JPEG"], {"end": "\r\n\r\n"}),
    ],
    ids="number,padded,shards,CRC,number and CRC,third column,from the root,no images folder,header,CRLF and upper case".split(
        ","
    ),
)
def test_conceptual_captions(tmp_path, names, options):
    conceptual(tmp_path, names, **options)
    pairs = skipping(lambda: datasets.conceptual_captions(tmp_path), {f"{TABLE}:2": "missing picture: not downloaded"})
    assert said(pairs) == [(f"{TABLE}:{i}", GCC[i]) for i in (0, 1, 3)]
    assert [is_color(p.image, c) for p, c in zip(pairs, ["red", "green", "white"])] == [True] * 3
    assert pairs[0].info == {"url": URLS[0]}
    assert datasets.conceptual_captions(tmp_path, limit=2, images=options.get("where", "images")).skipped == []


def test_conceptual_captions_numbered_from_1(tmp_path):
    conceptual(tmp_path, ["1.jpg", "2.jpg", "3.jpg", "4.jpg"])
    for first in (None, 1):
        pairs = datasets.conceptual_captions(tmp_path, first=first)
        assert said(pairs) == [(f"{TABLE}:{i}", caption) for i, caption in enumerate(GCC)]
        assert [is_color(pair.image, color) for pair, color in zip(pairs, COLORS)] == [True] * 4
    (tmp_path / "images/4.jpg").unlink()
    with pytest.warns(UserWarning, match=f"the first is '{TABLE}:3'"):
        assert is_color(datasets.conceptual_captions(tmp_path, first=1)[0].image, "red")
    with pytest.raises(ValueError, match="first must be 0, 1 or None"):
        datasets.conceptual_captions(tmp_path, first=2)


def test_conceptual_captions_bad_rows(tmp_path):
    conceptual(tmp_path, ["0.jpg", "1.jpg", "2.jpg", "3.jpg"])
    file = tmp_path / f"{TABLE}.tsv"
    file.write_text(file.read_text().replace(GCC[0], "  ").replace(f"{GCC[1]}\t", f"{GCC[1]} "))
    truncated(tmp_path / "images/2.jpg")
    wrong = {f"{TABLE}:0": "empty caption", f"{TABLE}:1": "damaged row: no tab", f"{TABLE}:2": "unreadable picture"}
    pairs = skipping(lambda: datasets.conceptual_captions(tmp_path), wrong)
    assert said(pairs) == [(f"{TABLE}:3", GCC[3])]


def test_conceptual_captions_as_img2dataset_writes_them(tmp_path):
    for i, color in enumerate(COLORS):
        picture(tmp_path / f"00000/00000000{i}.jpg", color)
        write(tmp_path / f"00000/00000000{i}.json", json.dumps({"url": URLS[i], "caption": GCC[i], "key": f"00000000{i}"}))
        if i != 3:
            write(tmp_path / f"00000/00000000{i}.txt", GCC[i])
    write(tmp_path / "00000.parquet", "metadata")
    write(tmp_path / "00000_stats.json", "{}")
    pairs = datasets.conceptual_captions(tmp_path)
    assert said(pairs) == [(f"00000/00000000{i}.jpg", caption) for i, caption in enumerate(GCC)]


def test_conceptual_captions_never_takes_a_picture_by_guess(tmp_path):
    conceptual(tmp_path, ["a/0.jpg", "b/0.jpg"])
    with pytest.raises(ValueError, match="0.jpg and .*0.jpg have the same name: say which folder to search"):
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


def test_conceptual_captions_without_any_picture(tmp_path):
    conceptual(tmp_path, [])
    with pytest.raises(FileNotFoundError, match=r"4 of 4 rows skipped \(4 missing picture\)(.|\n)*img2dataset"):
        datasets.conceptual_captions(tmp_path)
    write(tmp_path / f"{TABLE}.tsv", "")
    with pytest.raises(ValueError, match="there are no rows"):
        datasets.conceptual_captions(tmp_path)


# --- ImageNet ---------------------------------------------------------------------------------------------------------

SYNSETS = {"n01440764": "tench, Tinca tinca", "n01443537": "goldfish, Carassius auratus", "n02012849": "crane"}


def synsets(file, between=" "):
    return write(file, "".join(f"{wnid}{between}{names}\n" for wnid, names in SYNSETS.items()))


def by_class(root, inner="", names=("{wnid}_10.JPEG", "{wnid}_2.JPEG", "{wnid}_3.jpg")):
    for wnid in SYNSETS:
        for name in names:
            picture(root / wnid / inner / name.format(wnid=wnid))


@pytest.mark.parametrize("where", ["", "val", "ILSVRC/Data/CLS-LOC/val"])
def test_imagenet_in_a_folder_for_each_class(tmp_path, where):
    synsets(tmp_path / "LOC_synset_mapping.txt")
    by_class(tmp_path / where)
    write(tmp_path / where / "n01440764/Thumbs.db", "x")
    pairs = datasets.imagenet(tmp_path)
    first = [("n01440764/n01440764_10.JPEG", "a photo of a tench, Tinca tinca"), ("n01440764/n01440764_2.JPEG",) * 2]
    assert (
        len(pairs) == 9 and said(pairs)[0] == first[0] and pairs[1].id == first[1][0] and pairs[8].caption == "a photo of a crane"
    )
    assert pairs[3].info == {"class": "n01443537", "names": "goldfish, Carassius auratus"}
    if where:
        assert said(datasets.imagenet(tmp_path / where)) == said(pairs), "the split's own folder will do"


def test_imagenet_per_class_and_captions(tmp_path):
    synsets(tmp_path / "LOC_synset_mapping.txt")
    by_class(tmp_path / "train")
    truncated(tmp_path / "train/n01443537/n01443537_10.JPEG")
    load = lambda **options: datasets.imagenet(tmp_path, "train", per_class=1, caption="{name} ({wnid})", **options)  # noqa: E731
    pairs = skipping(load, {"n01443537/n01443537_10.JPEG": "unreadable picture"})
    assert [pair.caption for pair in pairs] == ["tench (n01440764)", "goldfish (n01443537)", "crane (n02012849)"]
    assert [pair.id[10:] for pair in pairs] == ["n01440764_10.JPEG", "n01443537_2.JPEG", "n02012849_10.JPEG"]
    assert len(load(limit=1)) == 1
    drawn = [said(load(seed=seed, check=False)) for seed in range(6)]
    assert (
        all(len({id[:9] for id, _ in found}) == len(found) == 3 for found in drawn) and len({str(found) for found in drawn}) > 3
    )


@pytest.mark.parametrize("template", ["a {class}", "a {0}", "a {", "{names.x}", None, 3])
def test_imagenet_caption_fields_are_checked(tmp_path, template):
    with pytest.raises(ValueError, match="caption must be a text with {names}, {name} or {wnid}; got"):
        datasets.imagenet(tmp_path, caption=template)
    with pytest.raises(ValueError, match="per_class must be"):
        datasets.imagenet(tmp_path, per_class=0)


def tiny_imagenet(root):
    synsets(root / "words.txt", "\t")
    write(root / "wnids.txt", "\n".join(SYNSETS))
    by_class(root / "train", "images", ["{wnid}_0.JPEG", "{wnid}_1.JPEG"])
    for wnid in SYNSETS:
        write(root / f"train/{wnid}/{wnid}_boxes.txt", f"{wnid}_0.JPEG\t0\t10\t63\t58\n")
    for i in range(4):
        picture(root / f"val/images/val_{i}.JPEG", list(COLORS)[i])
    picture(root / "test/images/test_0.JPEG")
    lines = [
        f"val_{i}.JPEG\t{wnid}\t0\t32\t44\t62" for i, wnid in enumerate(["n02012849", "n01440764", "n02012849", "n09999999"])
    ]
    write(root / "val/val_annotations.txt", "\r\n".join([*lines, "val_4.JPEG\tn01440764\t0\t0\t9\t9", "", "val_5.JPEG"]))
    return root


def test_tiny_imagenet(tmp_path):
    root = tiny_imagenet(tmp_path / "tiny-imagenet-200")
    wrong = {"val_3.JPEG": "class without a name: n09999999", "val_4.JPEG": "missing picture: val_4.JPEG"}
    wrong |= {"val_5.JPEG": "class without a name: none is given"}
    pairs = skipping(lambda: datasets.imagenet(root), wrong)
    names = {f"val_{i}.JPEG": f"a photo of a {SYNSETS[wnid]}" for i, wnid in enumerate(["n02012849", "n01440764", "n02012849"])}
    assert said(pairs) == list(names.items()) and [is_color(p.image, c) for p, c in zip(pairs, COLORS)] == [True] * 3
    with pytest.warns(UserWarning):
        assert said(datasets.imagenet(root / "val")) == said(pairs)
        assert [pair.id for pair in datasets.imagenet(root, per_class=1)] == ["val_0.JPEG", "val_1.JPEG"]
    train = datasets.imagenet(root, "train")
    assert len(train) == 6 and train[0].id == "n01440764/images/n01440764_0.JPEG"
    with pytest.raises(FileNotFoundError, match="no pictures of the split 'test' by class"):
        datasets.imagenet(root, "test")


def test_imagenet_as_kaggle_has_it(tmp_path):
    synsets(tmp_path / "LOC_synset_mapping.txt")
    folder = tmp_path / "ILSVRC/Data/CLS-LOC/val"
    picture(folder / "ILSVRC2012_val_00000002.JPEG")
    picture(folder / "ILSVRC2012_val_00000001.JPEG", "blue")
    labels = [
        "00000001,n01440764 85 1 499 272",
        "00000002,n01443537 1 2 3 4 n01443537 5 6 7 8",
        "00000003,n01443537 1 2 3 4",
        "00000004",
    ]
    write(tmp_path / "LOC_val_solution.csv", "ImageId,PredictionString\n" + "".join(f"ILSVRC2012_val_{row}\n" for row in labels))
    wrong = {"ILSVRC2012_val_00000003.JPEG": "missing picture: ILSVRC2012_val_00000003.JPEG"}
    wrong |= {"ILSVRC2012_val_00000004.JPEG": "class without a name: none is given"}
    for root in (tmp_path, folder):
        pairs = skipping(lambda root=root: datasets.imagenet(root, caption="{name}"), wrong)
        assert said(pairs) == [("ILSVRC2012_val_00000001.JPEG", "tench"), ("ILSVRC2012_val_00000002.JPEG", "goldfish")]
        assert is_color(pairs[0].image, "blue")


def test_imagenet_without_names(tmp_path):
    by_class(tmp_path / "val")
    with pytest.raises(FileNotFoundError, match="no list of the classes' names"):
        datasets.imagenet(tmp_path)
    elsewhere = synsets(tmp_path / "elsewhere/mine.txt", "\t")
    assert len(datasets.imagenet(tmp_path, words=elsewhere)) == 9


# --- Flickr8k ---------------------------------------------------------------------------------------------------------

FLICKR = {
    f"100026820{i}_693b08cb0e.jpg": [f"A child in {color} , number {k} ." for k in range(5)] for i, color in enumerate(COLORS)
}
ODD = "2258277193_586949ec62.jpg.1"


def flickr(root, kaggle: bool, quoted=True):
    folder = root / ("Images" if kaggle else "Flicker8k_Dataset")
    for name, color in zip(FLICKR, COLORS):
        picture(folder / name, color)
    if kaggle:
        mark = '"' if quoted else ""
        lines = ["image,caption", *(f"{name},{mark}{text}{mark}" for name, texts in FLICKR.items() for text in texts)]
        write(root / "captions.txt", "\n".join(lines) + "\n")
    else:
        every = FLICKR | {ODD: ["gone"] * 5}
        write(
            root / "Flickr8k.token.txt",
            "".join(f"{n}#{k}\t{text}\n" for n, texts in every.items() for k, text in enumerate(texts)),
        )
    return root


@pytest.mark.parametrize("number", range(5))
@pytest.mark.parametrize("quoted", [True, False])
def test_flickr8k_of_kaggle(tmp_path, number, quoted):
    pairs = datasets.flickr8k(flickr(tmp_path, True, quoted), number)
    assert said(pairs) == [(f"{name}#{number}", texts[number]) for name, texts in FLICKR.items()]
    assert [is_color(pair.image, color) for pair, color in zip(pairs, COLORS)] == [True] * 4


def test_flickr8k_original_with_its_missing_picture(tmp_path):
    pairs = skipping(lambda: datasets.flickr8k(flickr(tmp_path, False)), {ODD: f"missing picture: {ODD}"})
    assert said(pairs) == [(f"{name}#0", texts[0]) for name, texts in FLICKR.items()]
    with pytest.warns(UserWarning):
        every = datasets.flickr8k(tmp_path, "all")
    assert said(every) == [(f"{name}#{k}", text) for name, texts in FLICKR.items() for k, text in enumerate(texts)]


@pytest.mark.parametrize("text, images", [("Flickr8k_text", "Flickr8k_Dataset/Flicker8k_Dataset"), ("", "Flicker8k_Dataset")])
def test_flickr8k_split(tmp_path, text, images):
    flickr(tmp_path / "x", False)
    (tmp_path / text).mkdir(exist_ok=True)
    (tmp_path / images).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / "x/Flickr8k.token.txt").rename(tmp_path / text / "Flickr8k.token.txt")
    (tmp_path / "x/Flicker8k_Dataset").rename(tmp_path / images)
    write(tmp_path / text / "Flickr_8k.testImages.txt", "\r\n".join(list(FLICKR)[2:]))
    pairs = datasets.flickr8k(tmp_path, split="test")
    assert [pair.id for pair in pairs] == [f"{name}#0" for name in list(FLICKR)[2:]]
    with pytest.raises(FileNotFoundError, match="no Flickr_8k.devImages.txt, which lists the split 'dev'"):
        datasets.flickr8k(tmp_path, split="dev")


def test_flickr8k_bad_rows(tmp_path):
    names = list(FLICKR)
    flickr(tmp_path, True)
    truncated(tmp_path / "Images" / names[1])
    lines = [f"{names[0]},", "", f'{names[0]}," an open quote', names[2], f"{names[3]},three", "\u2028"]
    write(tmp_path / "captions.txt", "\ufeffimage,caption\r\n" + "\r\n".join([*lines, f"{names[1]},one"]) + "\r\n")
    line, empty, damaged = {"line 5": "damaged row: no comma"}, "empty caption", {f"{names[1]}#0": "unreadable picture"}
    pairs = skipping(lambda: datasets.flickr8k(tmp_path), line | {f"{names[0]}#0": empty} | damaged)
    assert said(pairs) == [(f"{names[3]}#0", "three")]
    pairs = skipping(lambda: datasets.flickr8k(tmp_path, 1), line | {f"{names[3]}#1": empty, f"{names[1]}#1": empty})
    assert said(pairs) == [(f"{names[0]}#1", "an open quote")]


def test_flickr8k_original_bad_rows(tmp_path):
    flickr(tmp_path, False)
    a, b, c, d = FLICKR
    rows = [f"{a}#0\tone", f"{a}#1 no tab", f"{a}#0\tagain", f"{b}\tno number", f"{c}#1\tsecond", f"{d}#0\t "]
    write(tmp_path / "Flickr8k.token.txt", "\r\n\r\n".join(rows))
    write(tmp_path / "Flickr_8k.testImages.txt", "\n".join(FLICKR))
    twice = {"line 3": "damaged row: not name", f"{a}#0": "duplicate id: an earlier line", "line 7": "damaged row: not name"}
    wrong = twice | {f"{c}#0": "empty caption", f"{d}#0": "empty caption"}
    assert said(skipping(lambda: datasets.flickr8k(tmp_path), wrong)) == [(f"{a}#0", "one")]
    wrong = twice | {b: "empty caption", f"{d}#0": "empty caption"}
    every = skipping(lambda: datasets.flickr8k(tmp_path, "all", split="test"), wrong)
    assert said(every) == [(f"{a}#0", "one"), (f"{c}#1", "second")]


@pytest.fixture(scope="module")
def crowd(tmp_path_factory):
    """Scenes with five captions each of which one is right, in Flickr8k's original layout."""
    root = tmp_path_factory.mktemp("crowd")
    (root / "Flicker8k_Dataset").mkdir()
    lines, scenes = [], nk.shapes.sample(20, 7, objects=(1, 2))
    for i, scene in enumerate(scenes):
        scene.image.save(root / f"Flicker8k_Dataset/{i}.jpg", quality=95)
        texts = [scenes[(i + k) % 20].caption for k in (3, 5, 9, 11)]
        texts.insert(i % 5, scene.caption)
        lines += [f"{i}.jpg#{k}\t{text}" for k, text in enumerate(texts)]
    write(root / "Flickr8k.token.txt", "\n".join(lines))
    return root


def test_the_closest_caption_is_the_one_with_the_highest_similarity(crowd, clip):
    pairs = datasets.flickr8k(crowd, "closest", clip=clip)
    every = datasets.flickr8k(crowd, "all")
    assert len(pairs) == 20 and len(every) == 100
    for i, pair in enumerate(pairs):
        five = every[5 * i : 5 * i + 5]
        alone = [clip.similarity(clip.prepare(one.image, one.caption)).item() for one in five]
        assert (pair.id, pair.caption) == said(five)[int(np.argmax(alone))] and pair.source == five[0].source
    right = np.mean([pair.id == f"{i}.jpg#{i % 5}" for i, pair in enumerate(pairs)])
    assert right >= 0.8, "the model knows its world"
    some = datasets.flickr8k(crowd, "closest", clip=clip, limit=3, seed=1)
    assert len(some) == 3 and set(said(some)) <= set(said(pairs)), "the choice depends on no other picture"


def test_closest_leaves_out_what_the_model_cannot_read(crowd, tmp_path, clip):
    long = "a red circle and " * 40
    table = [
        f"{i}.jpg#{k}\t{text}"
        for i, texts in enumerate([[long, "a ring"], [long, " "], ["a ring"], ["a ring"]])
        for k, text in enumerate(texts)
    ]
    write(tmp_path / "Flickr8k.token.txt", "\n".join(table))
    for i in (0, 1):
        picture(tmp_path / f"Flicker8k_Dataset/{i}.jpg")
    truncated(tmp_path / "Flicker8k_Dataset/2.jpg")
    wrong = {"1.jpg": "empty caption: there is none that the model can read"}
    wrong |= {"2.jpg": "unreadable picture", "3.jpg": "missing picture: 3.jpg"}
    pairs = skipping(lambda: datasets.flickr8k(tmp_path, "closest", clip=clip), wrong)
    assert said(pairs) == [("0.jpg#1", "a ring")]


@pytest.mark.parametrize("load", [datasets.flickr8k, datasets.rsicd])
@pytest.mark.parametrize("caption", [5, -1, True, "nearest", 1.0, None])
def test_which_caption_is_checked(tmp_path, load, caption):
    with pytest.raises(ValueError, match='caption must be a number of 0 … 4, "closest" or "all"; got'):
        load(tmp_path, caption)
    with pytest.raises(ValueError, match="give the model, clip="):
        load(tmp_path, "closest")


# --- RSICD ------------------------------------------------------------------------------------------------------------


def rsicd(root, images="RSICD_images"):
    entries = []
    for i, (color, split) in enumerate(zip(COLORS, ["train", "val", "test", "test"])):
        picture(root / images / f"airport_{i}.jpg", color)
        raws = [f"a {color} airport  near number {k} ." for k in range(5)]
        sentences = [{"tokens": raw.split(), "raw": raw, "imgid": i, "sentid": 5 * i + k} for k, raw in enumerate(raws)]
        entries.append(
            {"filename": f"airport_{i}.jpg", "imgid": i, "sentences": sentences, "split": split, "sentids": [1, 2, 3, 4, 5]}
        )
    return entries


@pytest.mark.parametrize("images", ["RSICD_images", "RSICD_images/RSICD_images"])
def test_rsicd(tmp_path, images):
    write(tmp_path / "dataset_rsicd.json", json.dumps({"images": rsicd(tmp_path, images), "dataset": "rsicd"}))
    pairs = datasets.rsicd(tmp_path, 2)
    assert said(pairs) == [(f"airport_{i}.jpg#2", f"a {color} airport  near number 2 .") for i, color in enumerate(COLORS)]
    assert [is_color(pair.image, color) for pair, color in zip(pairs, COLORS)] == [True] * 4 and pairs[1].info == {"split": "val"}
    assert [pair.id for pair in datasets.rsicd(tmp_path, split="test")] == ["airport_2.jpg#0", "airport_3.jpg#0"]
    assert len(datasets.rsicd(tmp_path, "all")) == 20
    with pytest.raises(ValueError, match="no split 'dev', only test, train, val"):
        datasets.rsicd(tmp_path, split="dev")


def test_rsicd_bad_rows(tmp_path, clip):
    entries = rsicd(tmp_path)
    (tmp_path / "RSICD_images/airport_0.jpg").unlink()
    truncated(tmp_path / "RSICD_images/airport_1.jpg")
    entries[2]["sentences"] = []
    entries.append(entries[3] | {"sentences": [{"raw": "the same picture again"}]})
    write(tmp_path / "annotations_rsicd/dataset_rsicd.json", json.dumps({"images": entries}))
    twice = {"airport_3.jpg": "duplicate id: an earlier entry has it"}
    wrong = {"airport_0.jpg": "missing picture", "airport_1.jpg#0": "unreadable picture", "airport_2.jpg": "empty caption"}
    pairs = skipping(lambda: datasets.rsicd(tmp_path), twice | wrong)
    assert [pair.id for pair in pairs] == ["airport_3.jpg#0"]
    near = skipping(
        lambda: datasets.rsicd(tmp_path, "closest", clip=clip, split="test"), twice | {"airport_2.jpg": "empty caption"}
    )
    assert len(near) == 1 and near[0].info == {"split": "test"}


@pytest.mark.parametrize("text", ["", "{", "[]", '{"images": 3}', '{"images": [{"sentences": []}]}', '{"images": [7]}'])
def test_rsicd_with_a_damaged_table(tmp_path, text):
    rsicd(tmp_path)
    write(tmp_path / "dataset_rsicd.json", text)
    with pytest.raises(ValueError, match="dataset_rsicd.json is damaged, or of another layout .*download it again"):
        datasets.rsicd(tmp_path)


# --- data that are not there ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "load, words",
    [
        (datasets.conceptual_captions, ["Conceptual Captions", "ai.google.com", "Validation_GCC", "img2dataset", "0.jpg"]),
        (datasets.imagenet, ["ImageNet", "image-net.org", "LOC_synset_mapping.txt", "val_annotations.txt", "n01440764"]),
        (datasets.flickr8k, ["Flickr8k", "University of Illinois", "captions.txt", "Flicker8k_Dataset", "Flickr8k.token.txt"]),
        (datasets.rsicd, ["RSICD", "RSICD_optimal", "dataset_rsicd.json", "RSICD_images"]),
    ],
)
@pytest.mark.parametrize("there", [True, False])
def test_missing_data_say_what_to_get_and_where_to_put_it(tmp_path, load, words, there):
    root = tmp_path if there else tmp_path / "nowhere"
    with pytest.raises(FileNotFoundError) as error:
        load(root)
    message = str(error.value)
    assert message.startswith(f"no {words[0]} in {str(root)!r}: ") and all(word in message for word in words) and "├──" in message


@pytest.mark.parametrize("load", [datasets.flickr8k, datasets.rsicd])
def test_tables_without_pictures(tmp_path, load):
    flickr(tmp_path / "f", True)
    rsicd(tmp_path / "r")
    for name, text in [("captions.txt", "image,caption\na.jpg,x"), ("dataset_rsicd.json", '{"images": []}')]:
        write(tmp_path / name, text)
    with pytest.raises(FileNotFoundError, match="the folder with the pictures is not there"):
        load(tmp_path)
