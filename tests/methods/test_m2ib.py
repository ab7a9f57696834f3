"""M2IB: its divergence and what β does."""

import torch
from helpers import tiny_clip, tiny_inputs

import nibkit as nk
from nibkit.methods.m2ib import divergence


def test_divergence_is_that_of_two_gaussians():
    z, lam = torch.randn(50, generator=torch.Generator().manual_seed(0)).double(), torch.linspace(0, 0.99, 50).double()
    one = torch.ones_like(z)
    want = torch.distributions.kl_divergence(torch.distributions.Normal(lam * z, 1 - lam), torch.distributions.Normal(0 * z, one))
    assert torch.allclose(divergence(z, lam), want, atol=1e-12)


def test_a_larger_beta_lets_less_through():
    clip, inputs = tiny_clip(), tiny_inputs((5, 6))
    assert nk.m2ib(clip, inputs, beta=10.0).image.sum() < nk.m2ib(clip, inputs, beta=0.001).image.sum()
