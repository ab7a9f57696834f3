"""An encoder that can be cut at a layer: f = tail ∘ head, z = head(x) (§3.1 of the paper).

The cut at layer l is the *input* of block l, transformers' ``hidden_states[l]``: l = 0 is the embedded input, l = depth is what
leaves the last block.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import torch
from torch import nn

from ..checks import check_whole
from .blocks import Narrowed, at, first_block, is_plain, last_block, valve
from .inputs import Inputs
from .repeatable import exact


class Tower(nn.Module):
    """What the image and the text encoder share: blocks, a final norm, a projection."""

    embeddings: Any  # transformers' own module: its parts are reached by name
    blocks: nn.ModuleList
    norm: nn.Module
    projection: nn.Linear
    positions: int  # the longest sequence that it takes
    channels: int  # of a state
    dimension: int  # of the projected features
    is_image: bool = False
    serves: int = 0  # while one row is computed for all pairs of a call, how many these are: see ``metrics.costs.count_passes``

    def __init__(self, model: Any):
        super().__init__()
        self.attach(model)

    def attach(self, model: Any) -> None:
        """Take the model's modules as they are now; ``Clip.check`` does so again where one was replaced."""
        raise NotImplementedError

    def take(self, model: Any, transformer: Any, norm: nn.Module, projection: nn.Linear, config: Any) -> None:
        """The modules and sizes that both encoders have."""
        self.embeddings, self.blocks, self.norm = transformer.embeddings, transformer.encoder.layers, norm
        self.projection, self.channels = projection, config.hidden_size
        self.dimension = getattr(projection, "out_features", model.config.projection_dim)

    @property
    def like(self) -> torch.Tensor:
        """A weight, whose dtype and device the states have: the projection's, or the norm's where that has none."""
        weight = vars(self.projection)["_parameters"].get("weight")
        return next(itertools.chain(self.projection.parameters(), self.norm.parameters())) if weight is None else weight

    @property
    def depth(self) -> int:
        """The number of blocks L; the tower can be cut at 0 … L."""
        return len(self.blocks)

    def check_layer(self, layer: int | None, name: str = "layer", looks_at: str = "") -> int:
        """The layer to cut at, 0 … depth; None: three quarters of the depth, floored (9 of 12).

        looks_at: what for, where a *block* is meant, 0 … depth − 1. ValueError, which calls it ``name``, if it is out of range.
        """
        if layer is None:
            return 3 * self.depth // 4
        purpose = f" for {looks_at}" if looks_at else " (or a pair of them)" * (name == "layer")
        return check_whole(name, layer, 0, self.depth - bool(looks_at), purpose=purpose)

    # --- what the two encoders do each in its own way ---------------------------------------------------------------------------

    def raw(self, inputs: Inputs) -> torch.Tensor:
        """What can be changed before any weight: normalised pixels [B, 3, H, W], or each token's row of the table [B, T, C]."""
        raise NotImplementedError

    def crop_raw(self, raw: torch.Tensor, length: int) -> torch.Tensor:
        """Token rows without the positions from ``length`` on; pictures whole."""
        return raw if self.is_image else raw[:, :length]

    def enter(self, raw: torch.Tensor) -> torch.Tensor:
        """The input of block 0, [B, S, C], of (changed) pixels or token rows."""
        raise NotImplementedError

    def embed(self, inputs: Inputs) -> torch.Tensor:
        """The input of block 0, [B, S, C], of inputs that fit the model; ValueError if they don't."""
        raise NotImplementedError

    def pooled(self, inputs: Inputs) -> torch.Tensor:
        """The position whose final state is read, [B]."""
        raise NotImplementedError

    def mask(self, length: int, attention_mask: torch.Tensor | None = None) -> torch.Tensor | None:
        """What may see what, as the blocks take it: additive [1 or B, 1, S, S], or None where all may see all."""
        return None

    def span(self, inputs: Inputs) -> np.ndarray:
        """How many of each pair's positions can reach the one that is read, [B]."""
        raise NotImplementedError

    def crop(self, inputs: Inputs, length: int) -> Inputs:
        """The inputs without the positions from ``length`` on."""
        return inputs

    # --- head and tail ----------------------------------------------------------------------------------------------------------

    def head(self, inputs: Inputs, layer: int) -> torch.Tensor:
        """z = f1(x): [B, S, C], the input of block ``layer``."""
        z = self.embed(inputs)
        mask = self.mask(z.shape[1], inputs.attention_mask)
        for block in self.blocks[: self.check_layer(layer)]:
            z = block(z, mask)
        return z

    def tail(self, z: torch.Tensor, inputs: Inputs, layer: int) -> torch.Tensor:
        """f2(z): [B, D], the projected features (not normalised) of states z [B, S, C] that enter block ``layer``."""
        return self.finish(z, self.check_layer(layer), self.pooled(inputs), self.mask(z.shape[1], inputs.attention_mask))

    def finish(self, z: torch.Tensor, layer: int, pooled: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        """``tail``, positions and mask at hand; a last block that ``is_plain`` is computed where it is read (``last_block``)."""
        for block in self.blocks[layer:-1]:
            z = block(z, mask)
        last = self.blocks[-1]
        if layer == self.depth:
            z = at(z, pooled)
        elif is_plain(last):
            z = last_block(last, z, pooled, mask)
        else:
            z = at(last(z, mask), pooled)
        return self.projection(self.norm(z))

    def finish_narrowed(
        self, z: torch.Tensor, owner: torch.Tensor, lam: torch.Tensor, layer: int, pooled: torch.Tensor, mask: torch.Tensor | None
    ) -> torch.Tensor:
        """Features, [R, D], of the R states λ_r · z[owner_r]: z [P, S, C], owner [R], λ [R, S], a valve for each token.

        The first block behind the cut makes its products once for z, not once for each λ (``first_block``), if it ``is_plain``.
        """
        if layer == self.depth or not is_plain(first := self.blocks[layer]):
            return self.finish(valve(lam, z[owner]), layer, pooled, mask)
        if layer < self.depth - 1:
            return self.finish(first_block(first, z, owner, lam, mask), layer + 1, pooled, mask)
        norm: Any = first.layer_norm1
        normed = Narrowed(norm, z, owner, lam).normed()
        return self.projection(self.norm(last_block(first, valve(lam, z[owner]), pooled, mask, normed)))

    def rewrites(self, layer: int) -> bool:
        """Are the tail's first and last block plain, so that they are computed in fewer operations? Else they are called."""
        return all(is_plain(block) for block in {*self.blocks[layer : layer + 1], *self.blocks[layer:][-1:]})

    def closed(self, layer: int, pairs: int) -> torch.Tensor | None:
        """tail(0), [1, D], the same for all ``pairs`` of a call; None where blocks that are not plain may see more than states.

        At λ = 0 all tokens are equal, so attention averages equal values: the number of tokens and the position that is read do
        not matter, and one row of one token says it for all pairs.
        """
        if not all(is_plain(block) for block in list(self.blocks)[layer:]):
            return None
        nothing = self.like.new_zeros(1, 1, self.channels)
        self.serves = pairs
        try:
            return self.finish(nothing, layer, torch.zeros(1, dtype=torch.long, device=nothing.device), self.mask(1))
        finally:
            self.serves = 0


class ImageTower(Tower):
    """The vision transformer: class token first, then the patches row by row."""

    is_image = True
    pre_norm: nn.Module

    def attach(self, model: Any) -> None:
        transformer, config = model.vision_model, model.config.vision_config
        self.take(model, transformer, transformer.post_layernorm, model.visual_projection, config)
        self.pre_norm = transformer.pre_layrnorm  # transformers spells it so
        self.image_size = check_whole("vision_config.image_size", config.image_size)
        self.patch_size = check_whole("vision_config.patch_size", config.patch_size, most=self.image_size)
        self.grid = self.image_size // self.patch_size
        self.positions = 1 + self.grid**2

    def raw(self, inputs: Inputs) -> torch.Tensor:
        return inputs.pixel_values

    def enter(self, raw: torch.Tensor) -> torch.Tensor:
        with exact(raw.device):  # a convolution: on CUDA torch computes it in TF32 unless told otherwise
            return self.pre_norm(self.embeddings(raw))

    def embed(self, inputs: Inputs) -> torch.Tensor:
        height, width = inputs.pixel_values.shape[-2:]
        if (height, width) != (self.image_size, self.image_size):
            raise ValueError(
                f"pixel_values are {height} × {width}, this model takes {self.image_size} × {self.image_size}: "
                "use clip.prepare, or resize and crop first"
            )
        return self.enter(inputs.pixel_values)

    def pooled(self, inputs: Inputs) -> torch.Tensor:
        return torch.zeros(len(inputs), dtype=torch.long, device=inputs.input_ids.device)

    def span(self, inputs: Inputs) -> np.ndarray:
        return np.full(len(inputs), self.positions)


class TextTower(Tower):
    """The causal text transformer, read at one position: each token sees itself and what stands before it."""

    highest: bool  # is the token of the highest id read? Else the first end token

    def attach(self, model: Any) -> None:
        transformer, config = model.text_model, model.config.text_config
        self.take(model, transformer, transformer.final_layer_norm, model.text_projection, config)
        self.end = check_whole("text_config.eos_token_id, which says where a caption is read,", config.eos_token_id, 0)
        self.highest = self.end == 2 and model.config.model_type != "metaclip_2"
        self.vocabulary, self.positions = config.vocab_size, config.max_position_embeddings

    def raw(self, inputs: Inputs) -> torch.Tensor:
        return self.embeddings.token_embedding(inputs.input_ids)

    def enter(self, raw: torch.Tensor) -> torch.Tensor:
        return self.embeddings(inputs_embeds=raw)

    def embed(self, inputs: Inputs) -> torch.Tensor:
        ids = inputs.input_ids
        if ids.shape[1] > self.positions:
            raise ValueError(f"input_ids have {ids.shape[1]} tokens, the model reads at most {self.positions}")
        if int(ids.min()) < 0 or int(ids.max()) >= self.vocabulary:
            raise ValueError(f"input_ids must be within 0 … {self.vocabulary - 1}; got {int(ids.min())} … {int(ids.max())}")
        return self.embeddings(input_ids=ids)

    def mask(self, length: int, attention_mask: torch.Tensor | None = None) -> torch.Tensor:
        like = self.like
        closed = torch.ones(length, length, dtype=torch.bool, device=like.device).triu(1)[None, None]
        if attention_mask is not None:
            closed = closed | (attention_mask[:, None, None, :length] == 0)
        return like.new_zeros(closed.shape).masked_fill(closed, torch.finfo(like.dtype).min)

    def pooled(self, inputs: Inputs) -> torch.Tensor:
        """The position that is read, [B], by transformers' two conventions.

        CLIP with ``eos_token_id`` 2 (OpenAI's configurations): the highest id, which is the end token. Otherwise, and always in
        MetaCLIP 2, the first end token; where there is none, position 0.
        """
        ids = inputs.input_ids
        return ids.argmax(-1) if self.highest else (ids == self.end).int().argmax(-1)

    def span(self, inputs: Inputs) -> np.ndarray:
        return self.pooled(inputs).cpu().numpy() + 1  # causal: what stands behind the position that is read is inert

    def crop(self, inputs: Inputs, length: int) -> Inputs:
        return inputs.crop(length)
