"""A damaged row costs itself alone, unless what follows it would be misread."""

import json

import pytest
from datafiles import listed, skipping, write

from nibkit.data import datasets

LONG = "x" * 131_073  # one character more than the csv module takes


@pytest.mark.parametrize("row", [f"b.jpg,{LONG}", f'b.jpg,"{LONG}, ""and"" more"'])
def test_a_field_beyond_the_limit_costs_its_row_alone(folder, row):
    write(folder / "t.csv", f"image,caption\na.jpg,one\n{row}\nc.jpg,three\n")
    pairs = skipping(lambda: datasets.folder(folder), {"line 3": "damaged row: field larger than field limit (131072)"})
    assert listed(pairs) == [("a.jpg", "one"), ("c.jpg", "three")]


@pytest.mark.parametrize(
    "text", [f'a.jpg,"{LONG}\nb.jpg,two\n', f"a{LONG},caption\na.jpg,one\n", 'a.jpg,"\n' + "b.jpg,x\n" * 20_000]
)
def test_a_long_field_that_may_go_on_is_an_error(folder, text):
    """Its quote is open at the end of the line, or it is the header's."""
    write(folder / "t.csv", text if "caption" in text else f"image,caption\n{text}")
    with pytest.raises(ValueError, match="t.csv is no well-formed table .field larger than .*quote that is never closed"):
        datasets.folder(folder)


def test_a_first_object_without_the_usual_names_costs_itself_alone(folder):
    rows = [{"note": "made by hand"}, {"image": "b.jpg"}, {"image": "a.jpg", "caption": "one"}, {"note": "the end"}]
    write(folder / "t.jsonl", "\n".join(map(json.dumps, rows)))
    wrong = {
        "line 1": "damaged row: no column that looks like the images; there are 'note'",
        "line 2": "damaged row: no column that looks like the captions; there are 'image'",
        "line 4": "missing picture: no name is given",
    }
    pairs = skipping(lambda: datasets.folder(folder), wrong)
    assert listed(pairs) == [("a.jpg", "one")]


def test_objects_of_which_none_has_the_names_are_an_error(folder):
    write(folder / "t.jsonl", '{"bild": "a.jpg"}\n{"note": 1}')
    with pytest.raises(ValueError, match="no column that looks like the images; there are 'bild': name it, for example image="):
        datasets.folder(folder)


def test_half_a_character_in_what_is_skipped_is_spelt_out(folder):
    write(folder / "t.jsonl", '{"image": "caf\\udce9.jpg", "caption": "x"}\n{"image": "a.jpg", "caption": "one"}')
    pairs = skipping(lambda: datasets.folder(folder), {"caf\\udce9.jpg": "missing picture: caf\\udce9.jpg"})
    assert str(pairs.skipped).encode() and pairs.skipped[0].reason.encode()
