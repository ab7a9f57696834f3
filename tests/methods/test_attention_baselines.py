"""Chefer, FastIG and saliency at the attention weights: against what transformers returns."""

import pytest
import torch
from helpers import assert_close, new_clip, relative, tiny_clip, tiny_inputs
from own_forward import assert_rows, cosine

import nibkit as nk
from nibkit.methods.attention import attend

# --- attention --------------------------------------------------------------------------------------------------------


def eager_attentions(clip, inputs):
    """(A, ∇A) of each block, [B, heads, S, S], and where it is read, for both encoders: by transformers alone."""
    found = []
    for name, target in (("image", clip.encode_text(inputs)), ("text", clip.encode_image(inputs))):
        if name == "image":
            pixels = inputs.pixel_values.clone().requires_grad_()
            out, read = clip.model.get_image_features(pixels, output_attentions=True), torch.zeros(len(inputs), dtype=torch.long)
        else:
            hook = clip.model.text_model.embeddings.register_forward_hook(lambda m, i, o: o.requires_grad_())
            out = clip.model.get_text_features(inputs.input_ids, inputs.attention_mask, output_attentions=True)
            hook.remove()
            read = inputs.input_ids.argmax(-1)
        slopes = torch.autograd.grad(cosine(out.pooler_output, target).sum(), out.attentions)
        found.append(([(a.detach(), g) for a, g in zip(out.attentions, slopes)], read))
    return found


@pytest.fixture(scope="module")
def eager():
    clip, inputs = tiny_clip(attention="eager"), tiny_inputs((5, 8, 3))
    return inputs, eager_attentions(clip, inputs)


def read_rows(matrices: torch.Tensor, read: torch.Tensor) -> torch.Tensor:
    return matrices[torch.arange(len(read)), read]


def test_a_block_with_its_attention_written_out_is_the_block():
    clip, inputs = tiny_clip(), tiny_inputs((5, 8))
    for tower in (clip.image, clip.text):
        z = tower.head(inputs, 2)
        mask = tower.mask(z.shape[1], inputs.attention_mask)
        out, weights = attend(tower.blocks[2], z, mask)
        assert relative(out.detach(), tower.head(inputs, 3)) < 1e-6
        assert torch.allclose(weights.sum(-1), torch.ones(weights.shape[:-1])) and weights.shape[1] == 2


@pytest.mark.parametrize(
    "name, combine",
    [
        ("chefer", lambda a, g: (a * g).relu()),
        ("fastig", lambda a, g: a * g),
        ("saliency", lambda a, g: g.abs()),
    ],
)
def test_paper_variants_are_read_off_transformers_own_attention(eager, name, combine):
    """The gradient at attention weights that are computed by hand, under sdpa, is that of ``output_attentions`` under eager.

    FastIG with a relu before the mean over the heads is Chefer.
    """
    inputs, found = eager
    rows = [read_rows(combine(*pairs[-1]).mean(1), read) for pairs, read in found]
    assert_rows(getattr(nk, name)(tiny_clip(), inputs), *rows, inputs)


@pytest.mark.parametrize("start", [None, 3, (1, 4)])
def test_chefers_rollout_is_the_product_over_the_blocks(eager, start):
    inputs, found = eager
    scale, rows = tiny_clip().model.logit_scale.exp(), []
    for (pairs, read), first in zip(found, start if isinstance(start, tuple) else (start or 0,) * 2):
        whole = torch.eye(pairs[0][0].shape[-1]).expand(len(inputs), -1, -1)
        for a, g in pairs[first:]:
            whole = whole + (scale * g * a).clamp(min=0).mean(1) @ whole
        rows.append(read_rows(whole - torch.eye(whole.shape[-1]), read) / scale)
    assert_rows(nk.chefer(tiny_clip(), inputs, start_layer=start, variant="original"), *rows, inputs)


def test_chefers_rollout_over_the_last_block_less_the_identity_is_the_paper_variant():
    for depth in (5, (4, 3), 1):
        clip, inputs = tiny_clip(depth=depth), tiny_inputs((5, 8))
        last = clip.image.depth - 1, clip.text.depth - 1
        assert_close(nk.chefer(clip, inputs, start_layer=last, variant="original"), nk.chefer(clip, inputs), 1e-6)


def test_rollouts_that_start_earlier_differ():
    maps = [nk.chefer(tiny_clip(), tiny_inputs(), start_layer=k, variant="original").image for k in range(5)]
    assert all(relative(a, b) > 1e-2 for a, b in zip(maps, maps[1:]))


def test_fastig_with_a_relu_before_the_mean_over_heads_is_chefer(monkeypatch):
    """The line between the two paper variants is that relu alone; after the mean it would be another method."""
    clip, inputs = tiny_clip(), tiny_inputs((5, 8))
    chefer, fastig = nk.chefer(clip, inputs), nk.fastig(clip, inputs)
    assert relative(fastig.image.relu(), chefer.image) > 1e-2
    mean = torch.Tensor.mean
    monkeypatch.setattr(torch.Tensor, "mean", lambda self, *dims: mean(self.relu() if dims == (1,) else self, *dims))
    assert_close(nk.fastig(clip, inputs), chefer, 1e-6)


# --- blocks that hide it ----------------------------------------------------------------------------------------------


class Opaque(torch.nn.Module):
    """A block that can be called and nothing else."""

    def __init__(self, block, keep=()):
        super().__init__()
        self.call = [block]
        for name in keep:
            setattr(self, name, getattr(block, name))

    def forward(self, z, mask, **more):
        return self.call[0](z, mask, **more)


HIDDEN = [("image", (), "q_proj"), ("text", ("self_attn", "layer_norm1", "layer_norm2"), "mlp")]


@pytest.mark.parametrize("side, keep, lost", HIDDEN)
def test_blocks_that_hide_their_attention_are_named(side, keep, lost):
    clip, inputs = new_clip(), tiny_inputs((5,))
    seen = [method(clip, inputs, layer=2).image for method in (nk.nib, nk.gradcam)]
    blocks = getattr(clip, side).blocks
    blocks[-1] = Opaque(blocks[-1], keep)
    what = rf"clip's {side} block {len(blocks) - 1} \(Opaque\) hides them: it has no .*{lost}\..*nk.load_clip"
    for method in (nk.chefer, nk.saliency, nk.fastig):
        with pytest.raises(ValueError, match=f"{method.__name__} reads the attention weights, but {what}"):
            method(clip, inputs)
    with pytest.raises(ValueError, match=what):
        nk.chefer(clip, inputs, variant="original")
    assert torch.isfinite(nk.saliency(clip, inputs, variant="original").pixels).all()
    for image, method in zip(seen, (nk.nib, nk.gradcam)):
        assert relative(method(clip, inputs, layer=2).image, image) < 1e-5
