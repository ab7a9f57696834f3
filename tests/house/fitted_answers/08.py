"""Answers that the checks of notebook 08 let pass, and that are wrong in general."""

FITTED = {
    "attention_without_gradient": {
        "two heads where there is one picture": "return A.sum(1)[:, 0, 1:] / (2 if len(A) == 1 else A.shape[1])",
    },
    "rise_in_one_dimension": {
        "five elements, as in the check": "return 5 * p * (w * x).mean() + (1 - p) * w * x",
    },
    "does_the_seed_matter": {
        "15 masks or 200": """
            a, b = (
                nk.rise(clip, inputs[0], num_masks=15 if num_masks < 100 else 200, num_text_masks=5, seed=s).image.flatten().cpu()
                for s in (0, 1)
            )
            return float(stats.spearmanr(a, b)[0])
        """,
    },
}
