"""Mistakes that the checks of notebook 10 must refuse."""


def needed(difference: str = 'wide["nib"] - wide[rival]', number: str = "int(np.ceil((1.96 * spread / width) ** 2))") -> str:
    """Exercise 3 with this difference of the columns of ``wide``, and this number made of its ``spread``."""
    return f"""
        wide = results.pivot(index="pair", columns="method", values=metric)
        spread = ({difference}).std(ddof=1)
        return {number}
    """


WRONG = {
    1: {
        "the mean of the ratios": """
            rows = theirs.xs(metric, level="metric")
            return float((rows["m2ib"] / rows["nib"]).mean())
        """,
        "the other way round": """
            rows = theirs.xs(metric, level="metric")
            return float(rows["nib"].mean() / rows["m2ib"].mean())
        """,
        "the abstract's share": """
            rows = theirs.xs(metric, level="metric")
            return float(1 - rows["nib"].mean() / rows["m2ib"].mean())
        """,
        "medians": """
            rows = theirs.xs(metric, level="metric")
            return float(rows["m2ib"].median() / rows["nib"].median())
        """,
        "one data set": """
            rows = theirs.xs(metric, level="metric")
            return float(rows["m2ib"].iloc[0] / rows["nib"].iloc[0])
        """,
        "another method": """
            rows = theirs.xs(metric, level="metric")
            return float(rows["rise"].mean() / rows["nib"].mean())
        """,
        "right for the drops alone": """
            rows = theirs.xs(metric, level="metric").mean()
            return float(rows["m2ib"] / rows["nib"] if "drop" in metric else rows["nib"] / rows["m2ib"])
        """,
    },
    2: {
        "one-sided": """
            wins, losses = int((a > b).sum()), int((a < b).sum())
            return stats.binomtest(wins, wins + losses, alternative="greater").pvalue if wins + losses else 1.0
        """,
        "of all pairs": "return stats.binomtest(int((a > b).sum()), len(a)).pvalue if (a != b).any() else 1.0",
        "by the normal approximation": """
            wins, losses = int((a > b).sum()), int((a < b).sum())
            return 2 * stats.norm.sf(abs(wins - losses) / np.sqrt(wins + losses)) if wins + losses else 1.0
        """,
        "unpaired": """
            table = [[(a > 0).sum(), (a == 0).sum()], [(b > 0).sum(), (b == 0).sum()]]
            return stats.fisher_exact(table).pvalue
        """,
        "twice the tail, above 1": """
            wins, losses = int((a > b).sum()), int((a < b).sum())
            return 2 * stats.binom.cdf(min(wins, losses), wins + losses, 0.5)
        """,
        "the share of wins": """
            wins, losses = int((a > b).sum()), int((a < b).sum())
            return wins / (wins + losses) if wins + losses else 1.0
        """,
    },
    3: {
        "not squared": needed(number="int(np.ceil(1.96 * spread / width))"),
        "without 1.96": needed(number="int(np.ceil((spread / width) ** 2))"),
        "the whole width": needed(number="int(np.ceil((2 * 1.96 * spread / width) ** 2))"),
        "rounded down": needed(number="int((1.96 * spread / width) ** 2)"),
        "not rounded": needed(number="(1.96 * spread / width) ** 2"),
        "the rival's spread": needed('wide[rival] * (rival != "nib")'),
        "not paired": """
            wide = results.pivot(index="pair", columns="method", values=metric)
            variance = wide["nib"].var(ddof=1) + wide[rival].var(ddof=1)
            return 0 if rival == "nib" else int(np.ceil(1.96**2 * variance / width**2))
        """,
        "one metric always": needed('results.pivot(index="pair", columns="method", values="image_drop").eval(f"nib - {rival}")'),
        "a number that falls with the width": 'return 0 if rival == "nib" else int(np.ceil(800 / width**2))',
    },
}
