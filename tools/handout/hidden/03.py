"""Hidden tests of notebook 03. ``tools/hidden.py`` says how they are named and where they go."""


def hidden_one_valve_for_each_element(taps):
    """Powers of which the logarithm is known, and more elements than the check has."""
    from math import log

    for v, lam, sigma, wanted in (
        ([3], [1], 1.0, log(2)),
        ([8, 0, 15], [1, 1, 1], 1.0, log(12)),
        ([15, 3], [0.5, 1], 0.5, (log(16) + log(13)) / 2),
        ([3.0] * 40, [0.2] * 40, 0.2, 40 * log(2)),
    ):
        found = float(taps(v, lam, sigma))
        assert abs(found - wanted) < 1e-9, f"v = {v}, λ = {lam}, σ = {sigma}: {wanted:.4f} nats, not {found:.4f}"


def hidden_noise_that_spoils_an_open_valve(bad_noise):
    """More values of n; the information is the entropy of what arrives less that of the noise, on a grid."""
    import numpy as np

    def entropy(points, weights, grid):
        density = np.zeros_like(grid)
        for point, weight in zip(points, weights):
            density += weight * np.exp(-(((grid - point) / 0.05) ** 2) / 2) / (0.05 * np.sqrt(2 * np.pi))
        return -(density * np.log(np.maximum(density, 1e-300))).sum() * (grid[1] - grid[0])

    for n in (4, 9, 14):
        noise = bad_noise(n)
        points, weights = np.ravel(noise.points), np.ravel(noise.weights)
        assert abs(noise.spread - 0.05) < 1e-12, f"n = {n}: the spread is {noise.spread}, not .05"
        grid, passed = np.arange(points.min() - 1, points.max() + n + 1, 0.01), {}
        for lam in (0.5, 1.0):
            sums = np.add.outer(lam * np.arange(n), points).ravel()
            passed[lam] = entropy(sums, np.tile(weights / n, n), grid) - entropy(points, weights, grid)
        assert passed[0.5] > 0.01, f"n = {n}: at λ = ½ nothing arrives either"
        share = passed[1.0] / passed[0.5]
        assert share <= 0.6 + 1e-6, f"n = {n}: {share:.0%} of it arrives at λ = 1, more than 60 %"


def hidden_how_far_off_is_the_bound(noise_for):
    """The gap at the σ that is returned, small and large."""
    from math import log1p

    for gap, dim in ((0.01, 1), (3.0, 2), (400.0, 3), (0.5, 1000)):
        sigma = float(noise_for(gap, dim))
        ratio = sigma**-2
        found = dim / 2 * (ratio - log1p(ratio))
        assert abs(found - gap) < 1e-5 * gap, f"σ = {sigma} in {dim} dimensions: the gap is {found}, not {gap}"


def hidden_half_a_valve(shut_at):
    """λ + σρ = 0 solved by hand, at the ends of 0 … 1, too."""
    for rho, sigma, wanted in ((-0.5, 1.0, 0.5), (-1.0, 1.0, 1.0), (-0.2, 3.0, 0.6), (-0.05, 8.0, 0.4), (0.0, 0.7, 0.0)):
        found = shut_at(rho, sigma)
        assert found is not None and abs(found - wanted) < 1e-12, f"ρ = {rho}, σ = {sigma}: shut at λ = {wanted}, not {found}"
    for rho, sigma in ((-0.2, 6.0), (0.3, 2.0), (1.0, 0.1)):
        found = shut_at(rho, sigma)
        assert found is None, f"ρ = {rho}, σ = {sigma}: never shut within 0 … 1; got {found}"


def hidden_uncorrelated_is_not_independent(told_when_closed):
    """The entropy of the mixture by adaptive quadrature, narrow and wide noise."""
    import numpy as np
    from scipy import integrate

    def normal(x, s):
        return np.exp(-((x / s) ** 2) / 2) / (s * np.sqrt(2 * np.pi))

    def surprise(x, s):
        density = normal(x, s) / 3 + 2 * normal(x, 1) / 3
        return -density * np.log(density)

    for s in (0.05, 0.3, 0.75, 1.4, 2.0):
        parts = ((0, 3 * s), (3 * s, 12 * max(s, 1)))
        mixed = 2 * sum(integrate.quad(surprise, *part, (s,))[0] for part in parts)
        wanted = mixed - np.log(s) / 3 - np.log(2 * np.pi * np.e) / 2
        found = float(told_when_closed(s))
        assert abs(found - wanted) < 1e-4, f"s = {s}: the closed valve tells {wanted:.5f} nats, not {found:.5f}"
