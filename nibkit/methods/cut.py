"""One encoder of a batch of pairs, cut at a layer: its latents z, F at states put in their place, and Eq. 10's integrand.

F is the cosine of the encoder's features with the other encoder's, ``target``. Rows stand for pairs: a row is one state (z, λz,
or whatever a method makes of z) that goes through the tail. Rows are sorted by length: no padding is computed for nothing.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch.nn import functional as nnf
from tqdm.auto import tqdm

from ..model.inputs import Inputs
from ..model.towers import Tower
from .batches import default_batch_size, in_batches


class CutEncoder:
    """One encoder f = tail ∘ head on B pairs, cut at the input of block ``layer`` (§3.1 of the paper).

    inputs: the pairs. latents: z = head(x), [B, S, C]. features: tail(z), [B, D], in float32 or wider whatever the weights.
    pooled: the position that is read, [B]. length: of each pair, how many positions can reach that one, [B].
    """

    def __init__(self, tower: Tower, inputs: Inputs, layer: int, batch_size: int | None = None, bar: tqdm | None = None):
        self.tower, self.inputs, self.layer, self.bar = tower, inputs, layer, bar
        self.batch_size = batch_size or default_batch_size(tower)
        self.length, self.pooled = tower.span(inputs), tower.pooled(inputs)
        positions = torch.arange(inputs.input_ids.shape[1], device=self.pooled.device)
        holes = (inputs.attention_mask[positions <= self.pooled[:, None]] == 0).any()
        self.attention_mask = inputs.attention_mask if holes else None  # padding on the right is inert
        weight = tower.projection.weight
        wide = torch.promote_types(weight.dtype, torch.float32)  # cosines and sums keep float32's digits
        self.latents = weight.new_zeros(len(inputs), int(self.length.max()), weight.shape[1])
        self.features = weight.new_zeros(len(inputs), weight.shape[0], dtype=wide)

        def encode(rows: np.ndarray, longest: int) -> None:
            z = tower.head(tower.crop(inputs[rows], longest), layer).to(weight.dtype)
            self.latents[rows, :longest] = z
            self.features[rows] = self.tail(z, rows).to(wide)

        self.in_batches(np.arange(len(inputs)), encode)

    def in_batches(self, pairs: np.ndarray, work: Callable[[np.ndarray, int], None]) -> None:
        """``work(rows, longest)`` on all rows, ``batch_size`` at most at a time; pairs: the pair of each row, [R]."""
        order = np.argsort(self.length[pairs], kind="stable")
        self.batch_size = in_batches(order, self.batch_size, lambda rows: work(rows, int(self.length[pairs[rows]].max())))

    def tail(self, z: torch.Tensor, pairs: np.ndarray | torch.Tensor) -> torch.Tensor:
        """Features [R, D] of states z [R, S, C] at the cut that stand for these pairs [R]."""
        mask = None if self.attention_mask is None else self.attention_mask[pairs]
        return self.tower.finish(z, self.layer, self.pooled[pairs], self.tower.mask(z.shape[1], mask))

    def score(self, z: torch.Tensor, target: torch.Tensor, pairs: np.ndarray | torch.Tensor) -> torch.Tensor:
        """F(z), [R]: the cosine of states z [R, S, C] that stand for these pairs with their ``target`` [B, D]."""
        return nnf.cosine_similarity(self.tail(z, pairs).to(target), target[pairs], dim=-1)

    # --- along the ray λz: any pair at any λ, or all pairs at the same ones -----------------------------------------------------

    def scores_at(self, pairs: np.ndarray, lam: np.ndarray, target: torch.Tensor) -> torch.Tensor:
        """F(λz), [R], of R rows, each a pair and its λ."""
        scores = target.new_zeros(len(pairs))

        def evaluate(rows: np.ndarray, longest: int) -> None:
            z, which = self._rows(pairs[rows], longest)
            scores[rows] = self.score(_column(lam[rows], z) * z, target, which)

        self.in_batches(pairs, evaluate)
        return scores

    def slopes_at(self, pairs: np.ndarray, lam: np.ndarray, target: torch.Tensor) -> torch.Tensor:
        """Eq. 10's integrand Σ_c z_c ∂F/∂z_c (λz), summed over the channels c of each token, [R, S], of R rows."""
        slopes = target.new_zeros(len(pairs), self.latents.shape[1])

        def evaluate(rows: np.ndarray, longest: int) -> None:
            z, which = self._rows(pairs[rows], longest)
            gradient = gradient_of(lambda state: self.score(state, target, which), _column(lam[rows], z) * z)
            slopes[rows, :longest] = (z.to(slopes) * gradient).sum(-1)
            if self.bar is not None:
                self.bar.update(len(rows))

        self.in_batches(pairs, evaluate)
        return slopes

    def scores(self, lam: np.ndarray | list[float], target: torch.Tensor) -> torch.Tensor:
        """F(λ_k z), [B, K], of all pairs at the same K values of λ."""
        return self.scores_at(*self._grid(lam), target).unflatten(0, (-1, len(lam)))

    def slopes(self, lam: np.ndarray | list[float], target: torch.Tensor) -> torch.Tensor:
        """Eq. 10's integrand z · ∇F(λ_k z), token by token, [B, K, S], of all pairs at the same K values of λ."""
        return self.slopes_at(*self._grid(lam), target).unflatten(0, (-1, len(lam)))

    def _grid(self, lam: np.ndarray | list[float]) -> tuple[np.ndarray, np.ndarray]:
        return np.repeat(np.arange(len(self.latents)), len(lam)), np.tile(np.asarray(lam, dtype=float), len(self.latents))

    def _rows(self, pairs: np.ndarray, longest: int) -> tuple[torch.Tensor, torch.Tensor]:
        which = torch.as_tensor(pairs, device=self.latents.device)
        return self.latents[which, :longest], which


def gradient_of(score: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    """∂F/∂x of a score F [R] of x [R, …], each row's own; no gradient of a weight is computed."""
    x = x.detach().requires_grad_()
    with torch.enable_grad():
        values = score(x)
    return torch.autograd.grad(values, x, torch.ones_like(values))[0]


def crop(raw: torch.Tensor, longest: int) -> torch.Tensor:
    """Token rows [R, T, C] no longer than need be; pictures [R, 3, H, W] whole."""
    return raw if raw.ndim == 4 else raw[:, :longest]


def _column(lam: np.ndarray, z: torch.Tensor) -> torch.Tensor:
    return torch.as_tensor(lam).to(z)[:, None, None]
