"""Wrong answers to the exercises of notebook 01 that its checks must refuse: each stands between the solution's marks."""

WRONG = {
    1: {
        "the letter before instead of the next": "    return (np.eye(n) + np.roll(np.eye(n), 1, axis=0)) / (2 * n)",
        "p(typed | meant) instead of the joint table": "    return (np.eye(n) + np.roll(np.eye(n), 1, axis=1)) / 2",
        "two keyboards of two letters: one bit for n = 4": "    return np.kron(np.eye(n // 2), np.ones((2, 2))) / (2 * n)",
        "no way round after the last letter": "    return (np.eye(n) + np.eye(n, k=1)) / (2 * n)",
        "always four letters": "    return (np.eye(4) + np.roll(np.eye(4), 1, axis=1)) / 8",
        "never wrong": "    return np.eye(n) / n",
    },
    2: {
        "twice one reading": "    return 2 * ib.information(coin, 1.0, sigma)",
        "one reading": "    return ib.information(coin, 1.0, sigma)",
        "the noise of the mean is σ/2": "    return ib.information(coin, 1.0, sigma / 2)",
        "a constant": "    return ib.information(ib.Law([[-1.0, -1.0], [1.0, 1.0]]), 1.0, 1.0)",
        "two independent signs": """
    return ib.information(ib.Law([[-1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [1.0, 1.0]]), 1.0, sigma)
""",
        "a Gaussian of the same variance": "    return 0.5 * np.log(1 + 2 / sigma**2)",
    },
    3: {
        "a constant": "    return 0.64",
        "not squared": """
    scaled = joint / np.sqrt(np.outer(joint.sum(1), joint.sum(0)))
    return np.linalg.svd(scaled, compute_uv=False)[1]
""",
        "the first singular value": """
    scaled = joint / np.sqrt(np.outer(joint.sum(1), joint.sum(0)))
    return np.linalg.svd(scaled, compute_uv=False)[0] ** 2
""",
        "divided by p(x) p(y), without the root": """
    return np.linalg.svd(joint / np.outer(joint.sum(1), joint.sum(0)), compute_uv=False)[1] ** 2
""",
        "p(y | x) instead of the scaled table": """
    return np.linalg.svd(joint / joint.sum(1, keepdims=True), compute_uv=False)[1] ** 2
""",
    },
}
