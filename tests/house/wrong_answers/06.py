"""Mistakes that the checks of notebook 06 must refuse."""


def line(factor: str, at: str, baseline: str = "1.0, 0.0") -> str:
    """Exercise 3 with this factor in front of the sum, gradients at these points, and this baseline."""
    return f"""
        def importance_from(F, z, start, lam, weights):
            return {factor} * sum(float(w) * gradient(F, {at}) for l, w in zip(lam, weights))
        fair_baseline = vector({baseline})
    """


WAY, POINTS = "(z - start)", "start + float(l) * (z - start)"  # what is right

WRONG = {
    1: {
        "the numbers at (1, 1)": "return 2 / 3, 1 / 3",
        "gradient times input": "return 2 * a**2 * b, a**2 * b",
        "equal shares": "return a**2 * b / 2, a**2 * b / 2",
        "swapped": "return 1 / 3 * a**2 * b, 2 / 3 * a**2 * b",
        "without the factor z": "return 2 / 3 * a * b, 1 / 3 * a**2",
        "the sum": "return a**2 * b",
    },
    2: {
        "swapped": "return q / (p + q), p / (p + q)",
        "equal shares": "return 1 / 2, 1 / 2",
        "speed forgotten": "return 1 / (q + 1), 1 / (p + 1)",
        "right for p = 1 alone": "return 1 / (1 + q), q / (1 + q)",
        "not divided": "return p, q",
    },
    3: {
        "z for the way": line("z", POINTS),
        "the ray from 0": line(WAY, "float(l) * z"),
        "the gradient at z": line(WAY, "z"),
        "the rule not used": """
            def importance_from(F, z, start, lam, weights):
                return importance(lambda u: F(start + u), z - start, *exact)
            fair_baseline = vector(1.0, 0.0)
        """,
        "zero as baseline": line(WAY, POINTS, "0.0, 0.0"),
        "the bias taken off": line(WAY, POINTS, "-1.0, 0.0"),
        "the other element": line(WAY, POINTS, "0.0, 1.0"),
    },
    4: {
        "section 8's own": "return -1.0, 2.5",
        "no removal effect": "return 1.0, -1.0",
        "both lower F": "return 1.0, -4.0",
        "both raise F": "return 1.0, 2.0",
        "nothing": "return 0.0, 0.0",
    },
}
