"""What nk.interactions costs, that it leaves no trace, and what it refuses; its numbers: test_interactions.py."""

import numpy as np
import pytest
import torch
from helpers import END, ShortMemory, new_clip, same, state, tiny_clip, tiny_inputs
from test_interactions import LENGTHS, assert_same

import nibkit as nk

# --- work done, and nothing left behind -------------------------------------------------------------------------------


def test_what_it_costs():
    """A pair and node: an image row forward and one back for each token and the rest; a text row forward, and no D rows back."""
    clip, tokens = tiny_clip(), 6
    with nk.count_passes(clip) as passes:
        nk.interactions(clip, tiny_inputs((tokens, tokens)), num_steps=4)
    ends = 2 * 2  # F at the open and at the start, of two pairs
    assert (passes.forward_image, passes.forward_text) == (2 * 4 + ends, 2 * 4 + ends)
    assert passes.backward_image == 2 * 4 * (1 + tokens) and passes.backward_text <= 2 * 4 * (1 + tokens)
    with nk.count_passes(clip) as passes:  # more tokens than the features have coordinates, 16
        nk.interactions(clip, tiny_inputs((30,)), num_steps=4)
    assert passes.backward_image == passes.backward_text == 4 * 16


def test_batch_size_bounds_the_memory_and_a_batch_that_does_not_fit_is_halved(monkeypatch):
    clip, inputs = new_clip(), tiny_inputs(LENGTHS)
    want, memory = nk.interactions(clip, inputs), ShortMemory(monkeypatch, clip, room=5)
    memory.tried.clear()
    nk.interactions(clip, inputs, batch_size=4)
    assert max(memory.tried) == 4
    assert_same(nk.interactions(clip, inputs, batch_size=30), want, 1e-5)
    assert max(memory.tried) > 5
    memory.room = 0
    with pytest.raises(torch.OutOfMemoryError):
        nk.interactions(clip, inputs)


class Stop(Exception):
    """Thrown in the middle of a call."""


@pytest.mark.parametrize("mode", [torch.enable_grad, torch.no_grad, torch.inference_mode])
def test_nothing_is_left_behind(mode, monkeypatch):
    """Also of a model in training, and after an exception at the first, a middle and the last block's call."""
    clip, calls, stop_at = new_clip(), [], []
    clip.model.train()
    clip.model.text_model.requires_grad_(True)
    norm = clip.text.blocks[-1].layer_norm1
    forward = norm.forward

    def count(*args):
        calls.append(args)
        if len(calls) in stop_at:
            raise Stop
        return forward(*args)

    monkeypatch.setattr(norm, "forward", count)
    with mode():
        inputs = tiny_inputs()
        clip.check(inputs)
        before, flash = state(clip), torch.backends.cuda.flash_sdp_enabled()
        calls.clear()
        found = nk.interactions(clip, inputs, batch_size=4)
        assert same(before, state(clip))
        whole = len(calls)
        for place in (1, whole // 2, whole):
            calls.clear()
            stop_at[:] = [place]
            with pytest.raises(Stop):
                nk.interactions(clip, inputs, batch_size=4)
            assert same(before, state(clip)) and torch.backends.cuda.flash_sdp_enabled() == flash
    tensors = [value for value in vars(found).values() if torch.is_tensor(value)]
    assert not any(value.is_inference() or value.requires_grad for value in tensors)
    assert_same(found, nk.interactions(tiny_clip(), tiny_inputs()), 1e-5)


def test_the_same_call_gives_the_same_digits_and_progress_is_shown_on_request(capsys):
    first = nk.interactions(tiny_clip(), tiny_inputs())
    assert capsys.readouterr() == ("", "")
    assert_same(nk.interactions(tiny_clip(), tiny_inputs(), progress=True), first, 0)
    assert "48gradient" in capsys.readouterr().err.replace(" ", "")


BAD = [
    (dict(rule="adaptive"), 'rule must be "riemann", .* or "sinh"; got \'adaptive\''),
    (dict(num_steps=0), "num_steps must be a whole number, 1 or more"),
    (dict(num_steps=1001), "num_steps must be at most 1,000"),
    (dict(start=1.0), "start must be"),
    (dict(start=0), "can't start at 0"),
    (dict(layer=6), "layer must be .*within 0 … 5"),
    (dict(layer=(1, 2, 3)), "layer must be a whole number or a pair"),
    (dict(batch_size=0), "batch_size must be a whole number"),
]


@pytest.mark.parametrize("options, message", BAD, ids=str)
def test_bad_options_are_named_before_any_work(options, message):
    with nk.count_passes(tiny_clip()) as passes, pytest.raises(ValueError, match=message):
        nk.interactions(tiny_clip(), tiny_inputs(), **options)
    assert passes.forward == 0


def test_a_caption_without_its_end_token_is_told_at_the_callers_line():
    inputs = tiny_inputs((5, 5))
    ids = inputs.input_ids.clone()
    ids[1, 4] = 7
    with pytest.warns(UserWarning, match="caption 1 has no end token") as caught:
        nk.interactions(tiny_clip(end=END), nk.Inputs(inputs.pixel_values, ids))
    assert {warning.filename for warning in caught} == {__file__}


def test_what_is_no_clip_and_what_is_no_inputs_is_refused():
    with pytest.raises(TypeError, match=r"clip must be an nk\.Clip"):
        nk.interactions("shapes", tiny_inputs())
    with pytest.raises(TypeError, match=r"inputs must be nk\.Inputs"):
        nk.interactions(tiny_clip(), np.zeros(3))
    clip = new_clip()
    clip.model.visual_projection.weight.data[0, 0] = torch.nan
    with pytest.raises(ValueError, match="NaN"):
        nk.interactions(clip, tiny_inputs())
