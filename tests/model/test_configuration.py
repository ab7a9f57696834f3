"""Weights and a configuration that do not belong together are refused in one line."""

import json

import pytest
import torch
from loaded import fails_with
from safetensors.torch import load_file, save_file

import nibkit as nk


def rewrite(folder, change):
    """The folder's weights, changed."""
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def configure(folder, **settings):
    """The folder's config.json with other settings; "vision_config__x" is x in its vision_config."""
    config = json.loads((folder / "config.json").read_text())
    for path, value in settings.items():
        *parts, name = path.split("__")
        place = config
        for part in parts:
            place = place[part]
        place[name] = value
    (folder / "config.json").write_text(json.dumps(config))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_refused(folder, value):
    rewrite(folder, lambda weights: weights["visual_projection.weight"][2].fill_(value))
    fails_with(ValueError, "visual_projection.weight holds NaN or infinity: the weights in .* are damaged", folder)


def test_a_shape_of_another_model_is_named(folder):
    rewrite(folder, lambda weights: weights.update({"text_projection.weight": torch.zeros(3, 3)}))
    fails_with(ValueError, r"\(text_projection.weight is \[3, 3\], by config.json it is \[\d+, \d+\]\): download", folder)


@pytest.mark.parametrize("tower", ["vision", "text"])
def test_a_configuration_of_fewer_or_more_blocks_is_refused(folder, tower):
    depth = json.loads((folder / "config.json").read_text())[f"{tower}_config"]["num_hidden_layers"]
    configure(folder, **{f"{tower}_config__num_hidden_layers": depth - 1})
    said = rf"holds weights that its config.json has no place for, {tower}_model.encoder.layers.{depth - 1}\."
    fails_with(ValueError, said, folder)
    configure(folder, **{f"{tower}_config__num_hidden_layers": depth + 1})
    fails_with(ValueError, rf"lacks weights, {tower}_model.encoder.layers.{depth}\.", folder)


@pytest.mark.parametrize("tower", ["vision", "text"])
def test_blocks_without_weights_are_not_built_first(folder, tower, monkeypatch):
    configure(folder, **{f"{tower}_config__num_hidden_layers": 10**6})
    monkeypatch.setattr("transformers.CLIPModel.from_pretrained", lambda *_, **__: pytest.fail("a million blocks were built"))
    fails_with(ValueError, rf"lacks weights, {tower}_model.encoder.layers.\d+\.", folder)


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"quantization_config": {"quant_method": "bitsandbytes", "load_in_8bit": True}}, "bitsandbytes"),
        ({"vision_config__num_attention_heads": 7}, "heads"),
        ({"text_config__num_attention_heads": 0}, "."),
        ({"text_config__eos_token_id": None}, "eos_token_id"),
        ({"vision_config__hidden_act": "nosuch"}, "nosuch"),
        ({"vision_config__image_size": "large"}, "."),
        ({"text_config": 3}, "."),
        ({"projection_dim": -1}, "."),
        ({"vision_config__patch_size": 0}, "."),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_strange_configuration_is_one_line(folder, settings, message):
    configure(folder, **settings)
    with pytest.raises(ValueError, match=message) as caught:
        nk.load_clip(folder, device="cpu")
    assert "\n" not in str(caught.value)


def test_another_family_is_refused_by_name(folder):
    configure(folder, model_type="siglip")
    fails_with(ValueError, "its model_type is 'siglip', \"clip\" is needed. nibkit does not explain SigLIP: .* Instead, ", folder)


def test_metaclip_2_is_opened(folder, tmp_path):
    from transformers import MetaClip2Config, MetaClip2Model

    shared = dict(hidden_size=32, intermediate_size=64, num_attention_heads=2, num_hidden_layers=2)
    text, vision = shared | dict(vocab_size=100, eos_token_id=2), shared | dict(image_size=48, patch_size=16)
    with torch.random.fork_rng():
        model = MetaClip2Model(MetaClip2Config(text_config=text, vision_config=vision, projection_dim=16))
    model.save_pretrained(tmp_path / "metaclip")
    clip = nk.load_clip(tmp_path / "metaclip", device="cpu")
    assert type(clip.model) is MetaClip2Model and not clip.text.highest
