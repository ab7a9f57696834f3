"""Tables that would be misread in silence, or would open files of yours: refused, or a row's own loss."""

import json
import os
import pickle
import time
import tracemalloc

import numpy as np
import pandas as pd
import pytest
from datafiles import encoded, listed, picture, skipping, write

import nibkit as nk
from nibkit.data import datasets
from nibkit.data import shapes as world

# --- a name twice -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name, text",
    [
        ("t.csv", "image,caption,caption\na.jpg,x,y\n"),
        ("t.csv", "image, caption ,note,caption\na.jpg,x,n,y\n"),
        ("t.tsv", "image\timage\tcaption\na.jpg\tb.jpg\tx\n"),
        ("t.csv", "image,caption,note,note\na.jpg,x,1,2\n"),
    ],
)
def test_a_header_that_repeats_a_name_is_refused(folder, name, text):
    write(folder / name, text)
    with pytest.raises(ValueError, match=rf"{name} has the column '\w+' twice: give each column its own name"):
        datasets.folder(folder)


def test_a_data_frame_that_repeats_a_name_is_refused(folder):
    table = pd.DataFrame([["a.jpg", "x", "y"]], columns=["image", "caption", "caption"])
    with pytest.raises(ValueError, match="the table has the column 'caption' twice"):
        datasets.folder(folder, table)


def test_names_that_differ_in_case_alone_must_be_named(folder):
    write(folder / "t.csv", "image,Caption,caption\na.jpg,x,y\n")
    with pytest.raises(ValueError, match="'Caption' and 'caption' differ in case alone: name the one that is meant"):
        datasets.folder(folder)
    assert listed(datasets.folder(folder, caption="Caption")) == [("a.jpg", "x")]


def test_blank_names_at_the_end_are_what_spreadsheets_leave(folder):
    write(folder / "t.csv", "image,caption,,\na.jpg,x,,\n")
    assert listed(datasets.folder(folder)) == [("a.jpg", "x")]


# --- JSON -------------------------------------------------------------------------------------------------------------

GOOD = '{"image": "a.jpg", "caption": "good"}'
STRANGE = {
    "name twice": ('{"image": "b.jpg", "caption": "x", "caption": "y"}', "the name 'caption' stands twice"),
    "deep": ('{"image": "b.jpg", "caption": "x", "note": ' + "[" * 10**5 + "]" * 10**5 + "}", "it is nested too deeply"),
    "deep object": ('{"a":' * 10**5 + "1" + "}" * 10**5, "it is nested too deeply"),
    "1e400": ('{"image": "b.jpg", "caption": 1e400}', "the number 1e400 is too large"),
    "-1e999": ('{"image": "b.jpg", "caption": "x", "note": -1e999}', "the number -1e999 is too large"),
    "5,000 digits": (f'{{"image": "b.jpg", "caption": {"9" * 5000}}}', "the number 99999999999999999999 is too large"),
}


@pytest.mark.parametrize("line, reason", STRANGE.values(), ids=STRANGE)
def test_a_strange_line_costs_itself_alone(folder, line, reason):
    write(folder / "t.jsonl", f"{GOOD}\n{line}\n" + GOOD.replace("a.jpg", "c.jpg"))
    pairs = skipping(lambda: datasets.folder(folder), {"line 2": f"damaged row: {reason}"})
    assert listed(pairs) == [("a.jpg", "good"), ("c.jpg", "good")]


@pytest.mark.parametrize("line", [line for line, _ in STRANGE.values()], ids=STRANGE)
def test_a_whole_file_of_json_is_one_named_error(tmp_path, line):
    write(tmp_path / "dataset_rsicd.json", f'{{"images": [{line}]}}')
    (tmp_path / "RSICD_images").mkdir()
    with pytest.raises(ValueError, match=r"dataset_rsicd.json is damaged, or of another layout .*: download it again"):
        datasets.rsicd(tmp_path)


def test_numbers_that_fit_are_kept(folder):
    write(folder / "t.jsonl", json.dumps({"image": "a.jpg", "caption": "x", "n": 2**70, "f": 1.5e300, "m": -3}))
    assert datasets.folder(folder)[0].info == {"n": 2**70, "f": 1.5e300, "m": -3}


def test_half_a_character_costs_its_row(folder):
    write(folder / "t.jsonl", f'{GOOD}\n{{"image": "b.jpg", "caption": "a \\ud83d heart"}}')
    pairs = skipping(lambda: datasets.folder(folder), {"b.jpg": r"damaged caption: half a character in 'a \ud83d heart'"})
    assert listed(pairs) == [("a.jpg", "good")]


def test_a_name_that_is_not_utf8_is_spelt_out(tmp_path):
    """The picture is used; its id can be printed and stored."""
    for name in (b"caf\xe9.jpg", b"caf\xe9.txt"):
        with open(os.path.join(os.fsencode(tmp_path), name), "wb") as file:
            file.write(encoded("red") if name.endswith(b"jpg") else b"one")
    (pair,) = datasets.folder(tmp_path)
    assert (pair.id, pair.caption, pair.image.size) == ("caf\\udce9.jpg", "one", (20, 12))


@pytest.mark.parametrize("line", ["a.jpg," + "x" * 200_000, '"a.jpg'])
def test_a_field_beyond_the_limit_costs_its_line_of_flickr8k(tmp_path, line):
    picture(tmp_path / "Images/a.jpg")
    write(tmp_path / "captions.txt", f"image,caption\na.jpg,good\n{line}\n")
    with pytest.warns(UserWarning, match="1 damaged row|1 missing picture"):
        assert listed(datasets.flickr8k(tmp_path)) == [("a.jpg#0", "good")]


class Torn(list):
    """A data set one of whose rows can't be had."""

    def __getitem__(self, i):
        if i == 1:
            raise RuntimeError("shard 1 is damaged")
        return super().__getitem__(i)


def test_rows_that_huggingface_cannot_give_cost_themselves_alone():
    rows = Torn({"image": encoded("red"), "caption": f"{i}"} for i in range(3))
    pairs = skipping(lambda: datasets.huggingface(rows), {"1": "unreadable row: RuntimeError: shard 1 is damaged"})
    assert listed(pairs) == [("0", "0"), ("2", "2")]
    words = lambda row: {"0": "zero", "2": "two"}[row["caption"]]  # noqa: E731
    pairs = skipping(lambda: datasets.huggingface(list(rows), caption=words), {"1": "unreadable caption: KeyError: '1'"})
    assert listed(pairs) == [("0", "zero"), ("2", "two")]


# --- pictures outside the folder --------------------------------------------------------------------------------------


@pytest.fixture
def away(tmp_path):
    """A folder of pictures, and one beside it that no table should reach. Its name begins with the other's."""
    picture(tmp_path / "photos/a.jpg")
    picture(tmp_path / "photos/deep/d.jpg", "blue")
    picture(tmp_path / "photos-private/secret.jpg", "green")
    (tmp_path / "photos/link.jpg").symlink_to(tmp_path / "photos-private/secret.jpg")
    (tmp_path / "photos/door").symlink_to(tmp_path / "photos-private")
    (tmp_path / "photos/inside.jpg").symlink_to(tmp_path / "photos/deep/d.jpg")
    return tmp_path / "photos"


OUTSIDE = ["../photos-private/secret.jpg", "deep/../../photos-private/secret.jpg", "link.jpg", "door/secret.jpg", "absolute"]


@pytest.mark.parametrize("name", OUTSIDE)
@pytest.mark.parametrize("suffix", ["csv", "jsonl", "frame"])
def test_pictures_outside_the_folder_are_refused_unless_allowed(away, monkeypatch, name, suffix):
    name = str(away.parent / "photos-private/secret.jpg") if name == "absolute" else name
    table = pd.DataFrame({"image": ["a.jpg", name, "inside.jpg"], "caption": "x"})
    if suffix == "csv":
        table.to_csv(away / "t.csv", index=False)
    elif suffix == "jsonl":
        table.to_json(away / "t.jsonl", orient="records", lines=True)
    load = lambda **how: datasets.folder(away, table if suffix == "frame" else f"t.{suffix}", **how)  # noqa: E731
    pairs = skipping(load, {name: "outside the folder: "})
    assert [pair.id for pair in pairs] == ["a.jpg", "inside.jpg"] and "(outside=True allows it)" in pairs.skipped[0].reason
    assert [pair.id for pair in load(outside=True)] == ["a.jpg", name, "inside.jpg"]
    with pytest.warns(UserWarning, match="1 outside the folder"):
        assert len(load(check=False)) == 2


def test_where_all_pictures_are_outside_it_is_an_error(away):
    with pytest.raises(ValueError, match=r"2 outside the folder\); the first is 'link.jpg', outside the folder: .*outside=True"):
        datasets.folder(away, pd.DataFrame({"image": ["link.jpg", "door/secret.jpg"], "caption": "x"}))
    with pytest.raises(TypeError, match="outside must be True or False; got 'yes'"):
        datasets.folder(away, outside="yes")


def test_a_folder_that_is_a_link_itself_is_the_folder(away, tmp_path):
    (tmp_path / "here").symlink_to(away)
    table = pd.DataFrame({"image": ["a.jpg", "deep/d.jpg"], "caption": "x"})
    assert len(datasets.folder(tmp_path / "here", table)) == 2


def test_links_beside_text_files(away):
    for name in ("a", "link", "deep/d"):
        write(away / f"{name}.txt", name)
    (away / "inside.txt").symlink_to(write(away.parent / "passwords.txt", "secret"))
    wrong = {"inside.jpg": "outside the folder: ", "link.jpg": "outside the folder: "}
    assert [pair.caption for pair in skipping(lambda: datasets.folder(away), wrong)] == ["a", "deep/d"]
    assert {pair.caption for pair in datasets.folder(away, outside=True)} == {"a", "deep/d", "link", "secret"}


def lay_out(kind: str, root, name: str) -> None:
    """A data set whose second picture is called ``name``."""
    images = {"flickr8k": "Images", "rsicd": "RSICD_images", "imagenet": "val/images", "conceptual_captions": "images"}[kind]
    picture(root / images / "a.jpg")
    picture(root / "secret.jpg" if kind != "conceptual_captions" else root.parent / "secret.jpg")
    if kind == "flickr8k":
        write(root / "captions.txt", f"image,caption\na.jpg,x\n{name},x\n")
    elif kind == "rsicd":
        rows = [{"filename": file, "sentences": [{"raw": "x"}]} for file in ("a.jpg", name)]
        write(root / "dataset_rsicd.json", json.dumps({"images": rows}))
    elif kind == "imagenet":
        picture(root.parent / "secret.jpg")
        write(root / "words.txt", "n01440764\ttench\n")
        write(root / "val/val_annotations.txt", f"a.jpg\tn01440764\n{name}\tn01440764\n")
    else:
        write(root / "t.tsv", f"x\thttp://a\ta.jpg\nx\thttp://b\t{name}\n")


@pytest.mark.parametrize(
    "kind, name",
    [("flickr8k", "../secret.jpg"), ("rsicd", "../secret.jpg"), ("imagenet", "../../../secret.jpg"),
     ("conceptual_captions", "../../secret.jpg")],
)  # fmt: skip
def test_every_layouts_table_stays_in_its_folder(tmp_path, kind, name):
    lay_out(kind, tmp_path / "data", name)
    with pytest.warns(UserWarning, match="1 of 2 rows skipped .1 outside the folder.*outside=True allows it"):
        assert len(getattr(datasets, kind)(tmp_path / "data")) == 1
    assert len(getattr(datasets, kind)(tmp_path / "data", outside=True)) == 2


# --- scenes that are drawn when they are asked for --------------------------------------------------------------------


def test_scenes_are_drawn_when_they_are_asked_for(monkeypatch):
    drawn, draw = [], world.draw
    monkeypatch.setattr(world, "draw", lambda names, rng, **how: drawn.append(1) or draw(names, rng, **how))
    pairs = datasets.shapes(10**7, seed=3)
    assert len(pairs) == 10**7 and repr(pairs) == "<shapes: 10000000 pairs>" and pairs.skipped == [] and not drawn
    far, near = pairs[-1], pairs[0]
    assert (far.id, near.id, len(drawn)) == ("shapes-3-all-9999999", "shapes-3-all-0", 2)
    assert [pair.id for pair in pairs[2:6:2]] == ["shapes-3-all-2", "shapes-3-all-4"] and len(drawn) == 4
    stream = iter(pairs)
    assert next(stream).id == near.id and len(drawn) == 5
    with pytest.raises(IndexError):
        pairs[10**7]
    with pytest.raises(ValueError, match="captions must be"):  # checked before any is asked for
        datasets.shapes(3, captions="none")


def test_each_time_the_same_scene_and_that_of_sample():
    pairs, scenes = datasets.shapes(3, seed=1, captions="some"), nk.shapes.sample(3, seed=1, captions="some")
    for _ in range(2):
        for pair, scene in zip(pairs, scenes, strict=True):
            assert pair.caption == scene.caption and pair.image.tobytes() == scene.image.tobytes()
            assert np.array_equal(pair.masks, scene.masks) and pair.scene.named == scene.named
    assert len(datasets.shapes(0)) == 0 == len(list(datasets.shapes(0)))
    assert pickle.loads(pickle.dumps(pairs[0])).caption == pairs[0].caption


def test_many_scenes_take_no_memory():
    tracemalloc.start()
    started = time.perf_counter()
    for _ in zip(range(30), datasets.shapes(10_000)):
        pass
    assert tracemalloc.get_traced_memory()[1] < 10e6 and time.perf_counter() - started < 30
    tracemalloc.stop()
