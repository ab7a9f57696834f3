"""Mistakes that the checks of notebook 04 must refuse."""

ROOT = "from scipy.optimize import brentq\n"
SIGMA = "brentq(lambda sigma: ib.information(ib.Law([-1.0, 1.0]), 1.0, sigma) - {} * np.log(2), 0.05, 20)"

WRONG = {
    1: {
        "λ forgotten": ROOT + f"return {SIGMA.format('share')}",
        "divided by λ": ROOT + f"return {SIGMA.format('share')} / lam",
        "90 % for every share": ROOT + f"return lam * {SIGMA.format('0.9')}",
        "λ = 0.1 for every λ": ROOT + f"return 0.1 * {SIGMA.format('share')}",
        "what is lost for what passes": ROOT + f"return lam * {SIGMA.format('(1 - share)')}",
        "z as if it were Gaussian": "return lam / np.sqrt(np.exp(2 * share * np.log(2)) - 1)",
    },
    2: {
        "the weight of the points": "return p * np.log(1 / lam)",
        "the dimension of the support": "return np.log(1 / lam)",
        "wrong sign": "return (1 - p) * np.log(lam)",
        "one fixed λ": "return (1 - p) * np.log(4)",
        "p = 0.7 for every p": "return 0.3 * np.log(1 / lam)",
        "entropy of the mixture added": "return (1 - p) * np.log(1 / lam) + ib.entropy([p, 1 - p])",
        "in bits": "return (1 - p) * np.log2(1 / lam)",
    },
    3: {
        "the example's": "return 3.0, 1.0",
        "exchanged": "return 1 - share, share",
        "the straight path": "return 1.0, 1.0",
        "a₁ alone": "return share, 1.0",
        "squares": "return share**2, (1 - share) ** 2",
        "a negative exponent": "return share, share - 1",
    },
}
