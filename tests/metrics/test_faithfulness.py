"""Randomisation and removal: against what they mean, written out in float64 with transformers' own model."""

import copy
import functools
from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers import new_clip, own_similarity, same, state, tiny_clip, tiny_inputs

import nibkit as nk
from nibkit.methods import controls
from nibkit.metrics.faithfulness import PARTS, agreement, cascade, randomisation, removal, rho
from nibkit.metrics.localisation import named_words


def ranks(values) -> list[float]:
    """Places from the smallest up; equal values share the mean of theirs."""
    return [sum(b < a for b in values) + (sum(b == a for b in values) - 1) / 2 for a in values]


def spearman(a, b) -> float:
    """By its definition, in plain Python."""
    a, b = ranks(list(a)), ranks(list(b))
    a, b = [x - sum(a) / len(a) for x in a], [x - sum(b) / len(b) for x in b]
    return sum(x * y for x, y in zip(a, b)) / (sum(x * x for x in a) * sum(y * y for y in b)) ** 0.5


# --- ρ ------------------------------------------------------------------------------------------------------------------------


def test_rho_by_its_definition():
    draw = np.random.RandomState(0)
    for _ in range(20):
        a, b = draw.randint(0, 6, 9).astype(float), draw.standard_normal(9)
        assert rho(a, torch.from_numpy(b)) == pytest.approx(spearman(a, b), abs=1e-12)
    assert rho([1, 2, 3], [5, 7, 90]) == 1 and rho([1, 2, 3], [9, 7, 0]) == -1


def test_a_constant_map_has_no_order_and_one_number_none_at_all():
    assert rho([1, 2, 3], [4, 4, 4]) == rho([0, 0], [1, 2]) == 0
    assert np.isnan(rho([1], [2])) and np.isnan(rho([], []))


# --- randomisation ------------------------------------------------------------------------------------------------------------


def test_randomisation_written_out():
    clip, inputs = tiny_clip(), tiny_inputs((6, 9, 3))
    which = {"top": "image_projection", "two": ("image_projection", "image_norm", "image_block_4"), "text": "text"}
    table = randomisation(clip, inputs, nk.nib, which, seeds=(3, 8))
    assert [*table.columns] == ["stage", "seed", "pair", "image", "text"] and len(table) == 3 * 2 * 3
    before = nk.nib(clip, inputs)
    for (stage, seed), rows in table.groupby(["stage", "seed"], sort=False):
        after = nk.nib(controls.randomised(clip, which[stage], seed), inputs)
        for i, row in enumerate(rows.itertuples()):
            assert row.pair == i
            assert row.image == pytest.approx(spearman(before.image[i].flatten().tolist(), after.image[i].flatten().tolist()))
            words = slice(1, len(inputs.attention_mask[i].nonzero()) - 1)  # between start and end
            if i == 2:
                assert np.isnan(row.text)  # one word
            else:
                assert row.text == pytest.approx(spearman(before.text[i, words].tolist(), after.text[i, words].tolist()))
    assert table.groupby("seed")["image"].mean().diff().abs().max() > 1e-3  # seeds are other models


def test_a_map_that_sees_no_model_keeps_its_order_and_a_constant_one_has_none():
    clip, inputs = tiny_clip(), tiny_inputs((5, 8))
    blind = randomisation(clip, inputs, controls.random_map, ["image", "text_block_1"], seeds=(0,))
    assert (blind[["image", "text"]] == 1).all(axis=None)
    assert (randomisation(clip, inputs, controls.ones_map, ["image"], seeds=(0,))["image"] == 0).all()


def test_the_default_goes_down_the_image_encoder_and_takes_the_other_one_whole():
    clip, seen = tiny_clip(), []

    def note(clip, inputs):
        seen.append(clip)
        return controls.random_map(clip, inputs)

    table = randomisation(clip, tiny_inputs((5,)), note, seeds=(4,))
    names = ["image_projection", "image_norm", "image_block_4", "image_block_3", "text"]
    assert table["stage"].tolist() == names and seen[0] is clip
    assert cascade(clip, "text", 2) == {"text_projection": ("text_projection",), "text_norm": ("text_projection", "text_norm")}
    for name, other in zip(names, seen[1:]):
        parts = names[: names.index(name) + 1] if name != "text" else name
        want = controls.randomised(clip, parts, 4).model.state_dict()
        assert all(torch.equal(value, want[key]) for key, value in other.model.state_dict().items())


def test_nothing_is_left_behind_and_bad_input_is_told_first():
    clip, inputs = new_clip(), tiny_inputs((5, 8))
    before = state(clip)
    randomisation(clip, inputs, nk.nib, ["last_block"], seeds=(0,))
    assert same(before, state(clip))
    for options, message in (
        (dict(which=["top"]), "stage must be"),
        (dict(seeds=(0, -1)), "seed must be a whole number"),
        (dict(which=["image"], seeds=()), "seeds is empty"),
        (dict(which=[]), "which is empty"),
    ):
        with nk.count_passes(clip) as passes, pytest.raises(ValueError, match=message):
            randomisation(clip, inputs, nk.nib, **options)
        assert passes.forward == 0
    with pytest.raises(ValueError, match="steps must be a whole number within 1 … 8"):
        cascade(clip, steps=9)


# --- removal ------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def clip() -> nk.Clip:
    return nk.load_clip("shapes", dtype=torch.float64)


def prepared(clip, scenes) -> nk.Inputs:
    return clip.prepare([scene.image for scene in scenes], [scene.caption for scene in scenes])


def test_removal_written_out(clip):
    scenes = nk.shapes.sample(3, 21, "two", objects=3) + nk.shapes.sample(1, 22, "absent", objects=2)
    inputs = prepared(clip, scenes)
    att = nk.nib(clip, inputs)
    pixels = replace(att, pixels=torch.rand(4, 224, 224, generator=torch.Generator().manual_seed(0), dtype=torch.float64))
    table = removal(clip, scenes, {"nib": att, "pixels": pixels}, batch_size=3)
    assert [*table.columns] == [*PARTS, "effect", "nib", "pixels"] and len(table) == 3 * 3 + 2 + 4 * 2
    whole = own_similarity(clip, inputs)
    for row in table.itertuples():
        scene, i = scenes[row.pair], row.pair
        if row.side == "image":
            image, caption, words = scene.without(row.part).image, scene.caption, None
            mask = torch.from_numpy(scene.masks[row.part])
            total = sum(float(att.image[i, y, x]) * int(mask[32 * y : 32 * y + 32, 32 * x : 32 * x + 32].sum())
                        for y in range(7) for x in range(7)) / 1024  # fmt: skip
            assert row.pixels == pytest.approx(float(pixels.pixels[i][mask].sum()) / 1024, rel=1e-9)
            assert row.named == (scene.objects[row.part].phrase in scene.phrases) and row.phrase == scene.objects[row.part].phrase
        else:
            image, caption = scene.image, scene.phrases[1 - row.part]
            words = slice(1, 4) if row.part == 0 else slice(5, 8)
            total = float(att.text[i, words].sum())
            assert row.phrase == scene.phrases[row.part]
            assert row.named == (row.phrase in {thing.phrase for thing in scene.objects})
        after = own_similarity(clip, clip.prepare(image, caption))
        assert row.effect == pytest.approx(float(whole[i] - after[0]), abs=1e-9)
        assert row.nib == pytest.approx(total, rel=1e-9)


def test_a_phrase_takes_its_and_along_wherever_it_stands(clip, monkeypatch):
    scenes, asked = nk.shapes.sample(1, 5, "all", objects=3), []
    prepare = clip.prepare
    att = nk.nib(clip, prepared(clip, scenes))
    monkeypatch.setattr(clip, "prepare", lambda images, captions: asked.append(captions) or prepare(images, captions))
    removal(clip, scenes, att)
    a, b, c = scenes[0].phrases
    assert [*asked[1][3:]] == [f"{b} and {c}", f"{a} and {c}", f"{a} and {b}"]


def test_one_phrase_has_no_row(clip):
    scenes = nk.shapes.sample(2, 23, "one", objects=2)
    table = removal(clip, scenes, nk.nib(clip, prepared(clip, scenes)))
    assert set(table["side"]) == {"image"} and len(table) == 4 and table.columns[-1] == "map"


def test_many_parts_are_prepared_in_turns(clip, monkeypatch):
    scenes = nk.shapes.sample(4, 24, "all", objects=(1, 3))
    att = nk.nib(clip, prepared(clip, scenes))
    want = removal(clip, scenes, att)
    monkeypatch.setattr("nibkit.metrics.faithfulness.TOGETHER", 2)
    assert np.allclose(removal(clip, scenes, att)["effect"], want["effect"], atol=1e-9)


def test_removal_refuses_maps_of_other_pairs(clip):
    scenes = nk.shapes.sample(2, 25, "two", objects=3)
    att = nk.nib(clip, prepared(clip, scenes))
    with pytest.raises(ValueError, match="att explains 2 pairs, inputs have 1"):
        removal(clip, scenes[:1], att)
    with pytest.raises(TypeError, match=r"att must be an nk\.Attribution"):
        removal(clip, scenes, {"nib": att, "other": att.image})
    with pytest.raises(ValueError, match="can't be drawn again"):
        removal(clip, [replace(scene, redraw=None) for scene in scenes], att)


def test_agreement_by_hand(clip):
    scenes = nk.shapes.sample(3, 26, "all", objects=(1, 3))
    att = nk.nib(clip, prepared(clip, scenes))
    table = removal(clip, scenes, {"nib": att, "twice": att, "ones": controls.ones_map(clip, prepared(clip, scenes))})
    table["twice"] = -table["effect"]
    found = agreement(table).set_index(["pair", "side"])
    for (pair, side), parts in table.groupby(["pair", "side"]):
        if len(parts) == 1:
            assert (pair, side) not in found.index
            continue
        row = found.loc[(pair, side)]
        assert row["parts"] == len(parts) and row["twice"] == pytest.approx(-1)
        assert row["nib"] == pytest.approx(spearman(parts["effect"], parts["nib"]))
    assert agreement(table[:1]).empty


def test_phrases_are_those_of_named_words(clip):
    """The sums on true phrases are those of localisation's own tokens."""
    scenes = nk.shapes.sample(5, 27, "absent", objects=2)
    inputs = prepared(clip, scenes)
    att = nk.nib(clip, inputs)
    table = removal(clip, scenes, att).query("side == 'text' and named")
    words = torch.from_numpy(named_words(scenes, inputs))
    assert np.allclose(table["map"], (att.text * words).sum(1), atol=1e-12)


def test_removal_leaves_the_model_alone(clip):
    scenes = nk.shapes.sample(2, 28, "two", objects=2)
    att = nk.nib(clip, prepared(clip, scenes))
    before = copy.copy(state(clip))
    functools.partial(removal, clip, scenes)(att)
    assert same(before, state(clip))
