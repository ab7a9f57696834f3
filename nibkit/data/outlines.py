"""The outlines of the synthetic world's eight shapes: signed distance, negative inside, for a radius of 1 around (0, 0)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np


def polygon(*normals: tuple[float, float, float]) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """The convex region a·u + b·v ≤ c for every (a, b, c) with a² + b² = 1: signed distance near its edges."""
    return lambda u, v: np.max(np.stack(np.broadcast_arrays(*(a * u + b * v - c for a, b, c in normals))), axis=0)


def star(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Five spikes, one upward."""
    angle = np.abs((np.arctan2(u, -v) + np.pi / 5) % (2 * np.pi / 5) - np.pi / 5)  # folded onto half a spike
    r = np.hypot(u, v)
    tip, notch = np.array([0.0, 1.0]), 0.42 * np.array([np.sin(np.pi / 5), np.cos(np.pi / 5)])
    edge = notch - tip
    normal = np.array([-edge[1], edge[0]]) / np.hypot(*edge)
    return normal[0] * r * np.sin(angle) + normal[1] * (r * np.cos(angle) - 1.0)


def heart(u: np.ndarray, v: np.ndarray, h: float = 0.76) -> np.ndarray:
    """A square on its tip, half a diagonal of it ``h``, and two half discs."""
    a, b = np.abs(u), 0.05 - v  # a square on its tip (half diagonal h) and a half disc on each of its upper sides
    square = (a + np.abs(b) - h) / 2**0.5
    disc = np.hypot(a - h / 2, b - h / 2) - h / 2**0.5
    return np.minimum(square, disc)


DISTANCE = {
    "circle": lambda u, v: np.hypot(u, v) - 0.9,
    "square": polygon((1, 0, 0.78), (-1, 0, 0.78), (0, 1, 0.78), (0, -1, 0.78)),
    "triangle": polygon((0, 1, 0.6), (0.866, -0.5, 0.45), (-0.866, -0.5, 0.45)),
    "diamond": polygon(*[(0.832 * s, 0.555 * t, 0.555) for s in (1, -1) for t in (1, -1)]),
    "star": star,
    "cross": lambda u, v: np.minimum(
        np.maximum(np.abs(u) - 0.92, np.abs(v) - 0.28), np.maximum(np.abs(u) - 0.28, np.abs(v) - 0.92)
    ),
    "ring": lambda u, v: np.abs(np.hypot(u, v) - 0.68) - 0.24,
    "heart": heart,
}
