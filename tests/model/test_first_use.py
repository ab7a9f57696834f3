"""The check at first use is done once, again after a change, and leaves no trace."""

import copy
import pickle

import torch
from helpers import new_clip, same, state, tiny_inputs

import nibkit as nk


def passes_of_the_model(clip):
    seen = []
    clip.model.register_forward_pre_hook(lambda module, arguments: seen.append(1))
    return seen


def test_the_check_is_done_once_and_again_after_a_change():
    clip, inputs = new_clip(), tiny_inputs()
    seen = passes_of_the_model(clip)
    for name in ("nib", "chefer", "rise"):
        nk.METHODS[name](clip, inputs, **({"num_masks": 2} if name == "rise" else {}))
    assert clip.encode_text(inputs).shape == (3, 16) and len(seen) == 1
    with nk.count_passes(clip) as passes:  # its own hooks count, and change nothing
        nk.nib(clip, inputs, num_steps=4)
    assert (passes.forward_image, passes.backward_image) == (18, 12) and len(seen) == 1
    clip.image.blocks[0].register_forward_hook(lambda *_: None)
    clip.similarity(inputs), clip.similarity(inputs)
    assert len(seen) == 2


def test_the_first_use_is_not_counted():
    clip = new_clip()
    with nk.count_passes(clip) as passes:
        clip.similarity(tiny_inputs((5, 8)))
    assert (passes.forward_image, passes.forward_text, passes.backward) == (2, 2, 0)


def test_the_first_use_leaves_nothing_behind():
    clip = new_clip()
    clip.model.train()
    before = state(clip)
    clip.check(tiny_inputs())
    after = state(clip)
    assert [key for key in before if not same(before[key], after[key])] == []


def test_autocast_and_copies_are_no_other_model():
    clip, inputs = new_clip(), tiny_inputs()
    with torch.autocast("cpu", torch.bfloat16):
        assert nk.nib(clip, inputs).image.isfinite().all()
    for other in (copy.deepcopy(clip), pickle.loads(pickle.dumps(clip))):
        assert torch.equal(nk.nib(other, inputs).image, nk.nib(clip, inputs).image)
