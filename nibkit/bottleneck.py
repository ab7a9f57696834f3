"""Information and noisy bottlenecks in closed form, by quadrature and by Monte Carlo (Eqs. 1–8; notebooks 01, 03 and 04).

All in float64 and in nats (1 bit = log 2 = .6931 nats). Nothing here knows of CLIP. ``z = f1(x)`` is a function of the sample, so
I(z̃; x) = I(z̃; z): the law of z is all that counts. A law is a ``Law``, and the paper's channels read as in the paper:

>>> z, noise = Law([-1.0, 1.0]), gaussian(0.5)
>>> round(information(z, 0.5, noise), 4), differential_entropy(0.5 * z + noise) - differential_entropy(noise) > 0
(0.3364, True)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import special

MAX_CELLS = 60_000_000  # of a quadrature's largest table: half a gigabyte
REACH = 9.0  # a grid ends so many standard deviations beyond the outermost point; what lies outside weighs 1e-19


# --- laws and channels ------------------------------------------------------------------------------------------------


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
    weights: np.ndarray | None = None
    spread: float = 0.0
    __array_ufunc__ = None  # so that numpy's numbers leave the product to __rmul__

    def __post_init__(self) -> None:
        points = np.asarray(self.points, float)
        points = points.reshape(-1, 1) if points.ndim < 2 else points
        if points.ndim != 2 or points.size == 0 or not np.isfinite(points).all():
            raise ValueError(f"points must be finite numbers [n, d] or [n]; got shape {list(points.shape)}")
        weights = np.full(len(points), 1 / len(points)) if self.weights is None else _probabilities(self.weights, "weights")
        if weights.shape != (len(points),):
            raise ValueError(f"weights must be [{len(points)}], one for each point; got shape {list(weights.shape)}")
        if not (np.isfinite(self.spread) and self.spread >= 0):
            raise ValueError(f"spread must be a finite number, 0 or more; got {self.spread!r}")
        for name, value in (("points", points), ("weights", weights), ("spread", float(self.spread))):
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


def from_density(density, edges, per_panel: int = 64) -> Law:
    """A one-dimensional law with a density, as Gauss–Legendre nodes between the ascending ``edges`` (put one at each kink).

    density: function of an array. The nodes must lie closer than the noise they will meet; their weights are scaled to sum to 1.
    Raises ValueError if edges do not ascend or the density is negative, not finite, or 1 % or more off unit mass between them.
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


def gaussian(sigma: float, dim: int = 1, mean=0.0) -> Law:
    """N(mean, σ²I) in ``dim`` dimensions: the noise of Eqs. 2–4. ValueError unless σ > 0."""
    return Law(np.broadcast_to(np.asarray(mean, float), (1, dim)), spread=_positive(sigma, "sigma"))


def narrow(z: Law, lam: float, noise: Law) -> Law:
    """Eqs. 3–4 (NIB): the law of z̃ = λz + ε. ValueError unless λ is 0 or more (the paper has 0 … 1)."""
    return _width(lam) * z + noise


def blend(z: Law, lam: float, noise: Law) -> Law:
    """Eq. 2 (IBA, M2IB): the law of z̃ = λz + (1 − λ)ε. ValueError unless 0 ≤ λ ≤ 1."""
    if not 0 <= lam <= 1:
        raise ValueError(f"lam must be within 0 … 1 for Eq. 2; got {lam!r}")
    return lam * z + (1 - lam) * noise


# --- discrete laws ----------------------------------------------------------------------------------------------------


def entropy(p) -> float:
    """H = −Σ p log p in nats, of probabilities of any shape (a joint table gives the joint entropy). Appendix A.

    Raises ValueError if p is negative, not finite or does not sum to 1.
    """
    return float(special.entr(_probabilities(p, "p")).sum())


def kl(p, q) -> float:
    """KL(p ‖ q) = Σ p log(p / q) in nats, p and q of one shape; infinite where q = 0 < p. Appendix A.1 (4).

    Raises ValueError as ``entropy`` does, and if the shapes differ.
    """
    p, q = _probabilities(p, "p"), _probabilities(q, "q")
    if p.shape != q.shape:
        raise ValueError(f"p and q must have one shape; got {list(p.shape)} and {list(q.shape)}")
    return float(special.rel_entr(p, q).sum())


def mutual_information(joint) -> float:
    """I(X; Y) = KL(joint ‖ product of the margins) in nats, of a joint table [X, Y]. Appendix A.1 (4).

    Raises ValueError as ``entropy`` does, and unless the table has two axes.
    """
    joint = _table(joint)
    return kl(joint, np.outer(joint.sum(1), joint.sum(0)))


def code_information(joint, encoder) -> tuple[float, float]:
    """(I(Z; X), I(Z; Y)) in nats of a code Z drawn by ``encoder`` [X, Z] = p(z|x) from X alone: the axes of Eq. 1's plane.

    Raises ValueError as ``mutual_information`` does, and unless the encoder's rows are probabilities, one row for each x.
    """
    joint, encoder = _table(joint), np.asarray(encoder, float)
    if encoder.ndim != 2 or len(encoder) != len(joint) or (encoder < 0).any() or not np.allclose(encoder.sum(1), 1):
        raise ValueError(f"encoder must be [{len(joint)}, Z] with rows that sum to 1; got shape {list(encoder.shape)}")
    return mutual_information(joint.sum(1)[:, None] * encoder), mutual_information(encoder.T @ joint)


def blahut_arimoto(joint, beta: float, encoder=None, max_steps: int = 20_000, tol: float = 1e-13) -> np.ndarray:
    """Eq. 1 on a table: an encoder [X, Z] that is stationary for I(Z; Y) − β I(Z; X), by alternating maximisation.

    Each step raises the objective; the end may be a local maximum, and right at a corner of the curve it comes slowly (then the
    last of ``max_steps`` is returned). Fixed point: p(z|x) ∝ p(z) exp(−KL(p(y|x) ‖ p(y|z)) / β) (Tishby et al.
    2000; their β is 1/β).

    Args:
        joint: [X, Y], every x of positive probability. beta: above 0. encoder: where to start, [X, Z]; by default Z = X.
    Raises ValueError on anything else.
    """
    joint, beta = _table(joint), _positive(beta, "beta")
    p_x = joint.sum(1)
    if not (p_x > 0).all():
        raise ValueError("joint has a row without probability: leave that x out")
    encoder = np.eye(len(joint)) if encoder is None else np.asarray(encoder, float)
    code_information(joint, encoder)  # checks the encoder
    y_x = joint / p_x[:, None]
    for _ in range(max_steps):
        p_z = p_x @ encoder
        encoder, p_z = encoder[:, p_z > 1e-200], p_z[p_z > 1e-200]
        y_z = (p_x[:, None] * encoder).T @ y_x / p_z[:, None]
        divergence = special.rel_entr(y_x[:, None, :], y_z[None]).sum(-1)
        renewed = special.softmax(np.log(p_z) - divergence / beta, axis=1)
        moved, encoder = np.abs(renewed - encoder).max(), renewed
        if moved < tol:
            break
    return encoder


# --- Gaussians in closed form -----------------------------------------------------------------------------------------


def kl_gaussian(mean_p, cov_p, mean_q, cov_q) -> float:
    """KL(N(mean_p, cov_p) ‖ N(mean_q, cov_q)) in nats (Appendix B; the importance of Eq. 2).

    Args:
        mean_p, mean_q: [d], or numbers. cov_p, cov_q: [d, d], or the diagonal [d], or a number v for v·I.
    Raises ValueError if the shapes do not fit or a covariance is not symmetric and positive definite.
    """
    dim = max(np.size(mean_p), np.size(mean_q), len(np.atleast_1d(cov_p)), len(np.atleast_1d(cov_q)))
    cov_p, cov_q = _covariance(cov_p, dim, "cov_p"), _covariance(cov_q, dim, "cov_q")
    if not {np.size(mean_p), np.size(mean_q)} <= {1, dim}:
        raise ValueError(f"the means have {np.size(mean_p)} and {np.size(mean_q)} entries, the covariances {dim}: make them fit")
    shift = np.broadcast_to(np.ravel(mean_q), dim) - np.broadcast_to(np.ravel(mean_p), dim)
    trace, distance = np.trace(np.linalg.solve(cov_q, cov_p)), shift @ np.linalg.solve(cov_q, shift)
    return float(0.5 * (trace - dim + distance + np.linalg.slogdet(cov_q)[1] - np.linalg.slogdet(cov_p)[1]))


def information_gaussian(cov, lam: float, sigma: float) -> float:
    """I(λz + ε; z) = ½ log det(I + λ²Σ/σ²) in nats, for z Gaussian with covariance Σ: [d, d], diagonal [d] or a number (d = 1).

    Σ may be singular. Raises ValueError unless it is symmetric, λ ≥ 0, σ > 0. Source: Cover and Thomas, chapter 9.
    """
    cov = _covariance(cov, len(np.atleast_1d(cov)), "cov", singular=True)
    return float(0.5 * np.linalg.slogdet(np.eye(len(cov)) + _width(lam) ** 2 * cov / _positive(sigma, "sigma") ** 2)[1])


def kl_bound(z: Law, lam: float, sigma: float, mean=0.0) -> float:
    """E KL[N(λz, σ²I) ‖ N(mean, σ²I)] = E‖λz − mean‖² / (2σ²) in nats: what Appendix B computes in place of I(z̃; x).

    It is I(z̃; x) + KL(P(z̃) ‖ N(mean, σ²I)), so an upper bound of I. ``mean``: [d] or a number. ValueError unless λ ≥ 0, σ > 0.
    """
    code = _width(lam) * z
    second = code.weights @ ((code.points - mean) ** 2).sum(1) + code.dim * code.spread**2
    return float(second / (2 * _positive(sigma, "sigma") ** 2))


# --- any law, by quadrature (one and two dimensions) ------------------------------------------------------------------


def differential_entropy(law: Law, step: float = 0.1) -> float:
    """h = −∫ p log p in nats, by the trapezoidal rule on even nodes ``step`` spreads apart; d = 1 or 2.

    Raises ValueError if spread = 0 (then h = −∞: add noise), d > 2, or the grid would not fit in memory.
    """
    density, _, cell = _grid(law, step)
    return float(special.entr(density).sum() * cell)


def information(z: Law, lam: float, noise: Law | float, step: float = 0.1) -> float:
    """I(λz + ε; z) = h(λz + ε) − h(ε) in nats, by quadrature (Eqs. 3–5); d = 1 or 2.

    noise: independent of z; a number σ means N(0, σ²I). Raises ValueError as ``differential_entropy`` and ``narrow`` do.
    """
    noise = noise if isinstance(noise, Law) else gaussian(noise, z.dim)
    return differential_entropy(narrow(z, lam, noise), step) - differential_entropy(noise, step)


def pointwise_information(z: Law, lam: float, sigma: float, step: float = 0.1) -> np.ndarray:
    """KL(P(z̃ | z) ‖ P(z̃)) in nats at each point of z, [n]: its mean is I (Eq. 5). For atoms (spread 0), by quadrature.

    Raises ValueError as ``information`` does, and if z has a spread.
    """
    if z.spread:
        raise ValueError(f"z has spread {z.spread:g}: pointwise information is defined here for atoms only")
    noise = gaussian(sigma, z.dim)
    density, kernels, cell = _grid(narrow(z, lam, noise), step)
    surprise = -np.log(np.maximum(density, np.finfo(float).tiny))
    rows = kernels[0] @ surprise
    cross = rows if z.dim == 1 else (rows * kernels[1]).sum(1)
    return cross * cell - differential_entropy(noise, step)


def mmse(z: Law, lam: float, sigma: float, step: float = 0.1) -> float:
    """E‖z − E[z | z̃]‖² for z̃ = λz + N(0, σ²I), in z's units squared, by quadrature; d = 1 or 2. ValueError as ``information``.

    For z = point + spread·n it is d·spread²σ²/τ² + (σ²/τ²)²·(that of the points in noise τ), τ² = λ²spread² + σ².
    """
    code = narrow(z, lam, gaussian(sigma, z.dim))
    density, kernels, cell = _grid(code, step)
    shrink = sigma**2 / code.spread**2
    points = z.points - z.mean
    explained = 0.0
    for weighted in (z.weights[:, None] * points).T:  # ∫ E[point | z̃]² p(z̃), one coordinate after the other
        numerator = weighted @ kernels[0] if z.dim == 1 else (weighted[:, None] * kernels[0]).T @ kernels[1]
        explained += (numerator**2 / np.maximum(density, np.finfo(float).tiny)).sum() * cell
    unexplained = max(float(z.weights @ (points**2).sum(1)) - explained, 0.0)
    return z.dim * z.spread**2 * shrink + shrink**2 * unexplained


def information_rate(z: Law, lam: float, sigma: float, step: float = 0.1) -> float:
    """dI(λz + ε; z)/dλ = (λ/σ²) · mmse in nats: I-MMSE (Guo, Shamai and Verdú 2005; proved in notebook 03)."""
    return lam / sigma**2 * mmse(z, lam, sigma, step)


# --- any law, by Monte Carlo (any dimension) --------------------------------------------------------------------------


def information_monte_carlo(z: Law, lam: float, sigma: float, samples: int = 10_000, seed: int = 0) -> tuple[float, float]:
    """(estimate, its standard error) of I(λz + ε; z) in nats: the mean of log P(z̃|z)/P(z̃) over draws; any d.

    One seed draws the same z and ε at every λ and σ, so that differences are surer than each value. The global random state is
    left alone. Raises ValueError unless λ ≥ 0, σ > 0 and samples ≥ 2.
    """
    if samples < 2:
        raise ValueError(f"samples must be 2 or more, for a standard error; got {samples!r}")
    lam, sigma, rng = _width(lam), _positive(sigma, "sigma"), np.random.default_rng(seed)
    tau = np.hypot(lam * z.spread, sigma)
    scaled = lam * (z.points - z.mean)
    drawn = rng.choice(len(scaled), samples, p=z.weights)
    noise = sigma * rng.standard_normal((samples, z.dim))
    blur = noise + lam * z.spread * rng.standard_normal((samples, z.dim)) if z.spread else noise
    # log N(z̃; point j) − log N(z̃; the drawn point), from ‖gap + blur‖² − ‖blur‖² = ‖gap‖² + 2 gap·blur
    inner, size = scaled @ scaled.T, (scaled**2).sum(1)
    gap = size[drawn][:, None] + size - 2 * inner[drawn]
    along = blur @ scaled.T
    along = np.take_along_axis(along, drawn[:, None], 1) - along
    with np.errstate(divide="ignore"):
        atoms = -special.logsumexp(np.log(z.weights) - (gap + 2 * along) / (2 * tau**2), axis=1)
    smear = (blur**2).sum(1) / (2 * tau**2) - (noise**2).sum(1) / (2 * sigma**2) + z.dim * np.log(tau / sigma)
    values = atoms + smear
    return float(values.mean()), float(values.std(ddof=1) / np.sqrt(samples))


# --- what the above share ---------------------------------------------------------------------------------------------


def _grid(law: Law, step: float) -> tuple[np.ndarray, list[np.ndarray], float]:
    """The density on a grid [m] or [m1, m2], each point's Gaussian along each axis [n, m], the area of a cell."""
    if law.dim > 2:
        raise ValueError(
            f"quadrature is for one or two dimensions, not {law.dim}: use information_monte_carlo or information_gaussian"
        )
    if law.spread == 0:
        raise ValueError("the law has no spread, its differential entropy is −∞: add noise first")
    h = _positive(step, "step") * law.spread
    low, high = law.points.min(0) - REACH * law.spread, law.points.max(0) + REACH * law.spread
    sizes = np.ceil((high - low) / h) + 1
    if max(sizes.max() * len(law.points), sizes.prod()) > MAX_CELLS:
        raise ValueError(
            f"a grid of {sizes.astype(int).tolist()} nodes for {len(law.points)} points is too large: raise step, or add noise"
        )
    kernels = []
    for j in range(law.dim):
        axis = low[j] + h * np.arange(int(sizes[j]))
        kernels.append(np.exp(-(((axis - law.points[:, j, None]) / law.spread) ** 2) / 2) / (law.spread * np.sqrt(2 * np.pi)))
    density = law.weights @ kernels[0] if law.dim == 1 else (law.weights[:, None] * kernels[0]).T @ kernels[1]
    return density, kernels, h**law.dim


def _probabilities(p, name: str) -> np.ndarray:
    p = np.asarray(p, float)
    if p.size == 0 or not np.isfinite(p).all() or (p < 0).any():
        raise ValueError(f"{name} must be probabilities: finite, 0 or more, at least one")
    if abs(p.sum() - 1) > 1e-9:
        raise ValueError(f"{name} sums to {p.sum():.6g}, not 1: divide it by its sum")
    return p


def _table(joint) -> np.ndarray:
    joint = _probabilities(joint, "joint")
    if joint.ndim != 2:
        raise ValueError(f"joint must be a table [X, Y]; got shape {list(joint.shape)}")
    return joint


def _positive(value: float, name: str) -> float:
    if not (np.isfinite(value) and value > 0):
        raise ValueError(f"{name} must be a finite number above 0; got {value!r}")
    return float(value)


def _width(lam: float) -> float:
    if not (np.isfinite(lam) and lam >= 0):
        raise ValueError(f"lam must be a finite number, 0 (closed) or more (1: open); got {lam!r}")
    return float(lam)


def _covariance(cov, dim: int, name: str, singular: bool = False) -> np.ndarray:
    cov = np.asarray(cov, float)
    full = cov * np.eye(dim) if cov.ndim == 0 else np.diag(cov) if cov.ndim == 1 else cov
    if full.shape != (dim, dim) or not np.allclose(full, full.T):
        raise ValueError(f"{name} must be symmetric [{dim}, {dim}], a diagonal [{dim}] or a number; got shape {list(cov.shape)}")
    lowest = np.linalg.eigvalsh(full)[0]
    if lowest < -1e-10 * max(np.abs(full).max(), 1) or (lowest <= 0 and not singular):
        raise ValueError(f"{name} must be positive {'semi' if singular else ''}definite; its lowest eigenvalue is {lowest:.3g}")
    return full
