"""Hidden tests of notebook 06. ``tools/hidden.py`` says how they are named and where they go."""


def hidden_by_hand(by_hand):
    """Worked out at other places, with negative numbers and zeros."""
    for a, b, wanted in ((3.0, -2.0, (-12, -6)), (-2.0, 3.0, (8, 4)), (0.0, 5.0, (0, 0)), (0.3, 1.0, (0.06, 0.03))):
        first, second = (float(value) for value in by_hand(a, b))
        assert abs(first - wanted[0]) + abs(second - wanted[1]) < 1e-9, f"at ({a}, {b}): {wanted}, not {(first, second)}"


def hidden_a_width_for_each(own_widths):
    """Exponents that are not whole numbers; the two parts are in the ratio p to q and add up to F = 1."""
    for p, q in ((0.5, 1.5), (0.1, 0.3), (7.0, 0.25), (1e-3, 1.0)):
        first, second = (float(value) for value in own_widths(p, q))
        assert abs(first + second - 1) < 1e-12, f"p = {p}, q = {q}: they add up to {first + second}, not to F = 1"
        assert abs(q * first - p * second) < 1e-12, f"p = {p}, q = {q}: {first} and {second} are not as p to q"


def hidden_another_baseline(importance_from, fair_baseline, vector):
    """Straight lines and small rules by hand, with one to three elements, and weights that do not add up to 1."""
    import numpy as np

    F = lambda u: u[..., 0] * u[..., 1] + 3 * u[..., 1]
    start, end, thirds = vector(1.0, -1.0), vector(3.0, 4.0), ([1 / 6, 0.5, 5 / 6], [3 / 8, 1 / 4, 3 / 8])
    found = importance_from(F, end, start, *thirds)
    assert np.allclose(found, [3, 25]), f"z₁z₂ + 3z₂ from (1, −1) to (3, 4): 3 and 25, not {found.tolist()}"
    found = importance_from(F, end, start, [0.5], [0.4])
    assert np.allclose(found, [1.2, 10]), f"its middle alone, with weight .4: 1.2 and 10, not {found.tolist()}"
    found = importance_from(lambda u: u[..., 0] ** 2, vector(3.0), vector(1.0), [0.25, 1.0], [0.1, 0.7])
    assert np.allclose(found, [9]), f"z² from 1 to 3 at λ = ¼ and 1 with weights .1 and .7: 9, not {found.tolist()}"
    found = importance_from(lambda u: u.prod(-1), vector(1.0, 2.0, 3.0), vector(0.0, 0.0, 0.0), *thirds)
    assert np.allclose(found, [2, 2, 2]), f"z₁z₂z₃ from 0 to (1, 2, 3): 2 each, not {found.tolist()}"
    assert np.allclose(fair_baseline, [1, 0]), f"the head sends x = 0 to (1, 0), not to {fair_baseline}"


def hidden_a_sign_that_misleads(coefficients):
    """The two conditions in plain numbers; F(1, 0) is 0."""
    a, b = (float(value) for value in coefficients())
    for z_2 in (0.1, 40.0):
        own, there = z_2 * (a + b / 3), (a + b) * z_2
        assert own > 0, f"a + b/3 must be above 0: at (1, {z_2}) A of element 2 is {own}"
        assert there < 0, f"a + b must be below 0: F(1, {z_2}) is {there}, and 0 without element 2"
