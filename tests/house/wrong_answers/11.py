"""Mistakes that the checks of notebook 11 must refuse."""


def agree(value: str, captions: str = "some", seed: int = 2027, count: str = "pairs") -> str:
    """Exercise 2 with this value, made of ``each``: the two maps of each pair, flat."""
    return f"""
        scenes = nk.shapes.sample({count}, seed={seed}, captions="{captions}")
        inputs = clip.prepare([s.image for s in scenes], [s.caption for s in scenes])
        each = list(zip(*(nk.nib(clip, inputs, layer=layer).image.flatten(1).cpu().numpy() for layer in (a, b))))
        return float({value})
    """


RANKS = "[spearmanr(x, y)[0] for x, y in each]"


def chosen(best: str, value: str, order: str = 'ours_by_layer["pair"].unique()') -> str:
    """Exercise 3 with this choice and value, made of ``wide``: a row per pair, a column per layer."""
    return f"""
        wide = ours_by_layer.pivot(index="pair", columns="method", values=metric).loc[{order}]
        best = {best}
        return best, float({value})
    """


def working(
    layer: str = 'survives.index[survives["without patches"] < share].max()', best: str = "at_layer.max() - slack"
) -> str:
    """Exercise 4 with this layer for a share, and this average precision as the least that will do."""
    return f"""
        good = []
        for share in np.arange(1, 10) / 10:
            layer = {layer}
            if at_layer.get(layer, 0) >= {best}:
                good.append(share)
        return good
    """


FIRST, OTHER = "wide.iloc[:50].mean().idxmin()", "wide.iloc[50:].mean()[best]"

WRONG = {
    1: {
        "what the sum is meant to be": "return 0.0, 1.0",
        "a whole step below": "return 1 / num_steps, 1 + 1 / num_steps",
        "not beyond 1": "return 1 / (2 * num_steps), 1.0",
        "the midpoint rule's": "return 1 / (2 * num_steps), 1 - 1 / (2 * num_steps)",
        "the other order": "return 1 + 1 / (2 * num_steps), 1 / (2 * num_steps)",
        "right for ten alone": "return 0.05, 1.05",
    },
    2: {
        "the mean": agree(f"np.mean({RANKS})"),
        "the values' correlation": agree("np.median([np.corrcoef(x, y)[0, 1] for x, y in each])"),
        "all pairs' patches together": agree("spearmanr(np.ravel([x for x, _ in each]), np.ravel([y for _, y in each]))[0]"),
        "without the sign": agree("np.median([spearmanr(abs(x), abs(y))[0] for x, y in each])"),
        "other captions": agree(f"np.median({RANKS})", captions="all"),
        "other scenes": agree(f"np.median({RANKS})", seed=2026),
        "twenty pairs always": agree(f"np.median({RANKS})", count="20"),
        "nearer is more alike": "return 1 - abs(a - b) / 12",
    },
    3: {
        "the worst layer": chosen(FIRST.replace("idxmin", "idxmax"), OTHER),
        "chosen by all pairs": chosen("wide.mean().idxmin()", OTHER),
        "chosen by the half that judges": chosen("wide.iloc[50:].mean().idxmin()", OTHER),
        "judged by the half that chose": chosen(FIRST, "wide.iloc[:50].mean()[best]"),
        "judged by all pairs": chosen(FIRST, "wide.mean()[best]"),
        "halves exchanged": chosen("wide.iloc[50:].mean().idxmin()", "wide.iloc[:50].mean()[best]"),
        "the names' order": chosen(FIRST, OTHER, 'sorted(ours_by_layer["pair"].unique())'),
        "the lowest median": chosen("wide.iloc[:50].median().idxmin()", OTHER),
        "the paper's layer": chosen('"9"', OTHER),
        "the best of the other half": chosen(FIRST, "wide.iloc[50:].mean().min()"),
    },
    4: {
        "half always": "return [0.5]",
        "all nine": "return list(np.arange(1, 10) / 10)",
        "the lowest and the highest": working().replace("return good", "return [min(good, default=0), max(good, default=0)]"),
        "the layers in place of the shares": working().replace("good.append(share)", "good.append(layer)"),
        "the first layer with more": working('survives.index[survives["without patches"] >= share].min()'),
        "without the class token": working('survives.index[survives["without class token"] < share].max()'),
        "near the mean": working(best="at_layer.mean() - slack"),
        "a share of the best": working(best="at_layer.max() * (1 - slack)"),
        "near layer 9": working(best="at_layer[9] - slack"),
        "within .02 always": working(best="at_layer.max() - 0.02"),
    },
}
