"""What the contract promises of every method, whatever it computes: METHODS and BEYOND, all variants, one table of calls."""

import functools
import inspect
import itertools
import random
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers import END, FIELDS, assert_close, new_clip, relative, same, state, tiny_clip, tiny_inputs

import nibkit as nk

LENGTHS = (5, 11, 3, 9)  # above 8 tokens RISE's masks stretch
OTHERS, OWN = tiny_inputs((6, 4), seed=310, columns=11), tiny_inputs(LENGTHS)[1]  # one pair is among its own distractors
DISTRACTORS = nk.Inputs(*(torch.cat([getattr(part, name) for part in (OTHERS, OWN)]) for name in ("pixel_values", "input_ids")))
ORIGINAL = dict(variant="original")
FLIP = dict(ORIGINAL, distractors=DISTRACTORS, num_steps=6)
FITTED, MASKED = dict(num_steps=6, draws=2), dict(num_masks=20, num_text_masks=15)
CALLS = {  # label: options; the label begins with the method's name
    "nib": {},
    "nib, adaptive": dict(rule="adaptive", num_steps=20),
    "m2ib": FITTED,
    "m2ib, original": FITTED | ORIGINAL,
    "m2ib, data noise": FITTED | dict(noise="data", reference=OTHERS),
    "rise": MASKED,
    "rise, original": MASKED | ORIGINAL,
    "gradcam": dict(layer=2),  # the default would leave one block behind, where A · g is 0 but for rounding
    "gradcam, original": dict(ORIGINAL, layer=2),
    "chefer": {},
    "chefer, original": ORIGINAL,
    "saliency": {},
    "saliency, original": ORIGINAL,
    "mfaba": dict(num_steps=4),
    "mfaba, original": dict(FLIP, attack="sharp"),
    "mfaba, original, smooth": dict(FLIP, attack="smooth", step_size=0.05),
    "fastig": {},
    "fastig, original": ORIGINAL,
    "legrad": {},
    "gradeclip": {},
    "gradeclip, original": ORIGINAL,
    "cplrp": {},
}
METHODS = nk.METHODS | nk.BEYOND
PIXELS = {"rise", "rise, original", "saliency, original", "fastig, original", "mfaba, original", "mfaba, original, smooth"}
UNSIGNED = {"m2ib", "gradcam", "chefer", "saliency", "legrad", "gradeclip"}  # methods whose values are never below 0; and "mfaba"
DECISIONS = {"nib, adaptive", "mfaba", "mfaba, original", "mfaba, original, smooth"}  # splits, signs, flips: last digits tip one
PRECISION = {torch.float64: 1e-9, torch.float32: 1e-5}  # relative; what a pair may differ by from batch to batch
every_call = pytest.mark.parametrize("call", CALLS)
every_dtype = pytest.mark.parametrize("dtype", PRECISION, ids=str)


def method_of(call: str) -> str:
    return call.split(",")[0]


def usual_variant(name: str) -> str | None:
    """The default of a method's ``variant``; None where it has no variants."""
    parameters = inspect.signature(METHODS[name]).parameters
    return parameters["variant"].default if "variant" in parameters else None


def explain(call: str, clip: nk.Clip, inputs: nk.Inputs, **more) -> nk.Attribution:
    return METHODS[method_of(call)](clip, inputs, **CALLS[call] | more)


def masked(inputs: nk.Inputs, mask: torch.Tensor | None) -> nk.Inputs:
    return nk.Inputs(inputs.pixel_values, inputs.input_ids, mask)


def changed(before: dict, clip: nk.Clip) -> list[str]:
    """What is not as it was."""
    after = state(clip)
    return [key for key in before if not same(before[key], after[key])]


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
    for batch_size in (1, 3, 64):
        assert_close(explain(call, clip, inputs, batch_size=batch_size), whole, tolerance)
    back = [3, 2, 1, 0]
    assert_close(explain(call, clip, inputs[back])[back], whole, tolerance)
    assert explain(call, clip, inputs[back]).tokens == whole.tokens[::-1]
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


# --- nothing left behind ----------------------------------------------------------------------------------------------


def in_training(clip: nk.Clip) -> nk.Clip:
    """Some modules in training, some not, dropout to notice, some weights that ask for gradients and some that have one."""
    clip.model.train()
    clip.model.vision_model.encoder.layers[1].eval()
    clip.model.text_model.requires_grad_(True)
    clip.model.text_model.final_layer_norm.weight.grad = torch.ones(32)
    for module in clip.model.modules():
        if hasattr(module, "dropout"):
            module.dropout = 0.5
    return clip


@every_call
@pytest.mark.parametrize("mode", [torch.enable_grad, torch.no_grad, torch.inference_mode])
def test_nothing_is_left_behind(call, mode):
    """A model in training is explained as in evaluation and stays in training, under every gradient mode of the caller."""
    clip = in_training(new_clip())
    with mode():
        inputs = tiny_inputs()
        if mode is torch.enable_grad:
            inputs.pixel_values.requires_grad_()
        pixels, ids, mask = (part.detach().clone() for part in (inputs.pixel_values, inputs.input_ids, inputs.attention_mask))
        before = state(clip)
        att = explain(call, clip, inputs, batch_size=4)
        assert changed(before, clip) == []
    assert torch.equal(inputs.pixel_values, pixels) and torch.equal(inputs.input_ids, ids)
    assert torch.equal(inputs.attention_mask, mask) and inputs.pixel_values.grad is None
    assert not any(value.is_inference() or value.requires_grad for value in filter(torch.is_tensor, vars(att).values()))
    assert_close(att, explain(call, tiny_clip(), tiny_inputs()), 1e-2 if call in DECISIONS else 1e-5)


class Stop(Exception):
    """Thrown in the middle of a call."""


@every_call
@pytest.mark.parametrize("tower", ["image", "text"])
def test_nothing_is_left_behind_after_an_exception(call, tower, monkeypatch):
    """Nor after an interrupt: a block's first layer norm raises at its first call, in the middle, at its last."""
    clip, inputs = in_training(new_clip()), tiny_inputs()
    norm, calls, stop = getattr(clip, tower).blocks[-1].layer_norm1, [], (None, 0)
    forward = norm.forward

    def count(*args):
        calls.append(args)
        if len(calls) == stop[1]:
            raise stop[0]
        return forward(*args)

    monkeypatch.setattr(norm, "forward", count)
    clip.check(inputs)  # a changed model is compared with its own forward pass, once
    calls.clear()
    explain(call, clip, inputs, batch_size=4)
    before, whole = state(clip), len(calls)
    for stop in itertools.product((Stop, KeyboardInterrupt), {1, whole // 2 + 1, whole}):
        calls.clear()
        with pytest.raises(stop[0]):
            explain(call, clip, inputs, batch_size=4)
        assert len(calls) == stop[1] and changed(before, clip) == []


def test_the_state_check_notices():
    """The check itself can fail: one mode, one gradient, one hook, one weight, one number drawn, one setting."""
    clip = new_clip()
    before = state(clip)
    clip.model.visual_projection.training = True
    clip.model.logit_scale.grad = torch.ones(())
    clip.image.blocks[0].register_forward_hook(lambda *_: None)
    clip.model.logit_scale.data += 0
    clip.model.text_model.requires_grad_(True)
    torch.rand(1)
    with torch.inference_mode():
        assert {"modes", "grads", "hooks", "weights", "random", "settings"} <= set(changed(before, clip))


# --- bad options ------------------------------------------------------------------------------------------------------

BAD = [
    ("every", dict(batch_size=0), "batch_size must be a whole number, 1 or more, or None; got 0"),
    ("every", dict(batch_size=2.5), "batch_size must be a whole number"),
    ("every", dict(batch_size=True), "batch_size must be a whole number"),
    ("variant", dict(variant="new"), 'variant must be "(paper|multihead)" or "original"; got \'new\''),
    ("seed", dict(seed=-1), "seed must be a whole number"),
    ("seed", dict(seed="a"), "seed must be a whole number"),
    ("num_steps", dict(num_steps=0), "num_steps must be a whole number, 1 or more"),
    ("num_steps", dict(num_steps=2.5), "num_steps must be a whole number"),
    ("nib", dict(rule="trapezoid"), "rule must be .*riemann.*; got 'trapezoid'"),
    ("nib", dict(start=1.0), "start must be"),
    ("nib", dict(rule="log-gauss", start=0.0), "log-gauss.*can't start at 0"),
    ("nib", dict(layer=6), "layer must be .*within 0 … 5"),
    ("m2ib", dict(layer=5), "layer must be .*within 0 … 4.* the block behind which it lies"),
    ("m2ib", dict(draws=0), "draws must be a whole number"),
    ("m2ib", dict(beta=-1), "beta must be .*0 or more"),
    ("m2ib", dict(lr=0), r"\blr\b.* above 0"),
    ("m2ib", dict(noise="white"), 'noise must be "unit" or "data"; got \'white\''),
    ("m2ib", dict(noise="data"), "it needs reference=: nk.Inputs"),
    ("m2ib", dict(noise="data", reference=["a red circle"]), "it needs reference=: nk.Inputs .* got list"),
    ("m2ib", dict(reference=OTHERS), 'reference is an option of noise="data"'),
    ("gradcam", dict(layer=5), "layer must be .*within 0 … 4.* Grad-CAM"),
    ("gradcam", dict(layer=(1, -1)), r"layer \(text\) must be .*within 0 … 4.* Grad-CAM"),
    ("layer", dict(layer=(1, 2, 3)), "layer must be a whole number or a pair"),
    ("layer", dict(layer=2.5), "layer must be a whole number"),
    ("chefer", dict(start_layer=5, variant="original"), "start_layer must be .*within 0 … 4"),
    ("chefer", dict(start_layer=2), 'start_layer is an option of variant="original"'),
    ("legrad", dict(start_layer=5), "start_layer must be .*within 0 … 4.* LeGrad"),
    ("gradeclip", dict(start_layer=(1, 5)), r"start_layer \(text\) must be .*within 0 … 4.* Grad-ECLIP"),
    ("gradeclip", dict(variant="paper"), "variant must be .*got 'paper'"),
    ("cplrp", dict(layer=6), "layer must be .*within 0 … 5"),
    ("rise", dict(num_masks=0), "num_masks must be a whole number"),
    ("rise", dict(num_text_masks=2.5), "num_text_masks must be a whole number"),
    ("mfaba", dict(step_size=0), "step_size must be a .*number above 0"),
    ("mfaba", dict(step_size=float("nan")), "step_size must be a .*number above 0"),
    ("mfaba", dict(attack="sharp"), 'attack is an option of variant="original"'),
    ("mfaba", dict(distractors=DISTRACTORS), 'distractors is an option of variant="original"'),
    ("mfaba", FLIP | dict(attack="soft"), 'attack must be "sharp" or "smooth"'),
    ("mfaba", FLIP | dict(distractors=None), "it needs distractors"),
    ("mfaba", FLIP | dict(distractors=["a red circle"]), "it needs distractors"),
]


@pytest.mark.parametrize("who, options, message", BAD, ids=[f"{who}: {', '.join(options)}" for who, options, _ in BAD])
def test_bad_options_are_named_before_any_work(who, options, message):
    """``who``: a method, every method, or all that have this option."""
    takes = {name: inspect.signature(method).parameters for name, method in METHODS.items()}
    names = [name for name in METHODS if who in ("every", name) or who in takes[name]]
    assert names
    with nk.count_passes(tiny_clip()) as passes:
        for name in names:
            with pytest.raises((ValueError, TypeError), match=message):
                METHODS[name](tiny_clip(), tiny_inputs((5,)), **options)
    assert passes.forward == 0


@pytest.mark.parametrize("name", METHODS)
def test_what_is_no_inputs_is_refused(name):
    with nk.count_passes(tiny_clip()) as passes, pytest.raises(TypeError, match=re.escape("inputs must be nk.Inputs")):
        METHODS[name](tiny_clip(), torch.zeros(1, 3, 48, 48))
    assert passes.forward == 0


@pytest.mark.parametrize("clip", ["shapes", None, tiny_clip().model, tiny_inputs((5,))], ids=lambda value: type(value).__name__)
@pytest.mark.parametrize("name", METHODS)
def test_what_is_no_clip_is_refused(name, clip):
    with pytest.raises(TypeError, match=r"clip must be an nk\.Clip, as nk\.load_clip returns it; got"):
        METHODS[name](clip, tiny_inputs((5,)))


@pytest.mark.parametrize("name", [*METHODS, "encode_image", "encode_text"])
def test_a_warning_names_the_callers_line(name):
    """Whatever frames of nibkit stand between: a caption without its end token."""
    clip, inputs = tiny_clip(end=END), tiny_inputs((5, 5))
    ids = inputs.input_ids.clone()
    ids[1, 4] = 7
    explain = getattr(clip, name) if name.startswith("encode") else functools.partial(METHODS[name], clip)
    with pytest.warns(UserWarning, match="caption 1 has no end token") as caught:
        explain(nk.Inputs(inputs.pixel_values, ids))
    assert {warning.filename for warning in caught} == {__file__}
