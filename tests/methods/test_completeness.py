"""What is missing from NIB's sum: delta, null, and how they go to 0."""

import pytest
import torch
from helpers import new_clip, tiny_clip, tiny_inputs
from latents import sides, token_sums

import nibkit as nk


@pytest.mark.parametrize(
    "rule, start", [("riemann", None), ("gauss", 0.2), ("log-gauss", None), ("sinh", None), ("adaptive", 0.1)]
)
def test_delta_and_null_are_as_defined(rule, start):
    """delta = Σ A − (F(z) − F(start · z)) with the class token; null = F(start · z) − F(0)."""
    clip, inputs = tiny_clip(), tiny_inputs((6, 6))
    att = nk.nib(clip, inputs, num_steps=7, rule=rule, start=start)
    begin = att.options["start"]
    for name, score, z in sides(clip, inputs, 3):
        with torch.no_grad():
            opened, started, closed = score(z), score(begin * z), score(0 * z)
        total = torch.stack([token_sums(att, i)[name].sum() for i in range(2)])
        assert torch.allclose(getattr(att, f"{name}_delta"), total - (opened - started), atol=1e-6)
        assert torch.allclose(getattr(att, f"{name}_null"), started - closed, atol=1e-6)
        assert torch.allclose(att.similarity, opened, atol=1e-6)


def test_null_is_0_where_the_integral_starts_at_0():
    att = nk.nib(tiny_clip(), tiny_inputs())
    assert (att.image_null == 0).all() and (att.text_null == 0).all()


@pytest.mark.parametrize(
    "rule, steps, start, tolerance",
    [
        ("riemann", 256, 0.3, 5e-3),
        ("midpoint", 64, 0.3, 1e-4),
        ("gauss", 16, 0.3, 1e-8),
        ("log-gauss", 16, 0.05, 1e-4),
        ("sinh", 64, None, 0.01),
    ],
)
def test_sums_become_complete(rule, steps, start, tolerance):
    """Nothing is missing between start and 1, where something happens; down to 0 only sinh gets there with 64 steps."""
    att = nk.nib(new_clip(dtype=torch.float64), tiny_inputs(), num_steps=steps, rule=rule, start=start)
    drop = (att.image.sum((1, 2)) + att.class_token - att.image_delta).abs().max()
    assert drop > 0.05 and max(att.image_delta.abs().max(), att.text_delta.abs().max()) < tolerance


def test_even_steps_from_0_stay_incomplete():
    """The boundary layer near 0: the paper's ten steps miss much, and so do sixty-four."""
    for steps in (10, 64):
        assert nk.nib(tiny_clip(), tiny_inputs(), num_steps=steps).image_delta.abs().max() > 0.05


def test_adaptive_closes_its_gap():
    """To .01 · |F(z) − F(0)| or 1e-3, pair by pair."""
    clip, inputs = tiny_clip(), tiny_inputs((5, 9, 3, 7))
    att = nk.nib(clip, inputs, rule="adaptive", num_steps=400)
    for sums, delta in ((att.image.sum((1, 2)) + att.class_token, att.image_delta), (att.text.sum(1), att.text_delta)):
        assert (delta.abs() <= (0.01 * (sums - delta).abs()).clamp_min(1e-3) + 1e-6).all()


def test_an_adaptive_integral_says_whether_it_closed():
    """Of how many pairs the gap is above its goal: of all with four gradients, of none with many."""
    few = nk.nib(tiny_clip(), tiny_inputs(), rule="adaptive", num_steps=4)
    assert few.options["open"] == (3, 3)
    assert nk.nib(tiny_clip(), tiny_inputs(), rule="adaptive", num_steps=200).options["open"] == (0, 0)
    assert "open" not in nk.nib(tiny_clip(), tiny_inputs()).options
