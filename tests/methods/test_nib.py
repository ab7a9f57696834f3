"""The method: Eq. 10 against a plain loop and against captum, a pair alone, what comes back and what is told."""

import warnings
from dataclasses import replace

import captum.attr
import make_frozen
import numpy as np
import pytest
import torch
from helpers import END, assert_close, new_clip, relative, tiny_clip, tiny_inputs
from hypothesis import given
from hypothesis import strategies as st
from latents import sides, slope, token_sums

import nibkit as nk
from nibkit.theory.quadrature import RULES, nodes

DEPTH = 5


# --- Eq. 10 -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def frozen():
    return dict(np.load(make_frozen.FILE))


@pytest.fixture(scope="module")
def frozen_clip():
    return nk.Clip(make_frozen.frozen_model())


def test_frozen_weights_and_inputs_came_again_from_their_seed(frozen, frozen_clip):
    assert sum(float(w.double().sum()) for w in frozen_clip.model.parameters()) == pytest.approx(
        float(frozen["weight_sum"]), rel=1e-9
    )
    pixels = make_frozen.frozen_inputs().pixel_values.double().sum()
    assert float(pixels) == pytest.approx(float(frozen["pixel_sum"]), rel=1e-9)


@pytest.mark.parametrize("name", make_frozen.SETTINGS)
@pytest.mark.parametrize("dtype, tolerance", [(torch.float32, 1e-5), (torch.float64, 1e-12)], ids=["float32", "float64"])
def test_the_papers_rule_is_the_frozen_loop(frozen, frozen_clip, name, dtype, tolerance):
    """Token sums, class token and the similarity's fall, all pairs in one padded batch."""
    layer, steps = make_frozen.SETTINGS[name]
    clip = frozen_clip if dtype == torch.float32 else nk.Clip(make_frozen.frozen_model().to(dtype))
    att = nk.nib(clip, make_frozen.frozen_inputs(), layer=layer, num_steps=steps)
    assert att.image.dtype == att.text.dtype == dtype
    for i, length in enumerate(make_frozen.LENGTHS):
        sums = token_sums(att, i)
        assert np.abs(sums["image"].numpy() - frozen[f"v_{name}_{i}"]).max() < tolerance
        assert np.abs(sums["text"][:length].numpy() - frozen[f"t_{name}_{i}"]).max() < tolerance
        for side, drop in (("image", frozen[f"v_{name}_drop_{i}"]), ("text", frozen[f"t_{name}_drop_{i}"])):
            accounted = sums[side].sum() + getattr(att, f"{side}_null")[i] - getattr(att, f"{side}_delta")[i]
            assert float(accounted) == pytest.approx(float(drop), abs=tolerance)


@pytest.mark.parametrize(
    "rule, method, steps",
    [
        ("riemann", "riemann_right", 10),
        ("riemann", "riemann_right", 2),
        ("midpoint", "riemann_middle", 10),
        ("gauss", "gausslegendre", 7),
    ],
)
@pytest.mark.parametrize("layer", [0, 2, 3])
def test_captums_integrated_gradients_on_the_tail(rule, method, steps, layer):
    """Zero baseline, the same number of steps: Eq. 10 is integrated gradients at a layer."""
    clip, inputs = tiny_clip(), tiny_inputs((7,))
    att = nk.nib(clip, inputs, layer=layer, num_steps=steps, rule=rule)
    for name, score, z in sides(clip, inputs, layer):
        reference, delta = captum.attr.IntegratedGradients(score).attribute(
            z, baselines=torch.zeros_like(z), method=method, n_steps=steps, return_convergence_delta=True
        )
        assert relative(token_sums(att)[name], reference.sum(-1)[0].detach()) < 1e-5
        assert float(getattr(att, f"{name}_delta")) == pytest.approx(float(delta), abs=1e-5)  # captum's sign: Σ A − (F(z) − F(0))


@pytest.mark.parametrize("start", [None, 0.3])
@pytest.mark.parametrize("rule", [rule for rule in RULES if rule != "adaptive"])
def test_every_fixed_rule_is_its_weighted_sum_of_gradients(rule, start):
    clip, inputs = tiny_clip(), tiny_inputs((6,))
    att = nk.nib(clip, inputs, layer=1, num_steps=3, rule=rule, start=start)
    for name, score, z in sides(clip, inputs, 1):
        by_hand = sum(w * slope(score, z, lam) for lam, w in zip(*nodes(rule, 3, start)))
        assert relative(token_sums(att)[name], by_hand[0]) < 1e-5


def test_two_riemann_steps_are_half_of_two_gradients():
    clip, inputs = tiny_clip(), tiny_inputs((6,))
    att = nk.nib(clip, inputs, layer=2, num_steps=2)
    for name, score, z in sides(clip, inputs, 2):
        assert relative(token_sums(att)[name], 0.5 * slope(score, z, 0.5)[0] + 0.5 * slope(score, z, 1.0)[0]) < 1e-5


def test_one_riemann_step_is_gradient_times_input():
    clip, inputs = tiny_clip(), tiny_inputs((6,))
    for name, score, z in sides(clip, inputs, 2):
        assert relative(token_sums(nk.nib(clip, inputs, layer=2, num_steps=1))[name], slope(score, z, 1.0)[0]) < 1e-5


def test_sums_are_linear_in_the_rule():
    """Steps at ¼, ½, ¾, 1 are those at ½, 1 and those at ¼, ¾: twice the one sum is the other two together."""
    clip, inputs = tiny_clip(), tiny_inputs()
    fine, even, odd = (nk.nib(clip, inputs, num_steps=n, rule=r) for n, r in [(4, "riemann"), (2, "riemann"), (2, "midpoint")])
    assert relative(2 * fine.image, even.image + odd.image) < 1e-5 and relative(2 * fine.text, even.text + odd.text) < 1e-5


# --- independence -----------------------------------------------------------------------------------------------------


@given(
    lengths=st.lists(st.integers(2, 12), min_size=2, max_size=5),
    options=st.fixed_dictionaries(
        {
            "rule": st.sampled_from(RULES),
            "num_steps": st.integers(1, 12),
            "layer": st.integers(0, 3),
            "start": st.sampled_from([None, 0.3]),
        }
    ),
    more=st.integers(0, 30),
    pad=st.sampled_from([0, END]),
    end=st.sampled_from([2, END]),
    batch_size=st.integers(1, 70),
    hole=st.booleans(),
    seed=st.integers(0, 99),
)
def test_a_pair_depends_on_itself_alone_under_every_rule(lengths, options, more, pad, end, batch_size, hole, seed):
    """Whatever the cut and the captions, with and without holes in them (tests/methods/test_promises.py: for all methods)."""
    clip, inputs = tiny_clip(end=end), tiny_inputs(lengths, seed, columns=max(lengths) + more, pad=pad)
    inputs.attention_mask[0, 1] = int(not hole or lengths[0] == 2)
    together = nk.nib(clip, inputs, **options)
    assert_close(nk.nib(clip, inputs, **options, batch_size=batch_size), together)
    for i, length in enumerate(lengths):
        alone = nk.nib(clip, inputs[i].crop(length), **options)
        assert_close(replace(together[i], text=together.text[i : i + 1, :length]), alone)
        assert (together.text[i, length:] == 0).all()


def test_behind_the_last_block_only_what_is_read_counts():
    clip, inputs = tiny_clip(), tiny_inputs((5, 8))
    att = nk.nib(clip, inputs, layer=5)
    assert (att.image == 0).all() and (att.class_token != 0).all()
    assert ((att.text != 0).nonzero() == torch.tensor([[0, 4], [1, 7]])).all()


# --- what comes back --------------------------------------------------------------------------------------------------


def test_what_comes_back():
    att = nk.nib(tiny_clip(), tiny_inputs(), layer=(1, 2), num_steps=3, rule="midpoint", start=0.25)
    assert all(getattr(att, f"{side}_{what}").shape == (3,) for side in ("image", "text") for what in ("delta", "null"))
    assert att.options == {"layer": (1, 2), "num_steps": 3, "rule": "midpoint", "start": 0.25, "blocks": ("rewritten",) * 2}


def test_values_are_signed():
    att = nk.nib(tiny_clip(), tiny_inputs())
    assert (att.image < 0).any() and (att.image > 0).any()


def test_half_precision_is_roughly_right():
    att = nk.nib(new_clip(dtype=torch.bfloat16), tiny_inputs())
    assert relative(att.image.float(), nk.nib(tiny_clip(), tiny_inputs()).image) < 0.2


# --- what says nothing is told ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "layer, said",
    [
        (DEPTH - 1, "image encoder is cut before its last block, .*; the text encoder is cut before its last block"),
        ((DEPTH, 2), "image encoder is cut behind its last block, where only the class token is read. Cut earlier"),
        ((2, DEPTH), "nothing there: the text encoder is cut behind its last block, where only the end token is read"),
    ],
)
def test_a_cut_that_explains_nothing_is_told_once(layer, said):
    with pytest.warns(UserWarning, match=said) as caught:
        nk.nib(tiny_clip(), tiny_inputs(), layer=layer)
    assert [warning.filename for warning in caught] == [__file__]


def test_a_cut_that_explains_something_is_no_warning():
    """Also before the last block, where the nodes reach into the layer norm's eps, or where that block is another one."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        nk.nib(tiny_clip(), tiny_inputs(), layer=DEPTH - 2)
        nk.nib(tiny_clip(), tiny_inputs(), layer=DEPTH - 1, rule="sinh", num_steps=48)
        clip = new_clip()
        for tower in (clip.image, clip.text):
            tower.blocks[-1].register_forward_hook(lambda module, arguments, output: output + output.mean(1, keepdim=True))
        with pytest.raises(ValueError, match="not the model's own"):  # halved rows, padding: another mean
            nk.nib(clip, tiny_inputs((5, 8)), layer=DEPTH - 1)
        nk.nib(clip, tiny_inputs((6,)), layer=DEPTH - 1)


def test_gradcam_and_m2ib_tell_it_too():
    """Both look behind the block that they are given."""
    for method, block in ((nk.gradcam, DEPTH - 2), (nk.gradcam, DEPTH - 1), (nk.m2ib, DEPTH - 1)):
        with pytest.warns(UserWarning, match=f"{method.__name__}'s cut explains nothing there"):
            method(tiny_clip(), tiny_inputs(), layer=block)
