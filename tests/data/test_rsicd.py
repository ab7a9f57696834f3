"""RSICD."""

import json

import pytest
from datafiles import COLORS, is_color, listed, picture, skipping, truncated, write

from nibkit.data import datasets


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
    assert listed(pairs) == [(f"airport_{i}.jpg#2", f"a {color} airport  near number 2 .") for i, color in enumerate(COLORS)]
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
