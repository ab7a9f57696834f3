"""Shared by the unit tests: tiny CLIPs whose weights come from numpy alone, and inputs for them."""

from __future__ import annotations

import copy
import functools
import random

import numpy as np
import torch
from transformers import CLIPConfig, CLIPModel

import nibkit as nk

VOCABULARY = 100
START, END = VOCABULARY - 2, VOCABULARY - 1  # the end token is the highest id, as in OpenAI's vocabulary


@functools.cache
def made_model(
    seed: int = 0,
    depth: int | tuple[int, int] = 5,
    *,
    width: int = 32,
    image_size: int = 48,
    patch: int = 16,
    end: int = 2,
    attention: str = "sdpa",
) -> CLIPModel:
    """A random CLIP. Weights are drawn from numpy's legacy generator, whose stream is frozen, so the frozen figures stay valid.

    Biases are random too: transformers starts them at 0, and much (a closed bottleneck, F(0)) would then be trivial.
    Five blocks, so that two stand behind the default cut: with one alone a patch enters through a layer norm only, which does not
    see its length, and z · ∇F is 0 but for rounding.
    end: the configuration's ``eos_token_id``; 2 stands for "the highest id".
    """
    image_depth, text_depth = (depth, depth) if isinstance(depth, int) else depth
    shared = dict(hidden_size=width, intermediate_size=2 * width, num_attention_heads=2, projection_dim=width // 2)
    config = CLIPConfig(
        text_config=shared
        | dict(vocab_size=VOCABULARY, num_hidden_layers=text_depth, bos_token_id=START, eos_token_id=end, pad_token_id=END),
        vision_config=shared | dict(image_size=image_size, patch_size=patch, num_hidden_layers=image_depth),
        projection_dim=width // 2,
    )
    config._attn_implementation = attention
    with torch.random.fork_rng():  # its own first weights are thrown away
        model = CLIPModel(config).eval().requires_grad_(False)
    draw = np.random.RandomState(seed)
    for name, weight in sorted(model.named_parameters()):
        noise = draw.standard_normal(tuple(weight.shape))
        if weight.ndim > 1:
            noise *= 0.5 if "embedding.weight" in name and weight.ndim == 2 else 1.5 / np.sqrt(weight[0].numel())
        elif name != "logit_scale":
            noise = 0.2 * noise + ("norm" in name and name.endswith("weight"))
        weight.data = torch.from_numpy(noise.astype(np.float32)).reshape(weight.shape)
    return model


def tiny_model(*args, **options) -> CLIPModel:
    """``made_model``'s, as a copy, which takes a fraction of the time."""
    return copy.deepcopy(made_model(*args, **options))


def new_clip(*args, dtype: torch.dtype = torch.float32, **options) -> nk.Clip:
    """A Clip of its own, for tests that change it."""
    return nk.Clip(tiny_model(*args, **options).to(dtype), name="tiny")


tiny_clip = functools.cache(new_clip)  # for tests that leave it as it is


def tiny_inputs(
    lengths=(5, 8, 3), seed: int = 0, *, columns: int | None = None, image_size: int = 48, pad: int = END
) -> nk.Inputs:
    """Random pairs; a caption of length n has n tokens, start and end included, and is padded on the right to ``columns``."""
    draw = np.random.RandomState(1000 + seed)
    columns = columns or max(lengths)
    pixels = draw.standard_normal((len(lengths), 3, image_size, image_size)).astype(np.float32)
    ids, mask = np.full((len(lengths), columns), pad), np.zeros((len(lengths), columns), dtype=np.int64)
    for row, length in enumerate(lengths):
        ids[row, :length] = [START, *draw.randint(3, START, length - 2), END]
        mask[row, :length] = 1
    return nk.Inputs(torch.from_numpy(pixels), torch.from_numpy(ids), torch.from_numpy(mask))


FIELDS = (
    "image", "text", "class_token", "pixels", "similarity", "image_delta", "text_delta", "image_null", "text_null",
)  # fmt: skip


def relative(ours: torch.Tensor, other: torch.Tensor) -> float:
    """The largest difference, as a share of the largest value."""
    return float((ours - other).abs().max() / other.abs().max())


def assert_close(ours: nk.Attribution, other: nk.Attribution, tolerance: float = 1e-5) -> None:
    """Every field: importances relative to the largest of their encoder, cosines and their differences relative to 1."""
    largest = {name: float(value.abs().max()) for name, value in vars(other).items() if isinstance(value, torch.Tensor)}
    image = max(largest["image"], largest.get("class_token", 0.0))
    scales = largest | dict.fromkeys(FIELDS[4:], 1.0) | {"image": image, "class_token": image}
    for field in FIELDS:
        a, b = getattr(ours, field), getattr(other, field)
        assert (a is None) == (b is None), field
        assert a is None or (a.shape == b.shape and float((a - b).abs().max()) <= tolerance * scales[field]), field


def state(clip: nk.Clip) -> dict:
    """All that a call must leave as it was: weights, gradients, modes, hooks, the random generators and torch's settings."""
    modules = dict(clip.model.named_modules())
    hooks = {
        (name, kind): list(getattr(module, kind))
        for name, module in modules.items()
        for kind in vars(module)
        if kind.endswith("hooks") and getattr(module, kind)
    }
    numbers = np.random.get_state()
    return {
        "weights": {
            name: (w.detach().clone(), w._version, w.requires_grad) for name, w in clip.model.state_dict(keep_vars=True).items()
        },
        "grads": {name: w.grad for name, w in clip.model.named_parameters()},
        "modes": {name: module.training for name, module in modules.items()},
        "modules": {name: (id(module), sorted(vars(module))) for name, module in modules.items()},
        "hooks": hooks,
        "random": (torch.random.get_rng_state(), numbers[1].copy(), numbers[2:], random.getstate()),
        "settings": (
            torch.is_grad_enabled(),
            torch.is_inference_mode_enabled(),
            torch.get_default_dtype(),
            torch.are_deterministic_algorithms_enabled(),
        ),
    }


def same(a, b) -> bool:
    """Equality for ``state``'s nested values."""
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, tuple | list):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b))
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, np.ndarray):
        return np.array_equal(a, b)
    return a == b


def no_network(monkeypatch) -> None:
    """From here on every attempt to reach the network fails at once."""

    def refuse(*_, **__):
        raise OSError("the network is closed in this test")

    monkeypatch.setattr("socket.socket.connect", refuse)
    monkeypatch.setattr("socket.create_connection", refuse)
    monkeypatch.setattr("socket.getaddrinfo", refuse)


class ShortMemory:
    """A device whose memory is out above ``room`` rows, as a GPU's may be; ``tried``: how many rows each pass had."""

    def __init__(self, monkeypatch, clip: nk.Clip, room: int):
        self.room, self.tried = room, []
        for tower in (clip.image, clip.text):
            monkeypatch.setattr(tower, "finish", functools.partial(self.finish, tower.finish))

    def finish(self, finish, z: torch.Tensor, *rest) -> torch.Tensor:
        self.tried.append(len(z))
        if len(z) > self.room:
            raise torch.OutOfMemoryError("out of memory")
        return finish(z, *rest)


def own_similarity(clip, inputs):
    """Cosines [B] by the model's own forward pass."""
    with torch.no_grad():
        output = clip.model(input_ids=inputs.input_ids, pixel_values=inputs.pixel_values, attention_mask=inputs.attention_mask)
    return torch.nn.functional.cosine_similarity(output.image_embeds, output.text_embeds)
