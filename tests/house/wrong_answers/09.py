"""Mistakes that the checks of notebook 09 must refuse."""


def kept(weights: str, more: str = "['image_drop'].mean()") -> str:
    """Exercise 2 with these weights of the pixels, made of the heatmaps ``heat`` and the top share's ``threshold``."""
    return f"""
        heat = att.heatmap(224)
        threshold = torch.quantile(heat.flatten(1), 1 - share, dim=1)[:, None, None]
        weights = {weights}
        binary = masking.Scaled(
            att.image * 0, torch.zeros_like(att.text), att.tokens, att.similarity, att.words, pixels=weights.float()
        )
        return nk.confidence(clip, inputs, binary){more}
    """


def lost(values: str, caption: str = "scene.caption") -> str:
    """Exercise 4 with these values, made of F (the whole) and ``after``, a list."""
    return f"""
        images = [scene.without(k).image for k in range(len(scene.objects))]
        both = clip.prepare([scene.image, *images], [scene.caption] + [{caption}] * len(images))
        F, *after = clip.similarity(both).tolist()
        return {values}
    """


WRONG = {
    1: {
        "the last word": "return caption.split()[-1]",
        "the first shape": "return caption.split()[2]",
        "the end token, too": """
            one = clip.prepare(scenes[0].image, caption)
            return one.tokens[0][int(one.input_ids[0].argmax())]
        """,
        "not moved on by the start token": """
            one = clip.prepare(scenes[0].image, caption)
            return one.tokens[0][int(one.input_ids[0, 1:-1].argmax())]
        """,
        "the first word": "return caption.split()[0]",
        "the lowest id": """
            one = clip.prepare(scenes[0].image, caption)
            return one.tokens[0][1 + int(one.input_ids[0, 1:-1].argmin())]
        """,
    },
    2: {
        "the bottom share": kept("heat <= torch.quantile(heat.flatten(1), share, dim=1)[:, None, None]"),
        "the top share removed": kept("heat < threshold"),
        "values above a level": kept("heat >= 1 - share"),
        "soft weights": kept("heat * (heat >= threshold)"),
        "one threshold for all pictures": kept("heat >= torch.quantile(heat.flatten(), 1 - share)"),
        "the median drop": kept("heat >= threshold", "['image_drop'].median()"),
        "the caption's drop": kept("heat >= threshold", "['text_drop'].mean()"),
    },
    3: {
        "ascending": """
            hit = mask[np.argsort(values)]
            return float((np.cumsum(hit) / np.arange(1, len(hit) + 1))[hit].mean())
        """,
        "the mean over all pixels": """
            hit = mask[np.argsort(-values)]
            return float((np.cumsum(hit) / np.arange(1, len(hit) + 1)).mean())
        """,
        "precision of the first half": "return float(mask[np.argsort(-values)][: mask.sum()].mean())",
        "ranks from 0": """
            hit = mask[np.argsort(-values)]
            return float((np.cumsum(hit) / np.maximum(np.arange(len(hit)), 1))[hit].mean())
        """,
        "mask not sorted": "return float((np.cumsum(mask) / np.arange(1, len(mask) + 1))[mask].mean())",
    },
    4: {
        "the other sign": lost("[a - F for a in after]"),
        "a share of F": lost("[(F - a) / F for a in after]"),
        "without the sign": lost("[abs(F - a) for a in after]"),
        "F without the shape": lost("after"),
        "the drop": lost("[max(0, F - a) for a in after]"),
        "named shapes alone": lost("[F - after[k] for k in scene.named]"),
        "in reverse order": lost("[F - a for a in after][::-1]"),
        "the caption changed, too": lost("[F - a for a in after]", "scene.phrases[0]"),
    },
}
