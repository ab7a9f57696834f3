"""The ledger (data/claims.csv): tied to the notebooks claim by claim, and fair to the paper, which is quoted in its own words."""

import ast
import csv
import re
from pathlib import Path

import nbformat
import pytest

import nibkit as nk
from tools import items, pages

ROOT = Path(__file__).parents[2]
PAPER = ROOT.parent / "shared" / "paper.txt"  # the paper's text is not ours to ship
PATHS = sorted((ROOT / "notebooks").glob("*.ipynb"))
HEADER = ["id", "source", "quote", "claim", "notebook", "model", "verdict", "tolerance"]
QUOTED = re.compile(r"[^“]+: “[^”]+”(; [^“]+: “[^”]+”)*")  # §5.2: “its own words”; Table 5: “others”
MODELS = {"none", "random", *nk.MODELS}  # theory, random weights, the bundled models


def claims_of(path: Path) -> list[str]:
    """The ids that the notebook asserts: every call of nk.claim with a literal id."""
    found = []
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type != "code":
            continue
        for node in ast.walk(ast.parse(re.sub(r"^(\s*)[%!].*", r"\1pass", cell.source, flags=re.M))):
            if isinstance(node, ast.Call) and getattr(node.func, "attr", getattr(node.func, "id", "")) == "claim":
                assert isinstance(node.args[0], ast.Constant), f"{path.name}: write a claim's id out: {ast.unparse(node)}"
                found.append(node.args[0].value)
    return found


def ledger() -> list[dict[str, str]]:
    with (ROOT / "data" / "claims.csv").open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        rows = list(reader)
    assert reader.fieldnames == HEADER
    return rows


by_row = pytest.mark.parametrize("row", ledger(), ids=lambda row: row["id"])


def test_every_row_is_asserted_in_its_notebook_and_every_assertion_has_a_row():
    rows = ledger()
    asserted = [(id, path.stem) for path in PATHS for id in claims_of(path)]
    assert len({row["id"] for row in rows}) == len(rows), "an id stands twice in the ledger"
    assert len({id for id, _ in asserted}) == len(asserted), "a claim is asserted twice"
    assert sorted(asserted) == sorted((row["id"], row["notebook"]) for row in rows)


def test_stored_badges_say_what_the_ledger_says():
    """A row that was rewritten shows only in a notebook that was run again since."""
    outputs = [out for path in PATHS for cell in nbformat.read(path, as_version=4).cells for out in cell.get("outputs", [])]
    stored = ["".join(out.get("data", {}).get("text/plain", "").split()) for out in outputs]
    for row in ledger():
        says = "".join(f"{row['id']}: {row['claim']} → {row['verdict']}".split())  # the lines are wrapped somewhere else
        assert sum(text[1:].startswith(says) for text in stored) == 1, f"run {row['notebook']} again: {says}"


@by_row
def test_a_row_says_what_it_claims_of_what_and_how_it_ends(row):
    assert re.match(r"holds if .|holds\b(?! if)|fails\b", row["verdict"])
    assert float(row["tolerance"]) >= 0 and row["claim"].strip() and row["quote"].strip()
    assert row["model"] and set(row["model"].split()) <= MODELS


@by_row
def test_a_row_of_the_paper_quotes_it_and_a_reading_says_how_it_reads(row):
    """paper: PLACE: “words”, more of it behind "; ". reading: PLACE: how we read it. ours: the place that it is about."""
    assert row["source"] in ("paper", "reading", "ours")
    if row["source"] == "paper":
        assert QUOTED.fullmatch(row["quote"])
    if row["source"] == "reading":
        assert re.match(r"[^:]+: .{12}", row["quote"])


@by_row
@pytest.mark.skipif(not PAPER.is_file(), reason="needs the paper's text, which is not part of this repository")
def test_what_is_quoted_stands_in_the_paper(row):
    """Also where a reading quotes. " … " leaves words out; what is left must follow in this order within one paragraph."""
    paper = PAPER.read_text(encoding="utf-8")
    paragraphs = [plain(line) for line in paper.splitlines()]
    for quote in re.findall("“([^”]+)”", row["quote"]):
        parts = [re.escape(plain(part)) for part in quote.split("…")]
        assert any(re.search(".*".join(parts), paragraph) for paragraph in paragraphs), quote


def test_every_item_of_the_paper_is_tested():
    """Eqs. 1 to 11, Theorems 1 to 3, Tables 1 to 8, Appendices A to K: docs/claims.md says where."""
    rows = items.by_item(ledger())
    assert len(rows) == 33 and not [item for item, chosen in rows.items() if not chosen]
    assert items.item_table(ledger()) in pages.claims_page()


@pytest.mark.parametrize(
    "place, found",
    [
        ("Eqs. 5 and 6, Appendix B", {"Eq. 5", "Eq. 6", "Appendix B"}),
        ("Tables 2, 4 to 6", {"Table 2", "Table 4", "Table 5", "Table 6"}),
        ("Appendix A.1", {"Appendix A"}),
        ("Theorem 2, F", {"Theorem 2"}),
        ("§4.1 (3), Figure 1; Eq. 12", set()),
    ],
)
def test_items_are_found_in_the_places_that_rows_name(place, found):
    assert items.cited(place) == found


def test_words_that_are_quoted_name_no_place():
    row = {"source": "paper", "quote": "§6.2: “The results in Table 4 reveal”; Appendix I: “others”"}
    assert items.places(row) == "§6.2, Appendix I"
    assert items.places({"source": "reading", "quote": "Eq. 6: read as Eq. 5 is"}) == "Eq. 6"


def plain(text: str) -> str:
    """One space between words, one kind of apostrophe."""
    return re.sub(r"\s+", " ", text.replace("’", "'")).strip()


def test_a_wrong_quote_is_found():
    assert not QUOTED.fullmatch("§4.1: the paper says so") and QUOTED.fullmatch("§4.1: “it says so”; §5: “and … this”")
