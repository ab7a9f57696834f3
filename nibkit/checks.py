"""One way to check."""

from __future__ import annotations

import numpy as np
import torch


def check_batch_size(batch_size: int | None) -> None:
    """ValueError if it is neither None nor a whole number, 1 or more."""
    if batch_size is not None and (
        isinstance(batch_size, bool) or not isinstance(batch_size, (int, np.integer)) or batch_size < 1
    ):
        raise ValueError(f"batch_size must be a whole number, 1 or more, or None; got {batch_size!r}")


def check_masks(masks, count: int, size: tuple[int, int] | None = None, name: str = "masks", empty: bool = False) -> np.ndarray:
    """The masks as a bool array [B, H, W].

    TypeError or ValueError on another type or shape, or if one of them is empty (where that is not allowed).
    """
    masks = masks.detach().cpu().numpy() if isinstance(masks, torch.Tensor) else np.asarray(masks)
    if masks.dtype != bool:
        raise TypeError(f"{name} must be booleans, True on the object; got {masks.dtype} (compare: {name} > .5)")
    if masks.ndim != 3 or len(masks) != count or 0 in masks.shape or (size is not None and masks.shape[1:] != tuple(size)):
        wanted = ", ".join(map(str, size)) if size is not None else "H, W"
        raise ValueError(f"{name} must be [{count}, {wanted}], one for each pair; got {list(masks.shape)}")
    if not empty and not (some := masks.any((1, 2))).all():
        raise ValueError(f"the mask of pair {some.argmin()} is empty: there is nothing to find, leave the pair out")
    return masks
