"""MFABA, in the paper's variant and the original: against loops written out."""

import copy

import numpy as np
import pytest
import torch
from helpers import END, START, new_clip, relative, tiny_clip, tiny_inputs
from own_forward import DISTRACTORS, FLIP, LENGTHS, as_double, cosine, gradient, tiny_clip_64

import nibkit as nk


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
