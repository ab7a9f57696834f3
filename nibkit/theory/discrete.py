"""Information of probability tables, and Eq. 1 solved on one; in nats. Part of ``nibkit.bottleneck``, which has its names."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from .laws import positive, probabilities


def entropy(p: ArrayLike) -> float:
    """H = −Σ p log p in nats, of probabilities of any shape (a joint table gives the joint entropy). Appendix A.

    Raises ValueError if p is negative, not finite or does not sum to 1.
    """
    return float(special.entr(probabilities(p, "p")).sum())


def kl(p: ArrayLike, q: ArrayLike) -> float:
    """KL(p ‖ q) = Σ p log(p / q) in nats, p and q of one shape; infinite where q = 0 < p. Appendix A.1 (4).

    Raises ValueError as ``entropy`` does, and if the shapes differ.
    """
    p, q = probabilities(p, "p"), probabilities(q, "q")
    if p.shape != q.shape:
        raise ValueError(f"p and q must have one shape; got {list(p.shape)} and {list(q.shape)}")
    return float(special.rel_entr(p, q).sum())


def mutual_information(joint: ArrayLike) -> float:
    """I(X; Y) = KL(joint ‖ product of the margins) in nats, of a joint table [X, Y]. Appendix A.1 (4).

    Raises ValueError as ``entropy`` does, and unless the table has two axes.
    """
    joint = _table(joint)
    return kl(joint, np.outer(joint.sum(1), joint.sum(0)))


def code_information(joint: ArrayLike, encoder: ArrayLike) -> tuple[float, float]:
    """(I(Z; X), I(Z; Y)) in nats of a code Z drawn by ``encoder`` [X, Z] = p(c|x) from X alone: the axes of Eq. 1's plane.

    c is a letter of Z. Raises ValueError as ``mutual_information`` does, and unless the encoder's rows are probabilities, one row
    for each x.
    """
    joint, encoder = _table(joint), np.asarray(encoder, float)
    if encoder.ndim != 2 or len(encoder) != len(joint) or (encoder < 0).any() or not np.allclose(encoder.sum(1), 1):
        raise ValueError(f"encoder must be [{len(joint)}, Z] with rows that sum to 1; got shape {list(encoder.shape)}")
    return mutual_information(joint.sum(1)[:, None] * encoder), mutual_information(encoder.T @ joint)


def blahut_arimoto(
    joint: ArrayLike, beta: float, encoder: ArrayLike | None = None, max_steps: int = 20_000, tol: float = 1e-13
) -> np.ndarray:
    """Eq. 1 on a table: an encoder [X, Z] that is stationary for I(Z; Y) − β I(Z; X), by alternating maximisation.

    Each step raises the objective or leaves it. The end may be a local maximum, or a stationary point that is none: a letter
    that gives some x probability 0, and a y that x excludes, is never taken up, so for tables with zeros start from a positive
    encoder. Letters that die out are removed, so Z may shrink. Right at a phase transition the end comes slowly (then the last
    of ``max_steps`` is returned). Fixed point: p(c|x) ∝ p(c) exp(−KL(p(y|x) ‖ p(y|c)) / β), c a letter (Tishby et al.
    2000; their β is 1/β).

    Args:
        joint: [X, Y], every x of positive probability. beta: above 0. encoder: where to start, [X, Z]; by default Z = X.
    Raises ValueError on anything else.
    """
    joint, beta = _table(joint), positive(beta, "beta")
    p_x = joint.sum(1)
    if not (p_x > 0).all():
        raise ValueError("joint has a row without probability: leave that x out")
    code = np.eye(len(joint)) if encoder is None else np.asarray(encoder, float)
    code_information(joint, code)  # checks the encoder
    y_x = joint / p_x[:, None]
    for _ in range(max_steps):
        p_z = p_x @ code
        code, p_z = code[:, p_z > 1e-200], p_z[p_z > 1e-200]
        y_z = (p_x[:, None] * code).T @ y_x / p_z[:, None]
        divergence = special.rel_entr(y_x[:, None, :], y_z[None]).sum(-1)
        renewed = special.softmax(np.log(p_z) - divergence / beta, axis=1)
        moved, code = np.abs(renewed - code).max(), renewed
        if moved < tol:
            break
    return code


def _table(joint: ArrayLike) -> np.ndarray:
    joint = probabilities(joint, "joint")
    if joint.ndim != 2:
        raise ValueError(f"joint must be a table [X, Y]; got shape {list(joint.shape)}")
    return joint
