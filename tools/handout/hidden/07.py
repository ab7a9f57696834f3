"""Hidden tests of notebook 07. ``tools/hidden.py`` says how they are named and where they go."""


def hidden_the_class_tokens_share(class_share):
    """Made-up values: no share at all, patches that cancel, and shares that are no quarters."""
    import torch

    import nibkit as nk

    image = torch.tensor([[[0.3, 0.3, -0.2]], [[0.5, -0.9, 0.4]], [[0.1, 0.2, 0.4]], [[-0.2, -0.3, 0.1]]])
    own, wanted = torch.tensor([0.0, -0.2, 0.3, -0.1]), torch.tensor([0.0, 1.0, 0.3, 0.2])
    maps = nk.Attribution(image, torch.zeros(4, 1), (("a",),) * 4, torch.zeros(4), class_token=own)
    found = class_share(maps)
    assert tuple(found.shape) == (4,), f"a share for each pair; got the shape {tuple(found.shape)}"
    assert torch.allclose(found, wanted, atol=1e-5), f"|own| ÷ (|own| + |sum|) is {wanted.tolist()}, not {found.tolist()}"


def hidden_a_better_placed_sum(nib_midpoint):
    """A tower that is a mean and a bias, whose gradient is written out."""
    from types import SimpleNamespace

    import numpy as np
    import torch

    rng = np.random.default_rng(3)
    z, other, bias = rng.normal(size=(2, 5, 4)), rng.normal(size=(2, 4)), rng.normal(size=4)
    tower = SimpleNamespace(tail=lambda z, *others: z.mean(1) + torch.tensor(bias))
    for n in (1, 4, 25):
        wanted = np.zeros((2, 5))
        for k in range(n):
            for b, e in enumerate(other):
                v = (k + 0.5) / n * z[b].mean(0) + bias
                length, along = np.linalg.norm(v), v @ e / np.linalg.norm(v) ** 2
                wanted[b] += z[b] @ (e - along * v) / (length * np.linalg.norm(e)) / 5 / n
        found = nib_midpoint(tower, torch.tensor(z), torch.tensor(other), n)
        assert tuple(found.shape) == (2, 5), f"a number for each token, [2, 5]; got {list(found.shape)}"
        assert np.allclose(found.detach(), wanted, atol=1e-8), f"{n} steps: other values at λ = (k − ½)/n"


def hidden_small_shapes(pointing, clip):
    """Other numbers of scenes and shapes; the highest pixel is looked up in the named mask."""
    import nibkit as nk

    for count, objects, seed in ((11, 3, 21), (17, 2, 22)):
        scenes = nk.shapes.sample(count, seed=seed, captions="one", objects=objects, size=(20, 30))
        maps = nk.nib(clip, clip.prepare([s.image for s in scenes], [s.caption for s in scenes]))
        hits = 0
        for scene, values in zip(scenes, maps.heatmap(224, normalize=None).cpu()):
            row, column = divmod(int(values.argmax()), 224)
            hits += bool(scene.masks[scene.named[0]][row, column])
        found = float(pointing(scenes))
        assert abs(found - hits / count) < 1e-6, f"the highest pixel is on the named shape in {hits} of {count}, not {found:.3f}"


def hidden_how_sure_is_one_map(steadiness, clip):
    """One copy, two and six, of other scenes; ranks are counted here."""
    import numpy as np

    import nibkit as nk

    def ranks(values):
        return values.flatten().cpu().numpy().argsort().argsort()

    for scene, copies in zip(nk.shapes.sample(3, seed=35, captions="one", objects=3), (1, 2, 6)):
        pixels = np.asarray(scene.image, float)
        noisy = [pixels + np.random.default_rng(k).normal(0, 8, pixels.shape) for k in range(copies)]
        images = [scene.image, *(copy.clip(0, 255).astype(np.uint8) for copy in noisy)]
        first, *others = nk.nib(clip, clip.prepare(images, [scene.caption] * len(images))).image
        wanted = np.median([np.corrcoef(ranks(first), ranks(other))[0, 1] for other in others])
        found = float(steadiness(scene, copies=copies))
        assert abs(found - wanted) < 0.005, f"{copies} noisy copies: the median is {wanted:.4f}, not {found:.4f}"
