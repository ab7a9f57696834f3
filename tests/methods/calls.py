"""Every method in all its variants: one table of calls, and what is known of each."""

import functools
import inspect

import pytest
import torch
from helpers import same, state, tiny_clip, tiny_inputs

import nibkit as nk

LENGTHS = (5, 11, 3, 9)  # above 8 tokens RISE's masks stretch
OTHERS, OWN = tiny_inputs((6, 4), seed=310, columns=11), tiny_inputs(LENGTHS)[1]  # one pair is among its own distractors
DISTRACTORS = nk.Inputs(*(torch.cat([getattr(part, name) for part in (OTHERS, OWN)]) for name in ("pixel_values", "input_ids")))
ORIGINAL = dict(variant="original")
FLIP = dict(ORIGINAL, distractors=DISTRACTORS, num_steps=6)
FITTED, MASKED = dict(num_steps=6, draws=2), dict(num_masks=20, num_text_masks=15)
CALLS = {  # label: options; the label begins with the method's name
    "nib": {},
    "nib, adaptive": dict(rule="adaptive", num_steps=20),
    "m2ib": FITTED,
    "m2ib, original": FITTED | ORIGINAL,
    "m2ib, data noise": FITTED | dict(noise="data", reference=OTHERS),
    "rise": MASKED,
    "rise, original": MASKED | ORIGINAL,
    "gradcam": dict(layer=2),  # the default would leave one block behind, where A · g is 0 but for rounding
    "gradcam, original": dict(ORIGINAL, layer=2),
    "chefer": {},
    "chefer, original": ORIGINAL,
    "saliency": {},
    "saliency, original": ORIGINAL,
    "mfaba": dict(num_steps=4),
    "mfaba, original": dict(FLIP, attack="sharp"),
    "mfaba, original, smooth": dict(FLIP, attack="smooth", step_size=0.05),
    "fastig": {},
    "fastig, original": ORIGINAL,
    "legrad": {},
    "gradeclip": {},
    "gradeclip, original": ORIGINAL,
    "cplrp": {},
}
METHODS = nk.METHODS | nk.BEYOND
PIXELS = {"rise", "rise, original", "saliency, original", "fastig, original", "mfaba, original", "mfaba, original, smooth"}
UNSIGNED = {"m2ib", "gradcam", "chefer", "saliency", "legrad", "gradeclip"}  # methods whose values are never below 0; and "mfaba"
DECISIONS = {"nib, adaptive", "mfaba", "mfaba, original", "mfaba, original, smooth"}  # splits, signs, flips: last digits tip one
PRECISION = {torch.float64: 1e-9, torch.float32: 1e-5}  # relative; what a pair may differ by from batch to batch
every_call = pytest.mark.parametrize("call", CALLS)
every_dtype = pytest.mark.parametrize("dtype", PRECISION, ids=str)


def method_of(call: str) -> str:
    return call.split(",")[0]


def usual_variant(name: str) -> str | None:
    """The default of a method's ``variant``; None where it has no variants."""
    parameters = inspect.signature(METHODS[name]).parameters
    return parameters["variant"].default if "variant" in parameters else None


def explain(call: str, clip: nk.Clip, inputs: nk.Inputs, **more) -> nk.Attribution:
    return METHODS[method_of(call)](clip, inputs, **CALLS[call] | more)


@functools.cache
def usual(call: str, lengths: tuple[int, ...]) -> nk.Attribution:
    """What the call gives for the tiny model as it is."""
    return explain(call, tiny_clip(), tiny_inputs(lengths))


def masked(inputs: nk.Inputs, mask: torch.Tensor | None) -> nk.Inputs:
    return nk.Inputs(inputs.pixel_values, inputs.input_ids, mask)


def changed(before: dict, clip: nk.Clip) -> list[str]:
    """What is not as it was."""
    after = state(clip)
    return [key for key in before if not same(before[key], after[key])]


def in_training(clip: nk.Clip) -> nk.Clip:
    """Some modules in training, some not, dropout to notice, some weights that ask for gradients and some that have one."""
    clip.model.train()
    clip.model.vision_model.encoder.layers[1].eval()
    clip.model.text_model.requires_grad_(True)
    clip.model.text_model.final_layer_norm.weight.grad = torch.ones(32)
    for module in clip.model.modules():
        if hasattr(module, "dropout"):
            module.dropout = 0.5
    return clip
