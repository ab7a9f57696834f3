"""What in the paper's tables does not fit together: the oddities that ``data/paper/README.md`` lists."""

import re

import numpy as np
import pandas as pd
from paper_values import FOUR, SETS, value

from nibkit.course import paper
from nibkit.resources import data_dir

LOWER = {"image_drop", "text_drop", "forward", "backward"}


# --- the oddities that data/paper/README.md lists -----------------------------------------------------------------------


def test_m2ib_twice():
    two, five = paper.table(2), paper.table(5)
    differ = {}
    for dataset in SETS:
        for metric in FOUR:
            pair = (
                value(two, dataset=dataset, method="m2ib", metric=metric),
                value(five, dataset=dataset, beta=0.1, metric=metric),
            )
            if pair[0] != pair[1]:
                differ[dataset, metric] = pair
    lines = re.findall(
        r"^ +\| (.+?) \| (\w+) \| ([\d.]+) \| ([\d.]+) \|$", (data_dir() / "paper/README.md").read_text("utf-8"), re.M
    )
    assert differ == {(dataset, metric): (float(a), float(b)) for dataset, metric, a, b in lines} and len(differ) == 7


def test_nibs_overlaps_agree():
    two, three, four, seven = (paper.table(number) for number in (2, 3, 4, 7))
    for dataset in SETS:
        for metric in FOUR:
            where = dict(dataset=dataset, metric=metric)
            assert value(two, method="nib", **where) == value(three, num_steps=10, **where) == value(four, layer=9, **where)
            assert value(four, layer=6, **where) == value(seven, layer=6, **where)


def test_increases_are_shares_of_2000_and_1000_pairs():
    together = pd.concat([paper.table(number) for number in range(2, 8)])
    increases = together[together["metric"].str.endswith("increase")]
    for dataset, pairs in zip(SETS, (2000, 1000, 1000)):
        hits = increases.loc[increases["dataset"] == dataset, "value"] * pairs / 100
        assert np.allclose(hits, hits.round(), atol=1e-6)
        half = hits / 2
        assert not np.allclose(half, half.round(), atol=1e-6), "half as many pairs would not do"


def test_passes():
    table = paper.table(8)
    none = set(table.loc[(table["metric"] == "backward") & (table["value"] == 0), "method"])
    assert none == {"rise", "chefer", "saliency", "fastig"}
    assert [value(table, method=m, metric=k) for m in ("nib", "m2ib") for k in ("forward", "backward")] == [12, 10, 22, 20]


def test_text_against_table():
    two, three, four = (paper.table(number) for number in (2, 3, 4))
    best = lambda dataset, metric: (  # noqa: E731
        two[(two["dataset"] == dataset) & (two["metric"] == metric)]
        .sort_values("value")["method"]
        .iloc[0 if metric in LOWER else -1]
    )
    assert best("ImageNet", "image_increase") == "rise"
    assert [best(dataset, "fps") for dataset in SETS] == ["nib", "chefer", "chefer"]
    assert best("Conceptual Captions", "text_increase") == "chefer"
    steps = lambda n, dataset, metric: value(three, dataset=dataset, metric=metric, num_steps=n)  # noqa: E731
    assert (steps(5, SETS[0], "text_drop"), steps(20, SETS[0], "text_drop")) == (0.2056, 0.4701)
    assert all(steps(5, dataset, "text_drop") < steps(10, dataset, "text_drop") for dataset in SETS)
    assert steps(15, "Flickr8k", "image_drop") < steps(10, "Flickr8k", "image_drop")
    for dataset in SETS:
        drops = [value(four, dataset=dataset, metric="image_drop", layer=layer) for layer in (3, 6, 9)]
        assert max(drops) == drops[2]
