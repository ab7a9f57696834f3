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
        like = tower.like
        wide = torch.promote_types(like.dtype, torch.float32)  # cosines and sums keep float32's digits
        self.latents = like.new_zeros(len(inputs), int(self.length.max()), tower.channels)
        self.features = like.new_zeros(len(inputs), tower.dimension, dtype=wide)

        def encode(rows: np.ndarray, longest: int) -> None:
            z = tower.head(tower.crop(inputs[rows], longest), layer).to(like.dtype)
            self.latents[rows, :longest] = z
            self.features[rows] = self.tail(z, rows).to(wide)

        self.in_batches(np.arange(len(inputs)), encode)

    def in_batches(self, pairs: np.ndarray, work: Callable[[np.ndarray, int], None], rows_each: int = 1) -> None:
        """``work(rows, longest)`` on all rows, ``batch_size`` at most at a time; pairs: the pair of each row, [R].

        rows_each: how many rows go through the tail for each of them. Where a GPU's memory does not do, ``batch_size`` is halved.
        """
        order, size = np.argsort(self.length[pairs], kind="stable"), max(1, self.batch_size // rows_each)
        took = in_batches(order, size, lambda rows: work(rows, int(self.length[pairs[rows]].max())))
        self.batch_size = self.batch_size if took == size else took * rows_each

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
            scores[rows] = self.narrowed_score(pairs[rows], self.valves(lam[rows], longest), target)

        self.in_batches(pairs, evaluate)
        return scores

    def slopes_at(self, pairs: np.ndarray, lam: np.ndarray, target: torch.Tensor) -> torch.Tensor:
        """Eq. 10's integrand Σ_c z_ic ∂F/∂z_ic (λz) for each token i, [R, S], of R rows.

        It is the slope of F when token i's own valve moves: ∂F(λ_1 z_1, …, λ_S z_S)/∂λ_i at λ_1 = … = λ_S = λ (chain rule). So
        the leaf is λ, a number a token, not the state.
        """
        slopes = target.new_zeros(len(pairs), self.latents.shape[1])

        def evaluate(rows: np.ndarray, longest: int) -> None:
            score = lambda valves: self.narrowed_score(pairs[rows], valves, target)  # noqa: E731
            slopes[rows, :longest] = gradient_of(score, self.valves(lam[rows], longest)).to(slopes)
            if self.bar is not None:
                self.bar.update(len(rows))

        self.in_batches(pairs, evaluate)
        return slopes

    def closed_scores(self, target: torch.Tensor) -> torch.Tensor:
        """F(0), [B]: of a closed bottleneck. Where tail(0) is the same for all pairs, it is computed once (``Tower.closed``)."""
        features = self.tower.closed(self.layer, len(target))
        if features is None:
            return self.scores([0.0], target)[:, 0]
        return nnf.cosine_similarity(features.to(target), target, dim=-1)

    def narrowed_features(self, pairs: np.ndarray, valves: torch.Tensor) -> torch.Tensor:
        """Features, [R, D], of R rows, each a pair's z with a valve for each token, [R, S]."""
        device = self.latents.device
        each, position = np.unique(pairs, return_inverse=True)
        owner, rows = torch.as_tensor(position, device=device), torch.as_tensor(pairs, device=device)
        mask = self.tower.mask(valves.shape[1], None if self.attention_mask is None else self.attention_mask[rows])
        z = self.latents[each, : valves.shape[1]]
        return self.tower.finish_narrowed(z, owner, valves, self.layer, self.pooled[rows], mask).to(self.features)

    def narrowed_score(self, pairs: np.ndarray, valves: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """F, [R], of R rows, each a pair's z with a valve for each token, [R, S]."""
        return nnf.cosine_similarity(self.narrowed_features(pairs, valves).to(target), target[pairs], dim=-1)

    def valves(self, lam: np.ndarray, longest: int) -> torch.Tensor:
        """λ of R rows as a valve for each of ``longest`` tokens, [R, S], in float32 or wider."""
        return torch.as_tensor(lam).to(self.features)[:, None].repeat(1, longest)

    def scores(self, lam: np.ndarray | list[float], target: torch.Tensor) -> torch.Tensor:
        """F(λ_k z), [B, K], of all pairs at the same K values of λ."""
        return self.scores_at(*self._grid(lam), target).unflatten(0, (-1, len(lam)))

    def slopes(self, lam: np.ndarray | list[float], target: torch.Tensor) -> torch.Tensor:
        """Eq. 10's integrand z · ∇F(λ_k z), token by token, [B, K, S], of all pairs at the same K values of λ."""
        return self.slopes_at(*self._grid(lam), target).unflatten(0, (-1, len(lam)))

    def _grid(self, lam: np.ndarray | list[float]) -> tuple[np.ndarray, np.ndarray]:
        return np.repeat(np.arange(len(self.latents)), len(lam)), np.tile(np.asarray(lam, dtype=float), len(self.latents))


def gradient_of(score: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    """∂F/∂x of a score F [R] of x [R, …], each row's own; no gradient of a weight is computed."""
    x = x.detach().requires_grad_()
    with torch.enable_grad():
        values = score(x)
    check_gradient(values)
    return torch.autograd.grad(values, x, torch.ones_like(values))[0]


def check_gradient(score: torch.Tensor) -> None:
    """ValueError if no gradient can come back from a score, through quantised layers or torch.no_grad() in the model."""
    if not score.requires_grad:
        raise ValueError(
            "no gradient passes through this model (quantised layers, or torch.no_grad() in it): take rise, which needs none"
        )
