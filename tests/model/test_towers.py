"""A tower cut at a layer is still the same encoder: ``nibkit/model/towers.py`` against transformers' own model."""

import re

import pytest
import torch
from helpers import END, VOCABULARY, relative, tiny_clip, tiny_inputs

import nibkit as nk

MODELS = {
    "7×7, 12 + 12 blocks": dict(depth=12, image_size=224, patch=32),
    "14×14": dict(depth=2, image_size=224, patch=16),
    "16×16": dict(depth=2, image_size=224, patch=14),
    "6 and 4 blocks": dict(depth=(6, 4)),
    "1 block": dict(depth=1),
    "rest of the picture unused": dict(depth=2, image_size=50, patch=16),
    "end token by its id": dict(depth=3, end=END),
    "eager": dict(depth=3, attention="eager"),
    "eager, end token by its id": dict(depth=3, attention="eager", end=END),
}


@pytest.fixture(params=MODELS.values(), ids=MODELS.keys())
def clip(request):
    return tiny_clip(seed=1, **request.param)


@pytest.fixture
def inputs(clip):
    return tiny_inputs((7, 4, 10), image_size=clip.image.image_size)


@torch.no_grad()
def image_reference(clip, inputs):
    out = clip.model.get_image_features(inputs.pixel_values, output_hidden_states=True)
    return out.pooler_output, out.hidden_states


@torch.no_grad()
def text_reference(clip, inputs):
    out = clip.model.get_text_features(inputs.input_ids, inputs.attention_mask, output_hidden_states=True)
    return out.pooler_output, out.hidden_states


# --- the cut ----------------------------------------------------------------------------------------------------------


@torch.no_grad()
def test_image_tower_is_the_models_own_encoder_at_every_layer(clip, inputs):
    features, states = image_reference(clip, inputs)
    assert len(states) == clip.image.depth + 1
    for layer, hidden in enumerate(states):
        z = clip.image.head(inputs, layer)
        assert relative(z, hidden) < 1e-5, f"hidden_states[{layer}]"
        assert relative(clip.image.tail(z, inputs, layer), features) < 1e-5, f"cut at {layer}"


@torch.no_grad()
def test_text_tower_is_the_models_own_encoder_at_every_layer(clip, inputs):
    features, states = text_reference(clip, inputs)
    assert len(states) == clip.text.depth + 1
    for layer, hidden in enumerate(states):
        z = clip.text.head(inputs, layer)
        keep = inputs.attention_mask.bool()  # what stands on padding is nobody's business
        assert relative(z[keep], hidden[keep]) < 1e-5, f"hidden_states[{layer}]"
        assert relative(clip.text.tail(z, inputs, layer), features) < 1e-5, f"cut at {layer}"


def test_encoders_are_the_models_own(clip, inputs):
    assert relative(clip.encode_image(inputs), image_reference(clip, inputs)[0]) < 1e-5
    assert relative(clip.encode_text(inputs), text_reference(clip, inputs)[0]) < 1e-5


def test_similarity_is_the_cosine_of_each_picture_with_its_own_caption():
    clip, inputs = tiny_clip(), tiny_inputs()
    with torch.no_grad():
        out = clip.model(inputs.input_ids, inputs.pixel_values, inputs.attention_mask)
    cosines = out.logits_per_image.diagonal() / clip.model.logit_scale.exp()
    assert torch.allclose(clip.similarity(inputs), cosines, atol=1e-6)


def test_features_do_not_remember_how_they_were_made():
    clip, inputs = tiny_clip(), tiny_inputs()
    assert not clip.encode_image(inputs).requires_grad and not clip.encode_text(inputs).requires_grad


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_holes_in_the_attention_mask_are_kept(attention):
    """A masked token before the end token is not read: the same as transformers', and not the same as without the mask."""
    clip, inputs = tiny_clip(attention=attention), tiny_inputs((8, 8))
    mask = inputs.attention_mask.clone()
    mask[0, 3] = mask[1, 1] = mask[1, 5] = 0
    holes = nk.Inputs(inputs.pixel_values, inputs.input_ids, mask)
    features, states = text_reference(clip, holes)
    assert relative(clip.encode_text(holes), features) < 1e-5
    assert relative(clip.encode_text(inputs), features) > 1e-2
    for layer in range(clip.text.depth + 1):
        z = clip.text.head(holes, layer)
        assert relative(z[mask.bool()], states[layer][mask.bool()]) < 1e-5
        assert relative(clip.text.tail(z, holes, layer), features) < 1e-5


@pytest.mark.parametrize("layer", [0, 4, 5])
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_gradients_through_the_tail_are_those_through_the_models_blocks(attention, layer):
    """However the tail saves work, its gradient is that of all blocks run in full; with holes in the mask, too."""
    clip, inputs = tiny_clip(attention=attention), tiny_inputs((8, 5))
    mask = inputs.attention_mask.clone()
    mask[0, 3] = 0
    inputs = nk.Inputs(inputs.pixel_values, inputs.input_ids, mask)
    causal = torch.full((8, 8), -torch.inf).triu(1) + torch.zeros(2, 1, 8, 8).masked_fill(mask[:, None, None] == 0, -torch.inf)
    vision, text, read = clip.model.vision_model, clip.model.text_model, torch.tensor([7, 4])
    plans = (
        (clip.image, vision.encoder.layers, vision.post_layernorm, clip.model.visual_projection, None, torch.tensor([0, 0])),
        (clip.text, text.encoder.layers, text.final_layer_norm, clip.model.text_projection, causal, read),
    )
    for tower, blocks, norm, projection, seen, position in plans:
        with torch.no_grad():
            z = tower.head(inputs, layer)
        ours, theirs = z.clone().requires_grad_(), z.clone().requires_grad_()
        tower.tail(ours, inputs, layer).square().sum().backward()
        hidden = theirs
        for block in blocks[layer:]:
            hidden = block(hidden, seen)
        projection(norm(hidden[torch.arange(2), position])).square().sum().backward()
        assert relative(ours.grad, theirs.grad) < 1e-5


@pytest.mark.parametrize("mask", [None, torch.bool, torch.int32], ids=str)
def test_masks_may_be_missing_or_of_any_kind(mask):
    clip, inputs = tiny_clip(), tiny_inputs((6, 6))
    given = nk.Inputs(inputs.pixel_values, inputs.input_ids, inputs.attention_mask.to(mask) if mask else None)
    assert torch.equal(clip.encode_text(given), clip.encode_text(inputs))


# --- which position is read -------------------------------------------------------------------------------------------


def test_end_token_2_means_the_highest_id():
    """Highest id, and of several the first, wherever the mask ends."""
    inputs = tiny_inputs((5, 9, 3))
    assert tiny_clip().text.pooled(inputs).tolist() == [4, 8, 2]


def test_otherwise_the_first_end_token_is_read():
    inputs = tiny_inputs((5, 9, 3))
    ids = inputs.input_ids.clone()
    ids[1, 4] = 50
    clip = tiny_clip(end=50)
    with pytest.warns(UserWarning, match="caption 0 has no end token"):
        ours = clip.encode_text(nk.Inputs(inputs.pixel_values, ids))
    assert clip.text.pooled(nk.Inputs(inputs.pixel_values, ids)).tolist() == [0, 4, 0]
    assert relative(ours, text_reference(clip, nk.Inputs(inputs.pixel_values, ids))[0]) < 1e-5


def test_a_missing_end_token_is_warned_of_by_number():
    inputs = tiny_inputs((5, 5, 5))
    ids = inputs.input_ids.clone()
    ids[1, 4] = 7
    cut = nk.Inputs(inputs.pixel_values, ids)
    for call in (tiny_clip(end=END).encode_text, lambda x: nk.nib(tiny_clip(end=END), x, num_steps=1)):
        with pytest.warns(UserWarning, match=r"caption 1 has no end token \(99\)"):
            call(cut)


# --- sizes ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options, grid", [(dict(image_size=224, patch=32), 7), (dict(image_size=224, patch=14), 16), (dict(), 3)]
)
def test_grid(options, grid):
    clip = tiny_clip(depth=1, **options)
    inputs = tiny_inputs((4,), image_size=clip.image.image_size)
    assert clip.image.grid == grid
    assert clip.image.head(inputs, 1).shape == (1, 1 + grid**2, 32)
    assert nk.nib(clip, inputs, num_steps=1).image.shape == (1, grid, grid)


@pytest.mark.parametrize("depth, layer", [(12, 9), (6, 4), (4, 3), (3, 2), (1, 0)])
def test_default_layer_is_three_quarters_of_the_depth(depth, layer):
    """9 of 12; each tower by its own depth."""
    clip = tiny_clip(depth=(depth, 4))
    assert clip.image.check_layer(None) == layer
    assert nk.nib(clip, tiny_inputs((4,)), num_steps=1).options["layer"] == (layer, 3)


@pytest.mark.parametrize("layer", [-1, 6, 99, (0, 6), (-1, 0)])
def test_layers_out_of_range_are_refused(layer):
    with pytest.raises(ValueError, match=r"layer.* must be a whole number within 0 … 5.*; got (-1|6|99)"):
        nk.nib(tiny_clip(), tiny_inputs((4,)), layer=layer)


def test_each_tower_has_its_own_range_of_layers():
    with pytest.raises(ValueError, match="within 0 … 4"):
        nk.nib(tiny_clip(depth=(6, 4)), tiny_inputs((4,)), layer=5)
    nk.nib(tiny_clip(depth=(6, 4)), tiny_inputs((4,)), layer=(5, 4), num_steps=1)


@pytest.mark.parametrize("layer", [1.0, "2", True, (1.5, 2)])
def test_layers_must_be_whole_numbers(layer):
    with pytest.raises(ValueError, match="layer.* must be a whole number"):
        nk.nib(tiny_clip(), tiny_inputs((4,)), layer=layer)


@pytest.mark.parametrize("size", [32, 64])
def test_wrong_picture_size_is_refused(size):
    with pytest.raises(ValueError, match=f"{size} × {size}, this model takes 48 × 48"):
        tiny_clip().encode_image(tiny_inputs((4,), image_size=size))


def test_too_many_tokens_are_refused():
    inputs = tiny_inputs((78,))
    with pytest.raises(ValueError, match="78 tokens, the model reads at most 77"):
        nk.nib(tiny_clip(), inputs)


@pytest.mark.parametrize("bad", [-1, VOCABULARY, 10**6])
def test_ids_outside_the_vocabulary_are_refused(bad):
    inputs = tiny_inputs((5,))
    ids = inputs.input_ids.clone()
    ids[0, 2] = bad
    with pytest.raises(ValueError, match=re.escape(f"input_ids must be within 0 … {VOCABULARY - 1}; got") + f".*{bad}"):
        nk.nib(tiny_clip(end=END), nk.Inputs(inputs.pixel_values, ids))


def test_only_inputs_are_taken():
    with pytest.raises(TypeError, match=r"inputs must be nk\.Inputs \(see clip\.prepare\); got dict"):
        nk.nib(tiny_clip(), {"pixel_values": 1})
