"""Insertion and deletion: against the curves written out with transformers alone."""

from dataclasses import replace

import numpy as np
import torch
from helpers import tiny_clip
from hypothesis import given
from hypothesis import strategies as st
from protocols import LENGTHS, cosine, image_features, some_inputs, some_maps, text_features

from nibkit.methods.controls import random_map
from nibkit.metrics.curves import curves, insertion_deletion, rank


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
