"""Answers that the checks of notebook 03 let pass, and that are wrong in general."""

FITTED = {
    "one_valve_for_each_element": {
        "four elements at most": "return 0.5 * np.log1p(np.asarray(lam) ** 2 * np.asarray(v) / sigma**2)[:4].sum()",
    },
    "noise_that_spoils_an_open_valve": {
        "for the check's n alone": "return ib.Law(np.arange({2: 3.0, 3: 4.0, 6: 7.0}.get(n, 1.0)), spread=0.05)",
    },
    "how_far_off_is_the_bound": {
        "no gap above the check's": """
            from scipy.optimize import brentq

            off = lambda s: dim / 2 * (np.exp(-2 * s) - np.log1p(np.exp(-2 * s))) - min(gap, 50.0)
            return np.exp(brentq(off, -10, 10))
        """,
    },
    "half_a_valve": {
        "no noise wider than the check's": "return -sigma * rho if 0 <= -sigma * rho <= 1 and sigma <= 3 else None",
    },
    "uncorrelated_is_not_independent": {
        "a straight line through the check's spreads": """
            grid, known = np.linspace(-12, 12, 200_001), (0.1, 0.5, 1.0, 2.0)

            def told(s):
                density = stats.norm.pdf(grid, scale=s) / 3 + 2 * stats.norm.pdf(grid) / 3
                mixed = -np.sum(density * np.log(np.maximum(density, 1e-300))) * (grid[1] - grid[0])
                return mixed - stats.norm(scale=s).entropy() / 3 - 2 * stats.norm().entropy() / 3

            return float(np.interp(s, known, [told(one) for one in known]))
        """,
    },
}
