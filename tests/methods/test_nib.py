"""The method: Eq. 10 against a plain loop and against captum, what is missing from the sum, the work that is done."""

import warnings
from dataclasses import replace

import captum.attr
import make_frozen
import numpy as np
import pytest
import torch
from helpers import END, ShortMemory, assert_close, new_clip, relative, tiny_clip, tiny_inputs
from hypothesis import given
from hypothesis import strategies as st

import nibkit as nk
from nibkit.methods.cut import CutEncoder
from nibkit.theory.quadrature import RULES, nodes

DEPTH = 5


def token_sums(att, pair: int = 0) -> dict[str, torch.Tensor]:
    """Each side's sums in the order of its positions: class token first."""
    return {"image": torch.cat([att.class_token[pair, None], att.image[pair].flatten()]), "text": att.text[pair]}


def sides(clip, inputs, layer: int):
    """(name, F as a function of latents, latents z) of both encoders, for inputs without padding."""
    e_image, e_text = clip.encode_image(inputs), clip.encode_text(inputs)
    for name, tower, target in (("image", clip.image, e_text), ("text", clip.text, e_image)):
        with torch.no_grad():
            z = tower.head(inputs, layer)
        yield name, lambda z, tower=tower, e=target: torch.cosine_similarity(tower.tail(z, inputs, layer), e, dim=-1), z


def slope(score, z: torch.Tensor, lam: float) -> torch.Tensor:
    """Token sums of z · ∇F(λz), [B, S]."""
    narrowed = (lam * z).requires_grad_()
    (gradient,) = torch.autograd.grad(score(narrowed).sum(), narrowed)
    return (z * gradient).sum(-1)


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


# --- what is missing: delta and null ----------------------------------------------------------------------------------


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


# --- work done --------------------------------------------------------------------------------------------------------


@pytest.fixture
def watched(monkeypatch):
    """A clip, and what its blocks see: (tower, block) -> list of (rows, columns, whether a gradient is taken)."""
    clip, seen = new_clip(), {}
    for tower in ("image", "text"):
        for number, block in enumerate(getattr(clip, tower).blocks):
            calls = seen[tower, number] = []

            def forward(z, calls=calls, forward=block.layer_norm1.forward):
                calls.append((*z.shape[:2], z.requires_grad))
                return forward(z)

            monkeypatch.setattr(block.layer_norm1, "forward", forward)  # where a block's input goes, however it is computed
    clip.check(tiny_inputs())  # compared with its own forward pass, once: not what is watched
    for calls in seen.values():
        calls.clear()
    return clip, seen


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("steps", [4, 40])
def test_memory_is_flat_in_num_steps(watched, rule, steps):
    """No block ever sees more rows than ``batch_size``, whatever the number of steps."""
    clip, seen = watched
    nk.nib(clip, tiny_inputs((5, 8, 3)), num_steps=steps, rule=rule, batch_size=5)
    largest = max(rows for calls in seen.values() for rows, _, _ in calls)
    assert largest == 5


def test_the_head_runs_once_per_pair(watched):
    clip, seen = watched
    nk.nib(clip, tiny_inputs((5, 8, 3)), layer=2, num_steps=10)
    for tower in ("image", "text"):
        for number in (0, 1):
            assert sum(rows for rows, _, _ in seen[tower, number]) == 3
            assert not any(gradient for _, _, gradient in seen[tower, number])


@pytest.mark.parametrize("rule", RULES)
def test_num_steps_counts_gradients(watched, rule):
    """Exactly, and for "adaptive" as a bound."""
    clip, seen = watched
    nk.nib(clip, tiny_inputs((5, 8, 3)), layer=2, num_steps=13, rule=rule)
    for tower in ("image", "text"):
        spent = sum(rows for rows, _, gradient in seen[tower, 2] if gradient)
        assert spent == 39 if rule != "adaptive" else 0 < spent <= 39


def test_no_column_of_padding_is_computed(watched):
    """Captions go in by length: nothing is computed behind a batch's longest, and short ones do not wait for long ones."""
    clip, seen = watched
    nk.nib(clip, tiny_inputs((8, 3, 8, 3), columns=77), layer=2, num_steps=1, batch_size=2)
    assert {columns for _, columns, _ in seen["text", 4]} == {3, 8}


def test_steps_share_the_batch(watched):
    """All steps of all pairs go through in one call, if ``batch_size`` allows."""
    clip, seen = watched
    nk.nib(clip, tiny_inputs((5, 8, 3)), layer=2, num_steps=10, batch_size=30)
    assert [rows for rows, _, gradient in seen["text", 4] if gradient] == [30]


def test_progress_is_shown_only_on_request(capsys):
    nk.nib(tiny_clip(), tiny_inputs())
    assert capsys.readouterr() == ("", "")
    nk.nib(tiny_clip(), tiny_inputs(), progress=True)
    assert "gradient" in capsys.readouterr().err


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


# --- memory and half precision ----------------------------------------------------------------------------------------


def test_a_batch_that_memory_does_not_hold_is_halved(monkeypatch):
    """As on a GPU: above 5 rows the memory is out. The result is the same; a single row that does not fit is an error."""
    clip, inputs = tiny_clip(), tiny_inputs((5, 8, 3))
    want, memory = nk.nib(clip, inputs), ShortMemory(monkeypatch, clip, room=5)
    found = nk.nib(clip, inputs, batch_size=30)
    assert max(memory.tried) > memory.room and torch.allclose(found.image, want.image, rtol=1e-5, atol=1e-7)
    assert torch.allclose(found.text, want.text, rtol=1e-5, atol=1e-7)
    memory.room = 0
    with pytest.raises(torch.OutOfMemoryError):
        nk.nib(clip, inputs)


def test_autocast_around_a_call_changes_digits_only():
    clip, inputs = tiny_clip(), tiny_inputs((5, 8, 3))
    want = nk.nib(clip, inputs)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = nk.nib(clip, inputs)
    assert found.image.dtype == torch.float32 and not torch.equal(found.image, want.image)
    assert torch.corrcoef(torch.stack([found.image.flatten(), want.image.flatten()]))[0, 1] > 0.98


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


def test_an_adaptive_integral_says_whether_it_closed():
    """Of how many pairs the gap is above its goal: of all with four gradients, of none with many."""
    few = nk.nib(tiny_clip(), tiny_inputs(), rule="adaptive", num_steps=4)
    assert few.options["open"] == (3, 3)
    assert nk.nib(tiny_clip(), tiny_inputs(), rule="adaptive", num_steps=200).options["open"] == (0, 0)
    assert "open" not in nk.nib(tiny_clip(), tiny_inputs()).options


@pytest.mark.parametrize("rule, most", [("riemann", 100_000), ("adaptive", 100_000), ("gauss", 1000), ("log-gauss", 1000)])
def test_absurd_counts_of_steps_are_refused_before_any_work(rule, most):
    with nk.count_passes(tiny_clip()) as passes:
        for count in (most + 1, 100_000_000, 10**400):
            with pytest.raises(ValueError, match=f'num_steps must be at most {most:,} for "{rule}"; got 1'):
                nk.nib(tiny_clip(), tiny_inputs(), rule=rule, num_steps=count)
    assert passes.forward == 0


def test_steps_beyond_those_held_at_once_are_added_up():
    """2,500 steps go through in three parts; Riemann's sum by hand."""
    clip, inputs = tiny_clip(), tiny_inputs((4,))
    att = nk.nib(clip, inputs, layer=3, num_steps=2500)
    whole = CutEncoder(clip.image, inputs, 3)
    slopes = whole.slopes(np.arange(1, 2501) / 2500, clip.encode_text(inputs))
    assert relative(att.image.flatten(), slopes.double().mean(1)[0, 1:].float()) < 1e-4
