"""F by transformers' own forward pass, as a function of pixels and of token embeddings, and pairs to try it on."""

import functools
from dataclasses import replace

import torch
from helpers import relative, tiny_clip, tiny_inputs

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


def assert_rows(att, image: torch.Tensor, text: torch.Tensor, inputs) -> None:
    """``att`` holds these rows of token values: class token first; text up to the end token."""
    ours = torch.cat([att.class_token[:, None], att.image.flatten(1)], 1)
    assert relative(ours, image) < 1e-5
    assert relative(att.text, torch.where(inputs.attention_mask != 0, text, 0.0)) < 1e-5
