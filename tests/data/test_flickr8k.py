"""Flickr8k, Kaggle's and the original; which of five captions."""

import numpy as np
import pytest
from datafiles import COLORS, is_color, listed, picture, skipping, truncated, write

import nibkit as nk
from nibkit.data import datasets

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
    assert listed(pairs) == [(f"{name}#{number}", texts[number]) for name, texts in FLICKR.items()]
    assert [is_color(pair.image, color) for pair, color in zip(pairs, COLORS)] == [True] * 4


def test_flickr8k_original_with_its_missing_picture(tmp_path):
    pairs = skipping(lambda: datasets.flickr8k(flickr(tmp_path, False)), {ODD: f"missing picture: {ODD}"})
    assert listed(pairs) == [(f"{name}#0", texts[0]) for name, texts in FLICKR.items()]
    with pytest.warns(UserWarning):
        every = datasets.flickr8k(tmp_path, "all")
    assert listed(every) == [(f"{name}#{k}", text) for name, texts in FLICKR.items() for k, text in enumerate(texts)]


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
    with pytest.raises(FileNotFoundError, match="no Flickr_8k.devImages.txt or Flickr8k_text/Flickr_8k.devImages.txt in"):
        datasets.flickr8k(tmp_path, split="dev")


def test_flickr8k_bad_rows(tmp_path):
    names = list(FLICKR)
    flickr(tmp_path, True)
    truncated(tmp_path / "Images" / names[1])
    lines = [f"{names[0]},", "", f'{names[0]}," an open quote', names[2], f"{names[3]},three", "\u2028"]
    write(tmp_path / "captions.txt", "\ufeffimage,caption\r\n" + "\r\n".join([*lines, f"{names[1]},one"]) + "\r\n")
    line, empty, damaged = {"line 5": "damaged row: neither"}, "empty caption", {f"{names[1]}#0": "unreadable picture"}
    pairs = skipping(lambda: datasets.flickr8k(tmp_path), line | {f"{names[0]}#0": empty} | damaged)
    assert listed(pairs) == [(f"{names[3]}#0", "three")]
    pairs = skipping(lambda: datasets.flickr8k(tmp_path, 1), line | {f"{names[3]}#1": empty, f"{names[1]}#1": empty})
    assert listed(pairs) == [(f"{names[0]}#1", "an open quote")]


def test_flickr8k_original_bad_rows(tmp_path):
    flickr(tmp_path, False)
    a, b, c, d = FLICKR
    rows = [f"{a}#0\tone", f"{a}#1 no tab", f"{a}#0\tagain", f"{b}\tno number", f"{c}#1\tsecond", f"{d}#0\t "]
    write(tmp_path / "Flickr8k.token.txt", "\r\n\r\n".join(rows))
    write(tmp_path / "Flickr_8k.testImages.txt", "\n".join(FLICKR))
    twice = {"line 3": "damaged row: neither", f"{a}#0": "duplicate id: an earlier line", "line 7": "damaged row: neither"}
    wrong = twice | {f"{c}#0": "empty caption", f"{d}#0": "empty caption"}
    assert listed(skipping(lambda: datasets.flickr8k(tmp_path), wrong)) == [(f"{a}#0", "one")]
    wrong = twice | {b: "empty caption", f"{d}#0": "empty caption"}
    every = skipping(lambda: datasets.flickr8k(tmp_path, "all", split="test"), wrong)
    assert listed(every) == [(f"{a}#0", "one"), (f"{c}#1", "second")]


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
        assert (pair.id, pair.caption) == listed(five)[int(np.argmax(alone))] and pair.source == five[0].source
    right = np.mean([pair.id == f"{i}.jpg#{i % 5}" for i, pair in enumerate(pairs)])
    assert right >= 0.8, "the model knows its world"
    some = datasets.flickr8k(crowd, "closest", clip=clip, limit=3, seed=1)
    assert len(some) == 3 and set(listed(some)) <= set(listed(pairs)), "the choice depends on no other picture"


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
    assert listed(pairs) == [("0.jpg#1", "a ring")]
