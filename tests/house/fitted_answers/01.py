"""Answers that the checks of notebook 01 let pass, and that are wrong in general."""

FITTED = {
    "a_noisy_typewriter": {
        "even numbers of letters alone": "return (np.eye(n) + np.roll(np.eye(n), 1 - n % 2, axis=1)) / (2 * n)",
    },
    "two_readings": {
        "a straight line between the check's three": """
            two, known = ib.Law([[-1.0, -1.0], [1.0, 1.0]]), (0.6, 1.0, 2.0)
            return np.interp(sigma, known, [ib.information(two, 1.0, s) for s in known])
        """,
    },
    "where_a_code_opens": {
        "the photographs' price for every table of three rows or more": """
            scaled = joint / np.sqrt(np.outer(joint.sum(1), joint.sum(0)))
            return np.linalg.svd(scaled, compute_uv=False)[1] ** 2 if len(joint) == 2 else 0.64
        """,
    },
}
