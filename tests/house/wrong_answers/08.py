"""Mistakes that the checks of notebook 08 must refuse."""


def spread(
    a: str = "seed=0", b: str = "seed=1", masks: str = "num_masks", pair: str = "0", correlation: str = "spearmanr"
) -> str:
    """Exercise 3 with these seeds, masks, pair and correlation."""
    return f"""
        call = dict(num_masks={masks}, num_text_masks=5)
        a, b = (nk.rise(clip, inputs[{pair}], **call, **other).image.flatten().cpu() for other in (dict({a}), dict({b})))
        return float(stats.{correlation}(a, b)[0])
    """


WRONG = {
    1: {
        "the class token's column": "return A.mean(1)[:, 1:, 0]",
        "the largest head": "return A.amax(1)[:, 0, 1:]",
        "the first head": "return A[:, 0, 0, 1:]",
        "the patches' own rows": "return A.mean(1)[:, 1:, 1:].mean(1)",
        "the class token is in": "return A.mean(1)[:, 0]",
        "scaled to 1": "return A.mean(1)[:, 0, 1:] / A.mean(1)[:, 0, 1:].sum(1, keepdim=True)",
        "in the opposite order": "return A.mean(1)[:, 0, 1:].flip(1)",
    },
    2: {
        "its own part alone": "return w * x",
        "the score alone": "return p * (w @ x) * np.ones(len(x))",
        "independent of itself": "return p * (w @ x) + w * x",
        "not divided by p": "return p**2 * (w @ x) + p * (1 - p) * w * x",
        "right for p = .3 alone": "return 0.3 * (w @ x) + 0.7 * w * x",
        "the squares' part": "return p * (w @ x) + (1 - p) * x**2",
    },
    3: {
        "a rising number": "return 1 - 1 / num_masks",
        "one seed": spread(b="seed=0"),
        "other seeds": spread(b="seed=2"),
        "the values' correlation": spread(correlation="pearsonr"),
        "200 masks always": spread(masks="200 + num_masks - num_masks"),
        "another pair": spread(pair="1"),
    },
}
