"""The two towers as a training step needs them, and the losses: all of fixed shapes, so that a CUDA graph can hold a step."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch.nn import functional as nnf
from transformers import CLIPConfig, CLIPModel
from worlds import GRID, PATCH, World

BLOCKS = range(5, 10)  # where the throw-away heads read; a reset comes at the entry of a block of 5 … 10


def build_model(world: World, width: int = 96, text_width: int = 64) -> CLIPModel:
    """ViT-B/32's geometry (patch 32, 7 × 7, 12 + 12 blocks) at a small width.

    eos_token_id is 2, as in OpenAI's configurations: transformers then pools at the highest id, which is the end token.
    """

    def tower(width: int, expand: int) -> dict:
        return dict(
            hidden_size=width, intermediate_size=expand * width, num_attention_heads=width // 32, num_hidden_layers=12,
            hidden_act="gelu", projection_dim=64,
        )  # fmt: skip

    ids = world.ids
    special = dict(bos_token_id=len(ids) - 2, eos_token_id=2, pad_token_id=len(ids) - 1)
    return CLIPModel(
        CLIPConfig(
            text_config=tower(text_width, 4) | special | dict(vocab_size=len(ids), max_position_embeddings=77),
            vision_config=tower(width, 2) | dict(image_size=GRID * PATCH, patch_size=PATCH),
            projection_dim=64,
        )
    )


def normalise(images: torch.Tensor) -> torch.Tensor:
    """uint8 [n, 3, 224, 224] -> CLIP's normalised pixels, float [n, 3, 224, 224]."""
    mean, std = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
    channels = images.float().unbind(-3)  # no tensor is made of the numbers: a CUDA graph allows no copy from the CPU
    return torch.stack([(channel - 255 * m) / (255 * d) for channel, m, d in zip(channels, mean, std)], dim=-3)


def see(model: CLIPModel, pixels: torch.Tensor, reset: torch.Tensor, probe: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Projected image features [n, D], and the patches [n, 49, C] that enter block ``probe`` of ``BLOCKS``.

    reset: the block at whose entry the class token is set back to its start; −1: none. Both are numbers on the device.
    """
    tower = model.vision_model
    hidden = tower.pre_layrnorm(tower.embeddings(pixels))
    first, entered = hidden[:, :1], []
    for i, block in enumerate(tower.encoder.layers):
        if i in range(5, 11):
            hidden = torch.cat([torch.where(reset == i, first, hidden[:, :1]), hidden[:, 1:]], dim=1)
        if i in BLOCKS:
            entered.append(hidden[:, 1:])
        hidden = block(hidden, None)
    patches = sum((probe == i) * states for i, states in zip(BLOCKS, entered))
    return model.visual_projection(tower.post_layernorm(hidden[:, 0])), patches


def read(model: CLIPModel, ids: torch.Tensor, reset: torch.Tensor, probe: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Projected text features [n, D], pooled at the first end token, and the states [n, T, C] that enter block ``probe``."""
    tower, end = model.text_model, model.config.text_config.pad_token_id
    table, places = tower.embeddings.token_embedding.weight, tower.embeddings.position_embedding.weight
    chosen = ids[..., None] == torch.arange(len(table), device=ids.device)  # a product: its gradient needs no sorting
    hidden = chosen.float() @ table + places[: ids.shape[1]]
    first, is_end, entered = hidden, (ids == end)[..., None], []
    mask = torch.full((ids.shape[1],) * 2, -torch.inf, device=ids.device).triu(1)[None, None]
    for i, block in enumerate(tower.encoder.layers):
        if i in range(5, 11):
            hidden = torch.where(is_end & (reset == i), first, hidden)
        if i in BLOCKS:
            entered.append(hidden)
        hidden = block(hidden, mask)
    words = sum((probe == i) * states for i, states in zip(BLOCKS, entered))
    place = (ids == end).int().argmax(-1)[:, None, None].expand(-1, 1, hidden.shape[-1])
    return model.text_projection(tower.final_layer_norm(hidden.gather(1, place)[:, 0])), words


@torch.no_grad()
def start_with_cosines(embedding: torch.nn.Conv2d, pixels: torch.Tensor) -> None:
    """The patch embedding as the lowest two-dimensional cosines, half for brightness, half for two colour contrasts.

    Each is scaled to unit variance over ``pixels``. Noise then hardly enters, and a patch starts as a small thumbnail.
    """
    count, side = embedding.out_channels, embedding.kernel_size[0]
    phase = (torch.arange(side) + 0.5) / side * math.pi
    waves = nnf.normalize(torch.stack([torch.cos(k * phase) for k in range(10)]), dim=1)
    order = sorted(((i, j) for i in range(10) for j in range(10)), key=lambda at: (at[0] ** 2 + at[1] ** 2, at))
    contrasts = nnf.normalize(torch.tensor([[1.0, 1, 1], [1, -1, 0], [1, 1, -2]]), dim=1)
    shares = (count - 2 * (count // 4), count // 4, count // 4)
    filters = [c[:, None, None] * torch.outer(waves[i], waves[j]) for c, k in zip(contrasts, shares) for i, j in order[:k]]
    embedding.weight.copy_(torch.stack(filters))
    embedding.weight /= embedding(pixels).std(dim=(0, 2, 3))[:, None, None, None]


def patch_loss(logits: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
    """Cross entropy of patches [n, 49, things + 1] on what covers them [n, 49]: things weigh 1, background (−1) together .3."""
    logits, label = logits.flatten(0, 1), label.flatten()
    things, on = logits.shape[1] - 1, label >= 0
    each = nnf.cross_entropy(logits, torch.where(on, label, things), reduction="none")
    return (each * on).sum() / on.sum().clamp(min=1) + 0.3 * (each * ~on).sum() / (~on).sum().clamp(min=1)


def contrast(image: torch.Tensor, text: torch.Tensor, scale: torch.Tensor, also_true: torch.Tensor) -> torch.Tensor:
    """InfoNCE both ways. image [n, D]; text [n + m, D], the first n being the captions.

    also_true: bool [n + m, n], the pairs that are true though they are not partners: no negatives.
    """
    n = len(image)
    logits = scale.exp().clamp(max=100) * nnf.normalize(text, dim=-1) @ nnf.normalize(image, dim=-1).T  # [n + m, n]
    logits = logits.masked_fill(also_true, -torch.inf)
    target = torch.arange(n, device=image.device)
    return (nnf.cross_entropy(logits[:n], target) + nnf.cross_entropy(logits.T, target)) / 2


def truth(captions: list[list[int]], present: list[set[int]]) -> np.ndarray:
    """bool [captions, images]: every phrase of the caption is in the picture. Captions and scenes as 64-bit sets."""
    bits = lambda things: np.bitwise_or.reduce(np.left_shift(np.uint64(1), np.fromiter(things, np.uint64)))  # noqa: E731
    text, scene = np.array([bits(c) for c in captions]), np.array([bits(p) for p in present])
    return (text[:, None] & ~scene[None, :]) == 0


def write_ids(
    world: World, captions: list[list[int]], rng: np.random.Generator, length: int, unknown: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """Token ids [n, length] of captions given as lists of things, and at each phrase's last word its thing, elsewhere −1.

    unknown: the share of captions that get unknown words, which the model learns to skip. Padded with the end token; causal
    attention makes all that follows the first one inert.
    """
    known, end = world.ids, len(world.ids) - 1
    ids, things = np.full((len(captions), length), end), np.full((len(captions), length), -1)
    for i, caption in enumerate(captions):
        row: list[tuple[int, int]] = []
        for j, thing in enumerate(caption):
            article, *words = world.phrases[thing].split()
            row += [(known["and"], -1)] * (j > 0) + [(known["an" if article == "an" else "a</w>"], -1)]
            row += [(known[word], -1) for word in words[:-1]] + [(known[words[-1]], thing)]
        if rng.random() < unknown:
            for _ in range(int(rng.integers(1, 4))):
                at, more = int(rng.integers(len(row) + 1)), int(rng.integers(1, 7))
                row[at:at] = [(0, -1)] * min(more, length - 2 - len(row))
        row = [(end - 1, -1), *row]
        ids[i, : len(row)], things[i, : len(row)] = zip(*row)
    return ids, things
