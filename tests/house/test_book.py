"""The book is whole and reads without a network: pages, links, pictures, formulas; generated pages are current."""

import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import nbformat
import pytest

import nibkit as nk
from nibkit.course.claims import read_ledger
from tools import pages
from tools.book import PICTURE, ROOT, build_book, first_picture
from tools.extension import docstring_to_rst

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
MATHJAX = "_static/mathjax/tex-svg.js"
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
QUIET = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --enable-logging=stderr --virtual-time-budget=30000 --dump-dom"
).split()


class Page(HTMLParser):
    """What a page refers to, the ids that it can be referred to by, and the text that a reader sees."""

    def __init__(self, path: Path):
        super().__init__()
        self.links, self.loaded, self.ids, self.text, self.math = [], [], set(), "", 0
        self.open = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.ids.update(filter(None, (values.get("id"), values.get("name"))))
        self.math += "math" in (values.get("class") or "").split()
        if tag == "a" and values.get("href"):
            self.links.append(values["href"])
        elif tag == "link" and values.get("rel") in ("next", "prev", "search", "index"):
            self.links.append(values["href"])
        elif source := values.get("src") or tag == "link" and values.get("href"):
            self.loaded.append(source)
        if tag in ("script", "style", "pre", "code"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        if self.open and self.open[-1] == tag:
            self.open.pop()

    def handle_data(self, data):
        self.text += "" if self.open else data


@pytest.fixture(scope="module")
def book(tmp_path_factory) -> Path:
    """The book from the stored outputs; a warning from Sphinx is an error."""
    return build_book(tmp_path_factory.mktemp("book")).parent


@pytest.fixture(scope="module")
def html(book) -> dict[Path, Page]:
    """Every page, read."""
    return {path: Page(path) for path in book.rglob("*.html") if "_static" not in path.parts}


def test_every_notebook_and_every_page_is_in_it(book, html):
    sources = [*NOTEBOOKS, *(ROOT / "docs").glob("*.md"), ROOT / "data/README.md", *(ROOT / "data").glob("[!r]*/README.md")]
    assert len(sources) >= 23
    missing = [path.name for path in sources if book / path.relative_to(ROOT).with_suffix(".html") not in html]
    assert not missing
    assert "docs/index.html" in html[book / "index.html"].links
    listed = {(book / "docs" / link).resolve() for link in html[book / "docs/index.html"].links}
    assert all(book / path.relative_to(ROOT).with_suffix(".html") in listed for path in NOTEBOOKS)


def test_nothing_is_fetched(book, html):
    for path, page in html.items():
        assert not [source for source in page.loaded if re.match("(https?:)?//", source)], path.name
    for path in book.rglob("*.css"):
        fetched = re.findall(r"(?:@import\s*|url\()\s*[\"']?(?:https?:)?//[^)\s]*", path.read_text(encoding="utf-8"))
        assert not fetched, path.name


def test_every_link_and_every_picture_leads_somewhere(book, html):
    checked = 0
    for path, page in html.items():
        for target in (*page.links, *page.loaded):
            file, _, fragment = unquote(target).partition("#")
            if re.match("[a-z]+:", target) or not file and not fragment:
                continue
            place = (path.parent / file.split("?")[0]).resolve() if file else path
            assert place.is_file(), f"{path.name} refers to {target}"
            if fragment and place in html:
                assert fragment in html[place].ids, f"{path.name} refers to {target}"
            checked += 1
    assert checked > 1000


def test_formulas_are_set_by_the_mathjax_that_is_here(book, html):
    assert (book / MATHJAX).read_bytes() == (ROOT / "docs" / MATHJAX).read_bytes()
    assert (ROOT / "docs/_static/mathjax/LICENSE").is_file()
    for path in NOTEBOOKS[1:7]:
        page = html[book / "notebooks" / f"{path.stem}.html"]
        assert page.math >= 10 and any(MATHJAX in source for source in page.loaded), path.name
    for path, page in html.items():
        assert "$$" not in page.text, f"{path.name}: {page.text.partition('$$')[2][:80]!r}"
        assert page.math == 0 or any(MATHJAX in source for source in page.loaded), path.name


def test_every_claim_has_an_anchor(book, html):
    assert html[book / "docs/claims.html"].ids >= set(read_ledger())


def test_every_public_name_is_described(book):
    text = (book / "docs/api.html").read_text(encoding="utf-8")
    for name in nk.__all__:
        assert f"nk.{name}<" in text, name
        assert re.search(rf'id="(module-)?nibkit\.([a-z]+\.)?{name}"', text), name


@pytest.mark.parametrize("name", ["docs/api.md", PICTURE])
def test_generated_pages_are_current(name):
    """If this fails: make pages. (docs/claims.md and docs/speed.md: tests/course/test_claims.py, tests/house/test_speed.py.)"""
    assert (ROOT / name).read_bytes() == pages.made_pages()[name]


def test_what_has_just_run_takes_the_place_of_what_is_stored_and_a_warning_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr("tools.book.PARTS", ("docs/index.md", "docs/*.png", "notebooks/0[01]_*.ipynb"))  # in seconds
    notebook, other = (nbformat.read(path, as_version=4) for path in NOTEBOOKS[:2])
    notebook.cells[0].source += "\n\nFresh from the kernel: [nowhere](98_nowhere.md)."
    for cell in notebook.cells:
        if cell.get("outputs"):
            cell.outputs = next(cell.outputs for cell in other.cells if "image/png" in str(cell.get("outputs")))
    with pytest.raises(RuntimeError, match="98_nowhere"):
        build_book(tmp_path, {NOTEBOOKS[0].name: notebook})
    assert "Fresh from the kernel" in Page(tmp_path / "book/notebooks" / f"{NOTEBOOKS[0].stem}.html").text
    shown = (tmp_path / "book/_images" / Path(PICTURE).name).read_bytes()
    assert shown == first_picture(other) != (ROOT / PICTURE).read_bytes()


def test_a_folder_that_is_no_book_is_left_alone(tmp_path):
    (tmp_path / "book").mkdir()
    (tmp_path / "book" / "novel.txt").write_text("precious")
    with pytest.raises(RuntimeError, match="book is there already and is no book of ours"):
        build_book(tmp_path)
    assert (tmp_path / "book" / "novel.txt").read_text() == "precious" and not (tmp_path / "book-source").exists()


def test_a_notebook_without_a_picture_says_so():
    with pytest.raises(ValueError, match="shows no picture: run it first"):
        first_picture(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1")]))


@pytest.mark.skipif(BROWSER is None, reason="there is no Chromium here")
@pytest.mark.parametrize("name", ["03_theorem_1", "05_theorem_3"])
def test_a_browser_without_a_network_sets_the_formulas(book, html, tmp_path, name):
    path = book / "notebooks" / f"{name}.html"
    command = [BROWSER, *QUIET, f"--user-data-dir={tmp_path}", "--host-resolver-rules=MAP * ~NOTFOUND", path.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", timeout=120)
    assert done.stdout.count("<mjx-container") == html[path].math >= 20
    assert '<g data-mml-node="merror"' not in done.stdout
    assert not re.findall("net::ERR.*|.*Uncaught.*|.*Failed to load.*", done.stderr)


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
