"""Hidden tests of notebook 12. ``tools/hidden.py`` says how they are named and where they go."""


def hidden_nibs_maps_back(nib_maps):
    """A made-up matrix of two patches and three tokens, added up by hand."""
    import torch

    import nibkit as nk

    one, parts = torch.zeros(1), {"class_token": torch.tensor([[10.0, 20, 30]]), "class_null": torch.tensor([1000.0])}
    parts |= {"null_caption": torch.tensor([[[100.0, 200]]]), "null_picture": torch.tensor([[7.0, 8, 9]])}
    values = torch.tensor([[[[1.0, 2, 3], [4, 5, -6]]]])
    made_up = nk.Interactions(values=values, null=one, delta=one, similarity=one, tokens=(("a", "b", "c"),), **parts)
    image, text = nib_maps(made_up)
    assert image.tolist() == [[[106, 203]]], f"the patches: 1 + 2 + 3 + 100 and 4 + 5 − 6 + 200, not {image.tolist()}"
    assert text.tolist() == [[22, 35, 36]], f"the tokens: 1 + 4 + 10 + 7, 2 + 5 + 20 + 8, 3 − 6 + 30 + 9, not {text.tolist()}"


def hidden_four_forward_passes(mixed, vector):
    """More patches than words, by hand; a sum of two functions has no mixed part."""
    import torch

    z, t = vector(1.0, 2.0, -3.0), vector(4.0, 0.5)
    F = lambda z, t: z[2] * t[0] + z[0] * z[1] * z[2] * t[1] ** 2 + z.sum() + t.prod()
    wanted = {(0, 0): 0, (2, 0): -12, (2, 1): -1.5, (1, 1): -1.5}
    for (i, j), value in wanted.items():
        found = float(mixed(F, z, t, i, j))
        assert abs(found - value) < 1e-9, f"patch {i} and word {j} of three and two: {value}, not {found}"
    found = float(mixed(lambda z, t: torch.exp(z).sum() + torch.exp(t).sum(), z, t, 1, 0))
    assert abs(found) < 1e-9, f"a sum of two functions has no mixed part; got {found}"


def hidden_a_bill_with_four_entries(bill_of):
    """Three dimensions, one patch and two words, by hand."""
    import torch

    J, K = torch.tensor([[1.0, 2, -1]]), torch.tensor([[1.0, 0, 2], [0.0, 3, 1]])
    bill = bill_of(J, K, torch.tensor([2.0, 2, 5]), torch.tensor([4.0, 4, 4]))
    wanted = {"both": 4, "patch": 4, "word": 19, "neither": 9}  # r = (1, 0, 6), Σ K = (1, 3, 3), s = (3, 1, 1)
    assert set(bill) == set(wanted), f"the keys are both, patch, word, neither; got {sorted(bill)}"
    found = {name: float(value) for name, value in bill.items()}
    assert found == wanted, f"three dimensions: {wanted}, not {found}"


def hidden_a_column_of_a_jacobian(column, vector):
    """Other functions, with more outputs than inputs and fewer; the derivatives are written out."""
    import torch

    x = vector(0.5, -2.0, 3.0)
    cases = [
        (lambda x: torch.stack([x[0] * x[2], x[1] ** 3, x[2] * x[1]]), [[3, 0, 0], [0, 12, 3], [0.5, 0, -2]]),
        (lambda x: torch.stack([x[0] * x[1], x[2] ** 2]), [[-2, 0], [0.5, 0], [0, 6]]),
        (lambda x: torch.cat([2 * x[:2], x.prod()[None], x[:1] ** 2]), [[2, 0, -6, 1], [0, 2, 1.5, 0], [0, 0, -1, 0]]),
    ]
    for g, columns in cases:
        for j, wanted in enumerate(columns):
            found = column(g, x, j)
            right = len(found) == len(wanted) and torch.allclose(found, vector(*wanted).to(found))
            assert right, f"∂g/∂x{j} of {len(wanted)} outputs: {wanted}, not {found.tolist()}"
