"""Slides: what of a notebook a deck shows, and that a browser shows it whole and fetches nothing."""

import re
import shutil
import subprocess

import nbformat
import pytest

from tools.slides import FOLDER, build_slides, first_sentences, slides_of

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
PATHS = sorted(FOLDER.glob("*.ipynb"))
BADGE = '<div class="claim"><a href="../docs/claims.md#A1">A1</a> It is so → <b>holds</b> <small>[compared: equal]</small></div>'


def drawn(text: str, mark: str = "") -> nbformat.NotebookNode:
    """A code cell that showed a picture (``text`` in place of its bytes) with its alternative text, and a claim."""
    picture = nbformat.v4.new_output("display_data", {"image/png": text}, metadata={"image/png": {"alt": f"of {text}"}})
    badge = nbformat.v4.new_output("display_data", {"text/html": BADGE})
    metadata = {"slideshow": {"slide_type": mark}} if mark else {}
    return nbformat.v4.new_code_cell("plot()", outputs=[picture, badge], metadata=metadata)


def deck(*cells: nbformat.NotebookNode | str) -> list:
    made = [nbformat.v4.new_markdown_cell(cell) if isinstance(cell, str) else cell for cell in cells]
    return slides_of(nbformat.v4.new_notebook(cells=made))


def test_a_section_is_a_slide_with_its_first_words_its_last_figure_and_two_claims():
    opening, section = deck(
        "# 00 · Title\n\nOne.\n\nTwo.", "## 1 · Why?\n\nA [link](x.md).\n\n$$a < b$$", drawn("A"), drawn("B"), drawn("C")
    )
    assert "One." in opening.lead and "Two." in opening.lead
    page = section.to_html()
    assert 'alt="of C" src="data:image/png;base64,C"' in page and "base64,A" not in page and "$$" not in page.split("<aside")[0]
    told, notes = page.split("<aside")
    assert told.count("It is so") == 2 and notes.count("It is so") == 1
    assert "A link." in told and "href" not in page and "compared" not in page


def test_without_a_figure_the_formula_is_shown():
    assert "$$a &lt; b$$" in deck("# T", "## S\n\nWhy?\n\n$$a < b$$")[1].to_html()


def test_marks_give_a_figure_its_own_slide_or_leave_a_cell_out():
    slides = deck("# T", "## S", drawn("A", "slide"), drawn("B"), drawn("C", "skip"), "## References")
    assert [(slide.heading, [re.search("base64,(.)", figure)[1] for figure in slide.figures]) for slide in slides] == [
        ("T", []),
        ("S", []),
        ("S", ["A", "B"]),
    ]


def test_findings_are_shown_whole_and_exercises_by_their_titles():
    _, found, tasks = deck("# T", "## What we found\n\n* one\n* two", "## Exercises\n\n**1. Half** (easy, 5 minutes). Do it.")
    assert "one" in found.lead and "two" in found.lead
    assert "Half" in tasks.lead and "Do it" not in tasks.lead and "Do it" in tasks.notes[0]


def test_the_first_sentences_end_at_a_sentence():
    text = f"> a quote\n\nFirst one. Second *one.* {'Long ' * 60}end."
    assert first_sentences(text) == "First one. Second *one.*"
    assert first_sentences("* a list\n\n| a table |") == ""


@pytest.fixture(scope="module")
def decks(tmp_path_factory):
    return build_slides(tmp_path_factory.mktemp("slides"), PATHS)


def test_every_notebook_has_a_deck_that_fetches_nothing(decks):
    assert [path.stem for path in decks] == [path.stem for path in PATHS]
    for path in decks:
        page = path.read_text(encoding="utf-8")
        assert 6 <= page.count("<section") <= 25, path.stem
        linked = re.findall(r'<(?:script|link|img)[^>]*?(?:src|href)="([^"]*)"', page)
        assert all(target.startswith("data:") or (path.parent / target).is_file() for target in linked)
        assert "NotImplementedError" not in page and "### BEGIN" not in page


@pytest.mark.skipif(BROWSER is None, reason="needs Chromium")
@pytest.mark.parametrize("number, place", [(3, 12), (7, 5)])
def test_a_browser_shows_a_slide_whole(decks, number, place):
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--window-size=1280,720", "--virtual-time-budget=6000", "--dump-dom"]
    dom = subprocess.run(
        [BROWSER, *flags, f"file://{decks[number]}#/{place}"], capture_output=True, text=True, timeout=120
    ).stdout
    assert dom.count('data-fits="true"') == 1 and "data-mjx-error" not in dom
