"""What the book makes of plain markdown, piece by piece: docstrings, boxes, anchors, mentions, folded cells."""

import nbformat
import pytest
from docutils import nodes
from docutils.core import publish_doctree
from myst_parser.parsers.docutils_ import Parser

from nibkit.course.claims import LEDGER_PAGE
from tools.bibliography import key_of
from tools.book import LONG, build_book, first_picture, prepare, to_the_cells
from tools.boxes import make_anchors, make_boxes
from tools.extension import docstring_to_rst
from tools.mentions import mentions

DOCSTRING = """Sums |x|, with **options as ``a|b`` wants.

    first    a table
    second   as it stands

one: what the first is, over
    two lines. two: not a new item.
**rest: the others.

Args:
    x: |values|, not
        flattened.

    still the section

>>> sums(1)    # doctest: +SKIP
1"""
AS_RST = r"""Sums \|x\|, with \*\*options as ``a|b`` wants.

::

    first    a table
    second   as it stands

* **one**: what the first is, over
  two lines. two: not a new item.
* **\*\*rest**: the others.

Args:
    x: \|values\|, not
        flattened.

    still the section

>>> sums(1)
1"""


def test_docstrings_are_read_as_they_are_laid_out():
    assert docstring_to_rst(DOCSTRING) == AS_RST


def read(markdown: str) -> nodes.document:
    """Markdown as MyST reads it, with its boxes."""
    settings = {
        "myst_enable_extensions": ["dollarmath"],
        "myst_dmath_double_inline": True,
        "report_level": 4,
        "doctitle_xform": False,
    }
    document = publish_doctree(markdown, parser=Parser(), settings_overrides=settings)
    make_boxes(document)
    return document


def outline(document: nodes.document) -> list[tuple[str, str]]:
    """What stands on a page: a box's kind, "p" for other blocks, and the text."""
    found = []
    for node in document:
        kind = node["classes"][-1] if isinstance(node, nodes.admonition) else "p"
        found.append((kind, " ".join(node.astext().split())))
    return found


@pytest.mark.parametrize(
    "markdown, expected",
    [
        ("> **Theorem 1** (as read). Let x be so.\n> $$x = 1$$", [("box-theorem", "Theorem 1 (as read) Let x be so. x = 1")]),
        ("> **Common mistakes**\n>\n> * one", [("box-common", "Common mistakes one")]),
        ("> **A quote** stays one.", [("p", "A quote stays one.")]),
        (
            "**Definition.** It is so.\n\nWe say more.\n\n**Proof.** Easy. ∎ *Example*: two.",
            [
                ("box-definition", "Definition It is so."),
                ("p", "We say more."),
                ("box-proof", "Proof Easy. ∎"),
                ("p", "Example: two."),
            ],
        ),
        (
            "**Definition.** It is so. **Proof.** Easy. ∎ True.",
            [("box-definition", "Definition It is so."), ("box-proof", "Proof Easy. ∎"), ("p", "True.")],
        ),
        (
            "**Theorem 3, with more.** Suppose\n\n* **(a)** this;\n* **(b)** that.\n\nThen it holds."
            "\n\n*Proof.* By\n\n1. (a),\n2. (b). ∎\n\nNext.",
            [
                ("box-theorem", "Theorem 3, with more Suppose (a) this; (b) that. Then it holds."),
                ("box-proof", "Proof By (a), (b). ∎"),
                ("p", "Next."),
            ],
        ),
        ("**Proof** on tables. First\n$$a = b$$\nand so on. ∎", [("box-proof", "Proof on tables First a = b and so on. ∎")]),
        ("*Proof for Eq. 1:* short. ∎", [("box-proof", "Proof for Eq. 1 short. ∎")]),
        ("As **Theorem 1** says, and **Proof** too.", [("p", "As Theorem 1 says, and Proof too.")]),
        ("**Theorem 1** is in bold type here.", [("p", "Theorem 1 is in bold type here.")]),
    ],
)
def test_boxes(markdown, expected):
    assert outline(read(markdown)) == expected


def test_a_proof_under_a_heading_of_its_own_is_a_box():
    document = read("# Page\n\n## Proof *(optional)*\n\nFirst.\n\nLast. ∎\n\nAfter.")
    (proof,) = document.findall(nodes.admonition)
    assert proof[0].astext() == "Proof" and proof[-1].astext() == "Last. ∎" and proof.parent[-1].astext() == "After."


def test_numbered_formulas_and_theorems_have_ids():
    document = read(
        "# 2 · Eq. 2: a layer\n\n$$a \\tag{3, 4}$$\n\n$$b \\qquad\\text{(9, Theorem 3)}$$\n\n"
        "$$c, \\qquad (5.1)$$\n\n$$f(0)\\quad(7)$$\n\n"
        "The difference (**Eqs. 6 and 7**, as we read them).\n\n"
        "| Table 1 | |\n|---|---|\n| Table 2 | Table 3 |\n| Table 4 and more | |\n\n> **Theorem 1.** So."
    )
    homes = make_anchors(document)
    assert homes == {"theorem-1": 0, "eq-3": 0, "eq-4": 0, "eq-9": 0, "eq-5.1": 0, "eq-2": 1, "eq-6": 1, "eq-7": 1, "table-2": 1}
    assert {id for node in document.findall(nodes.Element) for id in node["ids"] if isinstance(node, nodes.Element)} >= set(homes)
    assert [block.astext() for block in document.findall(nodes.math_block)][1:3] == ["b \\tag{9, Theorem 3}", "c, \\tag{5.1}"]


HOMES = {"eq-3": "notebooks/03", "eq-7": "notebooks/03", "eq-10": "notebooks/05", "eq-5.1": "notebooks/05"}
HOMES |= {"theorem-1": "notebooks/03", "table-2": "docs/paper"}
PAGES = {"03": "notebooks/03", "05": "notebooks/05"}


@pytest.mark.parametrize(
    "text, expected",
    [
        ("see (Eq. 10).", {"Eq. 10": ("notebooks/05", "#eq-10")}),
        ("Eqs. (3)–(7) and Eq. (10): so", {"Eqs. (3)": "#eq-3", "(7)": "#eq-7", "Eq. (10)": "#eq-10"}),
        ("Eqs. 3 and 7, 200 pairs", {"Eqs. 3": "#eq-3", "7": "#eq-7"}),
        ("Eq. 3, 7 of them; by (5.1), not (5.2)", {"Eq. 3": "#eq-3", "(5.1)": "#eq-5.1"}),
        ("Eq. 99, Eq.", {}),
        ("Tables 2 and 5; Table 3", {"Tables 2": ("docs/paper", "#table-2")}),
        ("Theorems 1 and 2, Theorem 1's", {"Theorems 1": "#theorem-1", "Theorem 1": "#theorem-1"}),
        ("Notebook 03 to notebooks 05 and 03; notebook 99", {"Notebook 03": "", "notebooks 05": "", "03": ""}),
        ("by S1 (T1.2, S1) but XS1, S1.5", {"S1": ("docs/claims", "#S1"), "T1.2": "#T1.2"}),
    ],
)
def test_mentions_lead_home(text, expected):
    found = {text[start:end]: place for start, end, place in mentions(text, "notebooks/99", HOMES, PAGES)}
    assert found.keys() == expected.keys()
    for words, place in expected.items():
        assert found[words] == place or found[words][1] == place, words


def test_a_page_does_not_link_to_itself():
    assert not list(mentions("notebook 03", "notebooks/03", HOMES, PAGES))
    assert not list(mentions("S1", "docs/claims", HOMES, PAGES))
    assert len(list(mentions("Eq. 3", "notebooks/03", HOMES, PAGES))) == 1  # but to a formula further up


@pytest.mark.parametrize(
    "title, key",
    [
        ("Narrowing Information Bottleneck Theory …", "zhu2025narrowing"),
        ("axiomatic attribution for deep networks", "sundararajan2017axiomatic"),
        ("Grad-CAM.", "selvaraju2017grad"),
        ("Grad-CAM++.", "chattopadhay2018grad"),
        ("A book that nobody wrote", None),
        ("Axiomatic", None),
        ("…", None),
        ("A …", None),
        ("_Grad-CAM_", "selvaraju2017grad"),
    ],
)
def test_an_entry_is_found_by_its_title(title, key):
    assert key_of(title) == key


def cell(source: str, *outputs: dict) -> nbformat.NotebookNode:
    shown = [nbformat.v4.new_output("display_data", data=data) for data in outputs]
    return nbformat.v4.new_code_cell(source, outputs=shown)


def test_code_is_folded_where_it_only_draws_or_solves():
    picture, text, long = {"image/png": "iVBORw0=", "text/plain": "<Figure>"}, {"text/plain": "1"}, "x = 1\n" * LONG
    cells = [
        cell(long + "plot(x)", picture),
        cell(long + "plot(x)", picture, text),
        cell(long + "plot(x)"),
        cell("plot(x)", picture),
        cell("def f():\n    ### BEGIN SOLUTION\n    ### END SOLUTION"),
    ]
    notebook = nbformat.v4.new_notebook(cells=cells)
    prepared, _ = prepare(notebook)
    assert [bool(each.metadata.get("tags")) for each in prepared.cells] == [True, False, False, False, True]
    assert not any(each.metadata for each in notebook.cells)  # the notebook itself stays


def test_badges_have_an_anchor_once_and_the_ledger_leads_to_it():
    badge = {"text/html": f'<a href="{LEDGER_PAGE}#T1.2">T1.2</a>', "text/plain": ""}
    prepared, claims = prepare(nbformat.v4.new_notebook(cells=[cell("1", badge), cell("2", badge)]))
    shown = [each.outputs[0].data["text/html"] for each in prepared.cells]
    assert shown == [f'<a {id}href="../docs/claims.html#T1.2">T1.2</a>' for id in ('id="claim-T1.2" ', "")]
    row = '<a id="{0}"></a>[{0}](../notebooks/03_a.ipynb)'
    ledger = to_the_cells(row.format("T1.2") + row.format("T1.3"), "03_a.ipynb", claims)
    assert ledger.count("03_a.ipynb#claim-T1.2)") == 1 and "03_a.ipynb)" in ledger


def test_a_folder_that_is_no_book_is_left_alone(tmp_path):
    (tmp_path / "book").mkdir()
    (tmp_path / "book" / "novel.txt").write_text("precious")
    with pytest.raises(RuntimeError, match="book is there already and is no book of ours"):
        build_book(tmp_path)
    assert (tmp_path / "book" / "novel.txt").read_text() == "precious" and not (tmp_path / "book-source").exists()


def test_a_notebook_without_a_picture_says_so():
    with pytest.raises(ValueError, match="shows no picture: run it first"):
        first_picture(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1")]))
