"""A little of a GPU's arithmetic, for ``pretend_cuda``: sums in another order, products rounded to TF32."""

from __future__ import annotations

import functools
import os

import torch
from torch.nn import functional as nnf


def order(x: torch.Tensor, dim: int) -> torch.Tensor:
    """What is to be summed over, in another order: from the end, or begun elsewhere (NIBKIT_PRETEND_ORDER=1, 2, …)."""
    shift = int(os.environ.get("NIBKIT_PRETEND_ORDER") or 0)
    return x.roll(shift, dim) if shift else x.flip(dim)


def tf32(x: torch.Tensor) -> torch.Tensor:
    """Rounded to TF32's 10 bits of mantissa; gradients go through unrounded."""
    bits = x.detach().contiguous().view(torch.int32)
    return x + (((bits + 0x1000) & ~0x1FFF).view(torch.float32) - x.detach())


@functools.cache
def _workspace() -> bool:
    """Are products repeatable? Asked at the first product of the process, and never again: so does torch."""
    return os.environ.get("CUBLAS_WORKSPACE_CONFIG") in (":4096:8", ":16:8")


def _factors(a: torch.Tensor, b: torch.Tensor, settings) -> tuple[torch.Tensor, torch.Tensor]:
    if a.dtype == b.dtype == torch.float32 and settings.fp32_precision == "tf32":
        return tf32(a), tf32(b)
    return a, b


def _product(a: torch.Tensor, b: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    if not _workspace() and torch.are_deterministic_algorithms_enabled():
        raise RuntimeError("deterministic algorithms are asked for: set CUBLAS_WORKSPACE_CONFIG=:4096:8 before the first product")
    return _factors(a, b, torch.backends.cuda.matmul)


def _linear(func, args: tuple, kwargs: dict):
    x, weight = _product(args[0], args[1])
    return func(order(x, -1), order(weight, -1), *args[2:], **kwargs)


def _matmul(func, args: tuple, kwargs: dict):
    if len(args) != 2 or kwargs:
        return func(*args, **kwargs)
    a, b = args[::-1] if func is torch.Tensor.__rmatmul__ else args
    a, b = _product(a, b)
    return torch.matmul(order(a, -1), order(b, -2 if b.ndim > 1 else -1))


def _conv2d(func, args: tuple, kwargs: dict):
    x, weight = _factors(args[0], args[1], torch.backends.cudnn.conv)
    grouped = x.shape[1] != weight.shape[1]
    return func(*((x, weight) if grouped else (order(x, 1), order(weight, 1))), *args[2:], **kwargs)


SUMS = {
    nnf.linear: _linear,
    torch.conv2d: _conv2d,
    **dict.fromkeys(
        (torch.matmul, torch.bmm, torch.mm, torch.Tensor.matmul, torch.Tensor.__matmul__, torch.Tensor.__rmatmul__), _matmul
    ),
}
