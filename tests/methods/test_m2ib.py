"""M2IB: its divergence, what β does, and noise as IBA has it, with mean and variance from other pairs."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from helpers import relative, tiny_clip, tiny_inputs

import nibkit as nk
from nibkit.methods.cut import CutEncoder
from nibkit.methods.m2ib import LEAST_STD, divergence, moments, optimise

FIT = dict(beta=0.1, num_steps=6, draws=3, lr=1.0, seed=0)
TENSORS = "pixel_values", "input_ids", "attention_mask"
UNIT = torch.zeros(()), torch.ones(())


def in_units(encoder: CutEncoder, shift: torch.Tensor, unit: torch.Tensor) -> SimpleNamespace:
    """The same encoder, whose latents are (z − shift)/unit: channel by channel another zero, another unit of measurement."""
    same = {name: getattr(encoder, name) for name in ("tower", "length", "in_batches")}
    score = lambda z, target, rows: encoder.score(shift + unit * z, target, rows)  # noqa: E731
    return SimpleNamespace(latents=(encoder.latents - shift) / unit, score=score, **same)


def encoders() -> tuple[CutEncoder, torch.Tensor, torch.Tensor, torch.Tensor]:
    """An image encoder of three pairs in float64, its target, and for each channel a shift and a unit between .1 and 10."""
    clip, inputs = tiny_clip(dtype=torch.float64), tiny_inputs()
    draw = np.random.RandomState(5)
    shift, unit = torch.from_numpy(draw.standard_normal(32)), torch.from_numpy(10 ** draw.uniform(-1, 1, 32))
    return CutEncoder(clip.image, inputs, 3), clip.encode_text(inputs), shift, unit


def test_divergence_is_that_of_two_gaussians():
    z, lam = torch.randn(50, generator=torch.Generator().manual_seed(0)).double(), torch.linspace(0, 0.99, 50).double()
    for mean, std in ((0.0, 1.0), (2.0, 0.5), (-1.0, 30.0)):
        code = torch.distributions.Normal(lam * z + (1 - lam) * mean, (1 - lam) * std)
        want = torch.distributions.kl_divergence(code, torch.distributions.Normal(mean + 0 * z, std + 0 * z))
        assert torch.allclose(divergence((z - mean) / std, lam), want, rtol=1e-12, atol=1e-12)


def test_at_lambda_one_the_divergence_is_held():
    z = torch.tensor([0.0, 1.0, 3.0], dtype=torch.float64)
    at_one = divergence(z, torch.ones_like(z))
    assert torch.allclose(at_one, np.log(1e7) + (z**2 - 1) / 2) and round(float(at_one[1]), 1) == 16.1


def test_a_larger_beta_lets_less_through():
    clip, inputs, others = tiny_clip(), tiny_inputs((5, 6)), tiny_inputs((5, 6, 7), seed=9)
    for noise in ({}, dict(noise="data", reference=others)):
        assert nk.m2ib(clip, inputs, beta=10.0, **noise).image.sum() < nk.m2ib(clip, inputs, beta=0.001, **noise).image.sum()


def test_noise_with_a_mean_and_a_spread_is_unit_noise_in_these_units():
    """μ + σ(λu + (1 − λ)n) with u = (z − μ)/σ is Eq. 2's λz + (1 − λ)(μ + σn)."""
    encoder, target, mean, std = encoders()
    found = optimise(encoder, target, **FIT, mean=mean, std=std)
    want = optimise(in_units(encoder, mean, std), target, **FIT, mean=UNIT[0], std=UNIT[1])
    assert relative(found, want) < 1e-9 and relative(optimise(encoder, target, **FIT, mean=UNIT[0], std=UNIT[1]), want) > 0.1


def test_with_noise_from_data_the_unit_of_a_channel_does_not_count():
    """The same network in other units: the noise of the data follows, unit noise does not."""
    encoder, target, shift, unit = encoders()
    other, mean, std = in_units(encoder, shift, unit), *moments(encoder)
    from_data = optimise(encoder, target, **FIT, mean=mean, std=std)
    assert relative(optimise(other, target, **FIT, mean=(mean - shift) / unit, std=std / unit), from_data) < 1e-9
    of_unit = optimise(encoder, target, **FIT, mean=UNIT[0], std=UNIT[1])
    assert relative(optimise(other, target, **FIT, mean=UNIT[0], std=UNIT[1]), of_unit) > 0.1


def test_mean_and_variance_are_those_of_the_real_tokens():
    clip, inputs = tiny_clip(), tiny_inputs((5, 8, 3), columns=10)
    inputs.attention_mask[1, 3] = 0  # a hole is no token
    for tower, kept in ((clip.image, [list(range(10))] * 3), (clip.text, [[0, 1, 2, 3, 4], [0, 1, 2, 4, 5, 6, 7], [0, 1, 2]])):
        z = tower.head(inputs, 3)
        tokens = torch.cat([row[which] for row, which in zip(z, kept)]).double().numpy()
        mean, std = moments(CutEncoder(tower, inputs, 3))
        assert np.allclose(mean, tokens.mean(0), atol=1e-5) and np.allclose(std, tokens.std(0, ddof=1), atol=1e-5)


def test_a_channel_that_never_changes_gets_the_least_spread():
    encoder = encoders()[0]
    encoder.latents[..., 4] = 7.0
    mean, std = moments(encoder)
    assert float(mean[4]) == 7 and float(std[4]) == LEAST_STD == 0.01 and std.min() == std[4]


def test_the_reference_counts_and_is_noted():
    clip, inputs, others = tiny_clip(), tiny_inputs((5, 6)), tiny_inputs((5, 6, 7), seed=9)
    fit = dict(num_steps=6, draws=2)
    unit, some = nk.m2ib(clip, inputs, **fit), nk.m2ib(clip, inputs, **fit, noise="data", reference=others)
    fewer = nk.m2ib(clip, inputs, **fit, noise="data", reference=others[:1])
    assert (unit.options["noise"], some.options["noise"], some.options["reference"]) == ("unit", "data", 3)
    assert "reference" not in unit.options and min(relative(some.text, unit.text), relative(fewer.text, some.text)) > 0.01


def test_the_pairs_to_explain_are_no_reference():
    clip, inputs = tiny_clip(), tiny_inputs((5, 8, 3))
    others = tiny_inputs((4, 8, 3), seed=9)
    wide = tiny_inputs((9, 8), seed=4)
    mixed = nk.Inputs(*(torch.cat([getattr(part, name) for part in (others, inputs[[1]])]) for name in TENSORS))
    for reference, place in ((inputs, "pair 0 is pair 0"), (inputs[[2, 0]], "pair 0 is pair 2"), (mixed, "pair 3 is pair 1")):
        with pytest.raises(ValueError, match=f"reference must be other pairs, but its {place} of those to explain"):
            nk.m2ib(clip, inputs, noise="data", reference=reference)
    with pytest.raises(ValueError, match="its pair 0 is pair 1"):  # however wide the batch is padded
        nk.m2ib(clip, wide, noise="data", reference=wide[[1]].crop(8))
    same_text = nk.Inputs(others.pixel_values, inputs.input_ids, inputs.attention_mask)
    assert nk.m2ib(clip, inputs, noise="data", reference=same_text, num_steps=1, draws=1).image.isfinite().all()
