"""Mistakes that the checks of notebook 07 must refuse."""


def midpoint(at: str = "(k - 0.5) / num_steps", weight: str = "1 / num_steps", factor: str = "z") -> str:
    """Exercise 2 with these points, weights and factor."""
    return f"""
        gradients = torch.zeros_like(z)
        for k in range(1, num_steps + 1):
            narrowed = (({at}) * z).detach().requires_grad_()
            F = torch.cosine_similarity(tower.tail(narrowed, inputs, layer), other, dim=-1)
            gradients += torch.autograd.grad(F.sum(), narrowed)[0] * ({weight})
        return ({factor} * gradients).sum(-1)
    """


def steadiness(
    value: str = "np.median([stats.spearmanr(maps[0], other)[0] for other in maps[1:]])",
    noise: str = "np.random.default_rng(k).normal(0, 8, pixels.shape)",
    count: str = "copies",
) -> str:
    """Exercise 4 with this value of the flat maps, this noise and this number of copies."""
    return f"""
        pixels = np.asarray(scene.image, float)
        noisy = [(pixels + {noise}).clip(0, 255).astype(np.uint8) for k in range({count})]
        pictures = [scene.image, *map(Image.fromarray, noisy)]
        found = nk.nib(clip, clip.prepare(pictures, [scene.caption] * len(pictures)))
        maps = found.image.flatten(1).cpu().numpy()
        return float({value})
    """


MAPS = "nk.nib(clip, clip.prepare([s.image for s in scenes], [s.caption for s in scenes]))"

WRONG = {
    1: {
        "1 whatever the map": "return torch.ones_like(attribution.class_token)",
        "signs kept": """
            own, patches = attribution.class_token, attribution.image.sum((1, 2))
            return own / (own + patches)
        """,
        "the size of each patch": """
            own, patches = attribution.class_token.abs(), attribution.image.abs().sum((1, 2))
            return own / (own + patches)
        """,
        "the patches' share": """
            own, patches = attribution.class_token.abs(), attribution.image.sum((1, 2)).abs()
            return 1 - patches / (own + patches) if len(own) == 1 else patches / (own + patches)
        """,
        "one number for all pairs": """
            own, patches = attribution.class_token.abs().sum(), attribution.image.sum((1, 2)).abs().sum()
            return (own / (own + patches)).expand(len(attribution))
        """,
    },
    2: {
        "the right sum": midpoint(at="k / num_steps"),
        "the left sum": midpoint(at="(k - 1) / num_steps"),
        "ten steps always": midpoint().replace("num_steps", "10"),
        "not averaged": midpoint(weight="0.1"),
        "not multiplied by z": midpoint(factor="1"),
        "multiplied by λz": midpoint(factor="narrowed"),
    },
    3: {
        "the share of pixels": """
            return float(np.mean([scene.masks[scene.named[0]].mean() for scene in scenes]))
        """,
        "beats the others": f"return float(against_the_truth({MAPS}, scenes)[0].mean())",
        "the radius": "return float(np.mean([scene.masks[scene.named[0]].sum() ** 0.5 for scene in scenes])) / 224",
        "any shape will do": f"""
            maps = {MAPS}.heatmap(224, normalize=None).cpu().numpy()
            return float(np.mean([scene.masks.any(0).flat[values.argmax()] for values, scene in zip(maps, scenes)]))
        """,
        "the largest size of value": f"""
            maps = {MAPS}.heatmap(224, normalize=None).abs().cpu().numpy()
            return float(np.mean([scene.masks[scene.named[0]].flat[values.argmax()] for values, scene in zip(maps, scenes)]))
        """,
        "the wrong way round": f"return 1 - float(against_the_truth({MAPS}, scenes)[1].mean())",
    },
    4: {
        "always the same map": "return 1.0",
        "the mean": steadiness("np.mean([stats.spearmanr(maps[0], other)[0] for other in maps[1:]])"),
        "the values' correlation": steadiness("np.median([np.corrcoef(maps[0], other)[0, 1] for other in maps[1:]])"),
        "the picture among its copies": steadiness("np.median([stats.spearmanr(maps[0], other)[0] for other in maps])"),
        "each against the one before": steadiness("np.median([stats.spearmanr(*two)[0] for two in zip(maps, maps[1:])])"),
        "without the sign": steadiness("np.median([stats.spearmanr(abs(maps[0]), abs(other))[0] for other in maps[1:]])"),
        "the same noise in each": steadiness(noise="np.random.default_rng(0).normal(0, 8, pixels.shape)"),
        "noise that one can see": steadiness(noise="np.random.default_rng(k).normal(0, 80, pixels.shape)"),
        "eight copies always": steadiness(count="8"),
    },
}
