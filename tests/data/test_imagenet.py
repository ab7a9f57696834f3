"""ImageNet, tiny-ImageNet and Kaggle's copy."""

import pytest
from datafiles import COLORS, is_color, listed, picture, skipping, truncated, write

from nibkit.data import datasets

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
    assert listed(pairs)[0] == ("n01440764/n01440764_10.JPEG", "a photo of a tench, Tinca tinca")
    assert len(pairs) == 9 and pairs[1].id == "n01440764/n01440764_2.JPEG" and pairs[8].caption == "a photo of a crane"
    assert pairs[3].info == {"class": "n01443537", "names": "goldfish, Carassius auratus"}
    if where:
        again = datasets.imagenet(tmp_path / where, words=tmp_path / "LOC_synset_mapping.txt")
        assert listed(again) == listed(pairs), "the split's own folder will do"


def test_imagenet_per_class_and_captions(tmp_path):
    synsets(tmp_path / "LOC_synset_mapping.txt")
    by_class(tmp_path / "train")
    truncated(tmp_path / "train/n01443537/n01443537_10.JPEG")
    load = lambda **options: datasets.imagenet(tmp_path, "train", per_class=1, caption="{name} ({wnid})", **options)
    pairs = skipping(load, {"n01443537/n01443537_10.JPEG": "unreadable picture"})
    assert [pair.caption for pair in pairs] == ["tench (n01440764)", "goldfish (n01443537)", "crane (n02012849)"]
    assert [pair.id[10:] for pair in pairs] == ["n01440764_10.JPEG", "n01443537_2.JPEG", "n02012849_10.JPEG"]
    assert len(load(limit=1)) == 1
    drawn = [listed(load(seed=seed, check=False)) for seed in range(6)]
    assert all(len({id[:9] for id, _ in pairs}) == len(pairs) == 3 for pairs in drawn)
    assert len({str(pairs) for pairs in drawn}) > 3


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
    assert listed(pairs) == list(names.items()) and [is_color(p.image, c) for p, c in zip(pairs, COLORS)] == [True] * 3
    with pytest.warns(UserWarning):
        assert listed(datasets.imagenet(root / "val", words=root / "words.txt")) == listed(pairs)
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
    pairs = skipping(lambda: datasets.imagenet(tmp_path, caption="{name}"), wrong)
    assert listed(pairs) == [("ILSVRC2012_val_00000001.JPEG", "tench"), ("ILSVRC2012_val_00000002.JPEG", "goldfish")]
    assert is_color(pairs[0].image, "blue")


def test_imagenet_without_names(tmp_path):
    by_class(tmp_path / "val")
    with pytest.raises(FileNotFoundError, match="there is no LOC_synset_mapping.txt or synset_words.txt or words.txt in"):
        datasets.imagenet(tmp_path)
    elsewhere = synsets(tmp_path / "elsewhere/mine.txt", "\t")
    assert len(datasets.imagenet(tmp_path, words=elsewhere)) == 9
