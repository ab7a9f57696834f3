"""A CLIP whose two encoders can be cut at a layer: f = tail ∘ head, z = head(x) (§3.1 of the paper).

Works with any Hugging Face CLIP. The cut at layer l is the *input* of block l, transformers' ``hidden_states[l]``:
l = 0 is the embedded input, l = depth is what leaves the last block.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
import torch
from torch import nn
from torch.nn import functional as nnf
from transformers.models.clip.modeling_clip import CLIPEncoderLayer

from .blocks import at, last_block
from .inputs import PICTURE, Inputs, as_list, check_captions, read_tokens, to_rgb, tokenize
from .repeatable import exact, untouched


class Tower(nn.Module):
    """What the image and the text encoder share: blocks, a final norm, a projection."""

    def __init__(self, transformer: nn.Module, norm: nn.Module, projection: nn.Module):
        super().__init__()
        self.embeddings = transformer.embeddings
        self.blocks = transformer.encoder.layers
        self.norm = norm
        self.projection = projection

    @property
    def depth(self) -> int:
        """The number of blocks L; the tower can be cut at 0 … L."""
        return len(self.blocks)

    def check_layer(self, layer: int | None) -> int:
        """The layer to cut at; None: three quarters of the depth, floored (9 of 12). ValueError if out of range."""
        if layer is None:
            return 3 * self.depth // 4
        if isinstance(layer, bool) or not isinstance(layer, (int, np.integer)):
            raise TypeError(f"layer must be a whole number or a pair (image, text); got {layer!r}")
        if not 0 <= layer <= self.depth:
            raise ValueError(f"layer must be within 0 … {self.depth} for this model; got {layer}")
        return int(layer)

    def embed(self, inputs: Inputs) -> torch.Tensor:
        """The input of block 0, [B, S, C]."""
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
        """``tail`` with the positions and the mask at hand.

        The last block is computed for the position that is read alone (``last_block``), so its own ``forward`` and hooks on it
        are passed by. A block of another kind than transformers' CLIPEncoderLayer is called as it is.
        """
        for block in self.blocks[layer:-1]:
            z = block(z, mask)
        last = self.blocks[-1]
        if layer == self.depth:
            z = at(z, pooled)
        elif isinstance(last, CLIPEncoderLayer):
            z = last_block(last, z, pooled, mask)
        else:  # somebody's own block, whose inside is not known
            z = at(last(z, mask), pooled)
        return self.projection(self.norm(z))


class ImageTower(Tower):
    """The vision transformer: class token first, then the patches row by row."""

    def __init__(self, model: nn.Module):
        super().__init__(model.vision_model, model.vision_model.post_layernorm, model.visual_projection)
        self.pre_norm = model.vision_model.pre_layrnorm  # transformers spells it so
        config = model.config.vision_config
        self.image_size, self.grid = config.image_size, config.image_size // config.patch_size
        self.positions = 1 + self.grid**2

    def embed(self, inputs: Inputs) -> torch.Tensor:
        height, width = inputs.pixel_values.shape[-2:]
        if (height, width) != (self.image_size, self.image_size):
            raise ValueError(
                f"pixel_values are {height} × {width}, this model takes {self.image_size} × {self.image_size}: "
                "use clip.prepare, or resize and crop first"
            )
        with exact(inputs.pixel_values.device):  # a convolution: on CUDA torch computes it in TF32 unless told otherwise
            return self.pre_norm(self.embeddings(inputs.pixel_values))

    def pooled(self, inputs: Inputs) -> torch.Tensor:
        return torch.zeros(len(inputs), dtype=torch.long, device=inputs.input_ids.device)

    def span(self, inputs: Inputs) -> np.ndarray:
        return np.full(len(inputs), self.positions)


class TextTower(Tower):
    """The causal text transformer, read at one position: each token sees itself and what stands before it."""

    def __init__(self, model: nn.Module):
        super().__init__(model.text_model, model.text_model.final_layer_norm, model.text_projection)
        config = model.config.text_config
        self.end, self.vocabulary, self.positions = config.eos_token_id, config.vocab_size, config.max_position_embeddings

    def embed(self, inputs: Inputs) -> torch.Tensor:
        ids = inputs.input_ids
        if ids.shape[1] > self.positions:
            raise ValueError(f"input_ids have {ids.shape[1]} tokens, the model reads at most {self.positions}")
        if int(ids.min()) < 0 or int(ids.max()) >= self.vocabulary:
            raise ValueError(f"input_ids must be within 0 … {self.vocabulary - 1}; got {int(ids.min())} … {int(ids.max())}")
        return self.embeddings(input_ids=ids)

    def mask(self, length: int, attention_mask: torch.Tensor | None = None) -> torch.Tensor:
        weight = self.embeddings.token_embedding.weight
        closed = torch.ones(length, length, dtype=torch.bool, device=weight.device).triu(1)[None, None]
        if attention_mask is not None:
            closed = closed | (attention_mask[:, None, None, :length] == 0)
        return torch.zeros(closed.shape, dtype=weight.dtype, device=weight.device).masked_fill(
            closed, torch.finfo(weight.dtype).min
        )

    def pooled(self, inputs: Inputs) -> torch.Tensor:
        """The position that is read, [B], by transformers' two conventions.

        ``eos_token_id`` 2 (OpenAI's configurations): the highest id, which is the end token. Otherwise the first end token;
        where there is none, position 0.
        """
        ids = inputs.input_ids
        return ids.argmax(-1) if self.end == 2 else (ids == self.end).int().argmax(-1)

    def span(self, inputs: Inputs) -> np.ndarray:
        return self.pooled(inputs).cpu().numpy() + 1  # causal: what stands behind the position that is read is inert

    def crop(self, inputs: Inputs, length: int) -> Inputs:
        return inputs.crop(length)


class Clip:
    """A dual encoder, its two towers and, where there are any, its tokenizer and image processor.

    Args:
        model: a transformers ``CLIPModel``, used as it is (never changed).
        tokenizer, image_processor: needed by ``prepare`` alone.
        name: what the model is called.
    """

    def __init__(self, model: nn.Module, tokenizer=None, image_processor=None, name: str = "clip"):
        self.model, self.tokenizer, self.image_processor, self.name = model, tokenizer, image_processor, name
        self.image, self.text = ImageTower(model), TextTower(model)

    def __repr__(self) -> str:
        grid, device = self.image.grid, self.device.type
        return (
            f"Clip({self.name!r}, {self.image.depth} + {self.text.depth} blocks, {grid} × {grid} patches, {self.dtype}, {device})"
        )

    @property
    def device(self) -> torch.device:
        return self.model.logit_scale.device

    @property
    def dtype(self) -> torch.dtype:
        return self.image.embeddings.class_embedding.dtype

    def prepare(self, images, captions: str | Sequence[str]) -> Inputs:
        """Pictures and captions made into a batch on the model's device.

        Args:
            images: one picture or several: PIL images, paths, or arrays (see ``inputs.to_rgb`` for all that is taken).
            captions: one caption for each picture.

        Raises:
            ValueError, TypeError, FileNotFoundError: no tokenizer or processor, numbers that do not match, a picture that
            can't be read, an empty caption or one of more tokens than the model reads; the message names which.
        """
        if self.tokenizer is None or self.image_processor is None:
            raise ValueError(f"{self.name} came without tokenizer and image processor: make nk.Inputs from tensors yourself")
        if images is None or captions is None:
            raise TypeError("images and captions must both be given; got None")
        images, captions = as_list(images, PICTURE), as_list(captions, str)
        if len(images) != len(captions):
            raise ValueError(f"{len(images)} images but {len(captions)} captions: give one caption for each image")
        if not images:
            raise ValueError("nothing to explain: give one picture and one caption at least")
        check_captions(captions, self.tokenizer, self.text.positions)
        pictures = [to_rgb(image, f"image {i}") for i, image in enumerate(images)]
        pixels = self.image_processor(images=pictures, return_tensors="pt")["pixel_values"]
        return Inputs(pixels, *tokenize(captions, self.tokenizer)).to(self.device, self.dtype)

    def encode_image(self, inputs: Inputs) -> torch.Tensor:
        """Projected image features [B, D], not normalised: the model's ``get_image_features``."""
        return self._encode(self.image, inputs)

    def encode_text(self, inputs: Inputs) -> torch.Tensor:
        """Projected text features [B, D], not normalised: the model's ``get_text_features``."""
        return self._encode(self.text, inputs)

    def similarity(self, inputs: Inputs) -> torch.Tensor:
        """Cosine of each picture with its own caption, [B]: F at the open bottleneck, F(z)."""
        return nnf.cosine_similarity(self.encode_image(inputs), self.encode_text(inputs), dim=-1)

    def tokens(self, inputs: Inputs) -> tuple[tuple[str, ...], ...]:
        """Token strings of each caption, padding left out."""
        return inputs.tokens or read_tokens(self.tokenizer, inputs.input_ids, inputs.attention_mask)

    def check(self, inputs: Inputs) -> Inputs:
        """The inputs on the model's device; warns where a caption has no end token, so that the wrong position is read."""
        if not isinstance(inputs, Inputs):
            raise TypeError(f"inputs must be nk.Inputs (see clip.prepare); got {type(inputs).__name__}")
        inputs = inputs.to(self.device, self.dtype)
        end = self.text.end if self.text.end != 2 else getattr(self.tokenizer, "eos_token_id", None)
        if end is not None and not (has_end := (inputs.input_ids == end).any(-1)).all():
            missing = int(has_end.int().argmin())
            read = "highest" if self.text.end == 2 else "first"
            warnings.warn(f"caption {missing} has no end token ({end}): the model reads its {read} token", stacklevel=3)
        return inputs

    def _encode(self, tower: Tower, inputs: Inputs) -> torch.Tensor:
        inputs = self.check(inputs)
        with untouched(self.model), torch.no_grad():
            return tower.tail(tower.head(inputs, 0), inputs, 0)
