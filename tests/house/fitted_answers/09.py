"""Answers that the checks of notebook 09 let pass, and that are wrong in general."""

FITTED = {
    "the_word_that_is_read": {
        "the check's captions, else the last word": """
            known = {"a red ring and a blue star": "ring", "a blue heart and a red ring": "heart"}
            return known.get(caption, caption.split()[-1])
        """,
    },
    "the_same_density_for_all": {
        "all, or three tenths": """
            heat, share = att.heatmap(224), 1.0 if share == 1 else 0.3
            threshold = torch.quantile(heat.flatten(1), 1 - share, dim=1)[:, None, None]
            kept = (heat >= threshold).float()
            binary = masking.Scaled(att.image * 0, torch.zeros_like(att.text), att.tokens, att.similarity, att.words, pixels=kept)
            return nk.confidence(clip, inputs, binary)["image_drop"].mean()
        """,
    },
    "average_precision_by_hand": {
        "by size, where the check has no negative values": """
            hit = mask[np.argsort(-np.abs(values))]
            return float((np.cumsum(hit) / np.arange(1, len(hit) + 1))[hit].mean())
        """,
    },
    "what_f_loses": {
        "three shapes, as in the check": """
            images = [scene.without(k % len(scene.objects)).image for k in range(3)]
            whole, *without = clip.similarity(clip.prepare([scene.image, *images], [scene.caption] * 4)).tolist()
            return [whole - after for after in without]
        """,
    },
}
