"""What the contract promises of every method, whatever it computes: what comes back, and that a pair depends on itself alone."""

import inspect
import random
from dataclasses import replace

import numpy as np
import pytest
import torch
from calls import (
    CALLS,
    DECISIONS,
    DISTRACTORS,
    LENGTHS,
    METHODS,
    OTHERS,
    PIXELS,
    PRECISION,
    UNSIGNED,
    every_call,
    every_dtype,
    explain,
    masked,
    method_of,
    usual_variant,
)
from helpers import END, FIELDS, assert_close, relative, tiny_clip, tiny_inputs

import nibkit as nk


def test_no_method_and_no_variant_is_left_out():
    wanted = {(name, usual_variant(name)) for name in METHODS}
    wanted |= {(name, "original") for name in METHODS if usual_variant(name)}
    assert {
        (method_of(call), options.get("variant", usual_variant(method_of(call)))) for call, options in CALLS.items()
    } == wanted
    assert all(METHODS[name] is getattr(nk, name) for name in METHODS)
    assert [*nk.METHODS] == ["nib", "m2ib", "rise", "gradcam", "chefer", "saliency", "mfaba", "fastig"]  # the paper's
    assert {usual_variant(name) for name in nk.METHODS} == {"paper", None} and usual_variant("gradeclip") == "multihead"


@pytest.mark.parametrize("name", METHODS)
def test_the_docstring_says_where_the_published_code_differs(name):
    assert METHODS[name].__doc__.count("Where the published code differs") == 1


# --- what comes back --------------------------------------------------------------------------------------------------


@every_dtype
@every_call
def test_what_comes_back(call, dtype):
    """Shapes, type and device of the model whatever the pixels', finite values, ids as tokens, 0 at padding, the options."""
    clip, inputs = tiny_clip(dtype=dtype), tiny_inputs((5, 8, 3), columns=10)
    other = torch.float32 if dtype == torch.float64 else torch.float64
    att = explain(call, clip, replace(inputs, pixel_values=inputs.pixel_values.to(other)))
    assert isinstance(att, nk.Attribution) and len(att) == 3 and att.method == method_of(call)
    assert att.image.shape == (3, 3, 3) and att.text.shape == (3, 10) and att.similarity.shape == (3,)
    assert (att.pixels is not None) == (call in PIXELS)
    assert (att.class_token is None) == (call in PIXELS | {"gradcam, original", "gradeclip", "gradeclip, original"})
    for value in filter(torch.is_tensor, vars(att).values()):
        assert value.dtype == torch.promote_types(dtype, torch.float32) and value.device == clip.device
        assert value.isfinite().all() and not value.requires_grad
    real = inputs.attention_mask != 0
    assert (att.text[~real] == 0).all() and (att.text != 0).any() and (att.image != 0).any()
    if method_of(call) in UNSIGNED or call == "mfaba":
        assert (att.image >= 0).all() and (att.text >= 0).all()
    assert [list(map(int, tokens)) for tokens in att.tokens] == [ids[keep].tolist() for ids, keep in zip(inputs.input_ids, real)]
    assert torch.allclose(att.similarity, clip.similarity(inputs), atol=1e-6)
    assert att.heatmap().shape == (3, 224, 224) and att.heatmap().isfinite().all()
    if call in PIXELS:
        assert att.pixels.shape == (3, 48, 48)
        assert relative(att.pixels.unflatten(1, (3, 16)).unflatten(3, (3, 16)).mean((2, 4)), att.image) < 1e-5
    written = {"distractors": len(DISTRACTORS), "reference": len(OTHERS), "layer": (2, 2)}  # not recorded as they were given
    usual = usual_variant(method_of(call))
    given = CALLS[call] if usual is None else {"variant": usual} | CALLS[call]
    for name, value in given.items():
        assert att.options[name] == written.get(name, value), name


@every_call
def test_token_strings_and_words_are_those_of_the_inputs(call):
    inputs = tiny_inputs((3, 4))
    tokens, words = (("<s>", "dog", "</s>"), ("<s>", "ze", "bra", "</s>")), ((None, 0, None), (None, 0, 0, None))
    att = explain(call, tiny_clip(), replace(inputs, tokens=tokens, words=words))
    assert att.tokens == tokens and att.words == words
    assert att.words_of(1) == [("zebra", pytest.approx(float(att.text[1, 1:3].sum()), rel=1e-5))]


@every_call
@pytest.mark.parametrize(
    "model",
    [dict(depth=(6, 4)), dict(depth=1, image_size=16), dict(depth=2, image_size=50, end=END)],
    ids=["6 and 4 blocks", "1 block, one patch", "rest of the picture unused, end token by its id"],
)
def test_other_models(call, model):
    clip, size = tiny_clip(seed=1, **model), model.get("image_size", 48)
    others = tiny_inputs((6, 4), seed=99, image_size=size)
    more = {name: others for name in ("distractors", "reference") if name in CALLS[call]}
    more |= dict(layer=0) if "layer" in CALLS[call] or method_of(call) == "m2ib" else {}
    att = explain(call, clip, tiny_inputs((5, 7), image_size=size), **more)
    assert att.image.shape == (2, size // 16, size // 16) and att.image.isfinite().all() and att.text.isfinite().all()
    assert att.heatmap(size).shape == (2, size, size) and (att.text != 0).any()
    if call in PIXELS:
        assert att.pixels.shape == (2, size, size)
        assert torch.allclose(att.image[:, 0, 0], att.pixels[:, :16, :16].mean((1, 2)), rtol=1e-4, atol=1e-7)


# --- a pair depends on itself alone -----------------------------------------------------------------------------------


@every_dtype
@every_call
def test_a_pair_does_not_depend_on_its_batch_on_batch_size_or_on_padding(call, dtype):
    """Relative to the largest value; in float32 decisions may tip with the last digit, in float64 none does here."""
    clip, inputs = tiny_clip(dtype=dtype), tiny_inputs(LENGTHS, columns=14)
    tolerance = 1e-2 if dtype != torch.float64 and call in DECISIONS else PRECISION[dtype]
    whole = explain(call, clip, inputs)
    for batch_size in (1, 3):
        assert_close(explain(call, clip, inputs, batch_size=batch_size), whole, tolerance)
    back = [3, 2, 1, 0]
    turned = explain(call, clip, inputs[back])
    assert_close(turned[back], whole, tolerance)
    assert turned.tokens == whole.tokens[::-1]
    narrow = explain(call, clip, tiny_inputs(LENGTHS, pad=1))  # padded by another id to fewer columns
    assert (whole.text[:, 11:] == 0).all()
    assert_close(narrow, replace(whole, text=whole.text[:, :11]), tolerance)
    alone = [explain(call, clip, nk.Inputs(inputs[i].pixel_values, inputs[i].input_ids[:, :n])) for i, n in enumerate(LENGTHS)]
    assert [len(one) for one in alone] == [1] * 4 and [one.tokens[0] for one in alone] == list(whole.tokens)
    fields = {name: [getattr(one, name) for one in alone] for name in FIELDS if getattr(whole, name) is not None}
    fields["text"] = [torch.nn.functional.pad(text, (0, 14 - text.shape[1])) for text in fields["text"]]
    assert_close(replace(whole, **{name: torch.cat(parts) for name, parts in fields.items()}), whole, tolerance)


@every_call
@pytest.mark.parametrize("end", [2, END], ids=["the highest id is read", "the first end token is read"])
def test_padding_needs_no_mask(call, end):
    """No mask, ones, True, one that ends too late; captions of several lengths: what stands behind the end token is nothing."""
    clip, inputs = tiny_clip(end=end), tiny_inputs(LENGTHS, columns=12)
    want, ones, late = explain(call, clip, inputs), torch.ones_like(inputs.input_ids), inputs.attention_mask.clone()
    late[0, 5:7] = 1
    for mask in (None, ones, ones.bool(), late, inputs.attention_mask.bool()):
        att = explain(call, clip, masked(inputs, mask))
        assert_close(att, want, 1e-2 if call in DECISIONS else 1e-5)
        assert (att.text[inputs.attention_mask == 0] == 0).all()
        assert [len(tokens) for tokens in att.tokens] == ([12] * 4 if mask is None else mask.int().sum(1).tolist())


@every_call
def test_masked_tokens_inside_a_caption_get_0(call):
    inputs = tiny_inputs((6, 8))
    inputs.attention_mask[1, 3] = 0
    other = masked(inputs, inputs.attention_mask)
    att = explain(call, tiny_clip(), inputs)
    assert float(att.text[1, 3]) == 0 and (att.text[1] != 0).any()
    assert_close(explain(call, tiny_clip(), inputs, batch_size=1), att, 1e-2 if call in DECISIONS else 1e-5)
    other.input_ids[1, 3] = 5
    assert_close(explain(call, tiny_clip(), other), att)


@every_call
def test_one_pair_one_word_and_identical_captions(call):
    clip, inputs = tiny_clip(), tiny_inputs((6, 6))
    one = explain(call, clip, tiny_inputs((3,)))  # start, a word, end
    assert one.text.shape == (1, 3) and one.text.isfinite().all() and (one.text != 0).any()
    att = explain(call, clip, nk.Inputs(inputs.pixel_values[[0, 0]], inputs.input_ids[[0, 0]]))
    assert relative(att.image[1], att.image[0]) < 1e-5 and relative(att.text[1], att.text[0]) < 1e-5


@every_call
def test_single_precision_with_eager_attention_agrees_with_double(call):
    single = explain(call, tiny_clip(attention="eager"), tiny_inputs(LENGTHS), batch_size=3)
    assert_close(single, explain(call, tiny_clip(dtype=torch.float64), tiny_inputs(LENGTHS)), 1e-2 if call in DECISIONS else 1e-4)


# --- the same again ---------------------------------------------------------------------------------------------------


@every_call
def test_the_same_call_gives_the_same_digits_and_another_seed_others(call):
    """Whatever the random state around it: what is random has a seed and a generator of its own."""
    clip, inputs = tiny_clip(), tiny_inputs(LENGTHS)
    first = explain(call, clip, inputs)
    torch.rand(1), np.random.rand(), random.random()
    assert_close(explain(call, clip, inputs), first, 0)
    if "seed" in inspect.signature(METHODS[method_of(call)]).parameters:
        assert_close(explain(call, clip, inputs, seed=0), first, 0)
        other = explain(call, clip, inputs, seed=1)
        assert first.options["seed"] == 0 and other.options["seed"] == 1
        assert relative(other.image, first.image) > 1e-3 and relative(other.text, first.text) > 1e-3


@every_call
def test_torchs_default_dtype_changes_nothing(call):
    """Notebook 02 works in float64; the same seed must give the same map there."""
    clip, inputs = tiny_clip(), tiny_inputs((5, 8))
    want = explain(call, clip, inputs)
    torch.set_default_dtype(torch.float64)
    try:
        att = explain(call, clip, inputs)
    finally:
        torch.set_default_dtype(torch.float32)
    assert att.image.dtype == att.text.dtype == torch.float32
    assert_close(att, want)
