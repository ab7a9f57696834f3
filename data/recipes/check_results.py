"""Are the stored rows of ``make_results.py`` and ``measure_scores.py`` true? A share of them, drawn at random, is measured again.

    python data/recipes/check_results.py                       # every file, 2 % of its rows: some minutes on two cores
    python data/recipes/check_results.py --share 1 steps       # all rows of one: benchmark, steps, layers, beta, grid …
    make results-check SHARE=0.1 SEED=3                        # the same from the Makefile

Says for each file how many rows it measured and which figures differ by more than the tolerance; exit status 1 if there are any.
Left out are the rows of NIB cut before the last block (layer 11): it warns there that its values are rounding, and rounding is
another on another machine.
"""

from __future__ import annotations

import argparse

import measure_scores
import numpy as np
import pandas as pd
from make_results import ROOT, RUNS

import nibkit as nk

NAMES = (*RUNS, "model_scores")
KEYS = ("model", "pair", "method")  # whose row it is
PERCENT = ("drop", "increase")  # in the names of columns from 0 to 100; all others are counts or about 0 to 1


def meaningful(table: pd.DataFrame, name: str) -> pd.DataFrame:
    """The rows whose figures are more than rounding."""
    last = {"layers": r"11", "grid": r"\d+,11"}.get(name)
    return table[~table["method"].str.fullmatch(last)] if last else table


def drawn(table: pd.DataFrame, share: float, seed: int) -> pd.DataFrame:
    """This share of the rows (one at least of each method, on each model), in the table's order."""
    kinds = table.groupby([key for key in ("model", "method") if key in table])
    picked = kinds.sample(frac=share, random_state=seed).index
    one_each = kinds.sample(1, random_state=seed).index
    return table.loc[sorted(picked.union(one_each))]


def measured(clip: nk.Clip, name: str, rows: pd.DataFrame) -> pd.DataFrame:
    """The same pairs and methods explained now, in the order of ``rows``; by the models that they name, else by ``clip``."""
    if name == "model_scores":
        tables = []
        for model, of_model in rows.groupby("model", sort=False):
            clip = nk.load_clip(model)
            for label, some in of_model.groupby("method", sort=False):
                tables.append(measure_scores.measure(clip, label, some["pair"]))
        return rows[list(KEYS)].merge(pd.concat(tables), on=list(KEYS), how="left", validate="one_to_one")
    count, seed, methods = RUNS[name]
    steps = 7 if name == "benchmark" else None
    pairs = {pair.id: pair for pair in nk.datasets.shapes(count, seed, captions="some")}
    tables = [
        nk.evaluate(clip, [pairs[id] for id in some["pair"]], {label: methods[label]}, curve_steps=steps, progress=False)
        for label, some in rows.groupby("method", sort=False)
    ]
    return rows[["pair", "method"]].merge(pd.concat(tables), on=["pair", "method"], how="left", validate="one_to_one")


def differences(stored: pd.DataFrame, now: pd.DataFrame, tolerance: float) -> pd.DataFrame:
    """The figures that differ, a row each: model (where there are several), pair, method, column, stored, now.

    ``tolerance`` is a share of a figure's scale: 100 for percentages, else 1, or the figure itself where it is larger (counts).
    A figure that is missing on one side alone differs.
    """
    keys = [key for key in KEYS if key in stored]
    long = [table[stored.columns].melt(keys, var_name="column") for table in (stored, now)]
    both = long[0].rename(columns={"value": "stored"}).merge(long[1].rename(columns={"value": "now"}), on=[*keys, "column"])
    scale = np.where(both["column"].str.contains("|".join(PERCENT)), 100.0, np.maximum(1.0, both["stored"].abs()))
    close = (both["stored"] - both["now"]).abs() <= tolerance * scale
    return both[~(close | (both["stored"].isna() & both["now"].isna()))]


def main() -> None:
    """Draw, measure, compare, say."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"{', '.join(NAMES)}; default: all")
    parser.add_argument("--share", type=float, default=0.02, help="of the rows, above 0 and up to 1 (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the draw")
    parser.add_argument("--tolerance", type=float, default=1e-3, help="as a share of a figure's scale (default: %(default)s)")
    args = parser.parse_args()
    if unknown := set(args.names) - set(NAMES):
        parser.error(f"no run of that name: {', '.join(sorted(unknown))}")
    if not 0 < args.share <= 1:
        parser.error(f"--share must be above 0 and at most 1; got {args.share:g}")
    clip, wrong = nk.load_clip("shapes"), 0
    for name in args.names or NAMES:
        table = pd.read_csv(ROOT / "data" / "results" / f"{name}.csv", dtype={"method": str})
        rows = drawn(meaningful(table, name), args.share, args.seed)
        found = differences(rows, measured(clip, name, rows), args.tolerance)
        wrong += len(found)
        figures = rows.shape[0] * len(rows.columns.difference(KEYS))
        print(
            f"{name}.csv: {len(rows)} of {len(table)} rows measured again, {len(found)} of {figures} figures differ", flush=True
        )
        if len(found):
            print(found.to_string(index=False), flush=True)
    raise SystemExit(1 if wrong else 0)


if __name__ == "__main__":
    main()
