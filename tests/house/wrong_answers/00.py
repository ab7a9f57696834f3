"""Wrong answers to the exercises of notebook 00 that its checks must refuse: each stands between the solution's marks."""

WRONG = {
    1: {
        "constants, no model run": "    return 0.53, 0.21",
        "this notebook's first scene, whatever is asked": """
    there = nk.shapes.sample(1, seed=59, captions="one", objects=3)[0]
    phrases = [there.objects[0].phrase, nk.shapes.phrase("yellow", there.objects[0].shape)]
    return nk.nib(clip, clip.prepare([there.image] * 2, phrases)).similarity.tolist()
""",
        "the scene's caption for its first object": """
    phrases = [scene.caption, nk.shapes.phrase(color, scene.objects[0].shape)]
    return nk.nib(clip, clip.prepare([scene.image] * 2, phrases)).similarity.tolist()
""",
        "wrong and right exchanged": """
    phrases = [nk.shapes.phrase(color, scene.objects[0].shape), scene.objects[0].phrase]
    return nk.nib(clip, clip.prepare([scene.image] * 2, phrases)).similarity.tolist()
""",
        "the sum of the patches for the similarity": """
    phrases = [scene.objects[0].phrase, nk.shapes.phrase(color, scene.objects[0].shape)]
    return nk.nib(clip, clip.prepare([scene.image] * 2, phrases)).image.sum((1, 2)).tolist()
""",
    },
    2: {
        "signed: the sum can be small": """
    values = attribution.image.flatten(1)
    return values.topk(5, dim=1).values.sum(1) / values.sum(1)
""",
        "the five largest, not the five strongest": """
    values = attribution.image.flatten(1)
    return values.topk(5, dim=1).values.abs().sum(1) / values.abs().sum(1)
""",
        "four patches": """
    strength = attribution.image.flatten(1).abs()
    return strength.topk(4, dim=1).values.sum(1) / strength.sum(1)
""",
        "all pairs together": """
    strength = attribution.image.abs().flatten()
    return (strength.topk(5).values.sum() / strength.sum()).expand(len(attribution))
""",
        "always the 200 scenes": """
    strength = many.image.flatten(1).abs()
    return strength.topk(5, dim=1).values.sum(1) / strength.sum(1)
""",
    },
}
