"""What a benchmark's table says and how certain it is: means with intervals, and tests that are paired, as the rows are.

>>> summary = nk.summarise(nk.evaluate(clip, pairs))    # doctest: +SKIP
>>> print(nk.format_summary(summary, "markdown"))       # doctest: +SKIP
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import stats

from ..checks import check_number, check_seed, check_whole, listed, outside
from ..metrics.names import COSTS, better

Interval = Callable[[np.ndarray], tuple[float, float]]  # of the mean of some values [n]


def summarise(
    table: pd.DataFrame,
    against: str | None = "nib",
    metrics: Sequence[str] | None = None,
    level: float = 0.95,
    resamples: int = 9999,
    seed: int = 0,
) -> pd.DataFrame:
    """Means, quartiles, bootstrap intervals and tests against one method, from ``evaluate``'s table.

    Args:
        table: a row per pair and method.
        against: the method (its label) that all others are compared with; None: no comparison.
        metrics: which columns; None: all whose name says whether more or less is better (not the cosines behind the drops, say).
        level: of the intervals. resamples, seed: of the bootstrap, which draws pairs, not rows.

    Returns:
        DataFrame, a row per metric and method, both in the table's order.
        binary: is the metric yes or no? n, mean, low, high, q25, median, q75: over the pairs that this method has a number for;
        low to high is the BCa bootstrap interval of the mean.
        pairs, difference, difference_low, difference_high: over the pairs that both methods have a number for, the mean of
        method − ``against`` and its paired bootstrap interval.
        test, p, p_holm: exact McNemar for metrics that are yes or no (the increases), Wilcoxon's signed ranks for all others,
        both two-sided; Holm-corrected over *all* tests of the summary.
        Infinite values are left out, and a warning says how many.
        Costs get mean and quartiles alone: the pairs of a batch share them, so they are no independent draws.

    Raises:
        ValueError: no pairs, an unknown ``against`` or metric, a pair that a method has two rows for, level or resamples out of
            range.
    """
    if not {"pair", "method"} <= set(table.columns) or table.empty:
        raise ValueError("table must be evaluate's, with the columns pair and method and a row at least")
    if table.duplicated(["pair", "method"]).any():
        twice = table[table.duplicated(["pair", "method"])].iloc[0]
        raise ValueError(f"the table has two rows of pair {twice['pair']!r} and method {twice['method']!r}")
    methods = table["method"].unique().tolist()
    if against is not None and against not in methods:
        raise ValueError(f"against={against!r} is not in the table: its methods are {listed(methods)}")
    level, resamples = check_number("level", level, above=0, below=1), check_whole("resamples", resamples)
    bootstrap = functools.partial(interval, level=level, resamples=resamples, seed=check_seed(seed))
    columns = [name for name in table.columns if name not in ("pair", "method")]
    chosen = [name for name in columns if better(name)] if metrics is None else list(metrics)
    if unknown := set(chosen) - set(columns):
        raise ValueError(f"no metric {sorted(unknown)[0]!r} in the table: it has {listed(columns)}")
    rows = []
    for metric in chosen:
        wide, cost = table.pivot(index="pair", columns="method", values=metric).astype(float), metric in COSTS
        if (infinite := np.isinf(wide.to_numpy())).any():
            warnings.warn(f"{metric} is infinite in {infinite.sum()} rows: they are left out", stacklevel=outside())
            wide = wide.mask(infinite)
        binary = is_binary(wide.to_numpy())
        for method in methods:
            row = describe(wide[method].dropna().to_numpy(), None if cost else bootstrap)
            if against not in (None, method) and not cost:
                ours, theirs = wide[[method, against]].dropna().to_numpy().T
                row |= compare(ours, theirs, binary, bootstrap)
            rows.append({"metric": metric, "method": method, "binary": binary} | row)
    summary = pd.DataFrame(rows)
    if "p" in summary:
        summary["p_holm"] = holm(summary["p"])
    summary.attrs = {"against": against, "level": level}
    return summary


def describe(values: np.ndarray, bootstrap: Interval | None) -> dict[str, Any]:
    """Number, mean, its interval (None: none is drawn) and the quartiles of one method's values [n]."""
    if not len(values):
        return {"n": 0, **dict.fromkeys(("mean", "low", "high", "q25", "median", "q75"), np.nan)}
    low, high = bootstrap(values) if bootstrap else (np.nan, np.nan)
    q25, median, q75 = np.quantile(values, (0.25, 0.5, 0.75))
    return {"n": len(values), "mean": values.mean(), "low": low, "high": high, "q25": q25, "median": median, "q75": q75}


def compare(ours: np.ndarray, theirs: np.ndarray, binary: bool, bootstrap: Interval) -> dict[str, Any]:
    """Two methods' values on the same pairs, [n] each: the first against the second."""
    if not len(ours):
        return {"pairs": 0}
    difference, test = ours - theirs, mcnemar if binary else wilcoxon
    low, high = bootstrap(difference)
    return {
        "pairs": len(ours),
        "difference": difference.mean(),
        "difference_low": low,
        "difference_high": high,
        "test": test.__name__,
        "p": test(ours, theirs),
    }


def interval(values: ArrayLike, level: float = 0.95, resamples: int = 9999, seed: int = 0) -> tuple[float, float]:
    """Bootstrap interval of the mean, bias-corrected and accelerated (Efron 1987); of differences, it is the paired bootstrap.

    Values that are all equal give themselves; of a single one nothing can be said (NaN).
    """
    values = np.asarray(values, dtype=float)
    if len(values) < 2:
        return np.nan, np.nan
    if np.ptp(values) == 0:
        return float(values[0]), float(values[0])
    batch, generator = max(1, 10**6 // len(values)), np.random.default_rng(seed)
    drawn = stats.bootstrap((values,), np.mean, confidence_level=level, n_resamples=resamples, batch=batch, rng=generator)
    return float(drawn.confidence_interval.low), float(drawn.confidence_interval.high)


def is_binary(values: np.ndarray) -> bool:
    """Are there two values alone, no and yes: 0 and 1, or 0 and 100 percent?"""
    known = set(np.unique(values[~np.isnan(values)]))
    return len(known) > 0 and (known <= {0.0, 1.0} or known <= {0.0, 100.0})


def mcnemar(ours: ArrayLike, theirs: ArrayLike) -> float:
    """Two-sided exact McNemar test (1947): do two methods say yes equally often, on the same pairs?

    Only pairs that one says yes to and the other no count; under the null hypothesis they fall either way like a coin.
    """
    ours, theirs = np.asarray(ours) > 0, np.asarray(theirs) > 0
    only, other = int((ours & ~theirs).sum()), int((theirs & ~ours).sum())
    return float(stats.binomtest(only, only + other).pvalue) if only + other else 1.0


def wilcoxon(ours: ArrayLike, theirs: ArrayLike) -> float:
    """Two-sided Wilcoxon signed-rank test (1945) of paired values; equal pairs are left out, as Wilcoxon did.

    Exact for few pairs, else by the normal approximation (scipy's choice).
    """
    difference = np.asarray(ours, dtype=float) - np.asarray(theirs, dtype=float)
    difference = difference[difference != 0]
    return float(stats.wilcoxon(difference).pvalue) if len(difference) else 1.0


def holm(p: ArrayLike) -> np.ndarray:
    """Holm's step-down correction (1979) of a family of p-values: bounds the chance of one false find or more. NaN stays NaN.

    The i-th smallest of m (i = 0 …) is multiplied by m − i, and none may lie below the one before it or above 1.
    """
    p = np.asarray(p, dtype=float)
    order = np.argsort(p)[: int((~np.isnan(p)).sum())]  # NaN sorts last
    adjusted = np.full(p.shape, np.nan)
    adjusted[order] = np.minimum(1, np.maximum.accumulate(p[order] * np.arange(len(order), 0, -1)))
    return adjusted
