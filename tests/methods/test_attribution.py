"""The result: heat maps, words, choosing pairs."""

import copy
import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers import tiny_clip, tiny_inputs
from torch.nn import functional as nnf

import nibkit as nk


def attribution(image, text=None, tokens=None, words=None) -> nk.Attribution:
    image = torch.as_tensor(image)
    text = torch.zeros(len(image), 1) if text is None else torch.as_tensor(text)
    return nk.Attribution(image, text, tokens or (("x",),) * len(image), torch.zeros(len(image)), words=words)


@pytest.fixture
def result():
    return nk.nib(tiny_clip(), tiny_inputs((5, 8, 3)))


# --- heat maps --------------------------------------------------------------------------------------------------------


def test_maps_are_bilinear_with_half_pixel_corners():
    """2 × 2 to 4 × 4 by hand: each output pixel's middle, mixed from the nearest middles, held at the border."""
    across = np.array([0, 0.25, 0.75, 1])
    by_hand = 2 * across[:, None] + across[None]
    out = attribution([[[0.0, 1.0], [2.0, 3.0]]]).heatmap(4, normalize=None)
    assert np.allclose(out[0].numpy(), by_hand, atol=1e-6)


@pytest.mark.parametrize("size, shape", [(224, (224, 224)), (7, (7, 7)), (1, (1, 1)), ((30, 50), (30, 50)), ((1, 9), (1, 9))])
@pytest.mark.parametrize("normalize", ["minmax", "signed", None])
def test_sizes(result, size, shape, normalize):
    maps = result.heatmap(size, normalize)
    assert maps.shape == (3, *shape) and torch.isfinite(maps).all()


def test_default_is_the_papers(result):
    assert torch.equal(result.heatmap(), result.heatmap(224, "minmax"))


def test_the_maps_own_size_changes_nothing(result):
    assert torch.allclose(result.heatmap(3, normalize=None), result.image, atol=1e-7)


def test_minmax_goes_from_0_to_1_map_by_map(result):
    maps = result.heatmap()
    assert (maps.amin((1, 2)) == 0).all() and torch.allclose(maps.amax((1, 2)), torch.ones(3), atol=1e-6)


def test_signed_keeps_the_sign_and_the_ratio(result):
    maps, plain = result.heatmap(normalize="signed"), result.heatmap(normalize=None)
    assert torch.allclose(maps.abs().amax((1, 2)), torch.ones(3), atol=1e-6)
    assert ((maps > 0) == (plain > 0)).all() and ((maps < 0) == (plain < 0)).all()
    for one, raw in zip(maps, plain):
        assert torch.allclose(one * raw.abs().max(), raw, atol=1e-7)


@pytest.mark.parametrize("value", [0.0, 1.0, -3.0, 0.1, 1e-30, -7e8])
@pytest.mark.parametrize("normalize", ["minmax", "signed"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("grid", [7, 16])  # blown up to 224, a constant 7 × 7 happens to stay constant, 16 × 16 does not
def test_constant_maps_give_zeros(value, normalize, dtype, grid):
    """Not 0 ÷ 0, and not the rounding of the interpolation blown up; other maps of the batch are unharmed."""
    image = torch.full((2, grid, grid), value, dtype=dtype)
    image[1, 0, 0] = 5
    maps = attribution(image).heatmap(normalize=normalize)
    assert (maps[0] == 0).all() and torch.isfinite(maps).all() and maps[1].abs().max() == 1


@pytest.mark.parametrize("scale", [1e-30, 1e-6, 1e6, 1e30])
def test_scaled_maps_do_not_depend_on_the_unit(result, scale):
    for normalize in ("minmax", "signed"):
        scaled = attribution(result.image.double() * scale).heatmap(normalize=normalize)
        assert torch.allclose(scaled, result.heatmap(normalize=normalize).double(), atol=1e-5)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("normalize", ["minmax", "signed", None])
def test_nan_is_refused(bad, normalize):
    image = torch.zeros(1, 3, 3)
    image[0, 1, 1] = bad
    with pytest.raises(ValueError, match="the map holds NaN or infinity"):
        attribution(image).heatmap(normalize=normalize)


@pytest.mark.parametrize("normalize", ["max", "", True, 1])
def test_unknown_scalings_are_refused(result, normalize):
    with pytest.raises(ValueError, match='normalize must be "minmax", "signed" or None; got'):
        result.heatmap(normalize=normalize)


@pytest.mark.parametrize("size", [0, -5, (0, 9), (9, 0)])
def test_sizes_below_1_are_refused(result, size):
    with pytest.raises(ValueError, match="size must be a whole number, 1 or more; got"):
        result.heatmap(size)


def test_numpys_whole_numbers_are_sizes(result):
    assert result.heatmap(np.int64(9)).shape == (3, 9, 9)


def test_maps_keep_double_precision_and_lift_half():
    assert attribution(torch.rand(1, 3, 3, dtype=torch.float64)).heatmap().dtype == torch.float64
    assert attribution(torch.rand(1, 3, 3, dtype=torch.bfloat16)).heatmap().dtype == torch.float32


# --- words ------------------------------------------------------------------------------------------------------------


def test_tokens_of_a_word_are_joined_and_added():
    att = attribution(
        torch.zeros(1, 2, 2),
        [[9.0, 1.0, 2.0, 4.0, 8.0, 7.0]],
        (("<s>", "a", "ze", "bra", "s", "</s>"),),
        ((None, 0, 1, 1, 1, None),),
    )
    assert att.words_of(0) == [("a", 1.0), ("zebras", 14.0)]


def test_without_word_numbers_each_token_stands_alone(result):
    assert [word for word, _ in result.words_of(2)] == list(result.tokens[2])
    assert [value for _, value in result.words_of(2)] == result.text[2, :3].tolist()


def test_a_word_that_comes_twice_is_two_words():
    att = attribution(torch.zeros(1, 2, 2), [[1.0, 2.0]], (("a", "a"),), ((0, 1),))
    assert att.words_of(0) == [("a", 1.0), ("a", 2.0)]


# --- choosing ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rows, kept", [(1, [1]), (-1, [2]), (slice(1, None), [1, 2]), ([2, 0], [2, 0]), (np.int64(0), [0])])
def test_choosing_pairs(result, rows, kept):
    chosen = result[rows]
    assert len(chosen) == len(kept) and chosen.options == result.options and chosen.method == "nib"
    for name, value in vars(result).items():
        if isinstance(value, torch.Tensor):
            assert torch.equal(getattr(chosen, name), value[kept]), name
    assert chosen.tokens == tuple(result.tokens[i] for i in kept)


def test_iterating_gives_every_pair_once(result):
    assert [len(one) for one in result] == [1, 1, 1]


def test_choosing_a_pair_that_is_not_there(result):
    with pytest.raises(IndexError):
        result[3]


def test_cpu(result):
    there = result.cpu()
    assert torch.equal(there.image, result.image) and there.tokens == result.tokens and there.image.device.type == "cpu"


def test_results_cannot_be_changed_in_passing(result):
    with pytest.raises(AttributeError):
        result.image = None


def test_pixels_are_shown_where_a_method_explains_pixels():
    """The heatmap is the pixel map, not the patches' means blown up; choosing rows keeps it."""
    pixels = torch.rand(2, 48, 48, generator=torch.Generator().manual_seed(0))
    att = replace(attribution(nnf.avg_pool2d(pixels[:, None], 16)[:, 0]), pixels=pixels)
    flat = pixels.flatten(1)
    scaled = (pixels - flat.amin(1)[:, None, None]) / (flat.amax(1) - flat.amin(1))[:, None, None]
    assert torch.allclose(att.heatmap(size=48), scaled, atol=1e-6)
    assert torch.allclose(att[1].heatmap(size=48), scaled[1:], atol=1e-6)


# --- manners ------------------------------------------------------------------------------------------------------------------


def explained() -> tuple[nk.Inputs, nk.Attribution]:
    clip, inputs = tiny_clip(), tiny_inputs((5, 8, 3))
    return inputs, nk.nib(clip, inputs, num_steps=2)


def test_repr_is_one_line():
    inputs, att = explained()
    assert repr(att) == "Attribution('nib', 3 pairs, 3 × 3 patches, 8 tokens, torch.float32, cpu)"
    assert repr(inputs) == "Inputs(3 pairs, 48 × 48 pixels, 8 tokens, torch.float32, cpu)"
    assert repr(att[0]).startswith("Attribution('nib', 1 pair,") and repr(inputs[0]).startswith("Inputs(1 pair,")


@pytest.mark.parametrize("part", [0, 1], ids=["Inputs", "Attribution"])
def test_equality_is_identity_and_never_raises(part):
    one, other = explained()[part], explained()[part]
    assert one == one and one != other and len({one, other, one}) == 2


@pytest.mark.parametrize("part", [0, 1], ids=["Inputs", "Attribution"])
@pytest.mark.parametrize("way", ["pickle", "copy", "deepcopy"])
def test_pickled_and_copied(part, way):
    one = explained()[part]
    other = pickle.loads(pickle.dumps(one)) if way == "pickle" else getattr(copy, way)(one)
    assert type(other) is type(one) and vars(other).keys() == vars(one).keys()
    for name, value in vars(one).items():
        same = torch.equal(value, getattr(other, name)) if isinstance(value, torch.Tensor) else value == getattr(other, name)
        assert same, name


def test_moved():
    inputs, att = explained()
    assert inputs.to("cpu").pixel_values.dtype == torch.float32 and inputs.to(dtype=torch.float64).input_ids.dtype == torch.int64
    assert att.to(dtype=torch.float64).image.dtype == torch.float64 and att.to("cpu").tokens == att.tokens
    assert inputs.cpu().pixel_values.equal(inputs.pixel_values) and att.cpu().text.equal(att.text)
    arrays = att.to(dtype=torch.bfloat16).numpy()
    assert arrays["image"].dtype == np.float32 and arrays["text"].shape == (3, 8) and "pixels" not in arrays


@pytest.mark.parametrize("rows", [slice(None, None, -1), [2, 0], np.array([1]), np.array([True, False, True]), -1], ids=str)
def test_any_choice_of_rows(rows):
    inputs, att = explained()
    chosen = np.arange(3)[rows].reshape(-1)
    for batch in (inputs[rows], att[rows]):
        assert len(batch) == len(chosen)
    assert torch.equal(att[rows].image, torch.stack([att.image[i] for i in chosen]))
    assert torch.equal(inputs[rows].input_ids, torch.stack([inputs.input_ids[i] for i in chosen]))
    assert att[rows].tokens == tuple(att.tokens[i] for i in chosen)
