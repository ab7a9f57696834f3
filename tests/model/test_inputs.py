"""``nk.Inputs``: what it refuses by name, and how pairs are chosen from it."""

import re

import numpy as np
import pytest
import torch
from helpers import tiny_clip, tiny_inputs

import nibkit as nk

PIXELS, IDS = torch.zeros(2, 3, 48, 48), torch.tensor([[98, 5, 99], [98, 7, 99]])


@pytest.mark.parametrize(
    "given, error, message",
    [
        ((PIXELS.numpy(), IDS), TypeError, r"pixel_values must be a torch.Tensor; got ndarray \(use clip.prepare"),
        ((PIXELS, IDS.tolist()), TypeError, "input_ids must be a torch.Tensor; got list"),
        ((PIXELS.to(torch.uint8), IDS), TypeError, "pixel_values must be normalised floats; got torch.uint8"),
        ((PIXELS.long(), IDS), TypeError, "pixel_values must be normalised floats; got torch.int64"),
        ((PIXELS[0], IDS), ValueError, r"pixel_values must be \[B, 3, H, W\]; got \[3, 48, 48\]"),
        ((PIXELS[:, :1], IDS), ValueError, r"got \[2, 1, 48, 48\]"),
        ((PIXELS, IDS[0]), ValueError, r"input_ids must be whole numbers \[B, T\]; got torch.int64 \[3\]"),
        ((PIXELS, IDS.float()), ValueError, "input_ids must be whole numbers.*torch.float32"),
        ((PIXELS[:1], IDS), ValueError, "1 images but 2 captions"),
        ((PIXELS[:0], IDS[:0]), ValueError, "nothing to explain"),
        ((PIXELS, IDS[:, :0]), ValueError, "nothing to explain"),
        ((PIXELS, IDS, IDS[:, :2]), ValueError, r"attention_mask must have input_ids' shape \[2, 3\]; got \[2, 2\]"),
        pytest.param((PIXELS, IDS, IDS.tolist()), TypeError, "attention_mask must be a torch.Tensor; got list"),
        pytest.param((PIXELS, IDS > 9), ValueError, "input_ids must be whole numbers"),
        ((PIXELS, IDS, IDS * 0.0), TypeError, "attention_mask must be whole numbers or bool; got torch.float32"),
        ((PIXELS, IDS, torch.tensor([[1, 1, 1], [0, 1, 1]])), ValueError, "of pair 1 is 0 at its first position: pad.*right"),
        ((PIXELS, IDS, None, (("a",),)), ValueError, "1 lists of token strings but 2 captions"),
    ],
)
def test_bad_tensors_are_named(given, error, message):
    with pytest.raises(error, match=message):
        nk.Inputs(*given)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_bad_pixels_are_named_by_pair(bad):
    broken = PIXELS.clone()
    broken[1, 2, 3, 4] = bad
    with pytest.raises(ValueError, match="pixel_values of pair 1 hold NaN or infinity"):
        nk.Inputs(broken, IDS)


@pytest.mark.parametrize(
    "rows, kept",
    [(1, [1]), (-1, [2]), (slice(0, 2), [0, 1]), ([2, 0], [2, 0]), (torch.tensor([1, 2]), [1, 2]), (np.int64(1), [1])],
)
def test_choosing_pairs(rows, kept):
    inputs = tiny_inputs((5, 8, 3))
    named = nk.Inputs(
        inputs.pixel_values, inputs.input_ids, None, tuple(("x",) * n for n in (5, 8, 3)), tuple(((None,) * n) for n in (5, 8, 3))
    )
    chosen = named[rows]
    assert torch.equal(chosen.pixel_values, inputs.pixel_values[kept]) and torch.equal(chosen.input_ids, inputs.input_ids[kept])
    assert [len(t) for t in chosen.tokens] == [len(w) for w in chosen.words] == [(5, 8, 3)[i] for i in kept]


def test_choosing_a_pair_that_is_not_there():
    with pytest.raises(IndexError):
        tiny_inputs((5, 8))[2]


def test_inputs_cannot_be_changed_in_passing():
    with pytest.raises(AttributeError):
        tiny_inputs((5,)).input_ids = IDS


def test_tensors_of_the_wrong_size_say_what_the_model_takes():
    with pytest.raises(ValueError, match=re.escape("use clip.prepare, or resize and crop first")):
        nk.nib(tiny_clip(), nk.Inputs(torch.zeros(2, 3, 224, 224), IDS))


def test_parts_of_a_batch_are_not_checked_again(monkeypatch):
    """Reading every pixel once is enough: what is cut from a checked batch is whole, too."""
    whole, reads = tiny_inputs((8, 5, 3)), []
    finite = torch.isfinite
    monkeypatch.setattr(torch, "isfinite", lambda x: reads.append(len(x)) or finite(x))
    part = whole[[2, 0]]
    assert part.input_ids.tolist() == whole.input_ids[[2, 0]].tolist() and len(part) == 2
    assert part.crop(4).input_ids.shape == (2, 4) and part.crop(4).attention_mask.shape == (2, 4)
    assert not reads
