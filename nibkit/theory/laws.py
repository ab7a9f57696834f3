"""Laws of random vectors and the two noisy channels (Eqs. 2 and 3). Part of ``nibkit.bottleneck``, which has all these names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from ..checks import check_number


@dataclass(frozen=True, eq=False)
class Law:
    """The law of a random vector: a point drawn from ``points`` plus, if spread > 0, independent Gaussian noise.

    Args:
        points: [n, d], or [n] for d = 1.
        weights: [n], probabilities of the points; None: all alike.
        spread: standard deviation of the noise in every direction; 0: atoms.

    ``c * law`` is the law of c times the vector, ``law + other`` that of the sum of independent vectors.
    Raises ValueError on wrong shapes, NaN, infinity, weights that are no probabilities, negative spread.
    """

    points: np.ndarray
    weights: np.ndarray = None  # type: ignore[assignment]  # once made, they are always there
    spread: float = 0.0
    __array_ufunc__ = None  # so that numpy's numbers leave the product to __rmul__

    def __post_init__(self) -> None:
        points = np.asarray(self.points, float)
        points = points.reshape(-1, 1) if points.ndim < 2 else points
        if points.ndim != 2 or points.size == 0 or not np.isfinite(points).all():
            raise ValueError(f"points must be finite numbers [n, d] or [n]; got shape {list(points.shape)}")
        weights = np.full(len(points), 1 / len(points)) if self.weights is None else probabilities(self.weights, "weights")
        if weights.shape != (len(points),):
            raise ValueError(f"weights must be [{len(points)}], one for each point; got shape {list(weights.shape)}")
        spread = check_number("spread", self.spread, least=0)
        for name, value in (("points", points), ("weights", weights), ("spread", spread)):
            object.__setattr__(self, name, value)

    def __mul__(self, factor: float) -> Law:
        return Law(factor * self.points, self.weights, abs(factor) * self.spread)

    __rmul__ = __mul__

    def __add__(self, other: Law) -> Law:
        if self.dim != other.dim:
            raise ValueError(f"laws of {self.dim} and {other.dim} dimensions can't be added: give both the same dimension")
        points = (self.points[:, None] + other.points[None]).reshape(-1, self.dim)
        return Law(points, np.outer(self.weights, other.weights).ravel(), np.hypot(self.spread, other.spread))

    @property
    def dim(self) -> int:
        return self.points.shape[1]

    @property
    def mean(self) -> np.ndarray:
        """[d]."""
        return self.weights @ self.points

    @property
    def covariance(self) -> np.ndarray:
        """[d, d]."""
        centred = self.points - self.mean
        return (self.weights[:, None] * centred).T @ centred + self.spread**2 * np.eye(self.dim)


def from_density(density: Callable[[np.ndarray], np.ndarray], edges: ArrayLike, per_panel: int = 64) -> Law:
    """A one-dimensional law with a density, as a law of atoms: Gauss–Legendre nodes between ascending ``edges``.

    ``per_panel`` of them between two edges; put an edge at each kink.

    density: function of an array. The nodes must lie closer than the noise they will meet; their weights are scaled to sum to 1.
    Raises ValueError if edges do not ascend or the density is negative, not finite, or more than 1 % off unit mass between them.
    """
    edges = np.asarray(edges, float)
    if edges.ndim != 1 or len(edges) < 2 or not (np.diff(edges) > 0).all():
        raise ValueError(f"edges must ascend and be two at least; got {edges.tolist()}")
    x, w = np.polynomial.legendre.leggauss(per_panel)
    half = np.diff(edges)[:, None] / 2
    points = (edges[:-1, None] + half * (x + 1)).ravel()
    weights = (half * w).ravel() * density(points)
    if not np.isfinite(weights).all() or (weights < 0).any() or abs(weights.sum() - 1) > 0.01:
        raise ValueError(f"density must be 0 or more and integrate to 1 over the edges; got {weights.sum():.4g}: widen the edges")
    return Law(points, weights / weights.sum())


def gaussian(sigma: float, dim: int = 1, mean: ArrayLike = 0.0) -> Law:
    """N(mean, σ²I) in ``dim`` dimensions: the noise of Eqs. 2–4. ValueError unless σ > 0."""
    return Law(np.broadcast_to(np.asarray(mean, float), (1, dim)), spread=positive(sigma, "sigma"))


def narrow(z: Law, lam: float, noise: Law) -> Law:
    """Eqs. 3–4 (NIB): the law of z̃ = λz + ε. ValueError unless λ is 0 or more (the paper has 0 … 1)."""
    return width(lam) * z + noise


def blend(z: Law, lam: float, noise: Law) -> Law:
    """Eq. 2 (IBA, M2IB): the law of z̃ = λz + (1 − λ)ε. ValueError unless 0 ≤ λ ≤ 1."""
    lam = check_number("lam", lam, least=0, most=1)
    return lam * z + (1 - lam) * noise


# --- checks ------------------------------------------------------------------------------------------------------------


def probabilities(p: ArrayLike, name: str) -> np.ndarray:
    """p as an array, or a ValueError that calls it ``name``: finite, 0 or more, with the sum 1."""
    p = np.asarray(p, float)
    if p.size == 0 or not np.isfinite(p).all() or (p < 0).any():
        raise ValueError(f"{name} must be probabilities: finite, 0 or more, at least one")
    if abs(p.sum() - 1) > 1e-9:
        raise ValueError(f"{name} sums to {p.sum():.6g}, not 1: divide it by its sum")
    return p


def positive(value: float, name: str) -> float:
    """value as a float, or a ValueError that calls it ``name``: finite and above 0."""
    return check_number(name, value, above=0)


def width(lam: float) -> float:
    """λ as a float, or a ValueError: finite, 0 or more."""
    return check_number("lam", lam, least=0)
