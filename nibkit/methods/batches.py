"""How many rows go through an encoder at once, and what happens where a GPU's memory does not do."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from ..model.towers import Tower

BUSY = 2**24  # numbers in the states of a GPU's batch: reading them takes many times as long as starting an operation


def in_batches(rows: np.ndarray, size: int, work: Callable[[np.ndarray], None]) -> int:
    """``work`` on all rows in their order, ``size`` at a time; where a GPU's memory does not do, from there on half as many.

    Returns the size that did.
    """
    while len(rows):
        batch = rows[:size]
        try:
            work(batch)
        except torch.OutOfMemoryError:
            if len(batch) == 1:
                raise
            size = (len(batch) + 1) // 2
            continue
        rows = rows[len(batch) :]
    return size


def default_batch_size(tower: Tower) -> int:
    """How many rows go through a tower at once if nobody says.

    On a CPU no more than its caches like. On a GPU as many as keep it busy (``BUSY``), if half of its free memory holds them:
    a token leaves about 24 vectors in each block for the gradient.
    """
    weight = tower.like
    row = tower.positions * tower.channels  # numbers in a state
    if weight.device.type != "cuda":
        return max(16, 10240 // tower.channels)
    free = torch.cuda.mem_get_info(weight.device)[0]
    free += torch.cuda.memory_reserved(weight.device) - torch.cuda.memory_allocated(weight.device)  # torch keeps it for the next
    return int(max(1, min(BUSY // row, free // 2 // (24 * tower.depth * row * weight.element_size()))))
