"""What goes into a dual encoder: a batch of pairs as tensors, checked before any work is done."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch

from .views import Views


@dataclass(frozen=True, eq=False, repr=False)
class Inputs:
    """A batch of B image–caption pairs.

    Args:
        pixel_values: float [B, 3, H, W], normalised as the model expects.
        input_ids: int [B, T], start and end token included, padded on the right.
        attention_mask: int or bool [B, T], 1 at tokens, 0 at padding, which stands on the right; None: no padding.
        tokens: for each pair its T' ≤ T token strings, without the padding, as the caption spells them (``Clip.prepare``
            fills them in).
        words: for each of those tokens the number of its word in the caption, None for start and end tokens.
        views: for each pair what the model sees of its picture (``views.View``), whatever the picture's size; ``Clip.prepare``
            fills them in.

    Raises ValueError or TypeError, naming the tensor, on wrong shapes, wrong types, NaN or infinite pixels.
    """

    pixel_values: torch.Tensor
    input_ids: torch.Tensor
    attention_mask: torch.Tensor = None  # type: ignore[assignment]  # once made, it is always there
    tokens: tuple[tuple[str, ...], ...] | None = None
    words: tuple[tuple[int | None, ...], ...] | None = None
    views: Views | None = None

    def __post_init__(self) -> None:
        pixels, ids, mask = self.pixel_values, self.input_ids, self.attention_mask
        for name, value in (("pixel_values", pixels), ("input_ids", ids)):
            if not isinstance(value, torch.Tensor):
                raise TypeError(f"{name} must be a torch.Tensor; got {type(value).__name__} (use clip.prepare for pictures)")
        for name, value in (("pixel_values", pixels), ("input_ids", ids), ("attention_mask", mask)):
            if isinstance(value, torch.Tensor) and value.is_meta:
                raise ValueError(f"{name} has no values (it lies on the device 'meta'): give it where it was computed")
        if not pixels.is_floating_point():
            raise TypeError(f"pixel_values must be normalised floats; got {pixels.dtype} (clip.prepare normalises pictures)")
        if pixels.ndim != 4 or pixels.shape[1] != 3:
            raise ValueError(f"pixel_values must be [B, 3, H, W]; got {list(pixels.shape)}")
        if ids.ndim != 2 or ids.is_floating_point() or ids.dtype == torch.bool:
            raise ValueError(f"input_ids must be whole numbers [B, T]; got {ids.dtype} {list(ids.shape)}")
        if len(pixels) != len(ids):
            raise ValueError(f"{len(pixels)} images but {len(ids)} captions: give one caption for each image")
        if len(ids) == 0 or ids.shape[1] == 0:
            raise ValueError("nothing to explain: give one image and one caption at least")
        if mask is None:
            object.__setattr__(self, "attention_mask", torch.ones_like(ids))
        elif not isinstance(mask, torch.Tensor):
            raise TypeError(f"attention_mask must be a torch.Tensor; got {type(mask).__name__}")
        elif mask.is_floating_point():
            raise TypeError(f"attention_mask must be whole numbers or bool; got {mask.dtype}")
        elif mask.shape != ids.shape:
            raise ValueError(f"attention_mask must have input_ids' shape {list(ids.shape)}; got {list(mask.shape)}")
        elif (mask[:, 0] == 0).any():
            pair = int((mask[:, 0] == 0).int().argmax())
            raise ValueError(f"attention_mask of pair {pair} is 0 at its first position: pad captions on the right")
        if self.tokens is not None and len(self.tokens) != len(ids):
            raise ValueError(f"{len(self.tokens)} lists of token strings but {len(ids)} captions")
        if self.views is not None and len(self.views) != len(pixels):
            raise ValueError(f"{len(self.views)} views but {len(pixels)} images")
        if not torch.isfinite(pixels).all():
            bad = [i for i, image in enumerate(pixels) if not torch.isfinite(image).all()]
            raise ValueError(f"pixel_values of pair {bad[0]} hold NaN or infinity: check that picture")

    def __len__(self) -> int:
        return len(self.input_ids)

    def __repr__(self) -> str:
        (count, _, height, width), pixels = self.pixel_values.shape, self.pixel_values
        sizes = f"{count} pair{'s' * (count > 1)}, {height} × {width} pixels, {self.input_ids.shape[1]} tokens"
        return f"Inputs({sizes}, {pixels.dtype}, {pixels.device})"

    def __getitem__(self, rows: int | slice | Sequence[int] | np.ndarray | torch.Tensor) -> Inputs:
        """The chosen pairs, as a batch (also for a single number)."""
        chosen = rows.cpu().numpy() if isinstance(rows, torch.Tensor) else rows
        index = torch.from_numpy(np.arange(len(self))[chosen].reshape(-1).copy())
        tensors = (part[index.to(part.device)] for part in (self.pixel_values, self.input_ids, self.attention_mask))
        listed = (part and tuple(part[int(i)] for i in index) for part in (self.tokens, self.words, self.views))
        return self._with(*tensors, *listed)

    def _with(self, *parts: object) -> Inputs:
        """Other parts, cut from these: checked already, so not again (that would read every pixel, and wait for a GPU)."""
        new = object.__new__(Inputs)
        for field, part in zip(fields(Inputs), parts):
            object.__setattr__(new, field.name, part)
        return new

    def crop(self, length: int) -> Inputs:
        """The same pictures, captions without the positions from ``length`` on, and without their strings."""
        return self._with(self.pixel_values, self.input_ids[:, :length], self.attention_mask[:, :length], None, None, self.views)

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> Inputs:
        """On ``device``, pixels as ``dtype``; None: as they are. ValueError if a pixel is beyond that dtype."""
        ids, mask, pixels = self.input_ids.to(device), self.attention_mask.to(device), self.pixel_values
        if dtype is not None and dtype.is_floating_point and torch.finfo(dtype).max < torch.finfo(pixels.dtype).max:
            if (largest := float(pixels.abs().max())) > torch.finfo(dtype).max:
                raise ValueError(f"pixel_values reach {largest:.3g}, beyond {dtype}: scale them, or load the model in float32")
        return Inputs(pixels.to(device=device, dtype=dtype), ids, mask, self.tokens, self.words, self.views)

    def cpu(self) -> Inputs:
        """The same, on the CPU."""
        return self.to("cpu")
