"""Information and noisy bottlenecks in closed form, by quadrature and by Monte Carlo (Eqs. 1–8; notebooks 01, 03 and 04).

All in float64 and in nats (1 bit = log 2 = .6931 nats). Nothing here knows of CLIP. ``z = f1(x)`` is a function of the sample, so
I(z̃; x) = I(z̃; z): the law of z is all that counts. A law is a ``Law``, and the paper's channels read as in the paper:

>>> z, noise = Law([-1.0, 1.0]), gaussian(0.5)
>>> round(information(z, 0.5, noise), 4), differential_entropy(0.5 * z + noise) - differential_entropy(noise) > 0
(0.3368, True)
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from ..checks import check_seed, check_whole
from .discrete import blahut_arimoto, code_information, entropy, kl, mutual_information
from .laws import Law, blend, from_density, gaussian, narrow, positive, width

__all__ = [
    "Law",
    "blahut_arimoto",
    "blend",
    "code_information",
    "differential_entropy",
    "entropy",
    "from_density",
    "gaussian",
    "information",
    "information_draws",
    "information_gaussian",
    "information_monte_carlo",
    "information_rate",
    "kl",
    "kl_bound",
    "kl_gaussian",
    "mmse",
    "mutual_information",
    "narrow",
    "pointwise_information",
]
MAX_CELLS = 60_000_000  # of a quadrature's largest table: half a gigabyte
REACH = 9.0  # a grid ends so many standard deviations beyond the outermost point; what lies outside weighs 1e-19


# --- Gaussians in closed form -----------------------------------------------------------------------------------------


def kl_gaussian(mean_p: ArrayLike, cov_p: ArrayLike, mean_q: ArrayLike, cov_q: ArrayLike) -> float:
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


def information_gaussian(cov: ArrayLike, lam: float, sigma: float) -> float:
    """I(λz + ε; z) = ½ log det(I + λ²Σ/σ²) in nats, for z Gaussian with covariance Σ: [d, d], diagonal [d] or a number (d = 1).

    Σ may be singular. Raises ValueError unless it is symmetric, λ ≥ 0, σ > 0. Source: Cover and Thomas, chapter 9.
    """
    cov = _covariance(cov, len(np.atleast_1d(cov)), "cov", singular=True)
    return float(0.5 * np.linalg.slogdet(np.eye(len(cov)) + width(lam) ** 2 * cov / positive(sigma, "sigma") ** 2)[1])


def kl_bound(z: Law, lam: float, sigma: float, mean: ArrayLike = 0.0) -> float:
    """E KL[N(λz, σ²I) ‖ N(mean, σ²I)] = E‖λz − mean‖² / (2σ²) in nats: Appendix B's expression, as we read it.

    It is I(z̃; x) + KL(P(z̃) ‖ N(mean, σ²I)), so an upper bound of I. ``mean``: [d] or a number. ValueError unless λ ≥ 0, σ > 0.
    """
    code = width(lam) * z
    second = code.weights @ ((code.points - mean) ** 2).sum(1) + code.dim * code.spread**2
    return float(second / (2 * positive(sigma, "sigma") ** 2))


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
    """KL(P(z̃ | z) ‖ P(z̃)) in nats at each point of z, [n]: its weighted mean is I (Eq. 5). For atoms (spread 0).

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
    """dI(λz + ε; z)/dλ = (λ/σ²) · mmse in nats per unit of λ: I-MMSE (Guo, Shamai and Verdú 2005; proved in notebook 03).

    d = 1 or 2. Raises ValueError as ``mmse`` does.
    """
    error = mmse(z, lam, sigma, step)
    return lam / sigma**2 * error


# --- any law, by Monte Carlo (any dimension) --------------------------------------------------------------------------


def information_monte_carlo(z: Law, lam: float, sigma: float, samples: int = 10_000, seed: int = 0) -> tuple[float, float]:
    """(estimate, its standard error) of I(λz + ε; z) in nats: the mean of ``information_draws``; any d.

    Raises ValueError unless λ ≥ 0, σ > 0 and samples ≥ 2.
    """
    samples = check_whole("samples", samples, 2)  # of one there is no standard error
    values = information_draws(z, lam, sigma, samples, seed)
    return float(values.mean()), float(values.std(ddof=1) / np.sqrt(samples))


def information_draws(z: Law, lam: float, sigma: float, samples: int = 10_000, seed: int = 0) -> np.ndarray:
    """log P(z̃|z)/P(z̃) in nats for draws of (z, z̃), [samples]: their mean estimates I(λz + ε; z) (Eq. 5); any d.

    One seed draws the same z and ε at every λ and σ: the difference of two λ, draw by draw, is far surer than each value. The
    global random state is left alone. Raises ValueError unless λ ≥ 0, σ > 0 and samples ≥ 1.
    """
    samples, seed = check_whole("samples", samples), check_seed(seed)
    lam, sigma, rng = width(lam), positive(sigma, "sigma"), np.random.default_rng(seed)
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
    return atoms + smear


# --- what the above share ---------------------------------------------------------------------------------------------


def _grid(law: Law, step: float) -> tuple[np.ndarray, list[np.ndarray], float]:
    """The density on a grid [m] or [m1, m2], each point's Gaussian along each axis [n, m], the area of a cell."""
    if law.dim > 2:
        raise ValueError(
            f"quadrature is for one or two dimensions, not {law.dim}: use information_monte_carlo or information_gaussian"
        )
    if law.spread == 0:
        raise ValueError("the law has no spread, its differential entropy is −∞: add noise first")
    h = positive(step, "step") * law.spread
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


def _covariance(cov: ArrayLike, dim: int, name: str, singular: bool = False) -> np.ndarray:
    cov = np.asarray(cov, float)
    full = cov * np.eye(dim) if cov.ndim == 0 else np.diag(cov) if cov.ndim == 1 else cov
    if full.shape != (dim, dim) or not np.allclose(full, full.T):
        raise ValueError(f"{name} must be symmetric [{dim}, {dim}], a diagonal [{dim}] or a number; got shape {list(cov.shape)}")
    lowest = np.linalg.eigvalsh(full)[0]
    if lowest < -1e-10 * max(np.abs(full).max(), 1) or (lowest <= 0 and not singular):
        raise ValueError(f"{name} must be positive {'semi' if singular else ''}definite; its lowest eigenvalue is {lowest:.3g}")
    return full
