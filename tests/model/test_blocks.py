"""model/blocks.py against the plain blocks that it stands for, in float64: values and slopes to 1e-12; and when it steps back."""

import copy

import pytest
import torch
from helpers import new_clip, relative, tiny_clip, tiny_inputs
from torch import nn
from torch.nn import functional as nnf
from transformers.models.clip.modeling_clip import CLIPEncoderLayer

import nibkit as nk
from nibkit.metrics.costs import CountFlops, count_passes
from nibkit.model.blocks import at, is_plain, valve

DEPTH = 5


def setting(tower_name, attention="sdpa", holes=False):
    """(tower, states z [3, S, C] at each layer, the position that is read, the mask) in float64."""
    clip = tiny_clip(attention=attention, dtype=torch.float64)
    inputs = tiny_inputs((5, 8, 3)).to(dtype=torch.float64)
    if holes:
        mask = inputs.attention_mask.clone()
        mask[1, 2] = 0
        inputs = nk.Inputs(inputs.pixel_values, inputs.input_ids, mask)
    tower = getattr(clip, tower_name)
    z = lambda layer: tower.head(inputs, layer)  # noqa: E731
    return tower, z, tower.pooled(inputs), lambda length: tower.mask(length, inputs.attention_mask)


def called(tower, z, layer, pooled, mask):
    """The tail by the model's own blocks, each called for every token."""
    for block in tower.blocks[layer:]:
        z = block(z, mask)
    return tower.projection(tower.norm(at(z, pooled)))


@pytest.mark.parametrize("layer", [0, 3, DEPTH - 1, DEPTH])
@pytest.mark.parametrize("holes", [False, True], ids=["whole", "holes"])
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("tower_name", ["image", "text"])
def test_valves_give_the_plain_blocks_values_and_slopes(tower_name, attention, holes, layer):
    """Any λ for each token: features, and ∂F/∂λ_i = Σ_c z_ic ∂F/∂y_ic at y = λz (the chain rule, written out)."""
    tower, states, pooled, mask = setting(tower_name, attention, holes)
    z = states(layer)
    owner = torch.tensor([0, 1, 2, 1, 1])
    draw = torch.Generator().manual_seed(layer)
    lam = torch.rand(5, z.shape[1], generator=draw, dtype=torch.float64)
    lam[3], lam[4] = 0, 1  # closed and open
    seen = mask(z.shape[1]) if tower_name == "image" else mask(z.shape[1])[owner]
    target = torch.randn(5, tower.projection.out_features, generator=draw, dtype=torch.float64)

    ours = lam.clone().requires_grad_()
    features = tower.finish_narrowed(z, owner, ours, layer, pooled[owner], seen)
    (slopes,) = torch.autograd.grad(nnf.cosine_similarity(features, target, dim=-1).sum(), ours)

    y = (lam[..., None] * z[owner]).requires_grad_()
    expected = called(tower, y, layer, pooled[owner], seen)
    (gradient,) = torch.autograd.grad(nnf.cosine_similarity(expected, target, dim=-1).sum(), y)
    close = 1e-12 if attention == "sdpa" else 1e-5  # transformers' eager attention takes its softmax in float32
    assert relative(features.detach(), expected.detach()) < close
    assert relative(slopes, (z[owner] * gradient).sum(-1)) < close


@pytest.mark.parametrize("layer", range(DEPTH + 1))
@pytest.mark.parametrize("tower_name", ["image", "text"])
def test_a_closed_tail_is_the_same_for_every_pair_length_and_position(tower_name, layer):
    tower, states, pooled, mask = setting(tower_name)
    z = states(layer)
    expected = called(tower, torch.zeros_like(z), layer, pooled, mask(z.shape[1]))
    assert relative(tower.closed(layer, 3).expand(3, -1), expected) < 1e-12 and tower.serves == 0


def test_a_closed_bottleneck_is_computed_once_for_all_pairs_and_counts_once_for_each():
    with count_passes(tiny_clip()) as passes:
        nk.nib(tiny_clip(), tiny_inputs((5, 8, 3)), num_steps=4)
    assert (passes.forward_image, passes.backward_image, passes.shared_image) == (3 * 6, 3 * 4, 1)


def test_fewer_operations():
    """By torch's own formulas: 12 → 9 units in the first block, 2 → 2H/d in the last; heads and MLPs are the rest."""
    tower, states, pooled, _ = setting("image")
    z, lam = states(3), torch.full((30, 10), 0.5, dtype=torch.float64, requires_grad=True)
    owner = torch.arange(3).repeat_interleave(10)
    with CountFlops() as rewritten:
        tower.finish_narrowed(z, owner, lam, 3, pooled[owner], None).sum().backward()
    with CountFlops() as plain:
        called(tower, valve(lam, z[owner]), 3, pooled[owner], None).sum().backward()
    assert rewritten.total < 0.6 * plain.total  # of two blocks, the last for one position


# --- blocks that are not plain are called as they are ---------------------------------------------------------------------


class Louder(CLIPEncoderLayer):
    """Another forward pass under the same parts."""

    def forward(self, hidden_states, attention_mask, **kwargs):
        return super().forward(hidden_states, attention_mask, **kwargs) + 0.3 * hidden_states.roll(1, -1)


class Adapter(nn.Module):
    """A linear layer with something beside it, as adapters have it; it shows the inner weight."""

    def __init__(self, inner):
        super().__init__()
        self.inner, self.extra = inner, nn.Linear(inner.in_features, inner.out_features)

    @property
    def weight(self):
        return self.inner.weight

    @property
    def bias(self):
        return self.inner.bias

    def forward(self, x):
        return self.inner(x) + self.extra(x)


class Lora(nn.Linear):
    """A subclass of nn.Linear that adds to its own product."""

    def forward(self, x):
        return super().forward(x) * 1.5


def subclass(block):
    block.__class__ = Louder


def hook(block):
    block.register_forward_hook(lambda module, arguments, output: output * 1.1)


def inner_hook(block):
    block.self_attn.v_proj.register_forward_hook(lambda module, arguments, output: output * 1.1)


def pre_hook(block):
    block.mlp.register_forward_pre_hook(lambda module, arguments: (arguments[0] * 0.9,))


def patched(block):
    own = block.self_attn.forward
    block.self_attn.forward = lambda *args, **kwargs: (own(*args, **kwargs)[0] * 1.2, None)


def adapter(block):
    block.self_attn.q_proj = Adapter(block.self_attn.q_proj)


def lora(block):
    block.self_attn.k_proj.__class__ = Lora


def other_norm(block):
    block.layer_norm1 = nn.Sequential(block.layer_norm1, nn.Tanh())


def parametrized(block):
    nn.utils.parametrizations.weight_norm(block.mlp.fc1)


@pytest.mark.parametrize("layer", [2, 4])
@pytest.mark.parametrize("place", [2, 4], ids=["first", "last"])
@pytest.mark.parametrize(
    "change", [subclass, hook, inner_hook, pre_hook, patched, adapter, lora, other_norm, parametrized], ids=lambda f: f.__name__
)
def test_the_block_explained_is_the_block_given(change, place, layer):
    clip, inputs = new_clip(), tiny_inputs((5, 8))
    for model_blocks in (clip.model.vision_model.encoder.layers, clip.model.text_model.encoder.layers):
        change(model_blocks[place])
        assert not is_plain(model_blocks[place]) and is_plain(model_blocks[place - 1])
    clip.model.requires_grad_(False)
    with torch.no_grad():
        image = clip.model.get_image_features(pixel_values=inputs.pixel_values)
        image = getattr(image, "pooler_output", image)
    assert relative(clip.encode_image(inputs), image) < 1e-5
    z, e = clip.image.head(inputs, layer).requires_grad_(), clip.encode_text(inputs)
    slopes = torch.zeros(2, z.shape[1])
    for lam in (0.5, 1.0):
        y = (lam * z.detach()).requires_grad_()
        features = called(clip.image, y, layer, torch.zeros(2, dtype=torch.long), None)
        (gradient,) = torch.autograd.grad(nnf.cosine_similarity(features, e, dim=-1).sum(), y)
        slopes += 0.5 * (z.detach() * gradient).sum(-1)
    att = nk.nib(clip, inputs, layer=layer, num_steps=2)
    assert att.options["blocks"] == (("called",) if place in (layer, DEPTH - 1) else ("rewritten",)) * 2
    # behind the cut at the last block, values are rounding: compare at their own size or at F's
    assert float((att.image.flatten(1) - slopes[:, 1:]).abs().max()) < 1e-5 * max(1.0, float(slopes.abs().max()))


def test_a_copy_of_a_plain_block_is_plain():
    assert is_plain(copy.deepcopy(tiny_clip().model.vision_model.encoder.layers[0])) and not is_plain(nn.Identity())
