"""Confidence drop and increase, insertion and deletion: against the protocols written out with transformers alone."""

import copy
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from helpers import END, START, ShortMemory, new_clip, same, state, tiny_clip, tiny_inputs
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as nnf

import nibkit as nk
from nibkit.methods.attribution import Scaled
from nibkit.methods.controls import ones_map, random_map
from nibkit.metrics.confidence import confidence, relative_drop
from nibkit.metrics.curves import curves, insertion_deletion, rank
from nibkit.metrics.masking import check_maps, compound, cut_captions, token_weights
from nibkit.model.clip import find_words

PROTOCOLS = ("paper", "eos")
LENGTHS = (5, 8, 3, 12)
COLUMNS = ["image_drop", "image_increase", "text_drop", "text_increase"]
SCORES = ["image_before", "image_after", "text_before", "text_after"]


def some_inputs(**options) -> nk.Inputs:
    """Captions of 3, 6, 1 and 10 words, with repeated ones in two of them."""
    inputs = tiny_inputs(LENGTHS, **options)
    inputs.input_ids[1, 4] = inputs.input_ids[1, 2]
    inputs.input_ids[3, 5] = inputs.input_ids[3, 8] = inputs.input_ids[3, 2]
    return inputs


def some_maps(clip: nk.Clip, inputs: nk.Inputs, seed: int = 0) -> nk.Attribution:
    """Signed random maps of the pairs themselves, so that a pair has the same ones in every batch."""
    found = random_map(clip, inputs, seed)
    return replace(found, image=found.image - 0.4, text=(found.text - 0.4) * inputs.attention_mask)


def found_by(outputs) -> torch.Tensor:
    """transformers' features, whether it returns them bare or in an output."""
    return outputs if isinstance(outputs, torch.Tensor) else outputs.pooler_output


def image_features(model, pixels) -> torch.Tensor:
    with torch.no_grad():
        return found_by(model.get_image_features(pixel_values=pixels[None]))[0]


def text_features(model, ids, mask=None, rows=None) -> torch.Tensor:
    """Features of one caption; rows: a weight for each position's row of the embedding table."""
    if rows is not None:
        model = copy.deepcopy(model)
        model.text_model.embeddings.token_embedding.register_forward_hook(lambda m, i, output: output * rows[None, :, None])
    with torch.no_grad():
        return found_by(model.get_text_features(input_ids=ids[None], attention_mask=None if mask is None else mask[None]))[0]


def cosine(a, b) -> float:
    return float(nnf.cosine_similarity(a, b, dim=0))


def minmax(values):
    return (values - values.min()) / (values.max() - values.min())


def written_out(clip: nk.Clip, inputs: nk.Inputs, att: nk.Attribution, protocol: str) -> pd.DataFrame:
    """The four metrics and what they come from, pair by pair, by transformers' CLIPModel alone."""
    table = []
    for i in range(len(inputs)):
        length = int(inputs.attention_mask[i].sum())
        ids, values, pixels = inputs.input_ids[i, :length], att.text[i, :length], inputs.pixel_values[i]
        image, text = image_features(clip.model, pixels), text_features(clip.model, ids)
        heat = nnf.interpolate(att.image[i][None, None], size=pixels.shape[-2:], mode="bilinear")[0, 0]
        pairs = [(cosine(image, text), cosine(image_features(clip.model, pixels * minmax(heat)), text))]
        if protocol == "paper":
            words, scaled = ids[1:-1], copy.deepcopy(clip.model)
            for token, weight in zip(words, minmax(values)[1:-1]):
                scaled.text_model.embeddings.token_embedding.weight.data[token] *= weight
            before, after = text_features(clip.model, words), text_features(scaled, words)
        else:
            rows = torch.ones(length)
            rows[1:-1] = minmax(values[1:-1]) if length > 3 else 0.0
            before, after = text, text_features(clip.model, ids, rows=rows)
        pairs.append((cosine(image, before), cosine(image, after)))
        figures = [figure for before, after in pairs for figure in (100 * max(0, before - after), 100.0 * (after > before))]
        table.append(figures + [score for pair in pairs for score in pair])
    return pd.DataFrame(table, columns=COLUMNS + SCORES)


# --- confidence ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("end", [2, END])
def test_protocols_written_out_with_transformers_alone(protocol, end):
    clip, inputs = tiny_clip(end=end), some_inputs()
    for att in (some_maps(clip, inputs), nk.nib(clip, inputs)):
        found = confidence(clip, inputs, att, protocol)
        assert list(found)[:4] == COLUMNS and len(found) == len(inputs)
        expected = written_out(clip, inputs, att, protocol)
        assert (found[COLUMNS] - expected[COLUMNS]).abs().max(axis=None) < 1e-3  # percent
        assert (found[SCORES] - expected[SCORES]).abs().max(axis=None) < 1e-5
        for side in ("image", "text"):  # else nothing would be compared
            assert (np.abs(found[f"{side}_before"] - found[f"{side}_after"]) > 1e-3).sum() >= 3


def test_columns_follow_from_before_and_after():
    clip, inputs = tiny_clip(), some_inputs()
    found = confidence(clip, inputs, some_maps(clip, inputs))
    for side in ("image", "text"):
        before, after = found[f"{side}_before"], found[f"{side}_after"]
        assert np.allclose(found[f"{side}_drop"], 100 * (before - after).clip(lower=0))
        assert (found[f"{side}_increase"] == 100.0 * (after > before)).all()
        assert np.allclose(found[f"{side}_relative_drop"], relative_drop(before, after), equal_nan=True)
    assert np.allclose(found["image_before"], clip.similarity(inputs), atol=1e-6)


def test_eos_keeps_the_whole_similarity_and_paper_does_not():
    clip, inputs = tiny_clip(), some_inputs()
    att, whole = some_maps(clip, inputs), clip.similarity(inputs).numpy()
    assert np.allclose(confidence(clip, inputs, att, "eos")["text_before"], whole, atol=1e-6)
    assert (np.abs(confidence(clip, inputs, att, "paper")["text_before"] - whole) > 1e-3).all()


@pytest.mark.parametrize("end", [2, END])
def test_position_that_is_read(end):
    """Without its end token a caption is read at its highest id, or at its first word; the end token's place is length − 1."""
    clip, inputs = tiny_clip(end=end), some_inputs()
    att = some_maps(clip, inputs)
    expected = [int(ids[1 : n - 1].argmax()) + 1 if end == 2 else 1 for ids, n in zip(inputs.input_ids, LENGTHS)]
    assert confidence(clip, inputs, att)["text_position"].tolist() == expected
    assert confidence(clip, inputs, att, "eos")["text_position"].tolist() == [n - 1 for n in LENGTHS]


def test_paper_what_stands_behind_the_position_read_is_inert():
    clip, inputs = tiny_clip(end=END), some_inputs()  # reads the first word alone
    att = Scaled(**vars(ones_map(clip, inputs)))
    att.text[:, 2:] = 0.25
    found = confidence(clip, inputs, att)
    again = (inputs.input_ids[:, 1:2] == inputs.input_ids[:, 2:]).any(1)  # the first word stands there again: its row is scaled
    assert again.tolist() == [True, False, False, False]
    assert ((found["text_after"] != found["text_before"]) == again.numpy()).all()
    assert (confidence(clip, inputs, att, "eos")["text_before"] != confidence(clip, inputs, att, "eos")["text_after"])[
        [0, 1, 3]
    ].all()


def test_paper_repeats_compound():
    clip, inputs = tiny_clip(), tiny_inputs((5,))
    inputs.input_ids[0, 1:4] = torch.tensor([7, 50, 7])
    att = Scaled(**vars(ones_map(clip, inputs)))
    att.text[0, 1:4] = torch.tensor([0.5, 1.0, 0.5])
    once = replace(att, text=torch.tensor([[1.0, 0.25, 1.0, 1.0, 1.0]]))
    assert confidence(clip, inputs, att).equals(confidence(clip, inputs, once))
    assert not confidence(clip, inputs, att, "eos").equals(confidence(clip, inputs, once, "eos"))
    weights = compound(inputs, att.text)
    assert weights.tolist() == [[1.0, 0.25, 1.0, 0.25, 1.0]]


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("batch_size", [None, 1, 3])
def test_ones_map_takes_nothing_away(protocol, batch_size):
    clip, inputs = tiny_clip(), some_inputs()
    found = confidence(clip, inputs, ones_map(clip, inputs), protocol, batch_size)
    assert (found[COLUMNS] == 0).all(axis=None)
    assert (found["image_after"] == found["image_before"]).all() and (found["text_after"] == found["text_before"]).all()


@pytest.mark.parametrize("value", [0.0, 0.3, -2.0])
def test_constant_maps_become_zeros(value):
    clip, inputs = tiny_clip(), some_inputs()
    att = some_maps(clip, inputs)
    att = replace(att, image=torch.full_like(att.image, value), text=torch.full_like(att.text, value))
    found = confidence(clip, inputs, att, "eos")
    grey = clip.encode_image(replace(inputs, pixel_values=torch.zeros_like(inputs.pixel_values)))
    assert np.allclose(found["image_after"], nnf.cosine_similarity(grey, clip.encode_text(inputs)), atol=1e-6)
    for i, n in enumerate(LENGTHS):
        rows = torch.tensor([1.0, *[0.0] * (n - 2), 1.0])
        image = image_features(clip.model, inputs.pixel_values[i])
        expected = cosine(image, text_features(clip.model, inputs.input_ids[i, :n], rows=rows))
        assert abs(found["text_after"][i] - expected) < 1e-5
    assert np.isfinite(confidence(clip, inputs, att, "paper")[COLUMNS]).all(axis=None)


def test_text_map_scaled_over_all_tokens_or_over_the_words():
    clip, inputs = tiny_clip(), tiny_inputs((5, 3))
    att = replace(some_maps(clip, inputs), text=torch.tensor([[-6.0, 1.0, 2.0, 0.0, 4.0], [5.0, 1.0, 9.0, 0.0, 0.0]]))
    real, words = find_words(clip, inputs)
    assert torch.allclose(token_weights(att, real), torch.tensor([[0, 0.7, 0.8, 0.6, 1.0], [0.5, 0, 1, 0, 0]]))
    assert torch.allclose(token_weights(att, words), torch.tensor([[0, 0.5, 1.0, 0, 0], [0.0, 0, 0, 0, 0]]))


def test_pixel_maps_are_used_as_pixels():
    clip, inputs = tiny_clip(), some_inputs()
    att = some_maps(clip, inputs)
    pixels = torch.from_numpy(np.random.RandomState(5).standard_normal((4, 48, 48)).astype(np.float32))
    found = confidence(clip, inputs, replace(att, pixels=pixels))
    masked = inputs.pixel_values[2] * minmax(pixels[2])
    text = text_features(clip.model, inputs.input_ids[2, :3])
    assert abs(found["image_after"][2] - cosine(image_features(clip.model, masked), text)) < 1e-5


def test_cut_captions():
    clip, inputs = tiny_clip(), some_inputs()
    inputs = replace(inputs, tokens=tuple(tuple(f"t{j}" for j in range(n)) for n in LENGTHS))
    found = cut_captions(clip, inputs)
    assert found.input_ids.shape == (4, 10)
    for i, n in enumerate(LENGTHS):
        assert found.input_ids[i, : n - 2].tolist() == inputs.input_ids[i, 1 : n - 1].tolist()
        assert found.attention_mask[i].tolist() == [1] * (n - 2) + [0] * (12 - n)
        assert found.tokens[i] == tuple(f"t{j}" for j in range(1, n - 1))
        assert clip.text.pooled(found)[i] == inputs.input_ids[i, 1 : n - 1].argmax()


def test_relative_drop_by_hand():
    found = relative_drop([0.5, 0.5, 0.2, 0.0, -0.3, 0.4], [0.4, 0.6, -0.1, -0.1, -0.5, 0.4])
    assert np.allclose(found, [20, 0, 150, np.nan, np.nan, 0], equal_nan=True)
    assert np.isclose(relative_drop(0.8, 0.6), 25)


# --- independence and state ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", [2, END])
def test_a_pair_depends_on_nothing_but_itself(end):
    """Alone, in another order, with more padding, in other batches: the same numbers."""
    clip, inputs = tiny_clip(end=end), some_inputs()
    att, wide = some_maps(clip, inputs), some_inputs(columns=16)
    order = [2, 0, 3, 1]

    def all_of(inputs, att, batch_size=None):
        parts = [confidence(clip, inputs, att, protocol, batch_size).add_prefix(protocol) for protocol in PROTOCOLS]
        return pd.concat([*parts, insertion_deletion(clip, inputs, att, batch_size=batch_size)], axis=1)

    together = all_of(inputs, att)
    close = lambda found, expected: np.allclose(found, expected, rtol=1e-5, atol=1e-4, equal_nan=True)  # noqa: E731
    for i in range(4):
        assert close(all_of(inputs[i], att[i]), together.iloc[[i]])
    assert close(all_of(inputs[order], att[order]), together.iloc[order])
    assert close(all_of(wide, some_maps(clip, wide)), together)
    assert close(all_of(inputs, att, batch_size=1), together) and close(all_of(inputs, att, batch_size=3), together)


@pytest.mark.parametrize("score", [confidence, curves])
def test_nothing_is_left_behind(score, monkeypatch):
    clip, inputs = new_clip(), some_inputs()
    att = some_maps(clip, inputs)
    expected = score(clip, inputs, att)
    for block in (*clip.image.blocks, *clip.text.blocks):
        block.self_attn.dropout = 0.5  # must not be felt: it is for training
    clip.model.train().requires_grad_(True)
    clip.model.text_model.final_layer_norm.eval()
    misfit = torch.nn.Linear(3, 16)
    before = state(clip)
    assert score(clip, inputs, att).equals(expected)
    assert same(state(clip), before)
    monkeypatch.setattr(clip.text, "projection", misfit)  # fails at the last step, deep inside
    with pytest.raises(RuntimeError):
        score(clip, inputs, att)
    monkeypatch.undo()
    assert same(state(clip), before)


def test_other_dtypes():
    inputs = some_inputs()
    att = some_maps(tiny_clip(), inputs)
    expected = confidence(tiny_clip(), inputs, att)
    double = confidence(new_clip(dtype=torch.float64), inputs, att)
    assert np.allclose(double[["image_after", "text_after"]], expected[["image_after", "text_after"]], atol=1e-5)
    half = confidence(new_clip(dtype=torch.bfloat16), inputs, att)
    assert np.allclose(half[["image_after", "text_after"]], expected[["image_after", "text_after"]], atol=0.1)


# --- insertion and deletion ---------------------------------------------------------------------------------------------------


def test_curves_written_out_with_transformers_alone():
    """An image size that is no multiple of the patch: the pixels beyond the last patch go with it."""
    clip, inputs = tiny_clip(image_size=50), some_inputs(image_size=50)
    att = some_maps(clip, inputs)
    found = curves(clip, inputs, att)
    assert list(found) == ["pair", "side", "fraction", "insertion", "deletion"]
    for i in (1, 2):
        n, pixels = LENGTHS[i], inputs.pixel_values[i]
        ids = inputs.input_ids[i, :n]
        image, text = image_features(clip.model, pixels), text_features(clip.model, ids)
        order = att.image[i].flatten().argsort(descending=True).tolist()
        curve = found[(found["pair"] == i) & (found["side"] == "image")]
        assert np.allclose(curve["fraction"], np.arange(10) / 9)
        for k in range(10):
            keep = torch.zeros(50, 50)
            for patch in order[:k]:
                y, x = 16 * (patch // 3), 16 * (patch % 3)
                keep[y : y + 16 + 2 * (y == 32), x : x + 16 + 2 * (x == 32)] = 1
            row = curve.iloc[k]
            assert abs(row["insertion"] - cosine(image_features(clip.model, pixels * keep), text)) < 1e-5
            assert abs(row["deletion"] - cosine(image_features(clip.model, pixels * (1 - keep)), text)) < 1e-5
        order = (att.text[i, 1 : n - 1].argsort(descending=True) + 1).tolist()
        curve = found[(found["pair"] == i) & (found["side"] == "text")]
        assert np.allclose(curve["fraction"], np.arange(n - 1) / (n - 2))
        for k in range(n - 1):
            first = torch.tensor([float(j in order[:k]) for j in range(n)])
            ends = torch.tensor([1.0, *[0.0] * (n - 2), 1.0])
            row = curve.iloc[k]
            assert abs(row["insertion"] - cosine(image, text_features(clip.model, ids, rows=first + ends))) < 1e-5
            assert abs(row["deletion"] - cosine(image, text_features(clip.model, ids, rows=1 - first))) < 1e-5


def test_curves_begin_and_end_at_nothing_and_everything():
    clip, inputs = tiny_clip(), some_inputs()
    att, whole = some_maps(clip, inputs), clip.similarity(inputs).numpy()
    for unit, steps in (("patch", 4), ("pixel", 7), ("pixel", None)):
        table = curves(clip, inputs, att, steps, unit)
        for side in ("image", "text"):
            groups = table[table["side"] == side].groupby("pair")
            begin, stop = groups.first(), groups.last()
            assert (begin["fraction"] == 0).all() and (stop["fraction"] == 1).all()
            assert np.allclose(begin["deletion"], whole, atol=1e-6) and np.allclose(stop["insertion"], whole, atol=1e-6)
            assert np.allclose(begin["insertion"], stop["deletion"], atol=1e-6)
        assert (table[table["side"] == "image"].groupby("pair").size() == (steps or 9) + 1).all()


def test_pixels_go_by_the_heatmap():
    clip, inputs = tiny_clip(), some_inputs()[[0]]
    att = some_maps(clip, inputs)
    table = curves(clip, inputs, att, steps=4, unit="pixel")
    order = att.heatmap(48, None)[0].flatten().argsort(descending=True, stable=True)
    keep = torch.zeros(48 * 48)
    keep[order[: 48 * 48 // 4]] = 1
    text = text_features(clip.model, inputs.input_ids[0, :5])
    masked = image_features(clip.model, inputs.pixel_values[0] * keep.reshape(48, 48))
    assert abs(table["insertion"][1] - cosine(masked, text)) < 1e-5


def test_areas_by_trapezoids():
    clip, inputs = tiny_clip(), some_inputs()
    att = some_maps(clip, inputs)
    areas, table = insertion_deletion(clip, inputs, att), curves(clip, inputs, att)
    assert list(areas) == ["image_insertion_auc", "image_deletion_auc", "text_insertion_auc", "text_deletion_auc"]
    for i, side, kind in ((0, "image", "insertion"), (3, "text", "deletion"), (2, "text", "insertion")):
        y = table[(table["pair"] == i) & (table["side"] == side)][kind].to_numpy()
        assert np.isclose(areas[f"{side}_{kind}_auc"][i], (y[0] / 2 + y[1:-1].sum() + y[-1] / 2) / (len(y) - 1))


@given(seed=st.integers(0, 99), steps=st.integers(1, 9), levels=st.integers(1, 4))
def test_areas_lie_within_their_curves(seed, steps, levels):
    """Also for maps with many equal values, and for one value alone."""
    clip, inputs = tiny_clip(), some_inputs()
    att = random_map(clip, inputs, seed)
    att = replace(att, image=(levels * att.image).floor(), text=(levels * att.text).floor())
    areas, table = insertion_deletion(clip, inputs, att, steps), curves(clip, inputs, att, steps)
    for (pair, side), curve in table.groupby(["pair", "side"]):
        for kind in ("insertion", "deletion"):
            area = areas[f"{side}_{kind}_auc"][pair]
            assert -1 <= curve[kind].min() - 1e-9 <= area <= curve[kind].max() + 1e-9 <= 1 + 1e-6


def test_order_of_a_map_is_all_that_counts():
    clip, inputs = tiny_clip(), some_inputs()
    att = some_maps(clip, inputs)
    other = replace(att, image=10 + att.image**3, text=att.text.exp())
    assert insertion_deletion(clip, inputs, att).equals(insertion_deletion(clip, inputs, other))
    assert torch.equal(rank(torch.zeros(2, 5000)), torch.arange(5000).expand(2, -1))
    assert rank(torch.tensor([[1.0, 3.0, 3.0, -1.0, 2.0]])).tolist() == [[3, 0, 1, 4, 2]]


# --- bad input ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("score", [confidence, curves, insertion_deletion])
def test_maps_that_are_not_of_these_inputs(score):
    clip, inputs = tiny_clip(), some_inputs()
    att = some_maps(clip, inputs)
    named = replace(inputs, tokens=tuple(("a",) * n for n in LENGTHS))
    hot = lambda values, index, bad: values.clone().index_put_(tuple(map(torch.tensor, index)), torch.tensor(bad))  # noqa: E731
    cases = [
        (inputs[[0, 1]], att, "explains 4 pairs, inputs have 2"),
        (inputs, att[:3], "explains 3 pairs, inputs have 4"),
        (inputs, replace(att, tokens=att.tokens[:3]), "these very inputs"),
        (some_inputs(columns=14), att, r"att.text is \[4, 12\], inputs.input_ids are \[4, 14\]"),
        (inputs[[1, 0, 2, 3]], att, "another caption for pair 0"),
        (named, att, "another caption for pair 0"),
        (inputs, replace(att, image=att.image.flatten(1)), r"att.image must be \[B, H, W\]"),
        (inputs, replace(att, image=hot(att.image, (2, 1, 1), torch.nan)), "att.image of pair 2 holds NaN"),
        (inputs, replace(att, text=hot(att.text, (1, 3), torch.inf)), "att.text of pair 1 holds NaN"),
        (inputs, replace(att, pixels=torch.full((4, 48, 48), torch.nan)), "att.pixels of pair 0 holds NaN"),
        (inputs, replace(att, pixels=torch.ones(3, 48, 48)), "att.pixels must be"),
    ]
    for these, maps, message in cases:
        with pytest.raises(ValueError, match=message):
            score(clip, these, maps)
    with pytest.raises(TypeError, match="att must be an nk.Attribution"):
        score(clip, inputs, att.image)
    with pytest.raises(TypeError, match="inputs must be nk.Inputs"):
        score(clip, inputs.pixel_values, att)
    for bad in (0, -1, 2.5, True):
        with pytest.raises(ValueError, match="batch_size must be"):
            score(clip, inputs, att, batch_size=bad)
    check_maps(inputs, att)  # and all is well with the right one


def test_options_out_of_range():
    clip, inputs = tiny_clip(), some_inputs()
    att = some_maps(clip, inputs)
    with pytest.raises(ValueError, match='protocol must be "paper", "eos" or "m2ib"'):
        confidence(clip, inputs, att, protocol="Paper")
    with pytest.raises(ValueError, match='unit must be "patch" or "pixel"'):
        curves(clip, inputs, att, unit="patches")
    for bad in (0, 10, 2.0, True):
        with pytest.raises(ValueError, match="steps must be a whole number within 1 … 9, or None; got"):
            curves(clip, inputs, att, steps=bad)
    with pytest.raises(ValueError, match="steps must be a whole number within 1 … 2304"):
        curves(clip, inputs, att, steps=2305, unit="pixel")


def test_numpys_whole_numbers_are_whole_numbers():
    clip, inputs = tiny_clip(), some_inputs()
    att = some_maps(clip, inputs)
    assert curves(clip, inputs, att, steps=np.int64(3)).equals(curves(clip, inputs, att, steps=3))
    assert confidence(clip, inputs, att, batch_size=np.int64(2)).equals(confidence(clip, inputs, att, batch_size=2))


def test_maps_on_another_grid():
    """A heatmap has any grid, also one that is not square; whole patches must be the model's."""
    clip, inputs = tiny_clip(), some_inputs()
    att = some_maps(clip, inputs)
    finer = replace(att, image=torch.from_numpy(np.random.RandomState(1).standard_normal((4, 6, 5)).astype(np.float32)))
    heat = minmax(nnf.interpolate(finer.image[:1, None], size=(48, 48), mode="bilinear")[0, 0])
    text = text_features(clip.model, inputs.input_ids[0, :5])
    expected = cosine(image_features(clip.model, inputs.pixel_values[0] * heat), text)
    assert abs(confidence(clip, inputs, finer)["image_after"][0] - expected) < 1e-5
    with pytest.raises(ValueError, match=r'att.image has 6 × 5 patches, the model 3 × 3: use unit="pixel"'):
        curves(clip, inputs, finer)
    assert len(curves(clip, inputs, finer, unit="pixel", steps=3)) == 4 * 4 + sum(n - 1 for n in LENGTHS)


def test_pictures_of_another_size():
    clip, inputs = tiny_clip(), some_inputs()
    att = some_maps(clip, inputs)
    with pytest.raises(ValueError, match="pixel_values are 64 × 48, this model takes 48 × 48"):
        confidence(clip, replace(inputs, pixel_values=torch.zeros(4, 3, 64, 48)), att)


@pytest.mark.parametrize("score", [confidence, curves])
def test_caption_without_words(score):
    clip, inputs = tiny_clip(), tiny_inputs((4, 2, 5))
    with pytest.raises(ValueError, match="caption 1 has nothing between its start and end token"):
        score(clip, inputs, random_map(clip, inputs))


def test_caption_of_one_word():
    """ "eos" takes a lone word away, since its map is constant; "paper" scales it over its three tokens."""
    clip, inputs = tiny_clip(), tiny_inputs((3,))
    att = replace(some_maps(clip, inputs), text=torch.tensor([[0.0, 1.0, 4.0]]))
    image = image_features(clip.model, inputs.pixel_values[0])
    lone = text_features(clip.model, inputs.input_ids[0], rows=torch.tensor([1.0, 0.0, 1.0]))
    assert abs(confidence(clip, inputs, att, "eos")["text_after"][0] - cosine(image, lone)) < 1e-5
    quarter = text_features(clip.model, inputs.input_ids[0, 1:2], rows=torch.tensor([0.25]))
    assert abs(confidence(clip, inputs, att, "paper")["text_after"][0] - cosine(image, quarter)) < 1e-5


def test_holes_in_the_attention_mask():
    """A token that is masked out is neither scaled nor counted; the others keep their places, as in transformers."""
    clip, inputs = tiny_clip(), tiny_inputs((9,))
    inputs.input_ids[0, 1:8] = torch.tensor([11, 12, 5, 30, 40, 13, 14])
    inputs.attention_mask[0, [3, 4]] = 0
    att = some_maps(clip, inputs)
    mask, values, real = inputs.attention_mask[0], att.text[0], inputs.attention_mask[0].bool()
    image = image_features(clip.model, inputs.pixel_values[0])
    low, high = values[real].min(), values[real].max()
    rows = torch.where(real, (values - low) / (high - low), 1.0)[1:8]
    found = confidence(clip, inputs, att, "paper")
    ids = inputs.input_ids[0]
    assert abs(found["text_before"][0] - cosine(image, text_features(clip.model, ids[1:8], mask[1:8]))) < 1e-5
    assert abs(found["text_after"][0] - cosine(image, text_features(clip.model, ids[1:8], mask[1:8], rows))) < 1e-5
    words = values[1:8][real[1:8]]
    rows = torch.where(real, (values - words.min()) / (words.max() - words.min()), 1.0)
    rows[[0, 8]] = 1.0
    found = confidence(clip, inputs, att, "eos")
    assert abs(found["text_after"][0] - cosine(image, text_features(clip.model, ids, mask, rows))) < 1e-5
    assert (curves(clip, inputs, att)["side"] == "text").sum() == 6  # five words


def test_padding_that_no_mask_marks():
    """input_ids padded with end tokens and no attention mask: what stands behind the first end token is not a word."""
    clip, inputs = tiny_clip(), tiny_inputs((5, 8))
    bare = nk.Inputs(inputs.pixel_values, inputs.input_ids)
    marked, unmarked = nk.nib(clip, inputs), nk.nib(clip, bare)
    lifted = marked.text + 10 * inputs.attention_mask  # all above the padding's 0, which must not count as the least
    for protocol in PROTOCOLS:
        expected = confidence(clip, inputs, replace(marked, text=lifted), protocol)
        found = confidence(clip, bare, replace(unmarked, text=lifted), protocol)
        assert np.allclose(found, expected, rtol=1e-5, atol=1e-4, equal_nan=True)


def test_no_end_token_is_told_once():
    inputs = tiny_inputs((5,))
    inputs.input_ids[0] = torch.tensor([START - 1, 7, 8, 9, 20])
    clip = nk.Clip(tiny_clip(end=END).model)
    with pytest.warns(UserWarning, match="no end token") as warned, pytest.raises(ValueError, match="nothing between"):
        confidence(clip, inputs, replace(random_att(inputs), tokens=(tuple("abcde"),)))
    assert len(warned) == 1


def random_att(inputs: nk.Inputs) -> nk.Attribution:
    """Maps that no model is asked for."""
    draw = np.random.RandomState(3)
    values = [torch.from_numpy(draw.standard_normal(shape).astype(np.float32)) for shape in ((3, 3), inputs.input_ids.shape[1:])]
    image, text = (value.expand(len(inputs), *value.shape) for value in values)
    tokens = tuple(tuple(map(str, row[keep.bool()].tolist())) for row, keep in zip(inputs.input_ids, inputs.attention_mask))
    return nk.Attribution(image=image, text=text, tokens=tokens, similarity=torch.zeros(len(inputs)))


def test_scaled_refuses_what_is_no_weight():
    inputs = some_inputs()
    att = random_att(inputs)
    for name, values in (("image", att.image), ("pixels", att.image - 9), ("text", torch.full_like(att.text, torch.nan))):
        fields = vars(att) | {"image": torch.ones(4, 3, 3), "text": torch.ones_like(att.text)} | {name: values}
        with pytest.raises(ValueError, match=f"{name} must be within 0 … 1"):
            Scaled(**fields)
    flat = Scaled(**vars(att) | {"image": torch.full((4, 3, 3), 0.3), "text": torch.ones_like(att.text)})
    for normalize in ("minmax", "signed", None):
        assert (flat.heatmap(50, normalize) == torch.tensor(0.3)).all()
    assert isinstance(flat[1:3], Scaled) and isinstance(flat.cpu(), Scaled)


# --- memory -------------------------------------------------------------------------------------------------------------------


def test_a_batch_that_memory_does_not_hold_is_halved(monkeypatch):
    """As on a GPU: above 2 rows the memory is out. No figure changes; a single row that does not fit is an error."""
    clip, inputs = new_clip(), tiny_inputs((5, 8, 3))
    att = random_map(clip, inputs)
    want = confidence(clip, inputs, att), insertion_deletion(clip, inputs, att)
    memory = ShortMemory(monkeypatch, clip, room=2)
    found = confidence(clip, inputs, att), insertion_deletion(clip, inputs, att)
    assert max(memory.tried) > memory.room
    for ours, other in zip(found, want):
        assert np.allclose(ours, other, atol=1e-3, equal_nan=True)
    memory.room = 0
    with pytest.raises(torch.OutOfMemoryError):
        confidence(clip, inputs, att)
