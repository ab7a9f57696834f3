"""Every method on every dtype and attention, and on models that are changed but say the same: one grid."""

import copy

import numpy as np
import pytest
import torch
from calls import CALLS, DECISIONS, explain, usual
from helpers import FIELDS, assert_close, new_clip, tiny_clip, tiny_inputs
from torch import nn
from transformers.models.clip.modeling_clip import CLIPEncoderLayer

import nibkit as nk

LENGTHS = (5, 8)
every_call = pytest.mark.parametrize("call", CALLS)


@every_call
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
def test_every_method_takes_every_dtype_and_attention(call, dtype, attention):
    """Finite maps in float32 that are not all alike; where nothing is decided by a sign, near the ones of float32 weights."""
    clip, inputs = tiny_clip(dtype=dtype, attention=attention), tiny_inputs(LENGTHS)
    att = explain(call, clip, inputs)
    for field in FIELDS:
        value = getattr(att, field)
        assert value is None or (value.isfinite().all() and value.dtype == torch.float32), field
    assert att.image.std() > 0 and att.text.std() > 0
    full = usual(call, LENGTHS)
    if call not in DECISIONS:
        for ours, other in ((att.image, full.image), (att.text, full.text)):
            assert torch.corrcoef(torch.stack([ours.flatten(), other.flatten()]))[0, 1] > 0.98


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_every_metric_takes_half_precision(dtype):
    """The same map measured in half precision and in float32: columns agree (NaN where a cosine is not above 0, in both)."""
    half, full, inputs = tiny_clip(dtype=dtype), tiny_clip(), tiny_inputs(LENGTHS)
    att, masks = nk.nib(half, inputs), torch.zeros(2, 48, 48, dtype=torch.bool)
    masks[:, 10:30, 10:30] = True
    for protocol in ("paper", "eos"):
        ours, other = (nk.confidence(clip, inputs, att, protocol=protocol) for clip in (half, full))
        np.testing.assert_allclose(ours, other, atol=5)  # percent
    np.testing.assert_allclose(nk.insertion_deletion(half, inputs, att), nk.insertion_deletion(full, inputs, att), atol=0.02)
    assert nk.localisation(att, masks.numpy()).notna().all(axis=None)


# --- changed models that say the same -----------------------------------------------------------------------------------------


class Renamed(CLIPEncoderLayer):
    """A subclass that changes nothing."""

    def forward(self, hidden_states, attention_mask, **kwargs):
        return super().forward(hidden_states, attention_mask, **kwargs)


class LowRank(nn.Module):
    """A linear layer with a trained correction beside it, as LoRA has it; it starts at nothing."""

    def __init__(self, base):
        super().__init__()
        self.base = base
        self.down, self.up = nn.Linear(base.in_features, 2, bias=False), nn.Linear(2, base.out_features, bias=False)
        self.up.weight.data.zero_()

    def forward(self, x):
        return self.base(x) + self.up(self.down(x))


class Itself(nn.Module):
    """A parametrization that gives back the weight."""

    def forward(self, weight):
        return weight


def blocks(model):
    return [*model.vision_model.encoder.layers, *model.text_model.encoder.layers]


def hooked(model):
    for block in blocks(model):
        block.register_forward_hook(lambda module, arguments, output: None)
        block.self_attn.register_forward_pre_hook(lambda module, arguments: None)
    model.vision_model.encoder.register_forward_hook(lambda module, arguments, output: None)
    return model


def subclassed(model):
    for block in blocks(model):
        block.__class__ = Renamed
    return model


def adapted(model):
    """LoRA on queries and values, and on both projections."""
    for block in blocks(model):
        block.self_attn.q_proj, block.self_attn.v_proj = LowRank(block.self_attn.q_proj), LowRank(block.self_attn.v_proj)
    model.visual_projection, model.text_projection = LowRank(model.visual_projection), LowRank(model.text_projection)
    return model


def parametrized(model):
    for block in blocks(model):
        nn.utils.parametrize.register_parametrization(block.self_attn.k_proj, "weight", Itself())
        nn.utils.parametrize.register_parametrization(block.layer_norm1, "weight", Itself())
    return model


def compiled(model):
    for tower in (model.vision_model, model.text_model):
        for number, block in enumerate(tower.encoder.layers):
            tower.encoder.layers[number] = torch.compile(block, backend="eager")
    return model


def compiled_whole(model):
    return torch.compile(model, backend="eager")


def checkpointed(model):
    for block in blocks(model):
        block.gradient_checkpointing = True
    return model.train()


@every_call
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # torch.compile reads it
@pytest.mark.parametrize(
    "change", [hooked, subclassed, adapted, parametrized, compiled, compiled_whole, checkpointed], ids=lambda f: f.__name__
)
def test_a_changed_model_that_says_the_same_is_explained_the_same(call, change):
    model = copy.deepcopy(tiny_clip().model)
    clip = nk.Clip(change(model))
    clip.model.requires_grad_(False)
    att = explain(call, clip, tiny_inputs(LENGTHS))
    assert_close(att, usual(call, LENGTHS), 1e-2 if call in DECISIONS else 1e-5)


# --- changed models that say something else -----------------------------------------------------------------------------------


def mixed(module, arguments, output):
    return output + 0.3 * output.roll(1, -1)


def other_values(block):
    """Attention of another kind: values attend to values."""
    block.self_attn.forward = lambda hidden_states, **_: (block.self_attn.out_proj(block.self_attn.v_proj(hidden_states)), None)


READ_FROM = dict.fromkeys(("chefer", "saliency", "fastig"), (4, 4)) | {"chefer, original": (0, 0)}  # of five: (image, text)
READ_FROM |= {"legrad": (3, 3), "gradeclip": (4, 0), "gradeclip, original": (4, 0), "cplrp": (0, 0)}


@every_call
@pytest.mark.parametrize("place", [2, 4])
@pytest.mark.parametrize("change", ["hook", "attention hook", "linear hook", "other attention"])
def test_another_model_is_explained_as_it_is_or_refused(call, change, place):
    """Its similarity is the model's own; methods that write attention out take what they can reproduce and refuse the rest."""
    clip, inputs = new_clip(), tiny_inputs(LENGTHS)
    for tower in (clip.image, clip.text):
        block = tower.blocks[place]
        if change == "hook":
            block.register_forward_hook(mixed)
        elif change == "attention hook":
            block.self_attn.register_forward_hook(lambda m, a, output: (mixed(m, a, output[0]), output[1]))
        elif change == "linear hook":
            block.self_attn.v_proj.register_forward_hook(mixed)
        else:
            other_values(block)
    read = [encoder for encoder, first in zip(("image", "text"), READ_FROM.get(call, (5, 5))) if place >= first]
    if read and change != "linear hook":
        with pytest.raises(ValueError, match=f"attention written out gives other features than the {read[0]} encoder's"):
            explain(call, clip, inputs)
        return
    att = explain(call, clip, inputs)
    output = clip.model(input_ids=inputs.input_ids, pixel_values=inputs.pixel_values, attention_mask=inputs.attention_mask)
    assert torch.allclose(att.similarity, (output.image_embeds * output.text_embeds).sum(-1), atol=1e-5)
    assert float((att.similarity - tiny_clip().similarity(inputs)).abs().max()) > 1e-3


@every_call
def test_a_model_without_gradients_is_named(call):
    """RISE needs none; the others say so."""
    clip, inputs = new_clip(), tiny_inputs(LENGTHS)
    clip.model.visual_projection.register_forward_hook(lambda module, arguments, output: output.detach())
    if call.startswith("rise"):
        assert explain(call, clip, inputs).image.isfinite().all()
        return
    with pytest.raises(ValueError, match="no gradient passes through this model"):
        explain(call, clip, inputs)
