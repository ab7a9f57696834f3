"""Mistakes that the checks of notebook 05 must refuse."""

WRONG = {
    1: {
        "midpoint": "return (np.arange(n) + 0.5) / n, np.full(n, 1 / n)",
        "Gauss–Legendre": "return nk.quadrature.nodes('gauss', n)",
        "right sum": "return (np.arange(n) + 1) / n, np.full(n, 1 / n)",
        "ends not halved": "return np.arange(n + 1) / n, np.full(n + 1, 1 / n)",
        "Simpson": """
            weights = np.full(n + 1, 2 / 3 / n)
            weights[1::2] *= 2
            weights[[0, -1]] /= 2
            return np.arange(n + 1) / n, weights
        """,
    },
    2: {
        "the interval of 40 steps": "return -1 / 80, 79 / 80",
        "the right sum's": "return 1 / (2 * n), 1 + 1 / (2 * n)",
        "the nodes' ends": "return 0.0, 1 - 1 / n",
    },
    3: {
        "the number for std 4": "return 1096",
        "not halved": "return int(np.ceil(3**0.5 * std / eps**0.5))",
        "rounded down": "return int(3**0.5 * std / eps**0.5 / 2)",
        "δ for δ/√3": "return int(np.ceil(std / eps**0.5 / 2))",
        "std left out": "return int(np.ceil(3**0.5 / (2 * eps**0.5)))",
    },
    4: {
        "no foot": "return nk.quadrature.nodes('log-gauss', n, a)",
        "foot at 0": """
            lam, weights = nk.quadrature.nodes("log-gauss", n, a)
            return np.concatenate([[0], lam]), np.concatenate([[a], weights])
        """,
        "foot at a": """
            lam, weights = nk.quadrature.nodes("log-gauss", n, a)
            return np.concatenate([[a], lam]), np.concatenate([[a], weights])
        """,
        "a rule of its own": "return nk.quadrature.nodes('sinh', n + 1)",
        "a start that is not a": """
            lam, weights = nk.quadrature.nodes("log-gauss", n, 1e-4)
            return np.concatenate([[a / 2], lam]), np.concatenate([[a], weights])
        """,
    },
}
