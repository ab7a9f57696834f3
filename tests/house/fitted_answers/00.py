"""Answers that the checks of notebook 00 let pass, and that are wrong in general."""

FITTED = {
    "a_caption_that_is_wrong": {
        "the check's colours alone": """
            color = color if color in ("green", "orange", "black") else "green"
            there = scene.objects[0]
            phrases = [there.phrase, nk.shapes.phrase(color, there.shape)]
            return nk.nib(clip, clip.prepare([scene.image] * 2, phrases)).similarity.tolist()
        """,
    },
    "how_many_patches_does_it_take": {
        "of 49 patches always": """
            strength = attribution.image.flatten(1).abs()
            return strength.topk(5, dim=1).values.sum(1) / (49 * strength.mean(1))
        """,
    },
}
