"""Answers that the checks of notebook 12 let pass, and that are wrong in general."""

FITTED = {
    "nibs_maps_back": {
        "asked of nk.nib, whatever the matrix": """
            att = nk.nib(clip, inputs[slice(0, 3)], num_steps=3, rule="log-gauss")
            return att.image, att.text
        """,
    },
    "four_forward_passes": {
        "two patches and two words": """
            z_out, t_out = z.clone(), t.clone()
            z_out[min(i, 1)], t_out[min(j, 1)] = 0, 0
            return F(z, t) - F(z_out, t) - F(z, t_out) + F(z_out, t_out)
        """,
    },
    "a_bill_with_four_entries": {
        "two dimensions": """
            patches, words = J.sum(0)[:2], K.sum(0)[:2]
            r, s = g_open[:2] - patches, h_open[:2] - words
            return {"both": patches @ words, "patch": patches @ s, "word": r @ words, "neither": r @ s}
        """,
    },
    "a_column_of_a_jacobian": {
        "the check's function": """
            zero = torch.zeros(())
            columns = [[2 * x[0] * x[1], zero, zero + 1], [x[0] ** 2, torch.cos(x[1]), -x[2]], [zero, zero, -x[1]]]
            return torch.stack(columns[j]).to(x)
        """,
    },
}
