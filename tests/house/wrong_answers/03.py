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
    4: {
        "σ forgotten": "return -rho if 0 <= -rho <= 1 else None",
        "the wrong sign": "return sigma * rho if 0 <= sigma * rho <= 1 else None",
        "never None": "return -sigma * rho",
        "clipped to 0 … 1": "return float(np.clip(-sigma * rho, 0, 1))",
        "σ² for σ": "return -(sigma**2) * rho if 0 <= -(sigma**2) * rho <= 1 else None",
        "not at λ = 0": "return -sigma * rho if 0 < -sigma * rho <= 1 else None",
        "where the signal alone is shut": "return 0.0",
    },
    5: {
        "the example's number": "return 0.0772",
        "uncorrelated tells nothing": "return 0.0",
        "all that |z| could tell": "return special.entr([1 / 3, 2 / 3]).sum()",
        "a Gaussian of the same variance for the mixture": "return np.log((s**2 + 2) / 3) / 2 - np.log(s) / 3",
        "in bits": "return _told(s) / np.log(2)",
        "both spreads equally likely": "return _told(s, (1 / 2, 1 / 2))",
        "the probabilities swapped": "return _told(s, (2 / 3, 1 / 3))",
        "s as a variance": "return _told(np.sqrt(s))",
    },
}
ROOT = """
    from scipy.optimize import brentq

    def _root(each):
        return np.exp(brentq(lambda s: 0.5 * (np.exp(-2 * s) - np.log1p(np.exp(-2 * s))) - each, -10, 10))

"""
WRONG[3] = {name: (ROOT if "_root" in code else "") + "    " + code for name, code in WRONG[3].items()}
TOLD = """
    def _told(s, shares=(1 / 3, 2 / 3)):
        each = np.stack([stats.norm.pdf(line, scale=s), stats.norm.pdf(line)])
        all_of_it = np.array(shares) @ each
        return np.array(shares) @ special.rel_entr(each, all_of_it).sum(1) * (line[1] - line[0])

"""
WRONG[5] = {name: (TOLD if "_told" in code else "") + "    " + code for name, code in WRONG[5].items()}
