"""The model explained is the model given: what the check at first use finds."""

import copy
import functools
import pickle
from itertools import pairwise

import pytest
import torch
import transformers
from helpers import new_clip, own_similarity, tiny_clip, tiny_inputs, tiny_model
from torch import nn
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.models.clip.modeling_clip import CLIPAttention

import nibkit as nk
from nibkit.model import fidelity
from nibkit.model.blocks import is_plain


def encoder_hook(model):
    def change(module, arguments, output):
        output.last_hidden_state = output.last_hidden_state + output.last_hidden_state.roll(1, -1)
        return output

    model.vision_model.encoder.register_forward_hook(change)


def tower_hook(model):
    def change(module, arguments, output):
        output.pooler_output = output.pooler_output.roll(1, -1)
        return output

    return model.text_model.register_forward_hook(change)


def model_hook(model):
    def change(module, arguments, output):
        output.image_embeds = output.image_embeds.roll(1, -1)
        return output

    model.register_forward_hook(change)


def patched_features(model):
    own = model.get_image_features

    def other(*args, **kwargs):
        output = own(*args, **kwargs)
        output.pooler_output = output.pooler_output + 1
        return output

    model.get_image_features = other


def last_token(model):
    """A norm that reads another token than the one at which the caption ends."""
    model.text_model.final_layer_norm.register_forward_hook(lambda module, arguments, output: output.roll(1, -2))


def neighbours(model):
    """A block in which pairs see one another."""
    model.vision_model.encoder.layers[1].register_forward_hook(lambda m, a, output: output + 2 * output.mean(0, keepdim=True))


def random_block(model):
    model.text_model.encoder.layers[2].register_forward_hook(lambda m, a, output: output + torch.randn_like(output))


def own_rows(model):
    """Embeddings that do not take their own rows back."""
    embeddings = model.text_model.embeddings
    own = embeddings.forward
    embeddings.forward = lambda input_ids=None, **more: (
        own(input_ids=input_ids, **more) + (0 if input_ids is None else input_ids[..., None] / 50)
    )


@pytest.mark.parametrize("name", ["similarity", "nib", "rise", "chefer"])
@pytest.mark.parametrize(
    "change",
    [encoder_hook, tower_hook, model_hook, patched_features, last_token, neighbours, random_block, own_rows],
    ids=lambda f: f.__name__,
)
def test_what_cannot_be_reproduced_is_refused(change, name):
    clip, inputs = new_clip(), tiny_inputs((5, 8))
    change(clip.model)
    call = clip.similarity if name == "similarity" else lambda inputs: nk.METHODS[name](clip, inputs)
    for _ in range(2):  # and again: what was refused once is not taken the second time
        with pytest.raises(ValueError, match=r"are not the model's own|give other states for their own rows"):
            call(inputs)


def test_the_refusal_names_what_stands_out():
    clip = new_clip()
    encoder_hook(clip.model)
    with pytest.raises(ValueError, match=r"nibkit's image features .* What stands out in it: vision_model\.encoder \(hook\)\. "):
        clip.similarity(tiny_inputs())


def test_a_change_after_the_first_use_is_noticed_and_so_is_its_end():
    clip, inputs = new_clip(), tiny_inputs()
    before = nk.nib(clip, inputs)
    handle = tower_hook(clip.model)
    with pytest.raises(ValueError, match="nibkit's text features are not the model's own"):
        nk.nib(clip, inputs)
    handle.remove()
    assert torch.equal(nk.nib(clip, inputs).image, before.image)


def test_another_forward_is_noticed_wherever_it_lies_in_memory(monkeypatch):
    """A new function mostly lies where the one that was deleted lay."""
    clip, inputs = new_clip(), tiny_inputs()
    checks = []
    monkeypatch.setattr("nibkit.model.clip.check_same", lambda *_: checks.append(1))
    layer = clip.model.vision_model.encoder.layers[1]
    for name, owner in [("forward", layer)] * 10 + [("get_image_features", clip.model)] * 10:
        setattr(owner, name, functools.partial(getattr(type(owner), name), owner))
        before = len(checks)
        clip.check(inputs), clip.check(inputs)
        assert len(checks) == before + 1
        delattr(owner, name)
    copies = copy.deepcopy(clip), pickle.loads(pickle.dumps(clip))
    assert all(other.checked is None for other in copies) and clip.checked is not None


def test_one_global_hook_in_the_place_of_another_is_noticed():
    clip = new_clip()
    signatures = []
    for _ in range(2):
        handle = nn.modules.module.register_module_forward_hook(lambda *_: None)
        signatures += [fidelity.signature(clip.model), fidelity.signature(clip.model)]
        handle.remove()
    assert [fidelity.unchanged(one, other) for one, other in pairwise(signatures)] == [True, False, True]
    assert not fidelity.unchanged(None, signatures[0])


@pytest.mark.parametrize("place", ["vision_model.encoder.layers.1", ""], ids=["in a part", "in the whole"])
@pytest.mark.parametrize("error", [torch.OutOfMemoryError, torch.AcceleratorError])
def test_a_gpu_that_is_full_or_lost_is_not_the_models_fault(place, error):
    clip = new_clip()

    def lose(*_):
        raise error("the GPU")

    clip.model.get_submodule(place).register_forward_pre_hook(lose)
    with pytest.raises(error, match="the GPU"):
        clip.similarity(tiny_inputs())


def test_a_part_that_is_replaced_after_the_first_use_is_taken():
    clip, inputs = new_clip(), tiny_inputs()
    before = clip.similarity(inputs)
    clip.model.visual_projection = nn.Linear(32, 16, bias=False).requires_grad_(False)
    clip.model.text_model.encoder.layers = clip.model.text_model.encoder.layers[:3]
    assert clip.text.depth == 5  # until it is used
    assert torch.allclose(clip.similarity(inputs), own_similarity(clip, inputs), atol=1e-6) and clip.text.depth == 3
    assert not torch.allclose(clip.similarity(inputs), before, atol=1e-3)


def test_a_class_that_is_patched_as_a_whole_is_called(monkeypatch):
    clip, inputs = new_clip(), tiny_inputs()
    before = clip.similarity(inputs)
    monkeypatch.setattr(CLIPAttention, "forward", lambda self, hidden_states, **_: (self.v_proj(hidden_states), None))
    assert not is_plain(clip.image.blocks[0])
    assert torch.allclose(clip.similarity(inputs), own_similarity(clip, inputs), atol=1e-6)
    assert not torch.allclose(clip.similarity(inputs), before, atol=1e-3)
    with pytest.raises(ValueError, match="attention written out gives other features"):
        nk.chefer(clip, inputs)


def test_a_hook_on_every_module_is_heeded():
    clip, inputs = new_clip(), tiny_inputs()
    before = clip.similarity(inputs)
    handle = nn.modules.module.register_module_forward_hook(
        lambda module, arguments, output: 0.5 * output if isinstance(module, nn.LayerNorm) else None
    )
    try:
        assert not is_plain(clip.image.blocks[0])
        assert torch.allclose(clip.similarity(inputs), own_similarity(clip, inputs), atol=1e-6)
        assert not torch.allclose(clip.similarity(inputs), before, atol=1e-3)
    finally:
        handle.remove()


def test_attention_of_another_name_is_called():
    """An implementation registered with transformers, here one in which values attend to values."""

    def values(module, query, key, value, attention_mask, scaling, **_):
        weights = (value @ value.mT * scaling + (0 if attention_mask is None else attention_mask)).softmax(-1)
        return (weights @ value).transpose(1, 2), weights

    transformers.AttentionInterface.register("values", values)
    transformers.AttentionMaskInterface.register("values", transformers.masking_utils.eager_mask)
    clip, inputs = nk.Clip(tiny_model(attention="eager")), tiny_inputs()
    for config in (clip.model.config.vision_config, clip.model.config.text_config):
        config._attn_implementation = "values"
    before = tiny_clip().similarity(inputs)
    assert not is_plain(clip.image.blocks[0])
    assert torch.allclose(clip.similarity(inputs), own_similarity(clip, inputs), atol=1e-6)
    assert not torch.allclose(clip.similarity(inputs), before, atol=1e-3)


def test_a_model_whose_own_forward_fails_is_told_in_a_line():
    clip = new_clip()
    clip.model.text_model.eos_token_id = None
    with pytest.raises(ValueError, match=r"^the model's own forward fails on this batch \(AttributeError: [^\n]*\)$"):
        clip.similarity(tiny_inputs())


def test_another_attention_function_is_noticed_and_called():
    """transformers computes attention by a function that a program may exchange, under the same name."""
    clip, inputs = tiny_clip(), tiny_inputs((5, 8))
    assert nk.nib(clip, inputs).options["blocks"] == ("rewritten", "rewritten")
    usual = ALL_ATTENTION_FUNCTIONS["sdpa"]
    ALL_ATTENTION_FUNCTIONS.register("sdpa", lambda module, q, k, v, mask, **options: usual(module, v, v, v, mask, **options))
    try:
        with torch.no_grad():
            own = clip.model(inputs.input_ids, inputs.pixel_values, inputs.attention_mask)
        att = nk.nib(clip, inputs)
    finally:
        ALL_ATTENTION_FUNCTIONS.register("sdpa", usual)
    assert att.options["blocks"] == ("called", "called")
    assert torch.allclose(att.similarity, (own.image_embeds * own.text_embeds).sum(-1), atol=1e-5)


def test_weights_that_become_nan_later_are_told():
    clip, inputs = copy.deepcopy(tiny_clip()), tiny_inputs((5, 8))
    nk.nib(clip, inputs)
    clip.model.visual_projection.weight.data.fill_(torch.nan)
    with pytest.raises(ValueError, match="the similarity of pair 0 is NaN or infinite"):
        nk.nib(clip, inputs)
