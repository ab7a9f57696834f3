"""Saliency and FastIG at the input, and Grad-CAM: against plain gradients; and what the baselines cost."""

import pytest
import torch
from helpers import START, assert_close, new_clip, relative, tiny_clip, tiny_inputs
from own_forward import assert_rows, cosine, gradient, picture_score, text_score

import nibkit as nk
from nibkit.metrics.costs import count_passes

# --- gradients at the input -------------------------------------------------------------------------------------------


def test_original_saliency_and_fastig_are_plain_gradients_at_the_input():
    clip, inputs = tiny_clip(), tiny_inputs((6, 6))
    score, rows = text_score(clip, inputs)
    x = inputs.pixel_values
    g, of_rows = gradient(picture_score(clip, inputs), x), gradient(score, rows)
    saliency, fastig = (getattr(nk, name)(clip, inputs, variant="original") for name in ("saliency", "fastig"))
    assert relative(saliency.pixels, g.abs().amax(1)) < 1e-5 and relative(saliency.text, of_rows.abs().sum(-1)) < 1e-5
    assert relative(fastig.pixels, (x * g).sum(1)) < 1e-5 and relative(fastig.text, (rows * of_rows).sum(-1)) < 1e-5
    assert saliency.class_token is None and (fastig.pixels < 0).any()


def test_the_token_gradient_is_at_its_row_of_the_table_not_at_its_place():
    """The row alone is multiplied, without the position embedding."""
    clip = new_clip()
    before = nk.fastig(clip, tiny_inputs((5,)), variant="original").text
    clip.model.text_model.embeddings.token_embedding.weight.data[START] = 0
    after = nk.fastig(clip, tiny_inputs((5,)), variant="original").text
    assert float(before[0, 0]) != 0 and float(after[0, 0]) == 0 and (after[0, 1:] != 0).all()


# --- Grad-CAM ---------------------------------------------------------------------------------------------------------


def activations(clip, inputs, block: int):
    """(A, g) at a block's output, for both encoders, by hooks on the model and plain autograd."""
    for model, call, target in (
        (clip.model.vision_model, lambda: clip.model.get_image_features(inputs.pixel_values), clip.encode_text(inputs)),
        (clip.model.text_model, lambda: clip.model.get_text_features(inputs.input_ids), clip.encode_image(inputs)),
    ):
        kept = []
        hook = model.encoder.layers[block].register_forward_hook(lambda m, i, o: kept.append(o.requires_grad_()))  # noqa: B023
        f = cosine(call().pooler_output, target)
        hook.remove()
        yield kept[0].detach(), torch.autograd.grad(f.sum(), kept[0])[0]


@pytest.mark.parametrize("layer", [0, 1, 2])
def test_the_papers_gradcam_is_hirescam(layer):
    clip, inputs = tiny_clip(), tiny_inputs((6, 6, 6), seed=1)
    rows = [(g * a).sum(-1).relu() for a, g in activations(clip, inputs, layer)]
    assert_rows(nk.gradcam(clip, inputs, layer=layer), *rows, inputs)


@pytest.mark.parametrize("layer", [0, 2, 3])
def test_the_original_gradcam_weighs_channels_by_their_mean_gradient(layer):
    clip, inputs = tiny_clip(), tiny_inputs((6, 6))
    (a, g), (a_text, g_text) = activations(clip, inputs, layer)
    att = nk.gradcam(clip, inputs, layer=layer, variant="original")
    want = torch.einsum("bc,bsc->bs", g[:, 1:].mean(1), a[:, 1:]).relu()  # patches alone: the class token is no place
    assert relative(att.image.flatten(1), want) < 1e-5 and att.class_token is None
    assert relative(att.text, torch.einsum("bc,bsc->bs", g_text.mean(1), a_text).relu()) < 1e-5
    assert relative(att.image, nk.gradcam(clip, inputs, layer=layer).image) > 0.1


def test_gradcams_default_is_three_quarters_of_the_depth():
    clip, inputs = tiny_clip(), tiny_inputs()
    assert nk.gradcam(clip, inputs).options["layer"] == (3, 3)
    assert_close(nk.gradcam(clip, inputs), nk.gradcam(clip, inputs, layer=(3, None)), 0)
    last = nk.gradcam(clip, inputs, layer=4)
    assert (last.image == 0).all()  # behind the last block the class token is read and nothing else


# --- what they cost ---------------------------------------------------------------------------------------------------


def test_passes_are_counted():
    """A pair's rows through one encoder, as in Table 8: forward, backward."""
    clip, inputs = tiny_clip(), tiny_inputs((5, 8))
    want = {"rise": (31, 0), "gradcam": (2, 1), "chefer": (2, 1), "saliency": (2, 1), "fastig": (2, 1), "mfaba": (11, 10)}
    for name, (forward, backward) in want.items():
        with count_passes(clip) as passes:
            getattr(nk, name)(clip, inputs, **dict(num_masks=30, num_text_masks=30) if name == "rise" else {})
        assert (passes.forward_image, passes.backward_image) == (2 * forward, 2 * backward), name
        assert (passes.forward_text, passes.backward_text) == (2 * forward, 2 * backward), name
