"""Mistakes that the checks of notebook 03 must refuse."""

WRONG = {
    1: {
        "the example's number": "return 2.5679",
        "½ forgotten": "return np.log1p(np.asarray(lam) ** 2 * np.asarray(v) / sigma**2).sum()",
        "λ for λ²": "return 0.5 * np.log1p(np.asarray(lam) * np.asarray(v) / sigma**2).sum()",
        "one λ for all": "return 0.5 * np.log1p(np.mean(lam) ** 2 * np.asarray(v) / sigma**2).sum()",
        "σ for σ²": "return 0.5 * np.log1p(np.asarray(lam) ** 2 * np.asarray(v) / sigma).sum()",
        "σ left at ½": "return 0.5 * np.log1p(np.asarray(lam) ** 2 * np.asarray(v) / 0.25).sum()",
        "the upper bound": "return (np.asarray(lam) ** 2 * np.asarray(v)).sum() / (2 * sigma**2)",
        "powers added, as if sent through one channel": (
            "return 0.5 * np.log1p((np.asarray(lam) ** 2 * np.asarray(v)).sum() / sigma**2)"
        ),
    },
    2: {
        "Gaussian noise": "return ib.gaussian(0.05)",
        "a coin for every n": "return ib.Law([-1.0, 1.0], spread=0.05)",
        "four values for every n": "return ib.Law([0.0, 1.0, 2.0, 3.0], spread=0.05)",
        "on the halves": "return ib.Law(np.arange(2 * n + 2) / 2, spread=0.05)",
        "so wide that nothing arrives": "return ib.gaussian(0.05) + ib.Law(np.arange(-200.0, 201) / 20)",
        "another spread": "return ib.Law(np.arange(n + 1.0), spread=0.5)",
    },
    3: {
        "one dimension for all": "return _root(gap)",
        "gap times the dimension": "return _root(gap * dim)",
        "½ forgotten": "return _root(gap / dim / 2)",
        "the bound alone": "return np.sqrt(dim / (2 * gap))",
        "σ² for σ": "return _root(gap / dim) ** 2",
    },
}
ROOT = """
    from scipy.optimize import brentq

    def _root(each):
        return np.exp(brentq(lambda s: 0.5 * (np.exp(-2 * s) - np.log1p(np.exp(-2 * s))) - each, -10, 10))

"""
WRONG[3] = {name: (ROOT if "_root" in code else "") + "    " + code for name, code in WRONG[3].items()}
