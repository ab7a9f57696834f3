"""Hidden tests of notebook 10. ``tools/hidden.py`` says how they are named and where they go."""


def hidden_another_average(ratio_of_means):
    """A made-up table of two data sets in place of ``theirs``."""
    import pandas as pd

    rows = {("A", "image_drop"): (6.0, 1.0, 2.0), ("B", "image_drop"): (2.0, 9.0, 3.0)}
    rows |= {("A", "fps"): (1.0, 5.0, 10.0), ("B", "fps"): (2.0, 7.0, 50.0)}
    table = pd.DataFrame.from_dict(rows, orient="index", columns=["m2ib", "rise", "nib"])
    table.index = pd.MultiIndex.from_tuples(table.index, names=["dataset", "metric"])
    space = ratio_of_means.__globals__
    kept, space["theirs"] = space["theirs"], table
    try:
        found = {metric: float(ratio_of_means(metric)) for metric in ("image_drop", "fps")}
    finally:
        space["theirs"] = kept
    for metric, wanted in (("image_drop", 4 / 2.5), ("fps", 1.5 / 30)):
        assert abs(found[metric] - wanted) < 1e-9, f"{metric} of a made-up table: {wanted}, not {found[metric]}"


def hidden_mcnemar_by_hand(mcnemar):
    """Coins counted with whole numbers; an even split, a split of none, and the two methods exchanged."""
    from fractions import Fraction
    from math import comb

    import numpy as np

    for wins, losses, same in ((5, 5, 3), (0, 6, 0), (1, 1, 0), (30, 12, 9), (12, 30, 9), (0, 0, 4)):
        a = np.array([100] * wins + [0] * losses + [100] * same)
        b = np.array([0] * wins + [100] * losses + [100] * same)
        n, few = wins + losses, min(wins, losses)
        wanted = float(min(Fraction(1), 2 * Fraction(sum(comb(n, k) for k in range(few + 1)), 2**n)))
        found = float(mcnemar(a, b))
        assert abs(found - wanted) < 1e-9, f"{wins} won, {losses} lost, {same} alike: p is {wanted:.5f}, not {found:.5f}"


def hidden_how_many_pairs(pairs_needed):
    """A made-up file of results, whose differences have the standard deviation 1; its rows are in no order."""
    import pandas as pd

    rows = [("c", "nib", 7.0), ("a", "rise", 3.0), ("b", "nib", 4.0), ("a", "nib", 2.0), ("c", "rise", 6.0), ("b", "rise", 4.0)]
    table = pd.DataFrame(rows, columns=["pair", "method", "image_drop"])
    table["text_drop"] = 2 * table["image_drop"]  # the standard deviation is 2
    space = pairs_needed.__globals__
    kept, space["results"] = space["results"], table
    cases = [("image_drop", 1, 4), ("image_drop", 0.5, 16), ("text_drop", 0.1, 1537), ("text_drop", 3.5, 2)]
    try:
        found = [pairs_needed(metric, "rise", width) for metric, width, _ in cases]
    finally:
        space["results"] = kept
    for value, (metric, width, wanted) in zip(found, cases):
        assert value == wanted, f"{metric} of a made-up file, ± {width}: {wanted} pairs, not {value}"
