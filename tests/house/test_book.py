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
from nibkit.course.claims import kind_of, read_ledger
from tools import pages
from tools.bibliography import bibliography, key_of
from tools.book import PICTURE, ROOT, build_book, first_picture

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
MATHJAX = "_static/mathjax/tex-svg.js"
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
HEADS = (  # of boxes: in a quote, with a full stop at a line's begin or behind a sentence, or as a heading
    r"(?m)^> \*\*(?:Theorem \d|Proposition|Common mistakes)|(?:^|[.∎] )\*\*?(?:Theorem \d[^*]*|Proposition|Definition)\."
    r"|(?:^|[.∎] )\*\*?Proof[^*]*[.:]\*|^\*\*Proof\*\*|^#+ Proof"
)
QUIET = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --enable-logging=stderr --virtual-time-budget=30000 --dump-dom"
).split()


class Page(HTMLParser):
    """What a page refers to, the ids that it can be referred to by, and the text that a reader sees."""

    def __init__(self, path: Path):
        super().__init__()
        self.links, self.mentions, self.loaded, self.open, self.ids, self.text, self.math = [], [], [], [], set(), "", 0
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.ids.update(filter(None, (values.get("id"), values.get("name"))))
        self.math += "math" in (values.get("class") or "").split()
        if tag == "a" and values.get("href"):
            self.links.append(values["href"])
            if "mention" in (values.get("class") or "").split():
                self.mentions.append(values["href"])
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


def test_every_row_of_the_ledger_leads_to_the_badge_and_back(book, html):
    ledger = html[book / "docs/claims.html"]
    for id, row in read_ledger().items():
        assert f"../notebooks/{row['notebook']}.html#claim-{id}" in ledger.links, id
        assert f"../docs/claims.html#{id}" in html[book / "notebooks" / f"{row['notebook']}.html"].links, id


def markdown_of(path: Path) -> str:
    return "\n\n".join(cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "markdown")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_what_is_marked_is_boxed_folded_numbered_and_linked(book, html, path):
    source, cells = markdown_of(path), nbformat.read(path, as_version=4).cells
    text = (book / "notebooks" / f"{path.stem}.html").read_text(encoding="utf-8")
    marks = re.findall(HEADS, source)
    assert len(re.findall(r'<div class="[^"]*\bbox-\w+', text)) == len(marks), marks
    assert text.count("<details><summary>Hint") == source.count("<details><summary>Hint") >= 2
    alts = re.findall(r'<img [^>]*?alt="([^"]*)"[^>]*?src="\.\./_images', text)
    assert alts and all(alt and not alt.endswith(".png") for alt in alts), "a figure without alternative text"
    assert text.count("Show a solution") == sum("### BEGIN SOLUTION" in cell.source for cell in cells)
    numbers = re.findall(r"\\tag\{([\d., ]+)|\\qquad *(?:\\text\{)?\((\d[\d.]*)[^$]{0,40}\$\$", source)
    found = {f"eq-{number}" for pair in numbers for number in re.split(", *", pair[0] or pair[1]) if number}
    assert found <= html[book / "notebooks" / f"{path.stem}.html"].ids
    assert not re.search(r"\\qquad *(?:\\text\{)?\(\d", re.sub(r"<(pre|code).*?</\1>", "", text, flags=re.S))


def test_what_is_mentioned_is_linked(book, html):
    kinds = {"equations": "#eq-", "theorems": "#theorem-", "claims": "claims.html#", "notebooks": r"\.html$"}
    links = [link for path, page in html.items() for link in page.mentions]
    counts = {kind: sum(bool(re.search(part, link)) for link in links) for kind, part in kinds.items()}
    assert counts["equations"] > 150 and counts["theorems"] > 30 and counts["claims"] > 300 and counts["notebooks"] > 150, counts
    homes = {link.rpartition("/")[2] for link in links if "#eq-10" in link or "#theorem-" in link}
    assert homes >= {"05_theorem_3.html#eq-10", *(f"{path.stem}.html#theorem-{i}" for i, path in enumerate(NOTEBOOKS[3:6], 1))}
    for number in range(1, 12):
        assert any(link.endswith(f"#eq-{number}") for link in links), f"nothing leads to Eq. {number}"


def test_every_reference_is_linked_to_its_entry(book, html):
    cited = set()
    for path in NOTEBOOKS:
        items = re.findall(r"(?m)^\* (.*)", markdown_of(path).partition("## References\n")[2])
        assert items, path.name
        for item in items:
            keys = [key_of(title) for title in re.findall(r"(?<!\*)\*([A-Z][^*]+)\*(?!\*)", item)]
            assert keys and None not in keys, f"{path.name}: docs/references.bib lacks an entry for: {item}"
            links = html[book / "notebooks" / f"{path.stem}.html"].links
            assert {f"../docs/references.html#{key}" for key in keys} <= set(links), item
            cited |= set(keys)
    assert len(cited) >= 70 and set(bibliography().entries) <= html[book / "docs/references.html"].ids


def test_the_glossary_has_what_the_notation_table_has():
    table = markdown_of(NOTEBOOKS[0]).partition("## Notation")[2]
    names = {
        name for line in table.splitlines() if line.startswith("| $") for name in re.findall("`([^`]+)`", line.split("|")[2])
    }
    glossary = (ROOT / "docs/glossary.md").read_text(encoding="utf-8")
    assert len(names) >= 12 and not [name for name in names if f"`{name}`" not in glossary]


def test_a_download_is_the_notebook_itself(book, html):
    for path in NOTEBOOKS:
        assert f"../_sources/notebooks/{path.name}" in html[book / "notebooks" / f"{path.stem}.html"].links
        stored = nbformat.read(path, as_version=4)
        assert nbformat.read(book / "_sources/notebooks" / path.name, as_version=4) == stored, path.name


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


def in_a_browser(address: str, folder: Path) -> str:
    """A page as Chromium shows it without a network, as HTML; nothing failed to load and no script failed."""
    command = [BROWSER, *QUIET, f"--user-data-dir={folder}", "--host-resolver-rules=MAP * ~NOTFOUND", address]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", timeout=120)
    assert not re.findall("net::ERR.*|.*Uncaught.*|.*Failed to load.*", done.stderr)
    return done.stdout


@pytest.mark.skipif(BROWSER is None, reason="there is no Chromium here")
@pytest.mark.parametrize("name", ["03_theorem_1", "05_theorem_3"])
def test_a_browser_without_a_network_sets_the_formulas(book, html, tmp_path, name):
    path = book / "notebooks" / f"{name}.html"
    shown = in_a_browser(path.as_uri(), tmp_path)
    assert shown.count("<mjx-container") == html[path].math >= 20
    assert '<g data-mml-node="merror"' not in shown


@pytest.mark.skipif(BROWSER is None, reason="there is no Chromium here")
def test_a_browser_filters_the_ledger_and_searches(book, tmp_path):
    ledger, page = read_ledger(), (book / "docs/claims.html").as_uri()
    shown = in_a_browser(f"{page}#filter?notebook=11&verdict=holds&source=paper&text=LAYER", tmp_path)
    rows = re.findall(r'<tr class="row-\w+"( hidden="")?>\s*<td><p><a id="([^"]+)">', shown)
    expected = {
        id
        for id, row in ledger.items()
        if row["notebook"].startswith("11") and kind_of(row["verdict"]) == "holds" and row["source"] == "paper"
        if "layer" in f"{row['quote']} {row['claim']} {row['verdict']}".lower()
    }
    assert {id for hidden, id in rows if not hidden} == expected and expected and len(rows) == len(ledger)
    assert f"{len(expected)} of {len(ledger)} claims" in shown
    shown = in_a_browser((book / "search.html").as_uri() + "?q=valve", tmp_path)
    assert re.search("found [1-9][0-9]* pages? matching", shown)
    assert re.search('<li class="kind-text"><a href="notebooks/03_theorem_1.html"', shown)
