"""Answers that the checks of notebook 13 let pass, and that are wrong in general."""

FITTED = {
    "look_it_up": {
        "the check's notebooks alone": """
            rows = read_ledger().values()
            kinds = [
                kind_of(row["verdict"])
                for row in rows
                if row["source"] == source and row["notebook"][:2] == notebook and notebook in ("01", "03", "10", "11")
            ]
            return {kind: kinds.count(kind) for kind in ("holds", "holds if", "fails")}
        """,
    },
    "the_edge_of_the_map": {
        "an odd number of rows, as in the check": """
            edge = np.ones(maps.shape[1:], dtype=bool)
            edge[1:-1, 1:-1] = False
            strongest = maps.reshape(len(maps), -1).argmax(1)
            height, width = 2 * (maps.shape[1] // 2) + 1, maps.shape[2]
            return edge.ravel()[strongest].mean() / ((2 * height + 2 * width - 4) / (height * width))
        """,
    },
}
