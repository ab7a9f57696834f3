"""Hidden tests of notebook 04. ``tools/hidden.py`` says how they are named and where they go."""


def hidden_which_σ(sigma_for):
    """What passes at the σ that is returned, by an integral of its own."""
    import numpy as np

    noise = np.linspace(-9, 9, 20_001)
    weight = np.exp(-(noise**2) / 2) / np.sqrt(2 * np.pi) * (noise[1] - noise[0])
    for share, lam in ((0.99, 1.0), (0.35, 0.3), (0.7, 0.01), (0.02, 0.5)):
        sigma = float(sigma_for(share, lam))
        ratio = sigma / lam
        passed = 1 - (weight * np.logaddexp(0, -2 * (1 + ratio * noise) / ratio**2)).sum() / np.log(2)
        assert abs(passed - share) < 1e-5, f"λ = {lam}, σ = {sigma}: {passed:.3%} comes through, not {share:.0%}"


def hidden_the_dimension_of_a_mixture(limit):
    """Where the logarithm is known: no points, points alone, an open valve, very narrow ones."""
    from math import exp

    for p, lam, wanted in ((0.0, exp(-1), 1.0), (0.5, exp(-2), 1.0), (0.75, exp(-8), 2.0), (1.0, 0.1, 0.0), (0.3, 1.0, 0.0)):
        found = float(limit(p, lam))
        assert abs(found - wanted) < 1e-9, f"p = {p}, λ = {lam:.5f}: the limit is {wanted}, not {found}"


def hidden_another_path(exponents):
    """The share of z₁ is a₁ ÷ (a₁ + a₂)."""
    for share in (0.01, 1 / 3, 0.618, 0.99):
        first, second = exponents(share)
        assert first > 0 and second > 0, f"share {share}: both exponents must be positive; got {first} and {second}"
        found = first / (first + second)
        assert abs(found - share) < 1e-9, f"z1 gets {found:.4f} of F, not {share:.4f}"
