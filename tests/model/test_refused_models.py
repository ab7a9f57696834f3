"""What can't be explained is refused by name, with what can be done; MetaCLIP 2 is read as its own code reads it."""

import pytest
import torch
import transformers
from helpers import END, START, VOCABULARY, new_clip, own_similarity, tiny_clip, tiny_inputs, tiny_model
from torch import nn

import nibkit as nk
from nibkit.model import fidelity
from nibkit.model.blocks import is_plain

SHARED = dict(hidden_size=32, intermediate_size=64, num_attention_heads=2, num_hidden_layers=5, projection_dim=16)
TEXT = SHARED | dict(vocab_size=VOCABULARY, bos_token_id=START, eos_token_id=END, pad_token_id=END)
VISION = SHARED | dict(image_size=48, patch_size=16)


# --- refused by name --------------------------------------------------------------------------------------------------------

FOREIGN = [
    ("Siglip", "Model", "SigLIP"),
    ("Siglip2", "Model", "SigLIP 2"),
    ("CLIPSeg", "Model", "CLIPSeg"),
    ("CLIPSeg", "ForImageSegmentation", "CLIPSeg"),
    ("AltCLIP", "Model", "AltCLIP"),
    ("ChineseCLIP", "Model", "ChineseCLIP"),
    ("Blip", "Model", "BLIP"),
    ("GroupViT", "Model", "GroupViT"),
    ("XCLIP", "Model", "X-CLIP"),
    ("OwlViT", "Model", "OWL-ViT"),
]


@pytest.mark.filterwarnings("ignore")  # what transformers says of these small configurations
@pytest.mark.parametrize("family, kind, name", FOREIGN, ids=[family + kind for family, kind, _ in FOREIGN])
def test_a_model_of_another_family_is_refused_by_name(family, kind, name):
    config = getattr(transformers, f"{family}Config")(text_config=TEXT, vision_config=VISION)
    with torch.random.fork_rng():
        model = getattr(transformers, family + kind)(config)
    with pytest.raises(ValueError, match=rf"model is of class {family}{kind} \({name}\), .* does not explain: .*\. Instead, "):
        nk.Clip(model)


@pytest.mark.parametrize(
    "kind, config", [("CLIPVisionModel", VISION), ("CLIPVisionModelWithProjection", VISION), ("CLIPTextModel", TEXT)]
)
def test_one_tower_alone_is_refused(kind, config):
    model = getattr(transformers, kind)(getattr(transformers, f"CLIP{'Text' if 'Text' in kind else 'Vision'}Config")(**config))
    with pytest.raises(ValueError, match=rf"{kind} .*one half of a CLIP\. Instead, load the whole of it: CLIPModel"):
        nk.Clip(model)


def test_other_modules_and_what_is_no_module_are_named():
    with pytest.raises(
        ValueError, match="model is of class Linear, which is not built as CLIP: it has no vision_model.embeddings"
    ):
        nk.Clip(nn.Linear(2, 2))
    with pytest.raises(ValueError, match="model is of class DataParallel, .*: give model.module, which it wraps"):
        nk.Clip(nn.DataParallel(tiny_model()))
    for value in (None, "shapes", tiny_clip()):
        with pytest.raises(TypeError, match=f"model must be a transformers CLIPModel, .*; got {type(value).__name__}"):
            nk.Clip(value)


@pytest.mark.parametrize(
    "tower, setting, value, message",
    [
        ("vision", "num_attention_heads", 7, "vision_config.num_attention_heads is 7, which does not divide hidden_size 32"),
        ("text", "num_attention_heads", 0, "text_config.num_attention_heads is 0, which does not divide"),
        ("text", "eos_token_id", None, "text_config.eos_token_id, .*, must be a whole number, 0 or more; got None"),
        ("text", "eos_token_id", [99], r"text_config.eos_token_id, .*, must be a whole number, 0 or more; got \[99\]"),
    ],
)
def test_a_strange_configuration_is_named(tower, setting, value, message):
    model = tiny_model()
    vars(getattr(model.config, f"{tower}_config"))[setting] = value
    with pytest.raises(ValueError, match=message):
        nk.Clip(model)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_named_at_first_use(value):
    clip = new_clip()
    clip.model.text_model.encoder.layers[1].mlp.fc1.bias.data[3] = value
    with pytest.raises(ValueError, match="text_model.encoder.layers.1.mlp.fc1.bias holds NaN or infinity"):
        nk.nib(clip, tiny_inputs())
    with pytest.raises(ValueError, match="logit_scale has no values .*'meta'"):
        fidelity.check_weights([("logit_scale", torch.ones((), device="meta"))])
    fidelity.check_weights([("large", torch.full((9,), 3e38)), ("half", torch.full((99,), 6e4, dtype=torch.float16))])


def test_a_model_without_values_can_be_counted_but_not_explained():
    clip = nk.Clip(tiny_model().to("meta"))
    with pytest.raises(ValueError, match="the model has no values .it lies on the device 'meta'.: load the weights first"):
        nk.nib(clip, tiny_inputs())


@pytest.mark.parametrize("part", ["pixel_values", "input_ids", "attention_mask"])
def test_inputs_without_values_are_named(part):
    inputs = tiny_inputs()
    tensors = {name: getattr(inputs, name) for name in ("pixel_values", "input_ids", "attention_mask")}
    with pytest.raises(ValueError, match=f"{part} has no values .it lies on the device 'meta'.: give it where"):
        nk.Inputs(**tensors | {part: tensors[part].to("meta")})


def test_pixels_beyond_the_dtype_are_told():
    """Not as damage of the picture, whose numbers are finite."""
    inputs = tiny_inputs()
    large = nk.Inputs(inputs.pixel_values * 0 - 1e5, inputs.input_ids, inputs.attention_mask)
    with pytest.raises(
        ValueError, match="pixel_values reach 1e.05, beyond torch.float16: scale them, or load the model in float32"
    ):
        nk.nib(new_clip(dtype=torch.float16), large)


def test_features_beyond_the_dtype_are_told():
    clip = new_clip(dtype=torch.float16)
    clip.model.visual_projection.weight.data *= 3e4
    with pytest.raises(ValueError, match="the image features hold NaN or infinity, though the weights do not: torch.float16"):
        nk.nib(clip, tiny_inputs())


# --- MetaCLIP 2 ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", [2, END])
def test_metaclip_2_is_read_at_its_first_end_token(end):
    """Also where ``eos_token_id`` is 2, as in its released weights, which in CLIP means the highest id."""
    config = transformers.MetaClip2Config(text_config=TEXT | dict(eos_token_id=end), vision_config=VISION, projection_dim=16)
    with torch.random.fork_rng():
        clip = nk.Clip(transformers.MetaClip2Model(config).eval().requires_grad_(False))
    inputs = tiny_inputs((5, 8, 3))
    for row, length in enumerate((5, 8, 3)):
        inputs.input_ids[row, length - 1] = end
    assert clip.text.pooled(inputs).tolist() == [4, 7, 2] and is_plain(clip.image.blocks[0])
    assert torch.allclose(clip.similarity(inputs), own_similarity(clip, inputs), atol=1e-6)
    att = nk.nib(clip, inputs)
    assert att.options["blocks"] == ("rewritten", "rewritten") and (att.text[0] != 0).any()
    assert nk.chefer(clip, inputs, variant="original").image.isfinite().all()
