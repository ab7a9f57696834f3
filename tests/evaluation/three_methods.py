"""A table of results, made up, of which the summary is known."""

import numpy as np
import pandas as pd


def table(n: int = 30, seed: int = 0) -> pd.DataFrame:
    """Three methods on the same pairs: "worse" drops more than "nib" on every pair, "same" is nib."""
    draw = np.random.RandomState(seed)
    drop, yes = draw.exponential(size=n), draw.rand(n) < 0.5
    rows = []
    for i in range(n):
        for method, shift in (("nib", 0), ("worse", 1 + 0.01 * i), ("same", 0)):
            increase = 100.0 * (yes[i] and not (method == "worse" and i < n // 2))
            rows.append({"pair": f"p{i}", "method": method, "image_drop": drop[i] + shift, "image_increase": increase,
                         "image_before": 0.5, "seconds": 0.1, "forward": 24.0})  # fmt: skip
    return pd.DataFrame(rows)
