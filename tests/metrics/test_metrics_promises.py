"""What confidence, insertion and deletion promise: a pair depends on itself alone, nothing is left behind, memory is bounded."""

import numpy as np
import pandas as pd
import pytest
import torch
from helpers import END, ShortMemory, new_clip, same, state, tiny_clip, tiny_inputs
from protocols import PROTOCOLS, some_inputs, some_maps

from nibkit.methods.controls import random_map
from nibkit.metrics.confidence import confidence
from nibkit.metrics.curves import curves, insertion_deletion


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


def test_numpys_whole_numbers_are_whole_numbers():
    clip, inputs = tiny_clip(), some_inputs()
    att = some_maps(clip, inputs)
    assert curves(clip, inputs, att, steps=np.int64(3)).equals(curves(clip, inputs, att, steps=3))
    assert confidence(clip, inputs, att, batch_size=np.int64(2)).equals(confidence(clip, inputs, att, batch_size=2))


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
