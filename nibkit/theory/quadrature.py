"""Nodes and weights for ∫ g(λ) dλ over [start, 1]: how Eq. 10's integral is turned into a sum.

The rules differ in where they look. Near λ = 0 a pre-layer-norm transformer changes within a boundary layer of width about
1e-3 (notebook 05), which evenly spaced nodes never see.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..checks import check_choice, check_number, check_whole

RULES = ("riemann", "midpoint", "gauss", "log-gauss", "sinh", "adaptive")
MOST = {"gauss": 1000, "log-gauss": 1000}  # num_steps: their nodes are eigenvalues of a matrix of that size; other rules 100,000
SINH_SCALE = 1e-5  # λ = SINH_SCALE · sinh τ: linear below, logarithmic above


def check_rule(rule: str, num_steps: int, start: float | None) -> float:
    """The interval's start: 0, for "log-gauss" .05, unless given. ValueError on an unknown rule or a number out of range.

    num_steps: 100,000 at most, for "gauss" and "log-gauss" 1,000, which are exact with far fewer.
    """
    check_choice("rule", rule, RULES)
    if (count := check_whole("num_steps", num_steps)) > (most := MOST.get(rule, 100_000)):
        raise ValueError(f'num_steps must be at most {most:,} for "{rule}"; got {count:,}')
    if start is None:
        return 0.05 if rule == "log-gauss" else 0.0
    start = check_number("start", start, least=0, below=1)
    if rule == "log-gauss" and start == 0:
        raise ValueError('"log-gauss" can\'t start at 0, where log λ has no end: give a start above 0, for example .05')
    return start


def nodes(rule: str, num_steps: int, start: float | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Nodes λ and weights w, float64 [num_steps], ascending, with ∫ g(λ) dλ ≈ Σ w g(λ) over [start, 1].

    riemann: right ends of equal steps, λ_k = start + (1 − start)k/n: the published code's rule (§5.2 gives n = 10).
        Not exact even for g = λ.
    midpoint: their middles; exact for g = λ. gauss: Gauss–Legendre; exact up to λ^(2n−1).
    log-gauss: Gauss–Legendre in log λ, so exact for g = (log λ)^m / λ, m ≤ 2n − 1.
    sinh: midpoints in τ, λ = 1e-5 · sinh τ: even steps in log λ, except near 0, which it reaches.

    Raises ValueError as ``check_rule`` does, and for "adaptive", whose nodes depend on the integrand (see ``Panels``).
    """
    start = check_rule(rule, num_steps, start)
    n, width = int(num_steps), 1.0 - start
    steps = np.arange(1, n + 1)
    if rule == "riemann":
        return start + width * steps / n, np.full(n, width / n)
    if rule == "midpoint":
        return start + width * (steps - 0.5) / n, np.full(n, width / n)
    if rule == "gauss":
        return _legendre(n, start, 1.0)
    if rule == "log-gauss":
        tau, weight = _legendre(n, np.log(start), 0.0)
        return np.exp(tau), weight * np.exp(tau)
    if rule == "sinh":
        low, high = to_tau(start), to_tau(1.0)
        tau = low + (high - low) * (steps - 0.5) / n
        return from_tau(tau), (high - low) / n * SINH_SCALE * np.cosh(tau)
    raise ValueError('"adaptive" has no fixed nodes: they depend on the integrand')


def _legendre(n: int, low: float, high: float) -> tuple[np.ndarray, np.ndarray]:
    x, w = np.polynomial.legendre.leggauss(n)
    return low + (high - low) * (x + 1) / 2, w * (high - low) / 2


def to_tau(lam: float) -> float:
    """τ with λ = 1e-5 · sinh τ."""
    return float(np.arcsinh(lam / SINH_SCALE))


def from_tau(tau: np.ndarray) -> np.ndarray:
    """λ = 1e-5 · sinh τ."""
    return SINH_SCALE * np.sinh(tau)


@dataclass(eq=False)
class Panel:
    """One interval of τ, its Gauss–Legendre nodes λ and weights, and what they gave."""

    low: float
    high: float
    nodes: np.ndarray
    weights: np.ndarray
    total: np.ndarray | None = None  # token sums, [S]
    gap: float = 0.0  # Σ total − (F(λ_high z) − F(λ_low z))


def new_panel(low: float, high: float, order: int) -> Panel:
    """``order`` nodes between two τ."""
    tau, weights = _legendre(order, low, high)
    return Panel(low, high, from_tau(tau), weights * SINH_SCALE * np.cosh(tau))


class Panels:
    """Adaptive quadrature of one pair's integral: Gauss–Legendre panels in τ, the worst one split until the gap closes.

    A panel [λ_a, λ_b] should sum to F(λ_b z) − F(λ_a z), which two forward passes measure. That is its error, and no second
    quadrature rule is needed. The caller evaluates what ``wanted`` asks for and hands it to ``accept``, until it is ``done``.
    """

    def __init__(self, num_steps: int, start: float = 0.0, per_panel: int = 4):
        self.left, self.order = int(num_steps), min(per_panel, int(num_steps))
        count = max(1, min(3, self.left // self.order))
        edges = np.linspace(to_tau(start), to_tau(1.0), count + 1)
        self.panels: list[Panel] = []
        self._new = [new_panel(low, high, self.order) for low, high in zip(edges[:-1], edges[1:])]
        self._scores: dict[float, float] = {}  # F at each τ where a panel begins or ends
        self._limit: float | None = None

    @property
    def done(self) -> bool:
        """Nothing more is wanted: the gap has closed, or the gradients are spent."""
        return not self._new

    def wanted(self) -> tuple[np.ndarray, np.ndarray]:
        """(λ at which gradients are needed, λ at which F is needed and not yet known)."""
        self.left -= self.order * len(self._new)
        self._asked = sorted({end for panel in self._new for end in (panel.low, panel.high)} - self._scores.keys())
        return np.concatenate([panel.nodes for panel in self._new]), from_tau(np.array(self._asked))

    def accept(self, gradients: np.ndarray, scores: np.ndarray, floor: float = 1e-3) -> None:
        """Take token sums z·∇F [nodes, S] and scores F [ends] for the last ``wanted``; split the worst panel if need be.

        The gap that is good enough: .01 · |F(z) − F(start · z)|, at least ``floor``.
        """
        self._scores |= zip(self._asked, map(float, scores))
        for panel, own in zip(self._new, np.split(gradients, len(self._new))):
            panel.total = panel.weights @ own
            panel.gap = panel.total.sum() - (self._scores[panel.high] - self._scores[panel.low])
        if self._limit is None:
            self._limit = max(0.01 * abs(scores[-1] - scores[0]), floor)
        self.panels += self._new
        self._new = []
        good = abs(sum(panel.gap for panel in self.panels)) <= self._limit
        if good and max(abs(panel.gap) for panel in self.panels) <= self._limit or self.left < 2 * self.order:
            return
        worst = max(self.panels, key=lambda panel: abs(panel.gap))
        self.panels.remove(worst)
        middle = (worst.low + worst.high) / 2
        self._new = [new_panel(worst.low, middle, self.order), new_panel(middle, worst.high, self.order)]

    def total(self) -> np.ndarray:
        """The integral's token sums, [S]."""
        return np.sum([panel.total for panel in self.panels if panel.total is not None], axis=0)
