"""Maps, captions and options that no metric takes are named before any work."""

from dataclasses import replace

import pytest
import torch
from helpers import END, START, tiny_clip, tiny_inputs
from protocols import LENGTHS, random_att, some_inputs, some_maps

import nibkit as nk
from nibkit.methods.attribution import Scaled
from nibkit.methods.controls import random_map
from nibkit.metrics.confidence import confidence
from nibkit.metrics.curves import curves, insertion_deletion
from nibkit.metrics.masking import check_maps


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


def test_no_end_token_is_told_once():
    inputs = tiny_inputs((5,))
    inputs.input_ids[0] = torch.tensor([START - 1, 7, 8, 9, 20])
    clip = nk.Clip(tiny_clip(end=END).model)
    with pytest.warns(UserWarning, match="no end token") as warned, pytest.raises(ValueError, match="nothing between"):
        confidence(clip, inputs, replace(random_att(inputs), tokens=(tuple("abcde"),)))
    assert len(warned) == 1


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
