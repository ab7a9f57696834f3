"""No method leaves a hook, a gradient, a mode or a random state behind, also when it is interrupted."""

import pytest
import torch
from calls import DECISIONS, changed, every_call, explain, in_training, usual
from helpers import assert_close, new_clip, state, tiny_inputs


@every_call
@pytest.mark.parametrize("mode", [torch.enable_grad, torch.no_grad, torch.inference_mode])
def test_nothing_is_left_behind(call, mode):
    """A model in training is explained as in evaluation and stays in training, under every gradient mode of the caller."""
    clip = in_training(new_clip())
    with mode():
        inputs = tiny_inputs()
        if mode is torch.enable_grad:
            inputs.pixel_values.requires_grad_()
        pixels, ids, mask = (part.detach().clone() for part in (inputs.pixel_values, inputs.input_ids, inputs.attention_mask))
        before = state(clip)
        att = explain(call, clip, inputs, batch_size=4)
        assert changed(before, clip) == []
    assert torch.equal(inputs.pixel_values, pixels) and torch.equal(inputs.input_ids, ids)
    assert torch.equal(inputs.attention_mask, mask) and inputs.pixel_values.grad is None
    assert not any(value.is_inference() or value.requires_grad for value in filter(torch.is_tensor, vars(att).values()))
    assert_close(att, usual(call, (5, 8, 3)), 1e-2 if call in DECISIONS else 1e-5)


class Stop(Exception):
    """Thrown in the middle of a call."""


@every_call
@pytest.mark.parametrize("tower", ["image", "text"])
def test_nothing_is_left_behind_after_an_exception(call, tower, monkeypatch):
    """Nor after an interrupt: a block's first layer norm raises at its first call, in the middle, at its last."""
    clip, inputs = in_training(new_clip()), tiny_inputs()
    norm, calls, stop = getattr(clip, tower).blocks[-1].layer_norm1, [], (None, 0)
    forward = norm.forward

    def count(*args):
        calls.append(args)
        if len(calls) == stop[1]:
            raise stop[0]
        return forward(*args)

    monkeypatch.setattr(norm, "forward", count)
    clip.check(inputs)  # a changed model is compared with its own forward pass, once
    calls.clear()
    explain(call, clip, inputs, batch_size=4)
    before, whole = state(clip), len(calls)
    middle = whole // 2 + 1
    for stop in ((Stop, 1), (Stop, middle), (KeyboardInterrupt, middle), (Stop, whole)):
        calls.clear()
        with pytest.raises(stop[0]):
            explain(call, clip, inputs, batch_size=4)
        assert len(calls) == stop[1] and changed(before, clip) == []


def test_the_state_check_notices():
    """The check itself can fail: one mode, one gradient, one hook, one weight, one number drawn, one setting."""
    clip = new_clip()
    before = state(clip)
    clip.model.visual_projection.training = True
    clip.model.logit_scale.grad = torch.ones(())
    clip.image.blocks[0].register_forward_hook(lambda *_: None)
    clip.model.logit_scale.data += 0
    clip.model.text_model.requires_grad_(True)
    torch.rand(1)
    with torch.inference_mode():
        assert {"modes", "grads", "hooks", "weights", "random", "settings"} <= set(changed(before, clip))
