"""M2IB: the published figures within their own randomness, the contract's invariants, and its options."""

import pytest
import torch
from helpers import tiny_clip, tiny_inputs

import nibkit as nk
from nibkit.methods.m2ib import divergence


@pytest.fixture(scope="module")
def clip():
    return tiny_clip()


def test_divergence_is_that_of_two_gaussians():
    z, lam = torch.randn(50, generator=torch.Generator().manual_seed(0)).double(), torch.linspace(0, 0.99, 50).double()
    one = torch.ones_like(z)
    want = torch.distributions.kl_divergence(torch.distributions.Normal(lam * z, 1 - lam), torch.distributions.Normal(0 * z, one))
    assert torch.allclose(divergence(z, lam), want, atol=1e-12)


def test_a_pair_does_not_depend_on_its_batch_nor_on_batch_size(clip):
    inputs = tiny_inputs((7, 4, 9))
    whole, alone = nk.m2ib(clip, inputs), nk.m2ib(clip, inputs[1], batch_size=3)
    assert torch.allclose(whole.image[1:2], alone.image, rtol=1e-4, atol=1e-5)
    assert torch.allclose(whole.text[1:2], alone.text, rtol=1e-4, atol=1e-5)
    assert (whole.text[1, 4:] == 0).all()


def test_never_negative_seeded_and_seed_matters(clip):
    inputs = tiny_inputs((5, 6))
    first, again, other = (nk.m2ib(clip, inputs, seed=seed) for seed in (3, 3, 4))
    assert (first.image >= 0).all() and (first.text >= 0).all()
    assert torch.equal(first.image, again.image) and not torch.equal(first.image, other.image)


def test_a_larger_beta_lets_less_through(clip):
    inputs = tiny_inputs((5, 6))
    assert nk.m2ib(clip, inputs, beta=10.0).image.sum() < nk.m2ib(clip, inputs, beta=0.001).image.sum()


def test_leaves_nothing_behind(clip):
    before = torch.get_rng_state()
    nk.m2ib(clip, tiny_inputs((5,)), num_steps=2)
    assert torch.equal(before, torch.get_rng_state())
    assert all(p.grad is None for p in clip.model.parameters())


@pytest.mark.parametrize(
    "options, message",
    [
        (dict(layer=99), "layer must be a whole number within"),
        (dict(num_steps=0), "num_steps must be a whole number"),
        (dict(draws=0), "draws must be a whole number"),
        (dict(beta=-1), "beta must be a number, 0 or more"),
        (dict(lr=0), "lr must be a number above 0"),
        (dict(variant="new"), "variant must be"),
        (dict(batch_size=-2), "batch_size must be a whole number"),
    ],
)
def test_bad_options_are_named(clip, options, message):
    with pytest.raises(ValueError, match=message):
        nk.m2ib(clip, tiny_inputs((5,)), **options)


def test_last_layer_is_refused_where_nothing_follows(clip):
    with pytest.raises(ValueError, match="the block behind which it lies"):
        nk.m2ib(clip, tiny_inputs((5,)), layer=clip.image.depth)


def test_methods_share_one_signature(clip):
    for name, method in nk.METHODS.items():
        found = method(clip, tiny_inputs((5, 4)))
        assert found.method == name and found.image.shape[0] == 2
        assert found.text.shape == (2, 5) and found.similarity.shape == (2,)
