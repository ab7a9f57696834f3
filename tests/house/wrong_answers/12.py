"""Mistakes that the checks of notebook 12 must refuse."""


def bill(r: str = "g_open - patches", s: str = "h_open - words", patch: str = "patches @ s", word: str = "r @ words") -> str:
    """Exercise 3 with these parts."""
    return f"""
        patches, words = J.sum(0), K.sum(0)
        r, s = {r}, {s}
        return {{"both": patches @ words, "patch": {patch}, "word": {word}, "neither": r @ s}}
    """


def four(signs: str = "- - +", change: str = "z_out, t_out = z.clone(), t.clone()") -> str:
    """Exercise 2 with these signs of the last three passes, and this way to copy."""
    one, two, three = signs.split()
    return f"""
        {change}
        whole = F(z, t)
        z_out[i], t_out[j] = 0, 0
        return whole {one} F(z_out, t) {two} F(z, t_out) {three} F(z_out, t_out)
    """


WRONG = {
    1: {
        "the cells alone": """
            return inter.values.sum(-1), inter.values.sum((1, 2)) + inter.class_token
        """,
        "without the class token": """
            image = inter.values.sum(-1) + inter.null_caption
            return image, inter.values.sum((1, 2)) + inter.null_picture
        """,
        "rows and columns swapped": """
            text = inter.values.sum(-1) + inter.null_caption
            return inter.values.sum((1, 2)) + inter.class_token + inter.null_picture, text
        """,
    },
    2: {
        "last sign": four("- - -"),
        "not mixed": four("- + -"),
        "inputs changed": four(change="z_out, t_out = z, t"),
        "both removed alone": """
            z_out, t_out = z.clone(), t.clone()
            z_out[i], t_out[j] = 0, 0
            return F(z, t) - F(z_out, t_out)
        """,
        "the other index": """
            z_out, t_out = z.clone(), t.clone()
            z_out[j], t_out[i] = 0, 0
            return F(z, t) - F(z_out, t) - F(z, t_out) + F(z_out, t_out)
        """,
    },
    3: {
        "nothing left": bill(r="0 * g_open", s="0 * h_open"),
        "patch and word swapped": bill(patch="r @ words", word="patches @ s"),
        "the whole feature": bill(r="g_open", s="h_open"),
        "patch with the whole caption": bill(patch="patches @ h_open"),
    },
    4: {
        "a row": """
            x = x.clone().requires_grad_()
            return torch.autograd.grad(g(x)[j], x)[0]
        """,
        "one coordinate after the other": """
            x = x.clone().requires_grad_()
            value = g(x)
            return torch.stack([torch.autograd.grad(v, x, retain_graph=True)[0][j] for v in value])
        """,
        "the sum of a row": """
            x = x.clone().requires_grad_()
            return torch.autograd.grad(g(x).sum(), x)[0][j] * torch.ones(3, dtype=x.dtype)
        """,
    },
}
