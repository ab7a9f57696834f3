"""Controls that are other models, other captions, other objects: what is drawn anew, and what stays."""

import zlib

import numpy as np
import pytest
import torch
from helpers import new_clip, same, state, tiny_clip, tiny_inputs

import nibkit as nk
from nibkit.methods import controls
from nibkit.metrics.localisation import average_precision, named_masks

PREFIXES = {  # stage: where its weights lie in transformers' model
    "image_projection": ["visual_projection."],
    "image_norm": ["vision_model.post_layernorm."],
    "image_block_4": ["vision_model.encoder.layers.4."],
    "image_block_0": ["vision_model.encoder.layers.0."],
    "image_embeddings": ["vision_model.embeddings.", "vision_model.pre_layrnorm."],
    "text_projection": ["text_projection."],
    "text_norm": ["text_model.final_layer_norm."],
    "text_block_2": ["text_model.encoder.layers.2."],
    "text_embeddings": ["text_model.embeddings."],
    "last_block": ["vision_model.encoder.layers.4.", "text_model.encoder.layers.4."],
    "image": ["vision_model.", "visual_projection."],
    "text": ["text_model.", "text_projection."],
}


def changed(clip: nk.Clip, other: nk.Clip) -> set[str]:
    """The weights that differ."""
    return {
        key for (key, a), (_, b) in zip(clip.model.named_parameters(), other.model.named_parameters()) if not torch.equal(a, b)
    }


@pytest.mark.parametrize("stage, prefixes", PREFIXES.items(), ids=PREFIXES)
def test_a_stage_is_drawn_anew_and_nothing_else(stage, prefixes):
    clip = tiny_clip()
    all_of_it = {key for key, _ in clip.model.named_parameters() if key.startswith(tuple(prefixes))}
    assert all_of_it and changed(clip, controls.randomised(clip, stage)) == all_of_it


def test_stages_go_from_the_top_down_and_make_up_the_encoder():
    clip = tiny_clip(depth=(3, 2))
    assert controls.stages(clip) == (
        "image_projection",
        "image_norm",
        *(f"image_block_{k}" for k in (2, 1, 0)),
        "image_embeddings",
    )
    assert controls.stages(clip, "text")[-3:] == ("text_block_1", "text_block_0", "text_embeddings")
    for side in ("image", "text"):
        whole, parts = controls.randomised(clip, side, 3), controls.randomised(clip, controls.stages(clip, side), 3)
        assert changed(whole, parts) == set() and changed(clip, whole)


def test_weights_keep_their_mean_and_spread_and_lose_all_else():
    clip = new_clip(width=64)
    with torch.no_grad():
        clip.model.visual_projection.weight += 0.3
    old = clip.model.visual_projection.weight.double().numpy()
    new = controls.randomised(clip, "image_projection", 5).model.visual_projection.weight.double().numpy()
    assert new.mean() == pytest.approx(old.mean(), abs=4 * old.std() / old.size**0.5)
    assert new.std() == pytest.approx(old.std(), rel=0.05)
    assert abs(np.corrcoef(old.ravel(), new.ravel())[0, 1]) < 0.1
    draw = np.random.default_rng([5, zlib.crc32(b"image_projection.weight")]).standard_normal(old.shape)
    assert np.allclose(new, old.mean() + old.std() * draw, atol=1e-6)


def test_seed_and_name_alone_say_what_is_drawn():
    clip = tiny_clip()
    alone = controls.randomised(clip, "image_block_3", 1)
    cascade = controls.randomised(clip, ("image_projection", "image_block_4", "image_block_3"), 1)
    of_block = {key for key in changed(alone, cascade) if "layers.3." in key}
    assert of_block == set() and changed(alone, cascade)
    assert changed(alone, controls.randomised(clip, "image_block_3", 1)) == set()
    assert changed(alone, controls.randomised(clip, "image_block_3", 2))
    blocks = controls.randomised(clip, ("image_block_2", "image_block_3"), 1).image.blocks
    assert not torch.equal(blocks[2].mlp.fc1.weight, blocks[3].mlp.fc1.weight)  # each its own


def test_the_model_itself_and_the_world_around_it_stay():
    clip = new_clip(dtype=torch.bfloat16)
    before = state(clip)
    other = controls.randomised(clip, ["image", "text"], 0)
    assert same(before, state(clip)) and other.dtype == torch.bfloat16 and other.model is not clip.model
    assert not any(weight.requires_grad for weight in other.model.parameters())
    nk.nib(other, tiny_inputs((5, 8)))  # is a Clip as any other


@pytest.mark.parametrize(
    "stage, seed, message",
    [
        ("block_3", 0, "stage must be .*last_block"),
        ("image_block_5", 0, "stage must be"),
        (["image", 3], 0, "stage must be"),
        ("text", -1, "seed must be a whole number, 0 or more"),
        ("text", 0.5, "seed must be a whole number"),
    ],
)
def test_what_is_no_stage_or_seed(stage, seed, message):
    with pytest.raises(ValueError, match=message):
        controls.randomised(tiny_clip(), stage, seed)


def test_what_has_no_stages():
    with pytest.raises(TypeError, match=r"clip must be an nk\.Clip"):
        controls.randomised(tiny_clip().model, "text")
    with pytest.raises(ValueError, match='side must be "image" or "text"'):
        controls.stages(tiny_clip(), "both")


def test_quantised_weights_are_refused():
    clip = new_clip()
    clip.model.visual_projection.weight.data = clip.model.visual_projection.weight.data.to(torch.int8)
    with pytest.raises(ValueError, match="weight weight of image_projection is torch.int8: only floats can be drawn anew"):
        controls.randomised(clip, "image_projection")


# --- other maps ---------------------------------------------------------------------------------------------------------------


def some_masks(count: int = 2) -> np.ndarray:
    masks = np.zeros((count, 48, 48), dtype=bool)
    masks[0, :16, :24] = masks[-1, 20:, 40:] = True  # one patch and a half; half of two patches, …
    return masks


def test_the_reference_is_the_share_of_each_patch():
    clip, inputs, masks = tiny_clip(), tiny_inputs((5, 8)), some_masks()
    att = controls.reference_map(clip, inputs, masks)
    assert att.pixels is None and torch.allclose(att.image[0], torch.tensor([[1, 0.5, 0], [0, 0, 0], [0, 0, 0]]))
    assert torch.allclose(att.image, torch.from_numpy(masks.reshape(2, 3, 16, 3, 16).mean((2, 4))).float())
    assert torch.equal(att.heatmap(48)[0], controls.reference_map(clip, inputs[[0]], masks[:1]).heatmap(48)[0])


def test_the_reference_lies_between_chance_and_the_oracle():
    clip, scenes = nk.load_clip("shapes"), nk.shapes.sample(5, 3, "one", objects=3)
    inputs, (masks, _) = clip.prepare([s.image for s in scenes], [s.caption for s in scenes]), named_masks(scenes)
    reference, oracle = (
        average_precision(make(clip, inputs, masks), masks) for make in (controls.reference_map, controls.oracle_map)
    )
    assert (oracle == 1).all() and (reference < 1).all() and (reference > 5 * masks.mean((1, 2))).all()


def test_every_object_alike_whatever_the_caption_says():
    clip, inputs, masks = tiny_clip(), tiny_inputs((5, 8)), some_masks()
    att = controls.every_object_map(clip, inputs, masks)
    assert torch.equal(att.image, controls.reference_map(clip, inputs, masks).image) and att.method == "every"
    other = controls.every_object_map(clip, tiny_inputs((5, 8), seed=4), masks)
    assert torch.equal(att.image, other.image)


@pytest.mark.parametrize("count", [1, 3])
def test_another_caption_is_the_method_on_other_pairs(count):
    clip, inputs, others = tiny_clip(), tiny_inputs((5, 8, 6)), tiny_inputs((7,) * count, seed=9)
    att = controls.another_caption_map(clip, inputs, others, nk.nib, layer=2)
    for i in range(3):
        other = others[[i % count]]
        image = nk.nib(clip, nk.Inputs(inputs.pixel_values[[i]], other.input_ids, other.attention_mask), layer=2).image
        text = nk.nib(clip, nk.Inputs(other.pixel_values, inputs.input_ids[[i]], inputs.attention_mask[[i]]), layer=2).text
        assert torch.allclose(att.image[i], image[0], atol=1e-6) and torch.allclose(att.text[i], text[0], atol=1e-6)
    nk.confidence(clip, inputs, att)  # it can stand in every table
    assert torch.allclose(att.similarity, clip.similarity(inputs), atol=1e-6)


def test_another_caption_for_each_or_for_all():
    with pytest.raises(ValueError, match="others must be one pair or 3, one for each of inputs; got 2"):
        controls.another_caption_map(tiny_clip(), tiny_inputs((5, 8, 6)), tiny_inputs((5, 8)))
