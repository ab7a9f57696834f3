"""Hidden tests of notebook 09. ``tools/hidden.py`` says how they are named and where they go."""


def hidden_the_word_that_is_read(read_word, clip, scenes):
    """The highest id of every shape's and colour's word, wherever it stands."""
    for caption in ("a white star", "a heart and a star", "a black ring and a green circle", "a red triangle and a white cross"):
        row = clip.prepare(scenes[0].image, caption)
        pairs = list(zip(row.input_ids[0].tolist(), row.tokens[0]))[1:-1]
        wanted, found = max(pairs)[1], read_word(caption)
        assert found == wanted, f"“{caption}” is read at “{wanted}”, not at “{found}”"


def hidden_the_same_density_for_all(drop_at, attribution, maps, clip, inputs):
    """Other shares and maps; the pixels are sorted and counted."""
    from dataclasses import replace

    import torch

    for name, att, share in (("NIB", attribution, 0.1), ("random", maps["random"], 0.5), ("NIB", attribution, 0.75)):
        heat = att.heatmap(224).flatten(1)
        kept = torch.zeros_like(heat).scatter(1, heat.topk(round(share * heat.shape[1])).indices, 1.0)
        left = replace(inputs, pixel_values=inputs.pixel_values * kept.reshape(-1, 1, 224, 224))
        wanted = 100 * float((clip.similarity(inputs) - clip.similarity(left)).clamp_min(0).mean())
        found = float(drop_at(att, share))
        assert abs(found - wanted) < 0.05, f"{name}, the top {share:.0%} kept: the mean drop is {wanted:.2f} %, not {found:.2f} %"


def hidden_average_precision_by_hand(precision_of):
    """By hand, with negative values; and counted rank by rank."""
    import numpy as np

    for values, mask, wanted in (
        ([1.0, 2, 3], [1, 0, 0], 1 / 3),
        ([-1.0, -5, 2, -3], [1, 1, 0, 0], (1 / 2 + 2 / 4) / 2),
        ([0.5, -4, 3], [1, 1, 1], 1),
    ):
        found = float(precision_of(np.array(values), np.array(mask, bool)))
        assert abs(found - wanted) < 1e-9, f"values {values}, mask {mask}: {wanted:.4f}, not {found:.4f}"
    rng = np.random.default_rng(9)
    values, mask = rng.normal(size=80), rng.random(80) < 0.2
    hits, precisions = 0, []
    for rank, (_, hit) in enumerate(sorted(zip(values.tolist(), mask.tolist()), reverse=True), 1):
        hits += hit
        precisions += [hits / rank] * hit
    wanted, found = sum(precisions) / len(precisions), float(precision_of(values, mask))
    assert abs(found - wanted) < 1e-9, f"80 values of both signs: {wanted:.4f}, not {found:.4f}"


def hidden_what_f_loses(effects, clip):
    """Scenes of one and two shapes, of which not all are named; the cosine is taken of the embeddings."""
    import torch

    import nibkit as nk

    for seed, objects, captions in ((3, 1, "all"), (4, 2, "one"), (5, 3, "one")):
        (scene,) = nk.shapes.sample(1, seed=seed, captions=captions, objects=objects)
        images = [scene.image, *(scene.without(k).image for k in range(objects))]
        both = clip.prepare(images, [scene.caption] * len(images))
        with torch.no_grad():
            whole, *without = torch.cosine_similarity(clip.encode_image(both), clip.encode_text(both)).tolist()
        found = list(effects(scene))
        assert len(found) == objects, f"{objects} shapes have {objects} effects; got {len(found)}"
        for k, (value, after) in enumerate(zip(found, without)):
            assert abs(value - (whole - after)) < 1e-4, f"shape {k} of {objects}: F loses {whole - after:.4f}, not {value:.4f}"
