"""checks.py: what counts as a whole number, a number, a choice; one wording, and numpy's types are welcome."""

import re

import numpy as np
import pytest

from nibkit import checks


@pytest.mark.parametrize("value", [3, np.int64(3), np.uint8(3), np.int32(3)])
def test_whole_numbers_are_taken_as_ints(value):
    taken = checks.check_whole("n", value)
    assert taken == 3 and type(taken) is int


@pytest.mark.parametrize("value", [0, -1, 2.0, np.float64(2), True, np.True_, "3", None, float("nan"), [3], np.array([3])])
def test_what_is_no_whole_number_is_named(value):
    with pytest.raises(ValueError, match=re.escape(f"n must be a whole number, 1 or more; got {value!r}")):
        checks.check_whole("n", value)


def test_spans_options_and_purposes():
    assert checks.check_whole("n", None, optional=True) is None and checks.check_whole("n", 0, 0, 5) == 0
    with pytest.raises(ValueError, match="n must be a whole number within 0 … 5 for a test; got 6"):
        checks.check_whole("n", 6, 0, 5, purpose=" for a test")
    with pytest.raises(ValueError, match="batch_size must be a whole number, 1 or more, or None; got 0"):
        checks.check_batch_size(0)
    with pytest.raises(ValueError, match="seed must be a whole number, 0 or more; got -1"):
        checks.check_seed(-1)


@pytest.mark.parametrize("value", [0.5, 1, np.float32(0.5), np.int64(1)])
def test_numbers_are_taken_as_floats(value):
    assert type(checks.check_number("x", value, above=0)) is float


@pytest.mark.parametrize(
    "span, text, refused",
    [
        (dict(above=0), " above 0", (0, -1, np.nan, np.inf, True, "1", None, [1.0], 1j)),
        (dict(least=0), ", 0 or more", (-0.1, np.nan, np.inf)),
        (dict(least=0, most=1), " within 0 … 1", (-0.1, 1.1)),
        (dict(least=0, below=1), " within 0 … 1, 1 left out", (-0.1, 1, 1.0)),
        (dict(above=0, below=1), " within 0 … 1, 0 and 1 left out", (0, 1)),
        (dict(below=1), " below 1", (1,)),
        (dict(most=1), ", 1 or less", (1.1,)),
    ],
)
def test_what_is_no_such_number_is_named(span, text, refused):
    for value in refused:
        with pytest.raises(ValueError, match=re.escape(f"x must be a finite number{text}; got {value!r}")):
            checks.check_number("x", value, **span)


def test_choices_are_listed():
    assert checks.check_choice("rule", "b", ("a", "b")) == "b"
    for value in ("c", "", None, 1):
        with pytest.raises(ValueError, match=re.escape(f'rule must be "a", "b" or "c c"; got {value!r}')):
            checks.check_choice("rule", value, ("a", "b", "c c"))


def test_long_lists_are_cut():
    assert checks.listed("ab") == "a, b" and checks.listed([]) == "" and checks.listed(range(8)) == "0, 1, 2, 3, 4, 5, 6, 7"
    assert (
        checks.listed(range(100)) == "0, 1, 2, 3, 4, 5, 6, 7, … and 92 more" and checks.listed("abc", most=1) == "a, … and 2 more"
    )


def test_a_number_beyond_every_float_is_named():
    with pytest.raises(ValueError, match="x must be a finite number; got 1000"):
        checks.check_number("x", 10**400)
    with pytest.raises(ValueError, match="n must be a whole number within 1 … 9; got 1000"):
        checks.check_whole("n", 10**400, 1, 9)


# --- messages ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text, line",
    [
        ("one\n\n  two\tthree ", "one two three"),
        ("caf\udce9 \x1b[2J \x07", r"caf\udce9 \x1b[2J \x07"),
        ("λ ↓ é", "λ ↓ é"),
        ("x" * 600, "x" * 600),
        ("x" * 601, "x" * 599 + "…"),
        ("\x07" * 600, r"\x07" * 149 + r"\x0" + "…"),
        (ValueError("no\nnumber"), "no number"),
    ],
)
def test_messages_are_one_printable_line(text, line):
    assert checks.one_line(text) == line and len(line) <= 600


def test_messages_may_name_the_error_and_be_shorter():
    assert checks.one_line(KeyError("x"), named=True) == "KeyError: 'x'" and checks.one_line("abcdef", 4) == "abc…"
    assert checks.one_line(MemoryError(), named=True) == "MemoryError" and checks.one_line(MemoryError()) == ""
    assert checks.one_line(KeyError("x" * 99), 13, named=True) == "KeyError: 'x…"


def test_ids_stay_as_they_are_but_for_half_characters():
    assert checks.escaped("a  b\t.jpg") == "a  b\t.jpg" and checks.escaped("caf\udce9") == r"caf\udce9"
