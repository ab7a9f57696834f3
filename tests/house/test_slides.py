"""Slides: what of a notebook a deck shows, and that a browser shows it whole and fetches nothing."""

import re
import shutil
import subprocess

import nbformat
import pytest

from tools import slides
from tools.book import MARK
from tools.slides import build_slides, first_sentences, slides_of
from tools.student import FOLDER, chosen

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
    """No figure is lost to a later one: those without a mark stay on the section's own slide."""
    pages = [
        slide.to_html() for slide in deck("# T", "## S", drawn("A", "slide"), drawn("B"), drawn("C", "skip"), "## References")
    ]
    assert [re.findall("base64,(.)", page) for page in pages] == [[], ["B"], ["A"]]
    both = drawn("A", "subslide")
    both.outputs += drawn("B").outputs
    assert [re.findall("base64,(.)", slide.to_html()) for slide in deck("# T", both)] == [[], ["A"], ["B"]]


def test_a_cell_to_skip_and_a_comment_in_code_make_no_slide():
    skipped = nbformat.v4.new_markdown_cell("## Not this\n\nNor this.", metadata={"slideshow": {"slide_type": "skip"}})
    made = deck("# T", "## S\n\nWords.\n\n```python\n# a comment\n\nx = 1\n```\n\n~~~\n# another\n", skipped, "More.")
    assert [slide.heading for slide in made] == ["T", "S"]
    assert "another" in made[1].notes[0] and "More" in made[1].notes[1] and "Nor this" not in "".join(made[1].notes)


def test_findings_are_shown_whole_and_exercises_by_their_titles():
    _, found, tasks = deck("# T", "## What we found\n\n* one\n* two", "## Exercises\n\n**1. Half** (easy, 5 minutes). Do it.")
    assert "one" in found.lead and "two" in found.lead
    assert "Half" in tasks.lead and "Do it" not in tasks.lead and "Do it" in tasks.notes[0]


def test_the_first_sentences_end_at_a_sentence():
    text = f"> a quote\n\nFirst one. Second *one.* {'Long ' * 60}end."
    assert first_sentences(text) == "First one. Second *one.*"
    assert first_sentences("* a list\n\n| a table |\n\n```\nx\n\ny\n```") == ""


def test_a_slide_breaks_off_in_no_sentence():
    for text, told in (
        ("The **entropy** X is\n\n$$a < b,$$\n\nas we know.", "The **entropy** X is\n\n$$a < b.$$"),
        ("**Why.** One. Two follow:\n* a\n* b", "**Why.** One."),
        ("Only these:\n\n| a | b |", "Only these:"),
    ):
        assert first_sentences(text) == told
    page = deck("# T", "## S\n\nIt is\n\n$$a < b.$$", drawn("A"))[1].to_html().split("<aside")[0]
    assert page.count("a &lt; b") == 1 and "base64,A" in page
    for path in PATHS:
        for slide in slides_of(nbformat.read(path, as_version=4))[1:]:
            words = re.sub("<[^>]+>", "", slide.lead).strip()
            assert not words or words[-1] in ".?!:”*)∎$", f"{path.stem}, {slide.heading}: {words}"


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
    files = decks[0].parent / "files"
    for style in files.glob("*.css"):
        assert not re.search(r"@import|url\((?!data:)", style.read_text("utf-8")), style.name
    assert "Permission is hereby granted" in (files / "reveal.LICENSE").read_text("utf-8")
    assert "Apache License" in (files / "mathjax.LICENSE").read_text("utf-8")


def test_the_list_names_every_deck_that_is_there(tmp_path):
    for name in ("03", "05"):
        build_slides(tmp_path / "new" / "slides", chosen([name]))
    assert re.findall('href="(..)_', (tmp_path / "new/slides/index.html").read_text("utf-8")) == ["03", "05"]


def test_what_is_no_folder_of_slides_is_left_alone(tmp_path, monkeypatch, capsys):
    """Nor is anything written where a name, a notebook or reveal.js is wrong: one line says what is."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "index.html").write_text("mine")
    (tmp_path / "site" / MARK).touch()  # the book's mark: a book is no slides
    (tmp_path / "file").touch()
    bare = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("# T")])
    nbformat.write(bare, tmp_path / "90_bare.ipynb")

    def says(*arguments: str) -> str:
        monkeypatch.setattr("sys.argv", ["slides", *arguments])
        with pytest.raises(SystemExit):
            slides.main()
        return capsys.readouterr().err

    assert "holds something that is no slides of ours" in says("03", "--out", str(tmp_path / "site"))
    assert (tmp_path / "site" / "index.html").read_text() == "mine"
    assert "can't be a folder (File exists)" in says("03", "--out", str(tmp_path / "file"))
    new = tmp_path / "new"
    assert "no notebook of that name in notebooks/: nonsense" in says("03", "nonsense", "--out", str(new))
    monkeypatch.setattr(slides, "chosen", lambda names: chosen(names, tmp_path))
    assert "90_bare.ipynb has no outputs to show" in says("--out", str(new))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert "pip install 'nibkit[docs]'" in says("--out", str(new)) and not new.exists()


@pytest.mark.skipif(BROWSER is None, reason="needs Chromium")
@pytest.mark.parametrize("number, place", [(3, 12), (7, 5)])
def test_a_browser_shows_a_slide_whole(decks, number, place):
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--window-size=1280,720", "--virtual-time-budget=6000", "--dump-dom"]
    dom = subprocess.run(
        [BROWSER, *flags, f"file://{decks[number]}#/{place}"], capture_output=True, text=True, timeout=120
    ).stdout
    assert dom.count('data-fits="true"') == 1 and "data-mjx-error" not in dom
