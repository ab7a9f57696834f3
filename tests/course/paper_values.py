"""The names in the paper's tables, and one value of a table."""

import pandas as pd

FOUR = ["image_drop", "image_increase", "text_drop", "text_increase"]
SETS = ["Conceptual Captions", "ImageNet", "Flickr8k"]


def value(table: pd.DataFrame, **where) -> float:
    for column, wanted in where.items():
        table = table[table[column] == wanted]
    assert len(table) == 1
    return float(table["value"].iloc[0])
