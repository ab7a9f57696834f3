"""Hidden tests of notebook 08. ``tools/hidden.py`` says how they are named and where they go."""


def hidden_attention_without_gradient(raw_attention):
    """Whole numbers, added up one by one: other numbers of heads, pictures and patches."""
    import torch

    for pictures, heads, tokens in ((1, 3, 5), (3, 1, 4), (2, 4, 10)):
        count = pictures * heads * tokens * tokens
        A = ((7 * torch.arange(count)) % 23).float().reshape(pictures, heads, tokens, tokens)
        rows = A.tolist()
        wanted = [[sum(rows[b][h][0][j] for h in range(heads)) / heads for j in range(1, tokens)] for b in range(pictures)]
        found = raw_attention(A)
        assert tuple(found.shape) == (pictures, tokens - 1), f"[{pictures}, {tokens - 1}] values; got {list(found.shape)}"
        assert torch.allclose(found, torch.tensor(wanted)), f"{heads} heads, {pictures} pictures: {wanted}, not {found.tolist()}"


def hidden_rise_in_one_dimension(expected_rise):
    """By hand, and the sum over all masks of other sizes."""
    from itertools import product

    import numpy as np

    found = expected_rise(np.array([1.0, 2]), np.array([3.0, 4]), 0.5)
    assert np.allclose(found, [7, 9.5]), f"w = (1, 2), x = (3, 4), p = ½: 7 and 9.5, not {found}"
    found = expected_rise(np.array([2.0]), np.array([-3.0]), 0.2)
    assert np.allclose(found, [-6]), f"one element: S = wx = −6, not {found}"
    rng = np.random.default_rng(8)
    for n, p in ((3, 1.0), (4, 0.05), (7, 0.6)):
        (w, x), wanted = rng.normal(size=(2, n)), np.zeros(n)
        for mask in product((0, 1), repeat=n):
            chance = p ** sum(mask) * (1 - p) ** (n - sum(mask))
            wanted += chance * sum(a * b * m for a, b, m in zip(w, x, mask)) * np.array(mask) / p
        assert np.allclose(expected_rise(w, x, p), wanted), f"{n} elements, p = {p}: the sum over all masks is another"


def hidden_does_the_seed_matter(seed_spread, clip, inputs):
    """Other numbers of masks; ranks are counted here."""
    import numpy as np

    import nibkit as nk

    for count in (30, 90):
        maps = [nk.rise(clip, inputs[0], num_masks=count, num_text_masks=5, seed=seed).image for seed in (0, 1)]
        ranks = [map.flatten().cpu().numpy().argsort().argsort() for map in maps]
        wanted, found = np.corrcoef(ranks)[0, 1], float(seed_spread(count))
        assert abs(found - wanted) < 1e-3, f"{count} masks: the ranks correlate by {wanted:.3f}, not {found:.3f}"
