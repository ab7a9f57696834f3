"""Hidden tests of notebook 00. ``tools/hidden.py`` says how they are named and where they go."""


def hidden_a_caption_that_is_wrong(two_similarities, clip):
    """Other scenes, of one to three shapes; the cosine is taken of the two embeddings."""
    import torch

    import nibkit as nk

    for seed, color in ((31, "white"), (32, "purple"), (33, "yellow"), (34, None)):
        (scene,) = nk.shapes.sample(1, seed=seed, captions="all", objects=1 + seed % 3)
        first = scene.objects[0]
        color = color or first.color
        captions = [f"a{'n' * (c == 'orange')} {c} {first.shape}" for c in (first.color, color)]
        both = clip.prepare([scene.image] * 2, captions)
        with torch.no_grad():
            expected = torch.cosine_similarity(clip.encode_image(both), clip.encode_text(both)).tolist()
        found = list(two_similarities(scene, color))
        assert len(found) == 2, f"two numbers; got {len(found)}"
        for name, value, wanted in zip(captions, found, expected):
            assert abs(value - wanted) < 1e-4, f"with “{name}” the similarity is {wanted:.4f}, not {value:.4f}"


def hidden_how_many_patches_does_it_take(share):
    """Maps of other sizes, added up by hand."""
    import torch

    import nibkit as nk

    values = [[8.0, -4, 2, -1, 1, 0.5, 0.25, 0.25], [1.0, 1, 1, 1, 1, 1, -1, -1]]
    for shape, wanted in (((2, 4), [16 / 17, 5 / 8]), ((1, 8), [16 / 17, 5 / 8])):
        maps = torch.tensor(values).reshape(2, *shape)
        found = share(nk.Attribution(maps, torch.zeros(2, 1), (("a",), ("a",)), torch.zeros(2)))
        assert tuple(found.shape) == (2,), f"one number for each pair; got the shape {tuple(found.shape)}"
        assert torch.allclose(found, torch.tensor(wanted), atol=1e-6), f"a map of {shape}: {wanted}, not {found.tolist()}"
