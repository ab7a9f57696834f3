"""Answers that the checks of notebook 06 let pass, and that are wrong in general.

Exercise 4 asks for two numbers: there is nothing to fit.
"""

FITTED = {
    "by_hand": {
        "b positive, as in the check": "return 2 / 3 * a**2 * abs(b), 1 / 3 * a**2 * abs(b)",
    },
    "a_width_for_each": {
        "whole exponents, as in the check": """
            p, q = max(round(p), 1), round(q)
            return p / (p + q), q / (p + q)
        """,
    },
    "another_baseline": {
        "weights that add up to 1, as in the check": """
            def importance_from(F, z, start, lam, weights):
                slopes = (gradient(F, start + float(l) * (z - start)) for l in lam)
                return (z - start) * sum(float(w) * s for w, s in zip(weights, slopes)) / sum(map(float, weights))


            fair_baseline = vector(1.0, 0.0)
        """,
    },
}
