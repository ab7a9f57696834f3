"""Answers that the checks of notebook 07 let pass, and that are wrong in general."""

FITTED = {
    "the_class_tokens_share": {
        "rounded to quarters": """
            own, patches = attribution.class_token.abs(), attribution.image.sum((1, 2)).abs()
            return (4 * own / (own + patches)).round() / 4
        """,
    },
    "a_better_placed_sum": {
        "asked of nk.nib, whatever the tower": """
            att = nk.nib(clip, inputs, layer=9, rule="midpoint", num_steps=num_steps)
            return torch.cat([att.class_token[:, None], att.image.flatten(1)], 1) if tower is clip.image else att.text
        """,
    },
    "small_shapes": {
        "as many scenes as in the check": """
            attribution = nk.nib(clip, clip.prepare([s.image for s in scenes], [s.caption for s in scenes]))
            return float(against_the_truth(attribution, scenes)[1].sum() / 40)
        """,
    },
    "how_sure_is_one_map": {
        "the check's numbers of copies alone": """
            pixels = np.asarray(scene.image, float)
            noisy = [pixels + np.random.default_rng(k).normal(0, 8, pixels.shape) for k in range(copies)]
            images = [scene.image, *(Image.fromarray(n.clip(0, 255).astype(np.uint8)) for n in noisy)]
            maps = nk.nib(clip, clip.prepare(images, [scene.caption] * len(images))).image.flatten(1).cpu().numpy()
            return float(np.median([stats.spearmanr(maps[0], m)[0] for m in maps[1:]])) if copies in (1, 4, 5) else 1.0
        """,
    },
}
