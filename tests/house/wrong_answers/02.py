"""Mistakes that the checks of notebook 02 must refuse."""

WRONG = {
    1: {
        "μ and σ left out": "return divergence(z, lam)",
        "μ left out": "return divergence(z / sigma, lam)",
        "σ left out": "return divergence(z - mu, lam)",
        "divided before shifted": "return divergence(z / sigma - mu, lam)",
        "variance for its root": "return divergence((z - mu) / sigma**2, lam)",
        "multiplied": "return divergence((z - mu) / sigma, lam) * sigma",
        "the announced number": "return torch.tensor(0.1016713)",
    },
    2: {
        "the number for 400": "return 16",
        "ten steps": "return 10",
        "patience without end": "return 1024",
        "one used element is enough": """
            steps = 1
            while True:
                importance = squeeze(z, score, num_steps=steps, draws=50)
                if importance[2:].min() < importance[:2].min():
                    return steps
                steps *= 2
            """,
        "twice too many": """
            steps = 1
            while True:
                importance = squeeze(z, score, num_steps=steps, draws=50)
                steps *= 2
                if importance[2:].max() < importance[:2].min():
                    return steps
            """,
    },
    3: {
        "I(Z; Y) whatever the decoder": "return nk.bottleneck.mutual_information(joint)",
        "H(Y) left out": "return (joint * np.log(q)).sum()",
        "wrong sign": "return nk.bottleneck.entropy(joint.sum(1)) - (joint * np.log(q)).sum()",
        "H(Z) for H(Y)": "return nk.bottleneck.entropy(joint.sum(0)) + (joint * np.log(q)).sum()",
        "over q, not over the joint": "return nk.bottleneck.entropy(joint.sum(1)) + (q * np.log(q)).sum()",
        "in bits": "return (nk.bottleneck.entropy(joint.sum(1)) + (joint * np.log(q)).sum()) / np.log(2)",
    },
}
