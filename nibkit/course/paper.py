"""The figures that the paper prints: Tables 2 to 8, and what its text says of Table 1. Notebooks 08 to 11 lay ours beside them.

>>> table(2).query("method == 'nib' and dataset == 'ImageNet'").set_index("metric")["value"]["image_drop"].item()
0.9012
"""

from __future__ import annotations

import pandas as pd

from ..checks import check_whole
from ..resources import data_dir

TYPES = {"table": "int64", "num_steps": "Int64", "layer": "Int64", "beta": "float64", "value": "float64"}


def table(number: int) -> pd.DataFrame:
    """One of the paper's tables, a row per printed number; how they are laid out, and their oddities: ``data/paper/README.md``.

    number: 1 … 8.

    Returns for Tables 2 to 8 the columns table, dataset ("Conceptual Captions", "ImageNet", "Flickr8k"; "" in Table 8), method
    (as in ``nk.METHODS``), num_steps, layer, beta (missing where the table neither varies nor fixes them), metric (image_drop,
    image_increase, text_drop and text_increase in percent; fps, frames a second; forward and backward, passes) and value.
    For Table 1 the columns table, method, property, holds ("yes", "no", "" where the text does not say), basis ("said", or
    "follows" from what is said), section and words (a few of the paper's words, to find the place).

    Raises ValueError if there is no such table, FileNotFoundError where the data are not there.
    """
    number = check_whole("number", number, 1, 8, purpose=", as the paper's tables are")
    file = data_dir() / "paper" / f"table_{number}.csv"
    if not file.is_file():
        raise FileNotFoundError(f"there is no {file}: the data are not whole, install nibkit again")
    kinds = {column: TYPES.get(column, "str") for column in pd.read_csv(file, nrows=0).columns}
    return pd.read_csv(file, dtype=kinds, keep_default_na=False, na_values={column: [""] for column in TYPES})
