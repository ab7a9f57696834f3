"""Mistakes that the checks of notebook 13 must refuse."""


def counted(condition: str, keys: str = '("holds", "holds if", "fails")', of: str = "kinds.count(kind)") -> str:
    """Exercise 1 with this choice of rows, these keys and this count."""
    return f"""
        rows = read_ledger().values()
        kinds = [kind_of(row["verdict"]) for row in rows if {condition}]
        return {{kind: {of} for kind in {keys}}}
    """


CHOSEN = 'row["source"] == source and row["notebook"].startswith(notebook)'


def edge(value: str, frame: str = "edge[1:-1, 1:-1] = False") -> str:
    """Exercise 2 with this value, made of ``strongest``, flat places, and ``edge``, a mask."""
    return f"""
        edge = np.ones(maps.shape[1:], dtype=bool)
        {frame}
        strongest = maps.reshape(len(maps), -1).argmax(1)
        return {value}
    """


WRONG = {
    1: {
        "whatever the source": counted('row["notebook"].startswith(notebook)'),
        "whatever the notebook": counted('row["source"] == source'),
        "the paper's alone": counted('row["source"] == "paper" and row["notebook"].startswith(notebook)'),
        "a condition counts as holding": """
            rows = read_ledger().values()
            chosen = [row["verdict"] for row in rows if row["source"] == source and row["notebook"].startswith(notebook)]
            return {kind: sum(verdict.startswith(kind) for verdict in chosen) for kind in ("holds", "holds if", "fails")}
        """,
        "a condition left out": counted(CHOSEN, '("holds", "fails")'),
        "shares": counted(CHOSEN, of="kinds.count(kind) / max(len(kinds), 1)"),
        "only what there is": counted(CHOSEN, "set(kinds)"),
    },
    2: {
        "the share alone": edge("edge.ravel()[strongest].mean()"),
        "less chance": edge("edge.ravel()[strongest].mean() - edge.mean()"),
        "the corners": edge("edge.ravel()[strongest].mean() / edge.mean()", "edge[1:-1] = edge[:, 1:-1] = False"),
        "rows alone": edge("edge.ravel()[strongest].mean() / edge.mean()", "edge[1:-1] = False"),
        "the inside": edge("(~edge).ravel()[strongest].mean() / (~edge).mean()"),
        "the smallest value": edge("edge.ravel()[maps.reshape(len(maps), -1).argmin(1)].mean() / edge.mean()"),
        "the largest size": edge("edge.ravel()[abs(maps).reshape(len(maps), -1).argmax(1)].mean() / edge.mean()"),
        "always 7 × 7": edge("edge.ravel()[strongest].mean() / (24 / 49)"),
    },
}
