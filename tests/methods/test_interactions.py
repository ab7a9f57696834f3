"""nk.interactions: a plain double loop over the features' coordinates gives the same numbers; it adds up."""

import warnings
from dataclasses import replace

import pytest
import torch
from helpers import END, new_clip, relative, tiny_clip, tiny_inputs
from torch.nn import functional as nnf

import nibkit as nk
from nibkit.methods.interactions import FIXED

LENGTHS = (5, 8, 3)
FIELDS = ("values", "class_token", "null_caption", "class_null", "null_picture", "null", "delta", "similarity")
DEPTH = 5


def double_loop(clip, inputs, layers, lam, weights, start):
    """Every field, for pairs without padding: Eq. 10 of each feature coordinate, a step and a coordinate at a time."""
    sums, opened, begun = [], [], []
    for tower, layer in zip((clip.image, clip.text), layers):
        with torch.no_grad():
            z = tower.head(inputs, layer)
        unit = lambda y, tower=tower, layer=layer: nnf.normalize(tower.tail(y, inputs, layer), dim=-1)  # noqa: E731
        total = torch.zeros(*z.shape[:2], tower.dimension, dtype=z.dtype)
        for node, weight in zip(lam, weights):
            for d in range(tower.dimension):
                y = (float(node) * z).requires_grad_()
                gradient = torch.autograd.grad(unit(y)[:, d].sum(), y)[0]
                total[..., d] += float(weight) * (z * gradient).sum(-1)
        sums.append(total)
        opened.append(unit(z).detach())
        begun.append(unit(start * z).detach())
    rest = [whole - total.sum(1) for whole, total in zip(opened, sums)]
    everything = torch.einsum("bid,bjd->bij", *sums)
    gained = ((opened[0] - begun[0]) * (opened[1] - begun[1])).sum(-1)
    null_caption = torch.einsum("bid,bd->bi", sums[0], rest[1])
    return {
        "values": everything[:, 1:].unflatten(1, (clip.image.grid,) * 2),
        "class_token": everything[:, 0],
        "null_caption": null_caption[:, 1:].unflatten(1, (clip.image.grid,) * 2),
        "class_null": null_caption[:, 0],
        "null_picture": torch.einsum("bjd,bd->bj", sums[1], rest[0]),
        "null": (rest[0] * rest[1]).sum(-1),
        "delta": everything.sum((1, 2)) - gained,
        "similarity": (opened[0] * opened[1]).sum(-1),
    }


def assert_same(ours, other, tolerance):
    """Importances relative to the largest, cosines and their differences relative to 1."""
    largest = max(float(getattr(other, field).abs().max()) for field in FIELDS[:2])
    for i, field in enumerate(FIELDS):
        a, b = getattr(ours, field), getattr(other, field)
        scale = largest if i < 2 else 1.0
        assert a.shape == b.shape and float((a - b).abs().max()) <= tolerance * scale, field


def narrower(found, columns):
    """Without the columns behind."""
    cut = {name: getattr(found, name)[..., :columns] for name in ("values", "class_token", "null_picture")}
    return replace(found, **cut)


# --- the numbers ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "layers, rule, num_steps, start",
    [((3, 3), "log-gauss", 4, 0.05), ((0, 2), "riemann", 3, 0.0), ((4, 1), "midpoint", 2, 0.3), ((5, 5), "sinh", 3, 0.0)],
)
@pytest.mark.filterwarnings("ignore:.*cut explains nothing")
def test_it_is_the_double_loop_over_coordinates(layers, rule, num_steps, start):
    clip = tiny_clip(dtype=torch.float64)
    for seed, length in enumerate((5, 8)):
        inputs = tiny_inputs((length,), seed)
        inputs = nk.Inputs(inputs.pixel_values.double(), inputs.input_ids)
        found = nk.interactions(clip, inputs, layers, num_steps, rule, start)
        nodes = nk.quadrature.nodes(rule, num_steps, start)
        for name, want in double_loop(clip, inputs, layers, *nodes, start).items():
            assert torch.allclose(getattr(found, name), want, rtol=0, atol=1e-10), name
    assert (found.values != 0).any() or layers[0] == DEPTH


@pytest.mark.parametrize("rule", FIXED)
@pytest.mark.parametrize("layer", [0, 3, (1, 4)])
def test_rows_and_columns_are_nibs(rule, layer):
    clip, inputs = tiny_clip(dtype=torch.float64), tiny_inputs(LENGTHS, columns=10)
    found = nk.interactions(clip, inputs, layer, 3, rule)
    att = nk.nib(clip, inputs, layer, 3, rule)
    assert torch.allclose(found.values.sum(-1) + found.null_caption, att.image, rtol=0, atol=1e-12)
    assert torch.allclose(found.class_token.sum(-1) + found.class_null, att.class_token, rtol=0, atol=1e-12)
    columns = found.values.sum((1, 2)) + found.class_token + found.null_picture
    assert torch.allclose(columns, att.text, rtol=0, atol=1e-12) and (found.values != 0).any()
    bill = found.values.sum((1, 2, 3)) + found.class_token.sum(1) + found.null_caption.sum((1, 2)) + found.class_null
    assert torch.allclose(bill + found.null_picture.sum(1) + found.null, att.similarity, atol=1e-12)


@pytest.mark.parametrize(
    "rule, start, num_steps", [("log-gauss", 0.05, 24), ("gauss", 0.3, 16), ("midpoint", 0.3, 400), ("sinh", 0.0, 300)]
)
def test_it_is_complete_with_enough_nodes(rule, start, num_steps):
    """Σ A is what both features gain; the null parts are then the features at the start, and few nodes do worse."""
    clip, inputs = tiny_clip(dtype=torch.float64), tiny_inputs(LENGTHS)
    found = nk.interactions(clip, inputs, 2, num_steps, rule, start)
    gained = found.values.sum((1, 2, 3)) + found.class_token.sum(1) - found.delta
    assert (found.delta.abs() < 1e-3 * gained.abs()).all()
    assert (nk.interactions(clip, inputs, 2, 1, rule, start).delta.abs() > 10 * found.delta.abs()).all()
    with torch.no_grad():
        begun = [
            tower.tail(start * tower.head(found_in, 2), found_in, 2)
            for tower, found_in in ((clip.image, double(inputs)), (clip.text, inputs))
        ]
    begun = [nnf.normalize(part, dim=-1) for part in begun]
    assert torch.allclose(found.null, (begun[0] * begun[1]).sum(-1), atol=2e-3)


def double(inputs):
    return replace(inputs, pixel_values=inputs.pixel_values.double())


# --- a pair depends on itself alone -----------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype, tolerance", [(torch.float64, 1e-9), (torch.float32, 1e-5)], ids=str)
@pytest.mark.parametrize("end", [2, END])
def test_a_pair_does_not_depend_on_its_batch_on_batch_size_or_on_padding(dtype, tolerance, end):
    clip, lengths = tiny_clip(dtype=dtype, end=end), (5, 11, 3, 9, 77)
    inputs = tiny_inputs(lengths)
    whole = nk.interactions(clip, inputs, num_steps=3)
    assert whole.values.dtype == dtype and whole.values.shape == (5, 3, 3, 77)
    for batch_size in (1, 4, 64):
        assert_same(nk.interactions(clip, inputs, num_steps=3, batch_size=batch_size), whole, tolerance)
    back = [4, 3, 2, 1, 0]
    assert_same(nk.interactions(clip, inputs[back], num_steps=3)[back], whole, tolerance)
    for i, length in enumerate(lengths):
        alone = nk.interactions(clip, nk.Inputs(inputs[i].pixel_values, inputs[i].input_ids[:, :length]), num_steps=3)
        assert_same(narrower(whole[i], length), alone, tolerance)
        assert (whole.values[i, ..., length:] == 0).all() and (whole.null_picture[i, length:] == 0).all()


def test_holes_in_a_caption_get_0():
    inputs = tiny_inputs((6, 8))
    inputs.attention_mask[1, 3] = 0
    found = nk.interactions(tiny_clip(), inputs)
    assert (found.values[1, ..., 3] == 0).all() and (found.values[1] != 0).any()
    assert_same(nk.interactions(tiny_clip(), inputs, batch_size=1), found, 1e-5)


def test_one_word_and_identical_words():
    """Of three equal words each has its own value: the text tail knows where they stand."""
    clip, inputs = tiny_clip(), tiny_inputs((3,))
    one = nk.interactions(clip, inputs)
    assert one.values.shape == (1, 3, 3, 3) and (one.values[..., 1] != 0).all()
    ids = torch.tensor([[98, 7, 7, 7, 99]])
    equal = nk.interactions(clip, nk.Inputs(inputs.pixel_values, ids))
    assert len(equal.values[0, 0, 0].unique()) == 5
    assert torch.allclose(
        equal.values.sum(-1) + equal.null_caption,
        nk.nib(clip, nk.Inputs(inputs.pixel_values, ids), None, 8, "log-gauss").image,
        atol=1e-6,
    )


@pytest.mark.parametrize("layer, said", [(DEPTH, "behind its last block"), (DEPTH - 1, "before its last block")])
def test_cuts_that_explain_nothing_are_told(layer, said):
    with pytest.warns(UserWarning, match=f"interactions's cut explains nothing there: the image encoder is cut {said}") as caught:
        found = nk.interactions(tiny_clip(), tiny_inputs(), layer=layer)
    assert {warning.filename for warning in caught} == {__file__}
    read = found.class_token[0, 4].abs()
    assert read > 0 and (found.values.abs().max() == 0 if layer == DEPTH else found.values[0].abs().max() < 0.02 * read)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        nk.interactions(tiny_clip(), tiny_inputs(), layer=DEPTH - 2)


def test_half_precision_is_roughly_right():
    want = nk.interactions(tiny_clip(), tiny_inputs())
    found = nk.interactions(new_clip(dtype=torch.bfloat16), tiny_inputs())
    assert found.values.dtype == torch.float32 and relative(found.values, want.values) < 0.2


@pytest.mark.parametrize("model", [dict(depth=(6, 4)), dict(depth=2, image_size=50, end=END), dict(attention="eager")], ids=str)
def test_other_models(model):
    clip, inputs = tiny_clip(seed=1, **model), tiny_inputs((5, 7), image_size=model.get("image_size", 48))
    found, att = nk.interactions(clip, inputs, 1, 3), nk.nib(clip, inputs, 1, 3, "log-gauss")
    assert torch.allclose(found.values.sum(-1) + found.null_caption, att.image, atol=1e-5)


class Once(torch.autograd.Function):
    """A model's own function whose backward pass can't be differentiated."""

    @staticmethod
    def forward(context, x):
        return x.clone()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(context, gradient):
        return gradient


@pytest.mark.parametrize("part", ["mlp", "layer_norm2", ""], ids=["beside it", "in it", "behind it"])
@pytest.mark.parametrize("tower", ["image", "text"])
def test_a_model_that_cannot_be_differentiated_twice_gives_the_same(tower, part):
    """torch says nothing where it drops one of several paths, and raises where no path is left."""
    clip, inputs = new_clip(), tiny_inputs(LENGTHS)
    getattr(clip, tower).blocks[4].get_submodule(part).register_forward_hook(lambda module, arguments, output: Once.apply(output))
    found = nk.interactions(clip, inputs, num_steps=3)
    assert found.options["blocks"] == (("called", "rewritten") if tower == "image" else ("rewritten", "called"))
    assert_same(found, nk.interactions(tiny_clip(), inputs, num_steps=3), 1e-5)
