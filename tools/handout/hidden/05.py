"""Hidden tests of notebook 05. ``tools/hidden.py`` says how they are named and where they go."""


def hidden_the_trapezoid_rule(trapezoid):
    """Few cells, by hand."""
    import numpy as np

    for n, wanted in ((3, [1 / 6, 1 / 3, 1 / 3, 1 / 6]), (1, [0.5, 0.5]), (2, [0.25, 0.5, 0.25])):
        lam, weights = map(np.asarray, trapezoid(n))
        assert lam.shape == weights.shape == (n + 1,), f"n = {n}: {n + 1} nodes and weights"
        order = np.argsort(lam)
        assert np.allclose(lam[order], [k / n for k in range(n + 1)]), f"n = {n}: the nodes are {lam}"
        assert np.allclose(weights[order], wanted), f"n = {n}: the weights are {wanted}, not {weights[order]}"


def hidden_the_left_sum(left_interval):
    """Few steps and many, by hand."""
    for n, wanted in ((1, (-0.5, 0.5)), (2, (-0.25, 0.75)), (10, (-0.05, 0.95)), (500, (-0.001, 0.999))):
        lower, upper = left_interval(n)
        assert abs(lower - wanted[0]) + abs(upper - wanted[1]) < 1e-12, f"n = {n}: {wanted}, not {(lower, upper)}"


def hidden_steps_for_a_layer_norm(steps_needed):
    """1/2n ≤ √(eps/3)/s is 3s² ≤ 4n²·eps: the first whole n is counted."""
    for std, more in ((4.0, {}), (0.001, {}), (1.0, {"eps": 1e-6}), (0.03, {"eps": 1e-8}), (10.0, {"eps": 1e-3})):
        eps, wanted = more.get("eps", 1e-5), 1
        while 4 * wanted**2 * eps < 3 * std**2:
            wanted += 1
        found = steps_needed(std, **more)
        assert found == wanted, f"std {std}, eps {eps}: {wanted} steps, not {found}"


def hidden_a_rule_with_a_foot(log_rule_with_foot):
    """Gauss and Legendre's nodes on [−1, 1], carried to log λ by hand."""
    import numpy as np

    for n, a in ((12, 0.3), (3, 0.1), (1, 0.5), (40, 1e-6)):
        lam, weights = map(np.asarray, log_rule_with_foot(n, a))
        x, w = np.polynomial.legendre.leggauss(n)
        above = a ** ((1 - x) / 2)
        wanted = np.append(a / 2, above), np.append(a, above * w * np.log(1 / a) / 2)
        assert lam.shape == weights.shape == (n + 1,), f"n = {n}: {n + 1} nodes and weights"
        order = np.argsort(lam)
        assert np.allclose(lam[order], wanted[0], rtol=1e-9), f"n = {n}, a = {a}: the nodes are a/2 and {above}"
        assert np.allclose(weights[order], wanted[1], rtol=1e-9), f"n = {n}, a = {a}: the weights are {wanted[1]}"
