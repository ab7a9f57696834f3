"""What every method returns: how much each patch and each word counted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import torch
from torch.nn import functional as nnf

from ..checks import check_choice, check_whole
from ..model.views import Views


class Result:
    """What every result of B pairs can do: it is taken apart, moved, and made into arrays. Its tensors are [B, …]."""

    tokens: tuple[tuple[str, ...], ...]
    words: tuple[tuple[int | None, ...], ...] | None
    views: Views | None

    def __len__(self) -> int:
        return len(self.tokens)

    def word_positions(self, pair: int) -> list[tuple[str, list[int]]]:
        """(word, positions of its tokens) in the caption's order, start and end tokens left out."""
        tokens = self.tokens[pair]
        numbers = self.words[pair] if self.words is not None else range(len(tokens))
        joined: dict[int, tuple[str, list[int]]] = {}
        for position, (token, number) in enumerate(zip(tokens, numbers)):
            if number is not None:
                text, places = joined.get(number, ("", []))
                joined[number] = (text + token, [*places, position])
        return list(joined.values())

    def __getitem__(self, rows: int | slice | Sequence[int] | np.ndarray) -> Self:
        """The chosen pairs, as a batch (also for a single number)."""
        index = np.arange(len(self))[rows].reshape(-1).copy()  # torch takes no reversed views
        pick = torch.from_numpy(index)
        lists = {name: getattr(self, name) for name in ("tokens", "words", "views")}
        chosen = {name: part and tuple(part[i] for i in index) for name, part in lists.items()}
        return self._changed(lambda tensor: tensor[pick.to(tensor.device)], **chosen)

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> Self:
        """On ``device``, numbers as ``dtype``; None: as they are."""
        return self._changed(lambda tensor: tensor.to(device=device, dtype=dtype))

    def cpu(self) -> Self:
        """The same, on the CPU."""
        return self.to("cpu")

    def numpy(self) -> dict[str, np.ndarray]:
        """The tensors that are there by name, as arrays: ``image`` [B, gh, gw], ``text`` [B, T], ``similarity`` [B], …

        What has fewer bits than float32, which numpy lacks in part, becomes float32.
        """
        tensors = {name: value for name, value in vars(self.cpu()).items() if isinstance(value, torch.Tensor)}
        return {name: value.to(torch.promote_types(value.dtype, torch.float32)).numpy() for name, value in tensors.items()}

    def _changed(self, change: Callable[[torch.Tensor], torch.Tensor], **more: Any) -> Self:
        tensors: dict[str, Any] = {name: change(v) for name, v in vars(self).items() if isinstance(v, torch.Tensor)}
        return replace(self, **tensors, **more)  # type: ignore[type-var]  # whoever inherits is a dataclass


@dataclass(frozen=True, eq=False, repr=False)
class Attribution(Result):
    """Signed importances of patches and tokens, for B pairs.

    NIB's are in units of cosine similarity: with the class token and the part below ``start`` they add up to what the
    similarity loses when the bottleneck closes (Eqs. 10 and 11),

        image.sum((1, 2)) + class_token + image_null − image_delta = F(z) − F(0), and likewise for the text.

    Args:
        image: [B, gh, gw], patches.
        text: [B, T], tokens, 0 at padding.
        tokens: each caption's token strings, without padding.
        words: for each of these the number of its word, None at start and end tokens (None as a whole: not known).
        views: what the model saw of each picture, ``Inputs.views`` (None: not known).
        pixels: [B, H, W], for methods that explain pixels: ``image`` is then the mean over each patch, ``heatmap`` shows them.
        class_token: [B], the class token's own share.
        similarity: [B], F(z), the cosine of picture and caption.
        image_delta, text_delta: [B], Σ A − (F(z) − F(start · z)), class token included: how far the sum is from complete.
        image_null, text_null: [B], F(start · z) − F(0), what lies below the integral's start.
        method: its name.
        options: what it was called with.
    """

    image: torch.Tensor
    text: torch.Tensor
    tokens: tuple[tuple[str, ...], ...]
    similarity: torch.Tensor
    class_token: torch.Tensor | None = None
    image_delta: torch.Tensor | None = None
    text_delta: torch.Tensor | None = None
    image_null: torch.Tensor | None = None
    text_null: torch.Tensor | None = None
    words: tuple[tuple[int | None, ...], ...] | None = None
    pixels: torch.Tensor | None = None
    method: str = "nib"
    options: dict | None = None
    views: Views | None = None

    def __repr__(self) -> str:
        (count, height, width), tokens = self.image.shape, self.text.shape[1]
        sizes = f"{count} pair{'s' * (count > 1)}, {height} × {width} patches, {tokens} tokens"
        return f"{type(self).__name__}({self.method!r}, {sizes}, {self.image.dtype}, {self.image.device})"

    def heatmap(self, size: int | tuple[int, int] = 224, normalize: str | None = "minmax") -> torch.Tensor:
        """The patch values (the pixels, where the method explains pixels) brought to the picture's size: float [B, size, size],
        bilinear (align_corners=False).

        normalize: "minmax": (m − min) / (max − min) per map, in 0 … 1 (the paper's maps: the sign is lost);
            "signed": m / max|m|, in −1 … 1, 0 stays 0; None: as it is. A constant map gives zeros under both.

        Raises ValueError on an unknown normalize, a size below 1, or a map that holds NaN or infinity.
        """
        check_choice("normalize", normalize, ("minmax", "signed"), optional=True)
        height, width = size if isinstance(size, (tuple, list)) else (size, size)
        height, width = check_whole("size", height), check_whole("size", width)
        values = self.image if self.pixels is None else self.pixels
        if not torch.isfinite(values).all():
            raise ValueError("the map holds NaN or infinity: it can't be scaled")
        values = values[:, None].to(torch.promote_types(values.dtype, torch.float32))
        maps = nnf.interpolate(values, size=(int(height), int(width)), mode="bilinear", align_corners=False)[:, 0]
        if normalize is None:
            return maps
        flat = values.flatten(1)
        low, high = flat.amin(1)[:, None, None], flat.amax(1)[:, None, None]
        constant = high == low  # decided on the patches, where nothing has been rounded yet
        if normalize == "minmax":
            low, high = maps.amin((1, 2), keepdim=True), maps.amax((1, 2), keepdim=True)
            return torch.where(constant | (high == low), 0.0, (maps - low) / (high - low).clamp_min(torch.finfo(maps.dtype).tiny))
        largest = maps.abs().amax((1, 2), keepdim=True)
        return torch.where(constant, 0.0, maps / largest.clamp_min(torch.finfo(maps.dtype).tiny))

    def words_of(self, pair: int) -> list[tuple[str, float]]:
        """(word, importance) in the caption's order: tokens of one word are joined and added, start and end tokens left out."""
        values = self.text[pair].tolist()
        return [(word, sum((values[place] for place in places), 0.0)) for word, places in self.word_positions(pair)]


@dataclass(frozen=True, eq=False, repr=False)
class Scaled(Attribution):
    """Maps that are weights in 0 … 1 already: every metric uses them as they are, without min–max.

    So a map of ones can be what it is: nothing is taken away. (An ``Attribution`` that is constant becomes zeros.)
    ``heatmap`` only brings them to size, whatever ``normalize`` says. Raises ValueError if a value is not within 0 … 1.
    """

    def __post_init__(self) -> None:
        for name in ("image", "text", "pixels"):
            values = getattr(self, name)
            if values is not None and not ((values >= 0) & (values <= 1)).all():
                raise ValueError(f"{name} must be within 0 … 1 in a Scaled; an Attribution is scaled by the metrics themselves")

    def heatmap(self, size: int | tuple[int, int] = 224, normalize: str | None = "minmax") -> torch.Tensor:
        """The weights brought to the picture's size: float [B, size, size], bilinear (align_corners=False)."""
        values = (self.image if self.pixels is None else self.pixels).flatten(1)[:, :, None]
        return super().heatmap(size, normalize=None).clamp(values.amin(1, keepdim=True), values.amax(1, keepdim=True))  # rounding
