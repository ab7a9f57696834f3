"""nk.Interactions: phrases are found in the caption, maps are split by them, batches are taken apart."""

import pytest
import torch
from helpers import tiny_clip, tiny_inputs

import nibkit as nk


@pytest.fixture(scope="module")
def found() -> nk.Interactions:
    """Two pictures; in the second caption a phrase stands twice. ("orange" is one word of two tokens, made by hand.)"""
    clip = nk.load_clip("shapes")
    scenes = nk.shapes.sample(2, seed=3, objects=3)
    captions = ["a red circle and an orange star", "A red circle and a red circle"]
    return nk.interactions(clip, clip.prepare([s.image for s in scenes], captions), num_steps=3)


def test_a_phrase_is_the_sum_of_its_tokens(found):
    values = found.values[0]
    assert torch.equal(found.phrase(0, "a red circle"), values[..., 1:4].sum(-1))
    assert torch.equal(found.phrase(0, "An  Orange star"), values[..., 5:8].sum(-1))
    assert torch.equal(found.phrase(0, [3, 7]), values[..., [3, 7]].sum(-1))
    assert torch.equal(found.phrase(1, [5, 6, 7]), found.values[1][..., 5:8].sum(-1))


@pytest.mark.parametrize(
    "pair, phrase, message",
    [
        (0, "a blue circle", "the phrase 'a blue circle' stands not in caption 0, whose words are a, red, circle, and"),
        (0, "red star", "stands not in caption 0"),
        (0, "", "stands not in caption 0"),
        (1, "a red circle", r"more than once in caption 1: give the positions of one, \[1, 2, 3\] or \[5, 6, 7\]"),
        (0, [], "different whole numbers within 0 … 8; got"),
        (0, [9], "different whole numbers within 0 … 8"),
        (0, [1, 1], "different whole numbers"),
        (0, [1.0], "different whole numbers"),
        (2, "a red circle", "pair must be a whole number within 0 … 1"),
        (-1, "a red circle", "pair must be a whole number within 0 … 1"),
    ],
)
def test_what_is_no_phrase_is_refused(found, pair, phrase, message):
    with pytest.raises(ValueError, match=message):
        found.phrase(pair, phrase)


def test_tokens_of_one_word_go_together():
    inputs = tiny_inputs((5,))
    words = nk.Inputs(inputs.pixel_values, inputs.input_ids, None, (("<", "ze", "bra", "dog", ">"),), ((None, 0, 0, 1, None),))
    found = nk.interactions(tiny_clip(), words, num_steps=2)
    assert torch.equal(found.phrase(0, "zebra"), found.values[0, ..., 1:3].sum(-1)) and found.phrases(0).image.shape == (2, 3, 3)
    with pytest.raises(ValueError, match="stands not in caption 0, whose words are zebra, dog"):
        found.phrase(0, "bra dog")


def test_a_map_split_by_phrases(found):
    phrases = ["a red circle", "an orange star"]
    split = found.phrases(0, phrases)
    assert isinstance(split, nk.Attribution) and len(split) == 2 and split.method == "interactions"
    assert torch.equal(split.image, torch.stack([found.phrase(0, phrase) for phrase in phrases]))
    columns = found.values[0].sum((0, 1)) + found.class_token[0]
    assert torch.equal(split.text[0, 1:4], columns[1:4]) and (split.text[0, 4:] == 0).all() and split.text[0, 0] == 0
    assert torch.allclose(split.image.sum((1, 2)) + split.class_token, split.text.sum(1), atol=1e-6)
    assert split.tokens[0] == found.tokens[0] and split.views == (found.views[0],) * 2
    assert torch.equal(found.phrases(1).image, found.values[1, ..., 1:8].movedim(-1, 0))
    with pytest.raises(ValueError, match="phrases is empty"):
        found.phrases(0, [])


def test_heatmaps_of_phrases_have_one_scale(found):
    phrases = ["a red circle", "an orange star", "and"]
    maps, plain = found.heatmap(0, phrases, 64), found.heatmap(0, phrases, 64, normalize=None)
    assert maps.shape == (3, 64, 64) and float(maps.abs().max()) == 1
    assert torch.allclose(maps * plain.abs().max(), plain, atol=1e-7)
    assert len({float(one.abs().max()) for one in maps}) == 3
    with pytest.raises(ValueError, match='normalize must be "signed" or None; got'):
        found.heatmap(0, phrases, normalize="minmax")


def test_the_table_of_words_adds_up_to_nib(found):
    table = found.word_table(0)
    assert list(table.index) == "a red circle and an orange star".split()
    assert list(table.columns) == ["patches", "class token", "no patch", "all"]
    clip = nk.load_clip("shapes")
    scene = nk.shapes.sample(2, seed=3, objects=3)[0]
    att = nk.nib(clip, clip.prepare(scene.image, "a red circle and an orange star"), None, 3, "log-gauss")
    assert table["all"].tolist() == pytest.approx([value for _, value in att.words_of(0)], abs=1e-6)
    assert table["patches"].iloc[1] == pytest.approx(float(found.values[0, ..., 2].sum()), abs=1e-6)


def test_it_is_taken_apart_moved_and_shown(found):
    assert repr(found) == "Interactions(2 pairs, 7 × 7 patches × 9 tokens, torch.float32, cpu)"
    one = found[1]
    assert len(one) == 1 and torch.equal(one.values[0], found.values[1]) and one.tokens == found.tokens[1:]
    assert found.to(dtype=torch.float64).values.dtype == torch.float64
    assert found.cpu().numpy()["null_picture"].shape == (2, 9)
