"""What an explanation costs: passes through the encoders, operations, seconds, memory. Measured, never declared."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import math
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry, sdpa_backward_flop_count, sdpa_flop_count

from ..checks import check_whole
from ..model.clip import Clip
from ..model.towers import Tower

MEGABYTE = 10**6
aten = torch.ops.aten
FORMULAS = flop_registry | {  # and the CPU's fused attention, which torch's list lacks
    aten._scaled_dot_product_flash_attention_for_cpu: lambda q, k, v, *_, **__: sdpa_flop_count(q.shape, k.shape, v.shape),
    aten._scaled_dot_product_flash_attention_for_cpu_backward: lambda g, q, k, v, *_, **__: sdpa_backward_flop_count(
        g.shape, q.shape, k.shape, v.shape
    ),
}
Result = TypeVar("Result")


@dataclass
class Passes:
    """Rows that went forward through each encoder, and rows whose gradient came back; ``forward``, ``backward``: both encoders.

    A row is one picture or caption, whole or changed: ten λ of one pair are ten rows, whether in one batch or in ten. A row that
    is computed once for all pairs of a call, as NIB's F(0), counts once for each of them: a pair costs what it would cost alone,
    whatever its batch. ``shared_image``, ``shared_text``: how many such rows were computed.
    """

    forward_image: int = 0
    forward_text: int = 0
    backward_image: int = 0
    backward_text: int = 0
    shared_image: int = 0
    shared_text: int = 0

    @property
    def forward(self) -> int:
        return self.forward_image + self.forward_text

    @property
    def backward(self) -> int:
        return self.backward_image + self.backward_text


@contextlib.contextmanager
def count_passes(clip: Clip) -> Iterator[Passes]:
    """Count the passes of everything inside the ``with`` block (Table 8 of the paper, measured).

    >>> with count_passes(clip) as passes:      # doctest: +SKIP
    ...     nk.nib(clip, inputs)
    >>> passes.forward_image, passes.backward_image      # doctest: +SKIP
    (12, 10)

    Counted at each tower's ``projection``, the one module that every pass ends with: its output's rows as they go forward, its
    gradient's rows as they come back. A pass that begins at the cut counts as one, as in the paper. A model's check at
    its first use (``Clip.check``) is not counted. Hooks on the model and on its outputs are removed on the way out, also after an
    exception.
    """
    passes, handles = Passes(), []

    def watch(side: str, tower: Tower) -> Callable[[nn.Module, tuple, torch.Tensor], None]:
        def add(name: str, rows: int) -> None:
            setattr(passes, name, getattr(passes, name) + rows)

        def forward(module: nn.Module, arguments: tuple, output: torch.Tensor) -> None:
            if clip.being_checked:
                return
            add(f"forward_{side}", tower.serves or len(output))
            if tower.serves:
                add(f"shared_{side}", len(output))
            if output.requires_grad:
                handles.append(output.register_hook(lambda gradient: add(f"backward_{side}", len(gradient))))

        forward.only_counts = True  # type: ignore[attr-defined]  # so the model need not be checked anew
        return forward

    try:
        for side, tower in (("image", clip.image), ("text", clip.text)):
            handles.append(tower.projection.register_forward_hook(watch(side, tower)))
        yield passes
    finally:
        for handle in handles:
            handle.remove()


class CountFlops(TorchDispatchMode):
    """Adds up, in ``total``, the floating-point operations of matrix products, convolutions and attention inside the ``with``
    block, forward and backward, by torch's own formulas (a multiplication and an addition are two).

    (torch's ``FlopCounterMode`` does the same with a table by module, but fails under ``torch.autograd.grad``.)
    """

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if formula := FORMULAS.get(func._overloadpacket):
            self.total += formula(*args, **(kwargs or {}), out_val=result)
        return result


def synchronize(device: torch.device) -> None:
    """Wait until the device has done all that it was given: GPUs work behind the program's back."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def timed(call: Callable[[], Result], device: torch.device, repeats: int = 1) -> tuple[Result, float]:
    """(the last result, median wall-clock seconds of ``repeats`` calls), the device's queue empty before and after each.

    Raises ValueError if repeats is no whole number, 1 or more.
    """
    seconds = []
    for _ in range(check_whole("repeats", repeats)):
        synchronize(device)
        started = time.perf_counter()
        result = call()
        synchronize(device)
        seconds.append(time.perf_counter() - started)
    return result, statistics.median(seconds)


def with_peak_memory(call: Callable[[], Result], device: torch.device) -> tuple[Result, float]:
    """(result, peak memory of the call in MB above what was in use before it: the model, the inputs, all else).

    On CUDA: what torch's allocator handed out (``max_memory_allocated``). On the CPU: how far the process's resident memory rose,
    from Linux's own high-water mark, which is reset first; memory that earlier work had freed but kept is given back first,
    so that it can't be used unseen. That counts whole pages, and all threads. NaN where neither is at hand (other systems).
    """
    gc.collect()
    if device.type == "cuda":
        synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        allocated = torch.cuda.memory_allocated(device)
        result = call()
        synchronize(device)
        return result, (torch.cuda.max_memory_allocated(device) - allocated) / MEGABYTE
    resident = _reset_high_water_mark() if device.type == "cpu" else math.nan
    result = call()
    return result, resident if math.isnan(resident) else max(0.0, (_high_water_mark() - resident) / MEGABYTE)


def _reset_high_water_mark() -> float:
    """Resident memory now, in bytes, from where the mark starts anew; NaN where the system has no such mark."""
    try:
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's
        if trim is not None:
            trim(0)
        Path("/proc/self/clear_refs").write_text("5")  # proc(5): reset the peak resident set size
        return _high_water_mark()
    except (OSError, TypeError):  # no /proc; no C library to be opened by that name
        return math.nan


def _high_water_mark() -> float:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return 1024.0 * int(line.split()[1])
