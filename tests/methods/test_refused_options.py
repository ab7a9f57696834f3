"""What no method takes is named before any work: options, inputs, models; and a warning names the caller's line."""

import functools
import inspect
import re

import pytest
import torch
from calls import DISTRACTORS, FLIP, METHODS, OTHERS
from helpers import END, tiny_clip, tiny_inputs

import nibkit as nk

BAD = [
    ("every", dict(batch_size=0), "batch_size must be a whole number, 1 or more, or None; got 0"),
    ("every", dict(batch_size=2.5), "batch_size must be a whole number"),
    ("every", dict(batch_size=True), "batch_size must be a whole number"),
    ("variant", dict(variant="new"), 'variant must be "(paper|multihead)" or "original"; got \'new\''),
    ("seed", dict(seed=-1), "seed must be a whole number"),
    ("seed", dict(seed="a"), "seed must be a whole number"),
    ("num_steps", dict(num_steps=0), "num_steps must be a whole number, 1 or more"),
    ("num_steps", dict(num_steps=2.5), "num_steps must be a whole number"),
    ("nib", dict(rule="trapezoid"), "rule must be .*riemann.*; got 'trapezoid'"),
    ("nib", dict(start=1.0), "start must be"),
    ("nib", dict(rule="log-gauss", start=0.0), "log-gauss.*can't start at 0"),
    ("nib", dict(layer=6), "layer must be .*within 0 … 5"),
    ("m2ib", dict(layer=5), "layer must be .*within 0 … 4.* the block behind which it lies"),
    ("m2ib", dict(draws=0), "draws must be a whole number"),
    ("m2ib", dict(beta=-1), "beta must be .*0 or more"),
    ("m2ib", dict(lr=0), r"\blr\b.* above 0"),
    ("m2ib", dict(noise="white"), 'noise must be "unit" or "data"; got \'white\''),
    ("m2ib", dict(noise="data"), "it needs reference=: nk.Inputs"),
    ("m2ib", dict(noise="data", reference=["a red circle"]), "it needs reference=: nk.Inputs .* got list"),
    ("m2ib", dict(reference=OTHERS), 'reference is an option of noise="data"'),
    ("gradcam", dict(layer=5), "layer must be .*within 0 … 4.* Grad-CAM"),
    ("gradcam", dict(layer=(1, -1)), r"layer \(text\) must be .*within 0 … 4.* Grad-CAM"),
    ("layer", dict(layer=(1, 2, 3)), "layer must be a whole number or a pair"),
    ("layer", dict(layer=2.5), "layer must be a whole number"),
    ("chefer", dict(start_layer=5, variant="original"), "start_layer must be .*within 0 … 4"),
    ("chefer", dict(start_layer=2), 'start_layer is an option of variant="original"'),
    ("legrad", dict(start_layer=5), "start_layer must be .*within 0 … 4.* LeGrad"),
    ("gradeclip", dict(start_layer=(1, 5)), r"start_layer \(text\) must be .*within 0 … 4.* Grad-ECLIP"),
    ("gradeclip", dict(variant="paper"), "variant must be .*got 'paper'"),
    ("cplrp", dict(layer=6), "layer must be .*within 0 … 5"),
    ("rise", dict(num_masks=0), "num_masks must be a whole number"),
    ("rise", dict(num_text_masks=2.5), "num_text_masks must be a whole number"),
    ("mfaba", dict(step_size=0), "step_size must be a .*number above 0"),
    ("mfaba", dict(step_size=float("nan")), "step_size must be a .*number above 0"),
    ("mfaba", dict(attack="sharp"), 'attack is an option of variant="original"'),
    ("mfaba", dict(distractors=DISTRACTORS), 'distractors is an option of variant="original"'),
    ("mfaba", FLIP | dict(attack="soft"), 'attack must be "sharp" or "smooth"'),
    ("mfaba", FLIP | dict(distractors=None), "it needs distractors"),
    ("mfaba", FLIP | dict(distractors=["a red circle"]), "it needs distractors"),
]


@pytest.mark.parametrize("who, options, message", BAD, ids=[f"{who}: {', '.join(options)}" for who, options, _ in BAD])
def test_bad_options_are_named_before_any_work(who, options, message):
    """``who``: a method, every method, or all that have this option."""
    takes = {name: inspect.signature(method).parameters for name, method in METHODS.items()}
    names = [name for name in METHODS if who in ("every", name) or who in takes[name]]
    assert names
    with nk.count_passes(tiny_clip()) as passes:
        for name in names:
            with pytest.raises((ValueError, TypeError), match=message):
                METHODS[name](tiny_clip(), tiny_inputs((5,)), **options)
    assert passes.forward == 0


@pytest.mark.parametrize("name", METHODS)
def test_what_is_no_inputs_is_refused(name):
    with nk.count_passes(tiny_clip()) as passes, pytest.raises(TypeError, match=re.escape("inputs must be nk.Inputs")):
        METHODS[name](tiny_clip(), torch.zeros(1, 3, 48, 48))
    assert passes.forward == 0


@pytest.mark.parametrize("clip", ["shapes", None, tiny_clip().model, tiny_inputs((5,))], ids=lambda value: type(value).__name__)
@pytest.mark.parametrize("name", METHODS)
def test_what_is_no_clip_is_refused(name, clip):
    with pytest.raises(TypeError, match=r"clip must be an nk\.Clip, as nk\.load_clip returns it; got"):
        METHODS[name](clip, tiny_inputs((5,)))


@pytest.mark.parametrize("name", [*METHODS, "encode_image", "encode_text"])
def test_a_warning_names_the_callers_line(name):
    """Whatever frames of nibkit stand between: a caption without its end token."""
    clip, inputs = tiny_clip(end=END), tiny_inputs((5, 5))
    ids = inputs.input_ids.clone()
    ids[1, 4] = 7
    explain = getattr(clip, name) if name.startswith("encode") else functools.partial(METHODS[name], clip)
    with pytest.warns(UserWarning, match="caption 1 has no end token") as caught:
        explain(nk.Inputs(inputs.pixel_values, ids))
    assert {warning.filename for warning in caught} == {__file__}
