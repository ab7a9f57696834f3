"""A CLIP: two towers that can be cut, and what makes pictures and captions ready for them. Any Hugging Face CLIP will do."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch.nn import functional as nnf

from ..checks import outside
from .captions import check_captions, first, read_tokens, tokenize
from .fidelity import Signature, check_same, check_supported, check_weights, signature, unchanged
from .inputs import Inputs
from .pictures import PICTURE, as_list, to_rgb
from .repeatable import untouched
from .towers import ImageTower, TextTower, Tower
from .views import View, note_views, pixels_of, views_of


class Clip:
    """A dual encoder, its two towers and, where there are any, its tokenizer and image processor.

    Args:
        model: a transformers ``CLIPModel`` or ``MetaClip2Model``, used as it is (never changed): with its hooks, subclasses,
            adapters. At first use, and again when one of these was changed, ``check`` compares it with its own forward pass.
        tokenizer, image_processor: needed by ``prepare`` alone.
        name: what the model is called.

    Raises:
        ValueError, TypeError: a model that is not built as CLIP (SigLIP, one tower alone, …); the message says what can be done.
    """

    def __init__(self, model: Any, tokenizer: Any = None, image_processor: Any = None, name: str = "clip"):
        check_supported(model)
        self.model, self.tokenizer, self.image_processor, self.name = model, tokenizer, image_processor, name
        self.image, self.text = ImageTower(model), TextTower(model)
        self.checked: Signature | None = None  # the model's, when it was last compared with its own forward pass
        self.being_checked = False

    def __getstate__(self) -> dict[str, Any]:
        """What is copied or pickled: a copy is checked anew."""
        return vars(self) | {"checked": None}

    def __repr__(self) -> str:
        grid, device = self.image.grid, self.device.type
        return (
            f"Clip({self.name!r}, {self.image.depth} + {self.text.depth} blocks, {grid} × {grid} patches, {self.dtype}, {device})"
        )

    @property
    def device(self) -> torch.device:
        """Where the model lies."""
        return self.model.logit_scale.device

    @property
    def dtype(self) -> torch.dtype:
        """What its weights are."""
        return next(self.model.vision_model.parameters()).dtype

    def prepare(self, images: Any, captions: str | Sequence[str]) -> Inputs:
        """Pictures and captions made into a batch on the model's device.

        Args:
            images: one picture or several: PIL images, paths, arrays, bytes (see ``pictures.to_rgb`` for all that is taken).
            captions: one caption for each picture.

        Raises:
            ValueError, TypeError, FileNotFoundError: no tokenizer or processor, numbers that do not match, a picture that
            can't be read, an empty caption or one of more tokens than the model reads, a processor that makes pictures of
            another size than the model takes; the message names which.
        """
        parts = {"tokenizer": self.tokenizer, "image processor": self.image_processor}
        if missing := [name for name, part in parts.items() if part is None]:
            raise ValueError(f"{self.name} came without {' and '.join(missing)}: make nk.Inputs from tensors yourself")
        if images is None or captions is None:
            raise TypeError("images and captions must both be given; got None")
        images, captions = as_list(images, PICTURE, "images"), as_list(captions, str, "captions")
        if len(images) != len(captions):
            raise ValueError(f"{len(images)} images but {len(captions)} captions: give one caption for each image")
        if not images:
            raise ValueError("nothing to explain: give one picture and one caption at least")
        pictures = [to_rgb(image, f"image {i}") for i, image in enumerate(images)]
        check_captions(captions, self.tokenizer, self.text.positions)
        views = views_of(self.image_processor, pictures, self.image.image_size)
        pixels = pixels_of(views[0].processor, pictures, self.image.image_size)
        note_views(images, views)
        ids, mask, tokens, words = tokenize(captions, self.tokenizer)
        return Inputs(pixels, ids, mask, tokens, words, views).to(self.device, self.dtype)

    def view(self, image: Any) -> View:
        """What the model sees of a picture (anything that ``prepare`` takes as one), and where in the picture that lies.

        Raises ValueError if there is no image processor, and what ``pictures.to_rgb`` raises.
        """
        if self.image_processor is None:
            raise ValueError(f"{self.name} came without image processor: what it sees of a picture is not known")
        return views_of(self.image_processor, [to_rgb(image)], self.image.image_size)[0]

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
        """The inputs on the model's device; warns where a caption has no end token, so that the wrong position is read.

        Raises TypeError if they are no ``Inputs``. At the model's first use, and when a hook, a class or a module in it has
        changed since: ValueError if a weight holds NaN or infinity, or if what nibkit computes is not what the model's own
        forward pass does (see ``fidelity.check_same``). It costs one pass of a pair or two.
        """
        if not isinstance(inputs, Inputs):
            raise TypeError(f"inputs must be nk.Inputs (see clip.prepare); got {type(inputs).__name__}")
        if self.device.type == "meta":
            raise ValueError("the model has no values (it lies on the device 'meta'): load the weights first")
        inputs = inputs.to(self.device, self.dtype)
        if not unchanged(self.checked, now := signature(self.model)):
            self._check_model(inputs)
            self.checked = now
        end = getattr(self.tokenizer, "eos_token_id", None) if self.text.highest else self.text.end
        if end is not None and not (has_end := (inputs.input_ids == end).any(-1)).all():
            missing = int(has_end.int().argmin())
            read = "highest" if self.text.highest else "first"
            warnings.warn(f"caption {missing} has no end token ({end}): the model reads its {read} token", stacklevel=outside())
        return inputs

    def _check_model(self, inputs: Inputs) -> None:
        """Take the model's modules as they are now, and compare with its own forward pass; costs of methods do not count it."""
        check_supported(self.model)
        self.image.attach(self.model)
        self.text.attach(self.model)
        check_weights(itertools.chain(self.model.named_parameters(), self.model.named_buffers()))
        self.being_checked = True
        try:
            check_same(self.model, (self.image, self.text), inputs)
        finally:
            self.being_checked = False

    def _encode(self, tower: Tower, inputs: Inputs) -> torch.Tensor:
        inputs = self.check(inputs)
        with untouched(self.model), torch.no_grad():
            return tower.tail(tower.head(inputs, 0), inputs, 0)


def check_clip(clip: object) -> None:
    """TypeError if it is no ``Clip``: a name or transformers' own model, for example."""
    if not isinstance(clip, Clip):
        raise TypeError(f"clip must be an nk.Clip, as nk.load_clip returns it; got {type(clip).__name__}")


def find_words(clip: Clip, inputs: Inputs) -> tuple[torch.Tensor, torch.Tensor]:
    """(real, words), bool [B, T]: the tokens up to the one that is read (the end token), and those between start and end.

    Holes in the attention mask are neither. ValueError if a caption has nothing between.
    """
    positions, read = torch.arange(inputs.input_ids.shape[1], device=clip.device), clip.text.pooled(inputs)[:, None]
    real = inputs.attention_mask.to(clip.device).bool() & (positions <= read)
    words = real & (positions > first(real)) & (positions < read)
    if not (some := words.any(1)).all():
        empty = int(some.int().argmin())
        raise ValueError(f"caption {empty} has nothing between its start and end token, so no word can be scored: leave it out")
    return real, words
