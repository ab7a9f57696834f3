"""The baselines: each against its formula written a second time, the identities between them."""

import copy
import functools
from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers import END, START, assert_close, new_clip, relative, tiny_clip, tiny_inputs
from skimage.transform import resize

import nibkit as nk
from nibkit.methods.attention import attend
from nibkit.methods.rise import Masks
from nibkit.metrics.costs import count_passes

LENGTHS = (5, 8, 3, 8)
DISTRACTORS = tiny_inputs((6, 4), seed=310)  # with these, most of the pairs below have their own caption and picture first
FLIP = dict(variant="original", distractors=DISTRACTORS, num_steps=6)
tiny_clip_64 = functools.partial(tiny_clip, dtype=torch.float64)


def as_double(inputs):
    return replace(inputs, pixel_values=inputs.pixel_values.double())


def cosine(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return torch.cosine_similarity(a, b, dim=-1)


def picture_score(clip, inputs):
    """F as a function of pixels, by transformers' own forward pass."""
    target = clip.encode_text(inputs)
    return lambda pixels: cosine(clip.model.get_image_features(pixels).pooler_output, target)


def text_score(clip, inputs):
    """F as a function of each token's row of the embedding table, for captions without padding."""
    target = clip.encode_image(inputs)

    def score(rows: torch.Tensor) -> torch.Tensor:
        table = clip.model.text_model.embeddings.token_embedding
        hook = table.register_forward_hook(lambda *_: rows)
        try:
            return cosine(clip.model.get_text_features(inputs.input_ids).pooler_output, target)
        finally:
            hook.remove()

    return score, clip.model.text_model.embeddings.token_embedding(inputs.input_ids)


def gradient(score, x: torch.Tensor) -> torch.Tensor:
    x = x.detach().clone().requires_grad_()
    return torch.autograd.grad(score(x).sum(), x)[0]


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


def assert_rows(att, image: torch.Tensor, text: torch.Tensor, inputs) -> None:
    """``att`` holds these rows of token values: class token first; text up to the end token."""
    ours = torch.cat([att.class_token[:, None], att.image.flatten(1)], 1)
    assert relative(ours, image) < 1e-5
    assert relative(att.text, torch.where(inputs.attention_mask != 0, text, 0.0)) < 1e-5


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


# --- MFABA ------------------------------------------------------------------------------------------------------------


def test_the_papers_mfaba_on_a_picture_is_the_loop():
    clip, inputs = tiny_clip(), tiny_inputs((6, 6))
    target, vision = clip.encode_text(inputs), clip.model.vision_model

    def score(x: torch.Tensor) -> torch.Tensor:
        hook = vision.embeddings.register_forward_hook(lambda *_: x)
        try:
            return cosine(clip.model.get_image_features(inputs.pixel_values).pooler_output, target)
        finally:
            hook.remove()

    x, total = vision.embeddings(inputs.pixel_values), 0.0
    for _ in range(4):
        g = gradient(score, x)
        total, x = total - (-0.02 * g.sign() * g), x - 0.02 * g.sign()
    att = nk.mfaba(clip, inputs, num_steps=4, step_size=0.02)
    assert relative(torch.cat([att.class_token[:, None], att.image.flatten(1)], 1), total.sum(-1)) < 1e-4
    assert (att.image > 0).all()


def test_the_papers_mfaba_on_a_caption_moves_the_table():
    """A copy of the model whose embedding table is moved in place; one token stands three times, one twice."""
    ids = torch.tensor([[START, 7, 9, 7, 12, 9, 7, END]])
    inputs = nk.Inputs(tiny_inputs((3,)).pixel_values, ids)
    clip = tiny_clip()
    model, target = copy.deepcopy(clip.model), clip.encode_image(inputs)
    table = model.text_model.embeddings.token_embedding.weight.requires_grad_()
    total = torch.zeros(8)
    for _ in range(4):
        (g,) = torch.autograd.grad(cosine(model.get_text_features(ids).pooler_output, target).sum(), table)
        step = -0.02 * g.sign()
        total -= (step * g)[ids[0]].sum(-1)
        table.data += step
    text = nk.mfaba(clip, inputs, num_steps=4, step_size=0.02).text[0]
    assert relative(text, total) < 1e-4
    assert float(text[1]) == float(text[3]) == float(text[6]) and float(text[2]) == float(text[5]) != float(text[1])


def test_more_steps_of_mfaba_take_more_off():
    """The sum is, to first order, how far F falls."""
    clip, inputs = tiny_clip(), tiny_inputs((5,))
    one, two = (nk.mfaba(clip, inputs, num_steps=k, step_size=1e-4) for k in (1, 2))
    assert float(two.image.sum() / one.image.sum()) == pytest.approx(2, abs=0.05)
    rows = clip.model.vision_model.embeddings(inputs.pixel_values)
    target = clip.encode_text(inputs)
    score = lambda x: cosine(clip.image.tail(clip.image.pre_norm(x), inputs, 0), target)  # noqa: E731
    fallen = score(rows) - score(rows - 1e-4 * gradient(score, rows).sign())
    assert float(one.image.sum() + one.class_token) == pytest.approx(float(fallen.detach()), rel=0.1)


def attacked(x, logits, kind, num_steps, step_size, mean=None, std=1.0):
    """Zhu et al. on one picture or caption, in units before normalisation: (−Σ Δx ∘ ∇p, the number of steps made).

    The own caption (picture) comes first among the logits.
    """
    total, start, shift = torch.zeros_like(x), x, 0.0 if mean is None else mean
    for made in range(1, num_steps + 1):  # noqa: B007
        g = gradient(lambda x: logits((x - shift) / std).softmax(0)[0], x)
        after = x - step_size * (g.sign() if kind == "smooth" else g / g.norm())
        if mean is not None:
            after = start + (after - start).clamp(-0.3, 0.3) if kind == "smooth" else after
            after = torch.maximum(torch.minimum(after, start.clamp(min=1)), start.clamp(max=0))
        total, x = total - (after - x) * g, after
        if int(logits((x - shift) / std).argmax()) != 0:
            break
    return total, made


@pytest.mark.parametrize("kind, step_size", [("sharp", 0.08), ("smooth", 0.0012), ("smooth", 0.5)])
def test_the_original_mfaba_attacks_until_the_label_flips(kind, step_size):
    """In double precision, one pair at a time, softmax and stopping rule written out; some flip early, some late.

    With the largest step, pixels are held at .3 from where they were.
    """
    clip, inputs, others = tiny_clip_64(), as_double(tiny_inputs(LENGTHS)), as_double(DISTRACTORS)
    scale = clip.model.logit_scale.exp()
    mean = torch.tensor([0.48145466, 0.4578275, 0.40821073], dtype=torch.float64)[:, None, None]
    std = torch.tensor([0.26862954, 0.26130258, 0.27577711], dtype=torch.float64)[:, None, None]
    att = nk.mfaba(
        clip, inputs, variant="original", attack=kind, step_size=step_size, num_steps=12, distractors=others, batch_size=3
    )
    made = {"image": [], "text": []}
    for i, length in enumerate(LENGTHS):
        pair = nk.Inputs(inputs.pixel_values[i : i + 1], inputs.input_ids[i : i + 1, :length])
        to_image = lambda x: clip.model.get_image_features(x[None]).pooler_output  # noqa: E731
        to_text = lambda x, pair=pair: clip.text.tail(clip.text.embeddings(inputs_embeds=x[None]), pair, 0)  # noqa: E731
        pixels, rows = pair.pixel_values[0] * std + mean, clip.text.embeddings.token_embedding(pair.input_ids)[0]
        for side, found, start, encode, own, rivals, space in (
            ("image", att.pixels[i], pixels, to_image, clip.encode_text(pair), clip.encode_text(others), (mean, std)),
            ("text", att.text[i, :length], rows, to_text, clip.encode_image(pair), clip.encode_image(others), ()),
        ):
            logits = lambda x, e=encode, o=own, r=rivals: scale * torch.cat([cosine(e(x), o), cosine(e(x), r)])  # noqa: E731
            total, steps = attacked(start, logits, kind, 12, step_size, *space)
            assert relative(found, total.sum(0 if side == "image" else -1)) < 1e-9
            made[side].append(steps)
    assert step_size == 0.5 or all(len(set(steps)) > 1 and max(steps) > 2 for steps in made.values()), made


def test_what_equals_the_own_caption_or_picture_is_no_rival():
    """A distractor with the own caption competes for the caption alone, one with the own picture for the picture alone."""
    clip, pair = tiny_clip(), tiny_inputs((4,))
    own_caption = nk.Inputs(DISTRACTORS.pixel_values[:1], torch.cat([pair.input_ids, torch.full((1, 3), END)], 1), None)
    own_picture = nk.Inputs(pair.pixel_values, DISTRACTORS.input_ids[:1], DISTRACTORS.attention_mask[:1])
    for other, message in ((own_caption, "own caption"), (own_picture, "own picture")):
        with pytest.raises(ValueError, match=f"all distractors have pair 0's {message}"):
            nk.mfaba(clip, pair, **FLIP | dict(distractors=other))
    both = nk.Inputs(torch.cat([DISTRACTORS.pixel_values[:1], pair.pixel_values]), DISTRACTORS.input_ids[[0, 0]])
    want = nk.mfaba(clip, pair, **FLIP | dict(distractors=DISTRACTORS[0]))
    assert relative(nk.mfaba(clip, pair, **FLIP | dict(distractors=both)).text, want.text) < 1e-5


def test_distractors_of_another_size_are_named():
    with pytest.raises(ValueError, match="pixel_values are 64 × 64"):
        nk.mfaba(tiny_clip(), tiny_inputs((5,)), **FLIP | dict(distractors=tiny_inputs((5,), image_size=64)))


def test_a_probability_that_rounds_to_1_still_has_a_direction():
    """With a large logit scale p is 1 to the last digit, and autograd through the softmax would give a gradient of 0."""
    clip = new_clip()
    clip.model.logit_scale.data.fill_(np.log(500.0))
    inputs = tiny_inputs((5, 6, 7, 8))
    certain = clip.similarity(inputs).argmax()
    att = nk.mfaba(clip, inputs[int(certain)], **FLIP)
    assert (att.pixels != 0).float().mean() > 0.5


# --- RISE -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cells, size", [(8, 224), (7, 224), (8, 50), (7, 48)])
def test_picture_masks_are_those_of_scikit_images_resize(cells, size):
    """Enlarged to cells + 1 whole cells, then cut out at a random place: as Petsiuk et al. make them."""
    masks = Masks(20, (cells, cells), 0.5, seed=3)
    cell = -(-size // cells)
    for i, mask in enumerate(masks(torch.arange(20), size, torch.ones(1))):
        large = resize(
            masks.open[i].numpy().astype("float32"), [(cells + 1) * cell] * 2, order=1, mode="reflect", anti_aliasing=False
        )
        y, x = (int(share * cell) for share in masks.shift[i])
        assert np.abs(mask.numpy() - large[y : y + size, x : x + size]).max() < 1e-5


@pytest.mark.parametrize("length", [2, 8, 9, 20, 77])
def test_token_masks_are_those_of_scikit_images_resize(length):
    masks = Masks(20, (8,), 0.3, seed=3)
    cell = -(-length // 8)
    for i, mask in enumerate(masks(np.arange(20), length, torch.ones(1))):
        large = resize(masks.open[i].numpy().astype("float32"), (9 * cell, 5), order=1, mode="reflect", anti_aliasing=False)
        begin = int(masks.shift[i, 0] * cell)
        assert np.abs(mask.numpy()[:, None] - large[begin : begin + length]).max() < 1e-5


def test_masks_are_open_with_the_given_probability_everywhere_and_the_first_n_stay():
    masks = Masks(4000, (8, 8), 0.1, seed=0)
    drawn = masks(torch.arange(4000), 48, torch.ones(1))
    assert drawn.min() >= 0 and drawn.max() <= 1 + 1e-6
    assert float((drawn.mean(0) - 0.1).abs().max()) < 0.03  # the border too
    fewer = Masks(100, (8, 8), 0.1, seed=0)
    assert torch.equal(fewer(torch.arange(100), 48, torch.ones(1)), drawn[:100])
    assert float(Masks(4000, (8,), 0.1, 0)(torch.arange(4000), 5, torch.ones(1)).amax(1).eq(0).float().mean()) > 0.43


@pytest.mark.parametrize("variant, cells, keep", [("paper", 8, 0.1), ("original", 7, 0.5)])
def test_rise_is_the_weighted_mean_of_its_masks(variant, cells, keep):
    clip, inputs = tiny_clip(), tiny_inputs((6, 6))
    att = nk.rise(clip, inputs, num_masks=40, num_text_masks=25, seed=5, variant=variant)
    score, total = picture_score(clip, inputs), 0.0
    for mask in Masks(40, (cells, cells), keep, 5)(torch.arange(40), 48, torch.ones(1)):
        total = total + score(inputs.pixel_values * mask)[:, None, None] * mask
    assert relative(att.pixels, total / (40 * keep)) < 1e-5
    (score, rows), total = text_score(clip, inputs), 0.0
    for mask in Masks(25, (8,), 0.1, 5)(torch.arange(25), 6, torch.ones(1)):
        total = total + score(rows * mask[:, None])[:, None] * mask
    assert relative(att.text, total / (25 * 0.1)) < 1e-5
    assert att.class_token is None


def test_rise_shows_its_progress_on_request(capsys):
    for progress in (False, True):
        assert capsys.readouterr() == ("", "")
        nk.rise(tiny_clip(), tiny_inputs(), num_masks=20, num_text_masks=15, progress=progress)
    assert "105/105" in capsys.readouterr().err


# --- what they cost, what they need -----------------------------------------------------------------------------------


def test_passes_are_counted():
    """A pair's rows through one encoder, as in Table 8: forward, backward."""
    clip, inputs = tiny_clip(), tiny_inputs((5, 8))
    want = {"rise": (31, 0), "gradcam": (2, 1), "chefer": (2, 1), "saliency": (2, 1), "fastig": (2, 1), "mfaba": (11, 10)}
    for name, (forward, backward) in want.items():
        with count_passes(clip) as passes:
            getattr(nk, name)(clip, inputs, **dict(num_masks=30, num_text_masks=30) if name == "rise" else {})
        assert (passes.forward_image, passes.backward_image) == (2 * forward, 2 * backward), name
        assert (passes.forward_text, passes.backward_text) == (2 * forward, 2 * backward), name


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
