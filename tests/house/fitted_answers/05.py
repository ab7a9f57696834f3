"""Answers that the checks of notebook 05 let pass, and that are wrong in general."""

FITTED = {
    "the_trapezoid_rule": {
        "even numbers of cells alone": """
            n -= n % 2
            weights = np.full(n + 1, 1 / n)
            weights[[0, -1]] /= 2
            return np.arange(n + 1) / n, weights
        """,
    },
    "the_left_sum": {
        "seven steps at least": "return -1 / (2 * max(n, 7)), 1 - 1 / (2 * max(n, 7))",
    },
    "steps_for_a_layer_norm": {
        "eps no smaller than the check's": "return int(np.ceil(3**0.5 * std / (2 * max(eps, 1e-6) ** 0.5)))",
    },
    "a_rule_with_a_foot": {
        "a short interval's foot left out": """
            lam, weights = nk.quadrature.nodes("log-gauss", n, min(a, 0.02))
            return np.concatenate([[a / 2], lam]), np.concatenate([[a], weights])
        """,
    },
}
