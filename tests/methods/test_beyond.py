"""The methods beyond the paper, each written out a second time: numpy, float64, one pair, one head, one weight at a time.

Slopes are differences, (F(x + h) − F(x − h)) / 2h, and CP-LRP is made of its rules layer by layer: no autograd is at work.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers import new_clip, relative, tiny_clip, tiny_inputs
from written_out import Encoder, behind, cosine, gelu, linear, mixed_by, norm, projected, run, weights_of

import nibkit as nk
from nibkit.evaluation.arguments import build_parser, check_methods
from nibkit.methods.cplrp import factor
from nibkit.methods.gradeclip import loosened
from nibkit.methods.registry import read_methods

LENGTHS, STEP = (5, 7, 4), 1e-5


@pytest.fixture(scope="module")
def pairs():
    """(clip, padded inputs, [(pair number, its image encoder, its text encoder)])."""
    clip, inputs = tiny_clip(dtype=torch.float64), tiny_inputs(LENGTHS)
    inputs = replace(inputs, pixel_values=inputs.pixel_values.double())
    alone = [nk.Inputs(inputs.pixel_values[i : i + 1], inputs.input_ids[i : i + 1, :n]) for i, n in enumerate(LENGTHS)]
    return clip, inputs, [[Encoder(clip, pair, picture) for picture in (True, False)] for pair in alone]


def assert_is(att, pairs, written):
    """``att`` holds what ``written`` says of each encoder, [S]."""
    ours, theirs = [], []
    for i, encoders in enumerate(pairs):
        image, text = map(written, encoders)
        theirs += [image[1:], text, image[:1]]
        ours += [att.image[i].flatten(), att.text[i, : LENGTHS[i]], att.image.new_zeros(1)]
        ours[-1][:] = 0 if att.class_token is None else att.class_token[i]
        assert (att.text[i, LENGTHS[i] :] == 0).all()
    for part in range(3):  # each relative to the largest of all pairs
        a, b = (torch.cat([torch.as_tensor(values) for values in found[part::3]]) for found in (ours, theirs))
        assert float((a - b).abs().max()) < 1e-6 * float(b.abs().max()) or (part == 2 and (b == 0).all() and (a == 0).all())


# --- LeGrad -------------------------------------------------------------------------------------------------------------------


def legrad(encoder, first):
    z, values = encoder.before(first), np.zeros(len(encoder.z))
    for block in encoder.blocks[first:]:
        x = norm(block.layer_norm1, z)
        matrices, value = weights_of(block, x, encoder.causal, encoder.heads), projected(block, x)[2]
        score = lambda m, z=z, block=block, value=value: encoder.score(behind(block, z, mixed_by(m, value)).mean(0))  # noqa: E731
        for h, matrix in enumerate(matrices):
            for i, j in np.ndindex(matrix.shape):
                if encoder.causal and j > i:
                    continue
                ends = []
                for step in (STEP, -STEP):
                    moved = [m.copy() for m in matrices]
                    moved[h][i, j] += step
                    ends.append(score(moved))
                values[j] += max(0.0, (ends[0] - ends[1]) / (2 * STEP))
        z = run(block, z, encoder.causal, encoder.heads)
    return values / (encoder.heads * len(values) * len(encoder.blocks[first:]))


@pytest.mark.parametrize("first", [None, 0, 4])
def test_legrad_moves_one_attention_weight_at_a_time(pairs, first):
    clip, inputs, encoders = pairs
    att = nk.legrad(clip, inputs, start_layer=first)
    assert att.options["start_layer"] == ((3, 3) if first is None else (first, first))
    assert_is(att, encoders, lambda encoder: legrad(encoder, 3 if first is None else first))


# --- Grad-ECLIP ---------------------------------------------------------------------------------------------------------------


def gradeclip(encoder, first, one_head):
    heads, total = 1 if one_head else encoder.heads, np.zeros(len(encoder.z))
    places = np.arange(1 if not encoder.causal else 0, len(encoder.z))
    for number, block in enumerate(encoder.blocks[first:], first):
        z = encoder.before(first)
        for earlier in encoder.blocks[first:number]:
            z = run(earlier, z, encoder.causal, heads)
        x = norm(block.layer_norm1, z)
        query, key, value = projected(block, x)
        mixed, slope = mixed_by(weights_of(block, x, encoder.causal, heads), value), np.zeros(z.shape[1])
        for c in range(z.shape[1]):
            ends = []
            for step in (STEP, -STEP):
                moved = mixed.copy()
                moved[encoder.read, c] += step
                after = behind(block, z, moved)
                for later in encoder.blocks[number + 1 :]:
                    after = run(later, after, encoder.causal, heads)
                ends.append(encoder.score(after[encoder.read]))
            slope[c] = (ends[0] - ends[1]) / (2 * STEP)
        if one_head:
            query, key = (linear(block.self_attn.out_proj, part) for part in (query, key))
        phi = np.array([cosine(query[encoder.read], key[j]) for j in places])
        phi = (phi - phi.min()) / (phi.max() - phi.min())
        for j, weight in zip(places, phi):
            total[j] += weight * (slope @ value[j])
    return total.clip(min=0)


@pytest.mark.parametrize("variant", ["multihead", "original"])
@pytest.mark.parametrize("first", [None, 3])
def test_gradeclip_moves_one_channel_of_what_is_written_at_a_time(pairs, variant, first):
    """None: the last block of pictures; of captions the last eight, all five here."""
    clip, inputs, encoders = pairs
    att = nk.gradeclip(clip, inputs, start_layer=first, variant=variant)
    image, text = att.options["start_layer"]
    assert (image, text) == ((4, 0) if first is None else (3, 3)) and att.class_token is None
    assert_is(att, encoders, lambda encoder: gradeclip(encoder, text if encoder.causal else image, variant == "original"))


def test_gradeclips_variants_differ_by_the_heads():
    """In a model of one head only the output projection of queries and keys is left between them."""
    clip, inputs = tiny_clip(), tiny_inputs(LENGTHS)
    assert relative(nk.gradeclip(clip, inputs).image, nk.gradeclip(clip, inputs, variant="original").image) > 0.1
    single = new_clip()
    for tower in (single.image, single.text):
        for block in tower.blocks:
            block.self_attn.num_heads, block.self_attn.head_dim, block.self_attn.scale = 1, 32, 32**-0.5
            block.self_attn.out_proj.weight.data = torch.eye(32)
            block.self_attn.out_proj.bias.data.zero_()
    a, b = (nk.gradeclip(single, inputs, variant=variant) for variant in ("multihead", "original"))
    assert relative(a.image, b.image) < 1e-5 and relative(a.text, b.text) < 1e-5


def test_phi_is_1_where_all_places_are_alike():
    key, counted = torch.ones(1, 3, 4), torch.tensor([[False, True, True]])
    assert loosened(torch.ones(1, 4), key, counted).tolist() == [[1.0, 1.0, 1.0]]
    key[0, 2] = -1
    assert loosened(torch.ones(1, 4), key, counted)[0, 1:].tolist() == [1.0, 0.0]


# --- CP-LRP -------------------------------------------------------------------------------------------------------------------


def through_linear(relevance, x, weight, y):
    """R_i = Σ_j x_i w_ji / y_j · R_j, of each row: x [S, C] went in, y [S, D] came out, its bias included."""
    return x * ((relevance / y) @ weight)


def through_norm(relevance, layer, x):
    centred = x - x.mean(-1, keepdims=True)
    spread = np.sqrt((centred**2).mean(-1, keepdims=True) + layer.eps)
    share = relevance / norm(layer, x) * layer.weight.numpy() / spread
    return x * (share - share.mean(-1, keepdims=True))


def cplrp(encoder, layer):
    states = [encoder.before(layer)]
    for block in encoder.blocks[layer:]:
        states.append(run(block, states[-1], encoder.causal, encoder.heads))
    tower, read = encoder.tower, slice(encoder.read, encoder.read + 1)
    last = norm(tower.norm, states[-1][read])
    f = linear(tower.projection, last)
    start = f * encoder.target / np.linalg.norm(f) / np.linalg.norm(encoder.target)
    relevance = np.zeros_like(states[-1])
    relevance[read] = through_norm(through_linear(start, last, tower.projection.weight.numpy(), f), tower.norm, states[-1][read])
    for block, z in zip(reversed(encoder.blocks[layer:]), reversed(states[:-1])):
        x = norm(block.layer_norm1, z)
        matrices, value = weights_of(block, x, encoder.causal, encoder.heads), projected(block, x)[2]
        mixed = mixed_by(matrices, value)
        written = linear(block.self_attn.out_proj, mixed)
        middle = z + written
        y = norm(block.layer_norm2, middle)
        hidden = linear(block.mlp.fc1, y)
        added = linear(block.mlp.fc2, gelu(hidden))
        share = relevance / (middle + added)  # a sum hands on in proportion
        through_mlp = through_linear(added * share, gelu(hidden), block.mlp.fc2.weight.numpy(), added)
        through_mlp = through_linear(through_mlp, y, block.mlp.fc1.weight.numpy(), hidden)  # what leaves gelu enters it
        relevance = middle * share + through_norm(through_mlp, block.layer_norm2, middle)
        share = relevance / middle
        of_mixed = through_linear(written * share, mixed, block.self_attn.out_proj.weight.numpy(), written)
        of_value = value * mixed_by([matrix.T for matrix in matrices], of_mixed / mixed)
        of_x = through_linear(of_value, x, block.self_attn.v_proj.weight.numpy(), value)
        relevance = z * share + through_norm(of_x, block.layer_norm1, z)
    return relevance.sum(-1)


@pytest.mark.parametrize("layer", [None, 3, 5])
def test_cplrp_is_its_rules_layer_by_layer(pairs, layer):
    clip, inputs, encoders = pairs
    att = nk.cplrp(clip, inputs, layer=layer)
    assert att.options["layer"] == ((0, 0) if layer is None else (layer, layer))
    assert layer == 5 or ((att.image < 0).any() and (att.text < 0).any())
    if layer == 5:  # behind the last block the position that is read has all of it
        assert (att.image == 0).all() and (att.class_token != 0).all()
    else:
        assert_is(att, encoders, lambda encoder: cplrp(encoder, layer or 0))


@pytest.mark.parametrize("layer", [0, 2, 5])
def test_cplrp_keeps_the_sum_where_no_bias_takes_a_share(layer):
    clip, inputs = new_clip(dtype=torch.float64), tiny_inputs(LENGTHS)
    with_biases = nk.cplrp(clip, inputs, layer=layer)
    for name, weight in clip.model.named_parameters():
        if name.endswith("bias"):
            weight.data.zero_()
    att = nk.cplrp(clip, inputs, layer=layer)
    assert torch.allclose(att.image.sum((1, 2)) + att.class_token, att.similarity, atol=1e-12)
    assert torch.allclose(att.text.sum(1), att.similarity, atol=1e-12)
    assert float((with_biases.text.sum(1) - with_biases.similarity).abs().max()) > 1e-3


@pytest.mark.parametrize("activation", [torch.nn.functional.gelu, torch.nn.functional.silu, torch.nn.functional.relu])
def test_the_activations_factor_gives_it_back_and_is_finite_at_0(activation):
    x = torch.tensor([-3.0, -1e-6, 0.0, 1e-6, 2.0], dtype=torch.float64)
    assert torch.allclose(x * factor(activation, x), activation(x)) and factor(activation, x).isfinite().all()


# --- by name ------------------------------------------------------------------------------------------------------------------


def test_they_are_called_by_name_but_are_not_among_all_methods():
    assert [method.name for method in read_methods(None, None, 0)] == list(nk.METHODS)
    assert not nk.METHODS.keys() & nk.BEYOND.keys()
    found = read_methods(["nib", *nk.BEYOND], {"gradeclip": {"variant": "original"}}, 0)
    assert [method.function for method in found] == [nk.nib, *nk.BEYOND.values()]
    with pytest.raises(
        ValueError, match="unknown method 'lrp': the methods are nib, .*fastig, beyond the paper legrad, .*cplrp, or"
    ):
        read_methods(["lrp"], None, 0)


def test_the_benchmark_and_the_command_line_take_them():
    clip, pairs = nk.load_clip("shapes"), nk.datasets.shapes(2, 0)
    table = nk.evaluate(clip, pairs, ["nib", *nk.BEYOND], progress=False).set_index("method")
    assert list(table.index.unique()) == ["nib", *nk.BEYOND] and table["average_precision"].notna().all()
    assert dict(zip(table.index, table["forward_image"])) == {"nib": 12, "legrad": 4, "gradeclip": 2, "cplrp": 2}
    assert dict(zip(table.index, table["backward_image"])) == {"nib": 10, "legrad": 2, "gradeclip": 1, "cplrp": 1}
    words = ["--methods", "legrad", "gradeclip:variant=original,start_layer=8", "--against", "legrad"]
    assert list(check_methods(build_parser().parse_args(words))) == words[1:3]
