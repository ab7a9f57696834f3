"""Answers that the checks of notebook 10 let pass, and that are wrong in general."""

FITTED = {
    "another_average": {
        "from the paper's table alone": """
            rows = paper.table(2).query("metric == @metric").groupby("method")["value"].mean()
            return float(rows["m2ib"] / rows["nib"])
        """,
    },
    "mcnemar_by_hand": {
        "twice the smaller tail, above 1 for an even split": """
            wins, losses = int((a > b).sum()), int((a < b).sum())
            return 2 * stats.binom.cdf(min(wins, losses), wins + losses, 0.5) if wins + losses else 1.0
        """,
    },
    "how_many_pairs": {
        "the stored file alone": """
            wide = nk.results("benchmark").pivot(index="pair", columns="method", values=metric)
            return int(np.ceil((1.96 * (wide["nib"] - wide[rival]).std(ddof=1) / width) ** 2))
        """,
    },
}
