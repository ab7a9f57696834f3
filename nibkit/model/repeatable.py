"""The same numbers from call to call and from machine to machine: a model in evaluation mode, a GPU told to be exact."""

from __future__ import annotations

import contextlib
import functools
import os
import warnings
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn


@contextlib.contextmanager
def untouched(model: nn.Module) -> Iterator[None]:
    """The model in evaluation mode, computing exactly; all modes are put back on the way out, also after an exception.

    Not for two threads at once on one model that is in training mode.
    """
    training = [module for module in model.modules() if module.training]
    try:
        for module in training:
            module.training = False
        with exact(next(model.parameters()).device):
            yield
    finally:
        for module in training:
            module.training = True


@contextlib.contextmanager
def exact(device: torch.device) -> Iterator[None]:
    """On CUDA: float32 means float32 (no TF32, which has 10 bits), and sums are added in the same order each time.

    NIBKIT_TF32=1 leaves TF32 as torch has it, for speed. On other devices nothing is changed.
    """
    if device.type != "cuda":
        yield
        return
    convolutions: Any = torch.backends.cudnn.conv  # type: ignore[attr-defined]
    filling: Any = torch.utils.deterministic
    products: Any = torch.backends.cuda.matmul
    before = convolutions.fp32_precision, products.fp32_precision, filling.fill_uninitialized_memory
    fixed = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    try:
        torch.use_deterministic_algorithms(products_keep_their_order(device))
        filling.fill_uninitialized_memory = False
        if os.environ.get("NIBKIT_TF32") != "1":
            convolutions.fp32_precision = products.fp32_precision = "ieee"
        yield
    finally:
        convolutions.fp32_precision, products.fp32_precision, filling.fill_uninitialized_memory = before
        torch.use_deterministic_algorithms(fixed[0], warn_only=fixed[1])


@functools.cache
def products_keep_their_order(device: torch.device) -> bool:
    """Can torch ask for matrix products whose sums are added in the same order each time? A warning says if not.

    cuBLAS and torch read CUBLAS_WORKSPACE_CONFIG, which importing nibkit sets, at the first product of the process and never
    again. Was that product computed before nibkit was imported, torch refuses every product under deterministic algorithms.
    """
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    one = torch.ones(1, 1, device=device)
    try:
        torch.use_deterministic_algorithms(True)
        one @ one
    except RuntimeError:
        warnings.warn(
            "this process computed on CUDA before nibkit was imported, so last digits may differ from run to run: "
            "import nibkit first, or set CUBLAS_WORKSPACE_CONFIG=:4096:8 before Python starts",
            stacklevel=2,
        )
        return False
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
    return True
