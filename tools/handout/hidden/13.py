"""Hidden tests of notebook 13. ``tools/hidden.py`` says how they are named and where they go."""


def hidden_look_it_up(verdicts):
    """Other notebooks, and one that there is not; the verdicts' first words are counted in the file."""
    import csv
    from collections import Counter

    from nibkit.resources import data_dir

    with (data_dir() / "claims.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    for source, notebook in (("paper", "02"), ("ours", "05"), ("reading", "06"), ("ours", "12"), ("paper", "97")):
        first = Counter()
        for row in rows:
            if (row["source"], row["notebook"][:2]) == (source, notebook):
                word, *more = row["verdict"].replace(";", " ").replace(":", " ").split()
                first["holds if" if more[:1] == ["if"] else word] += 1
        wanted = {kind: first[kind] for kind in ("holds", "holds if", "fails")}
        found = dict(verdicts(source, notebook))
        assert found == wanted, f"rows of source {source} in notebook {notebook}: {wanted}, not {found}"


def hidden_the_edge_of_the_map(edge_share):
    """Grids of other sizes, with maxima put where they are wanted; some that are all edge."""
    import numpy as np

    for height, width, places, wanted in (
        (6, 4, [(0, 0), (2, 1), (3, 3), (4, 2)], 2 / 4 / (16 / 24)),
        (4, 8, [(1, 1), (2, 6), (3, 4)], 1 / 3 / (20 / 32)),
        (2, 5, [(0, 3), (1, 2)], 1),
        (1, 1, [(0, 0)], 1),
    ):
        maps = np.full((len(places), height, width), -5.0)
        for one, place in zip(maps, places):
            one[place] = -1.0
        found = float(edge_share(maps))
        assert abs(found - wanted) < 1e-9, f"{height} × {width}, the largest at {places}: {wanted:.4f}, not {found:.4f}"
