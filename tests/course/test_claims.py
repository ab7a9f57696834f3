"""``nk.claim``: it can fail, it names what failed, and it prints the same line on every machine."""

import numpy as np
import pytest
import torch
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output

import nibkit as nk
from nibkit.course import claims
from tools import pages

LEDGER = """id,source,quote,claim,notebook,model,verdict,tolerance
EQ,ours,Eq. 1,"Two sides, equal",01_x,none,holds,1e-3
EX,reading,Eq. 2: as an equation,Exactly equal,01_x,none,holds if nothing rounds,0
NE,paper,Eq. 3: “they are the same”,They are the same <everywhere>,01_x,none,fails: they differ,0.1
"""
SIGNS = {"EQ": "✓", "EX": "◐", "NE": "✗"}


@pytest.fixture(autouse=True)
def ledger(tmp_path, monkeypatch):
    """A ledger of our own."""
    (tmp_path / "claims.csv").write_text(LEDGER, encoding="utf-8")
    monkeypatch.setenv("NIBKIT_DATA", str(tmp_path))
    claims.read_ledger.cache_clear()
    yield
    claims.read_ledger.cache_clear()


HOLDS = [
    ("EQ", 1.0, 1.0009, "=="),
    ("EQ", [1, 2], [1.0005, 1.9995], "=="),
    ("EQ", torch.tensor([1.0, 2.0]), np.array([1.0, 2.0]), "=="),
    ("EQ", torch.ones(2, 3, requires_grad=True), 1, "=="),
    ("EQ", np.ones((2, 3)), np.ones(3), "=="),
    ("EQ", float("inf"), float("inf"), "=="),
    ("EQ", True, 1, "=="),
    ("EX", 3, 3, "=="),
    ("EQ", 1.0, 2.0, "<="),
    ("EQ", 2.0009, 2.0, "<="),
    ("EQ", [1, 2], 2, "<="),
    ("EQ", 2.0, 1.0, ">="),
    ("EQ", 1.0, 1.0009, ">="),
    ("NE", 1.0, 1.2, "!="),
    ("NE", [1, 1, 1], [1, 1, 1.2], "!="),
]
FAILS = [
    ("EQ", 1.0, 1.0011, "=="),
    ("EQ", [1, 2, 3], [1, 2.5, 3], "=="),
    ("EQ", [1.0, float("nan")], [1.0, 1.0], "=="),
    ("EQ", float("nan"), float("nan"), "=="),
    ("EQ", float("inf"), 1.0, "=="),
    ("EX", 3, 3.0000001, "=="),
    ("EQ", 2.0011, 2.0, "<="),
    ("EQ", [1, 5], 2, "<="),
    ("EQ", float("nan"), 2, "<="),
    ("EQ", 1, float("nan"), "<="),
    ("EQ", 1.0, 1.0011, ">="),
    ("EQ", float("nan"), 0, ">="),
    ("NE", 1.0, 1.05, "!="),
    ("NE", [1, 1], [1, 1.05], "!="),
    ("NE", [1, 2], [1, float("nan")], "!="),
]


@pytest.mark.parametrize("id, lhs, rhs, op", HOLDS)
def test_what_holds_prints_one_line(capsys, id, lhs, rhs, op):
    assert nk.claim(id, lhs, rhs, op) is None
    out = capsys.readouterr().out
    assert out.startswith(f"{SIGNS[id]} {id}: ") and out.endswith("]\n") and out.count("✓") + out.count("◐") + out.count("✗") == 1


@pytest.mark.parametrize("id, lhs, rhs, op", FAILS)
def test_what_does_not_hold_is_an_assertion_error_that_names_it(capsys, id, lhs, rhs, op):
    with pytest.raises(AssertionError, match=f"claim {id} does not hold.*tolerance"):
        nk.claim(id, lhs, rhs, op)
    assert capsys.readouterr().out == ""


def test_the_message_shows_the_worst_values():
    with pytest.raises(AssertionError, match=r"2\.0.*==.*7\.5.*tolerance 0.001, 3 compared\): Two sides, equal"):
        nk.claim("EQ", [1, 2, 3], [1, 7.5, 3.1])


def test_equality_is_the_default():
    with pytest.raises(AssertionError):
        nk.claim("EQ", 1, 2)


def test_the_line_is_the_same_for_other_digits(capsys):
    """What is printed comes from the ledger alone."""
    nk.claim("EQ", 0.1234567, 0.1234568)
    nk.claim("EQ", [0.1234, 9.0], [0.1235, 9.0])
    first, second = capsys.readouterr().out.splitlines()
    assert first == second == "✓ EQ: Two sides, equal → holds [compared: equal within 0.001]"


@pytest.mark.parametrize("op, relation", [("==", "equal"), ("<=", "at most"), (">=", "at least")])
def test_the_line_says_what_was_compared(capsys, op, relation):
    nk.claim("EX", 2, 2, op)
    assert capsys.readouterr().out == f"◐ EX: Exactly equal → holds if nothing rounds [compared: {relation}]\n"


def test_a_long_line_wraps_between_words(capsys, tmp_path):
    (tmp_path / "claims.csv").write_text(LEDGER.replace("Two sides", "Two very long sides, " * 9), encoding="utf-8")
    claims.read_ledger.cache_clear()
    nk.claim("EQ", 1, 1)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3 and max(map(len, lines)) <= 100 and [line[:2] for line in lines] == ["✓ ", "  ", "  "]


def test_a_notebook_shows_a_badge_with_a_link_to_the_ledger(capsys):
    shell = InteractiveShell.instance()
    try:
        with capture_output() as captured:
            nk.claim("NE", 1, 2, "!=")
    finally:
        shell.clear_instance()
    (badge,) = captured.outputs
    assert captured.stdout == "" and badge.data["text/plain"].startswith(
        "✗ NE: They are the same <everywhere> → fails: they differ (ass"
    )
    assert '<a href="../docs/claims.md#NE">NE</a> They are the same &lt;everywhere&gt; →' in badge.data["text/html"]


def test_unknown_ids_are_refused():
    with pytest.raises(ValueError, match="no claim 'T9' in data/claims.csv: add its row first"):
        nk.claim("T9", 1, 1)


@pytest.mark.parametrize("op", ["=", "<", "≈", None])
def test_unknown_relations_are_refused(op):
    with pytest.raises(ValueError, match="op must be one of ==, <=, >=, !=; got"):
        nk.claim("EQ", 1, 1, op)


def test_a_tolerance_must_be_the_ledgers(capsys):
    nk.claim("EQ", 1, 1, tol=1e-3)
    with pytest.raises(ValueError, match="claim EQ: tol=0.5 here, but 0.001 in data/claims.csv; make them agree"):
        nk.claim("EQ", 1, 1.4, tol=0.5)
    with pytest.raises(ValueError, match="make them agree"):
        nk.claim("EX", 1, 1, tol=1e-9)


@pytest.mark.parametrize("lhs, rhs", [([], []), ([], 1), (torch.zeros(0, 3), 0), (np.zeros((2, 0)), 1)])
def test_nothing_to_compare_is_refused(lhs, rhs):
    for op in ("==", "<=", "!="):
        with pytest.raises(ValueError, match="claim EQ: nothing to compare"):
            nk.claim("EQ", lhs, rhs, op)


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError):
        nk.claim("EQ", [1, 2], [1, 2, 3])


def test_the_ledger_keeps_its_order():
    assert list(claims.read_ledger()) == ["EQ", "EX", "NE"]
    assert claims.read_ledger()["EQ"]["quote"] == "Eq. 1"


def test_half_precision_tensors_are_numbers_too(capsys):
    nk.claim("EQ", torch.ones(3, dtype=torch.bfloat16), 1)


# --- the ledger as a page ----------------------------------------------------------------------------------------------


def test_the_ledgers_page_is_current(monkeypatch):
    """If this fails: make pages."""
    monkeypatch.undo()
    claims.read_ledger.cache_clear()
    assert (pages.ROOT / "docs" / "claims.md").read_text(encoding="utf-8") == pages.claims_page()


def test_the_page_counts_by_notebook_and_shows_every_claim_with_an_anchor():
    page = pages.claims_page()
    assert page.startswith("<!-- Made by `make pages` from data/claims.csv") and "\n\n# " in page
    assert "| [01 x](../notebooks/01_x.ipynb) | 1 | 1 | 1 |\n| **all 3** | **1** | **1** | **1** |" in page
    section = page.split("## What holds under a condition: 1 claims")[1].split("\n## ")[0]
    assert "### What holds under a condition: the paper as we read it" in section
    assert (
        '| <a id="EX"></a>[EX](../notebooks/01_x.ipynb) | Eq. 2: as an equation | Exactly equal | none | holds if no' in section
    )


def test_signs_of_markdown_are_shown_as_they_are(tmp_path):
    (tmp_path / "claims.csv").write_text(LEDGER.replace("Two sides, equal", "|a| < b_1*c on [0, 1] $"), encoding="utf-8")
    claims.read_ledger.cache_clear()
    assert r"| \|a\| \< b\_1\*c on \[0, 1\] \$ |" in pages.claims_page()
