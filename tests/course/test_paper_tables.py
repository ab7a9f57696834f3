"""``data/paper``: every number of the paper's Tables 2 to 8, and no other; what it says of Table 1 stands in the text."""

import csv
import re

import pandas as pd
import pytest
from paper_values import FOUR, SETS, value

from nibkit.course import paper
from nibkit.resources import data_dir

ROWS = {1: 42, 2: 120, 3: 48, 4: 36, 5: 216, 6: 48, 7: 72, 8: 16}
METHODS = ["m2ib", "rise", "gradcam", "chefer", "saliency", "mfaba", "fastig", "nib"]


def raw(number: int) -> list[dict[str, str]]:
    """The file as it is, as text."""
    with (data_dir() / f"paper/table_{number}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


# --- the files alone --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", ROWS)
def test_every_row_is_there_once(number):
    table = paper.table(number)
    assert len(table) == ROWS[number] and (table["table"] == number).all()
    keys = ["method", "property"] if number == 1 else ["dataset", "method", "num_steps", "layer", "beta", "metric"]
    assert not table.duplicated(keys).any()


@pytest.mark.parametrize("number", range(2, 9))
def test_values_are_as_printed_and_in_range(number):
    table = paper.table(number)
    assert [float(row["value"]) for row in raw(number)] == table["value"].tolist()
    assert set(table["method"]) <= set(METHODS) and set(table["dataset"]) == ({""} if number == 8 else set(SETS))
    kinds = {2: {*FOUR, "fps"}, 8: {"forward", "backward"}}.get(number, set(FOUR))
    assert set(table["metric"]) == kinds
    assert table["value"].between(0, 100).where(~table["metric"].isin(["forward"]), True).all()
    assert (
        not table["value"].isna().any()
        and (table["value"] % 1 == 0).where(table["metric"].isin(["forward", "backward"]), True).all()
    )


@pytest.mark.parametrize(
    "number, column, values",
    [
        (2, "method", METHODS),
        (3, "num_steps", [5, 10, 15, 20]),
        (4, "layer", [3, 6, 9]),
        (5, "beta", [k / 100 for k in range(1, 10)] + [k / 10 for k in range(1, 10)]),
        (6, "num_steps", [3, 8, 13, 18]),
        (7, "layer", [2, 4, 5, 6, 7, 8]),
    ],
)
def test_what_is_varied_is_complete(number, column, values):
    table = paper.table(number)
    assert list(dict.fromkeys(table[column])) == values
    assert (table.groupby(["dataset", column]).size() == (5 if number == 2 else 4)).all()
    fixed = {3: ("layer", 9), 4: ("num_steps", 10), 6: ("layer", 9), 7: ("num_steps", 10)}
    if number in fixed:
        name, only = fixed[number]
        assert (table[name] == only).all()


def test_the_tables_can_be_stacked():
    together = pd.concat([paper.table(number) for number in range(2, 9)])
    assert len(together) == sum(ROWS.values()) - ROWS[1]
    types = {"num_steps": "Int64", "layer": "Int64", "beta": "float64", "value": "float64"}
    assert {name: str(together[name].dtype) for name in types} == types


def test_table_1_says_only_what_is_said():
    table = paper.table(1)
    assert set(table["holds"]) == {"yes", "no", ""} and (table["holds"] != "").sum() == 9
    told = table["holds"] != ""
    for column in ("basis", "section", "words"):
        assert ((table[column] != "") == told).all()
    assert set(table.loc[told, "basis"]) == {"said", "follows"}


@pytest.mark.parametrize("number", [0, 9, -1, 2.0, "2", True, None])
def test_there_is_no_other_table(number):
    with pytest.raises(ValueError, match="number must be a whole number within 1 … 8, as the paper's tables are; got"):
        paper.table(number)


def test_a_missing_file_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("NIBKIT_DATA", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="there is no .*table_3.csv"):
        paper.table(3)


# --- against the paper's text -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def text(fixture_dir) -> list[str]:
    """The paper as lines of text, where it is at hand."""
    file = fixture_dir.parent / "paper.txt"
    if not file.is_file():
        pytest.skip("the paper's text is not here")
    return file.read_text(encoding="utf-8").splitlines()


PRINTED = {
    **{"M2IB": "m2ib", "RISE": "rise", "Grad-CAM": "gradcam", "SM": "saliency", "MFABA": "mfaba", "FastIG": "fastig"},
    **{"Chefer et al. (2021)": "chefer", "Chefer et al.": "chefer", "NIB (Ours)": "nib", "NIB": "nib", "Imagenet": "ImageNet"},
    **{
        "Img Conf Drop": "image_drop",
        "Img Conf Incr": "image_increase",
        "Text Conf Drop": "text_drop",
        "Text Conf Incr": "text_increase",
    },
    **{"FPS": "fps", "Forward": "forward", "Backward": "backward", "target_layer": "layer"},
}


def cells(line: str) -> list[str]:
    return [PRINTED.get(cell.strip(), cell.strip()) for cell in line.split("|")]


def printed_tables(text: list[str]) -> dict[int, dict[frozenset, str]]:
    """{table: {key: number as printed}}; a key is a set of (column, value), so that it does not matter what is a row."""
    found: dict[int, dict[frozenset, str]] = {}
    header, dataset, number = [], "", 0
    order = iter([1, 2, 3, 4, 5, 6, 7, 8])
    for line in text:
        row = cells(line)
        if "|" not in line or line.startswith("---"):
            continue
        if row[0] in ("Dataset", "dataset", "Method"):
            header, number, dataset = row, next(order), ""
            found[number] = {}
        elif number in (0, 1) or not any(re.fullmatch(r"[\d.]+", cell) for cell in row):
            continue  # a formula's number, a row of lost ticks or headings
        elif number == 5:
            beta, *values = [cell for cell in row if cell]
            columns = [(dataset, metric) for dataset in SETS for metric in FOUR]
            assert len(values) == len(columns)
            for (of, metric), printed in zip(columns, values):
                found[5][frozenset({("dataset", of), ("method", "m2ib"), ("beta", beta), ("metric", metric)})] = printed
        elif number == 8:
            for metric, printed in zip(header[1:3], row[1:3]):
                found[8][frozenset({("method", row[0]), ("metric", metric)})] = printed
        else:
            if row[0] in SETS:
                dataset, *row = row
            columns = [column for column in header[1:] if column]
            named = dict(zip(columns, row))
            key = {("dataset", dataset)}
            if number == 2:
                key.add(("metric", named.pop("Method")))
                new = {frozenset(key | {("method", method)}): printed for method, printed in named.items()}
            else:
                key |= {("method", "nib")} | {(column, named.pop(column)) for column in ("num_steps", "layer") if column in named}
                new = {frozenset(key | {("metric", metric)}): printed for metric, printed in named.items()}
            assert not new.keys() & found[number].keys()
            found[number] |= new
    return found


@pytest.mark.parametrize("number", range(2, 9))
def test_every_number_is_the_papers_and_every_number_of_the_paper_is_here(text, number):
    ours = {}
    for row in raw(number):
        kept = {column: cell for column, cell in row.items() if cell and column not in ("table", "value")}
        if number == 3:
            assert kept.pop("layer") == "9"
        if number == 4:
            assert kept.pop("num_steps") == "10"
        ours[frozenset(kept.items())] = row["value"]
    printed = printed_tables(text)[number]
    assert len(printed) == ROWS[number] and ours == printed


def test_no_number_of_a_table_is_left_over(text):
    """All figures in lines with bars, but the numbers of equations, are figures or settings of the tables."""
    lines = [line for line in text if "|" in line and not re.fullmatch(r"\(\d+\) \|[\s|]*", line.strip())]
    figures = sorted(cell.strip() for line in lines for cell in line.split("|") if re.fullmatch(r"[\d.]+", cell.strip()))
    values = [row["value"] for number in range(2, 9) for row in raw(number)]
    once = {3: ["num_steps"], 4: ["layer"], 5: ["beta"], 6: ["num_steps", "layer"], 7: ["num_steps", "layer"]}
    settings = [
        cell
        for number, columns in once.items()
        for column in columns
        for cell, *_ in {
            (row[column], row["num_steps"], row["layer"], row["beta"], row["dataset"] * (number != 5)) for row in raw(number)
        }
    ]
    assert figures == sorted(values + settings)


def test_what_the_text_fixes(text):
    whole = " ".join(text)
    assert "Target Layer Number fixed at 9" in whole and "with num_steps fixed at 10" in whole
    five = paper.table(5)
    for metric, low, high in zip(FOUR, (0.8738, 38.65, 0.9779, 44), (2.9715, 23.25, 2.9947, 22.15)):
        here = [value(five, dataset=SETS[0], beta=beta, metric=metric) for beta in (0.01, 0.9)]
        assert here == [low, high] and f"from {low} to {high}" in whole


def test_table_1_stands_in_the_text(text):
    header = next(i for i, line in enumerate(text) if line.startswith("Method | No Extra Example"))
    columns = [cell.strip().lower().replace(" ", "_") for cell in text[header].split("|")][1:7]
    methods = [line.split("|")[0].strip() for line in text[header + 2 : header + 9]]
    ids = [name.removesuffix(" (Ours)").removesuffix(" et al.").lower() for name in methods]
    table = paper.table(1)
    assert list(dict.fromkeys(table["property"])) == columns and list(dict.fromkeys(table["method"])) == ids
    starts = {"1": ("1 Introduction", "2 Related Work"), "2.3": ("2.3 Interpretability", "3 Preliminary")}
    for row in table[table["holds"] != ""].itertuples():
        begin, end = (next(i for i, line in enumerate(text) if line.startswith(mark)) for mark in starts[row.section])
        section = " ".join(text[begin:end])
        assert row.words in section, row
        name = methods[ids.index(row.method)].removesuffix(" (Ours)")
        name = {"NIB": "Narrowing Information Bottleneck"}.get(name, name)
        near = section[max(0, section.index(row.words) - 700) : section.index(row.words)]
        assert name in near, "the words are about another method"
