"""One encoder of a batch of pairs, cut at a layer and narrowed in batches: the machinery under ``nib`` and the baselines."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch.nn import functional as nnf
from tqdm.auto import tqdm

from ..model.inputs import Inputs
from ..model.towers import Tower

BUSY = 2**24  # numbers in the states of a GPU's batch: reading them takes many times as long as starting an operation


class Side:
    """One encoder, cut: the latents z = head(x) of all pairs, their features tail(z), and a way to narrow them."""

    def __init__(self, tower: Tower, inputs: Inputs, layer: int, batch_size: int | None = None, bar: tqdm | None = None):
        self.tower, self.layer, self.batch_size, self.bar = tower, layer, batch_size or default_batch_size(tower), bar
        self.length = tower.span(inputs)  # of each pair, the positions that can reach the one that is read
        self.positions = tower.positions  # the most that the tower can take
        self.pooled, self.attention = tower.pooled(inputs), None
        positions = torch.arange(inputs.input_ids.shape[1], device=self.pooled.device)
        if (inputs.attention_mask[positions <= self.pooled[:, None]] == 0).any():
            self.attention = inputs.attention_mask  # padding on the right is inert; only holes before it need a mask
        weight = tower.projection.weight
        self.latents = weight.new_zeros(len(inputs), int(self.length.max()), weight.shape[1])
        wide = torch.promote_types(weight.dtype, torch.float32)  # cosines and sums keep float32's digits, whatever the weights
        self.features = weight.new_zeros(len(inputs), weight.shape[0], dtype=wide)

        def open_up(rows: np.ndarray, longest: int) -> None:
            z = tower.head(tower.crop(inputs[rows], longest), layer).to(weight.dtype)
            self.latents[rows, :longest] = z
            self.features[rows] = self.tail(z, rows).to(wide)

        self.in_batches(np.arange(len(inputs)), open_up)

    def in_batches(self, pairs: np.ndarray, work: Callable[[np.ndarray, int], None]) -> None:
        """``work(rows, longest)`` for all rows, each a row of ``pairs``, ``batch_size`` at a time and at most.

        Rows are sorted by their pair's length, so that no padding is computed for nothing. See ``in_halves`` for a full memory.
        """
        order = np.argsort(self.length[pairs], kind="stable")
        self.batch_size = in_halves(order, self.batch_size, lambda rows: work(rows, int(self.length[pairs[rows]].max())))

    def tail(self, z: torch.Tensor, pairs) -> torch.Tensor:
        """Features of states z [R, S, C] that stand for these pairs."""
        attention = None if self.attention is None else self.attention[pairs]
        return self.tower.finish(z, self.layer, self.pooled[pairs], self.tower.mask(z.shape[1], attention))

    def narrow(
        self, pairs: np.ndarray, lam: np.ndarray, target: torch.Tensor, gradient: bool = False
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """F(λz), [R], for R rows of a pair and a λ; if asked for, also the token sums of z · ∇F(λz), [R, S]."""
        scores = target.new_zeros(len(pairs))
        slopes = target.new_zeros(len(pairs), self.latents.shape[1]) if gradient else None

        def evaluate(rows: np.ndarray, longest: int) -> None:
            which = torch.as_tensor(pairs[rows], device=target.device)
            z = self.latents[which, :longest]
            narrowed = (z * torch.as_tensor(lam[rows]).to(z)[:, None, None]).requires_grad_(gradient)
            with torch.set_grad_enabled(gradient):
                f = nnf.cosine_similarity(self.tail(narrowed, which).to(target), target[which], dim=-1)
            scores[rows] = f.detach()
            if gradient:
                (slope,) = torch.autograd.grad(f, narrowed, torch.ones_like(f))
                slopes[rows, :longest] = (z.to(slopes) * slope).sum(-1)
                if self.bar is not None:
                    self.bar.update(len(rows))

        self.in_batches(pairs, evaluate)
        return scores, slopes


def in_halves(rows: np.ndarray, size: int, work: Callable[[np.ndarray], None]) -> int:
    """``work`` on all rows in their order, ``size`` at a time; where a GPU's memory does not do, from there on half as many.

    Returns the size that did.
    """
    while len(rows):
        part = rows[:size]
        try:
            work(part)
        except torch.OutOfMemoryError:
            if len(part) == 1:
                raise
            size = (len(part) + 1) // 2
            continue
        rows = rows[len(part) :]
    return size


def default_batch_size(tower: Tower) -> int:
    """How many pair-steps go through a tower at once if nobody says.

    On a CPU no more than its caches like. On a GPU as many as keep it busy (``BUSY``), if half of its free memory holds them:
    a token leaves about 24 vectors in each block for the gradient.
    """
    weight = tower.projection.weight
    row = tower.positions * weight.shape[1]  # numbers in a state
    if weight.device.type != "cuda":
        return max(16, 10240 // weight.shape[1])
    free = torch.cuda.mem_get_info(weight.device)[0]
    free += torch.cuda.memory_reserved(weight.device) - torch.cuda.memory_allocated(weight.device)  # torch keeps it for the next
    return max(1, min(BUSY // row, free // 2 // (24 * tower.depth * row * weight.element_size())))
