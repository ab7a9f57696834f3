"""Slides: a deck for each notebook, made from it: its questions, figures and claims, and its prose as the speaker's notes.

python -m tools.slides           # all, into build/slides: open index.html; S opens the speaker's window
python -m tools.slides 05 07     # only those whose name begins so

The opening becomes the first slide. A section becomes one: its heading, the first sentences, the first displayed formula where
there is no figure, the last figure, and the first two claims that it asserts. Marks in a cell's metadata (JupyterLab: Property
Inspector, Slide Type) change this: a figure's cell marked "slide" or "subslide" gets a slide of its own, what is marked "skip"
stays out. Nothing is fetched: reveal.js comes from the package sphinx-revealjs, MathJax from docs/_static.
"""

from __future__ import annotations

import argparse
import html
import importlib.util
import re
import shutil
from dataclasses import dataclass, field
from pathlib import Path

import nbformat
from nbconvert.filters import markdown2html

from nibkit.outputs import check_output, written_whole

from .book import BUILD, ROOT
from .student import FOLDER

PAGE = Path(__file__).parent / "handout" / "slides.html"
SENTENCE = re.compile(r"(?<=[.?!*])\s+(?=[A-Z“*`$\[])")
FORMULA = re.compile(r"\$\$.+?\$\$", re.S)
LEAD = 260  # characters of the first sentences: more is not read from a slide
REVEAL = ("dist/reset.css", "dist/reveal.css", "dist/theme/white.css", "dist/reveal.js", "plugin/notes/notes.js")


@dataclass
class Slide:
    """What one slide shows, as HTML, and what is said to it."""

    heading: str
    opening: bool = False
    lead: str = ""
    formula: str = ""
    figures: list[str] = field(default_factory=list)
    claims: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def to_html(self) -> str:
        """One <section>; the last of the figures is shown."""
        kind = "with-figure" if self.figures else "words"
        formula = "" if self.figures else self.formula
        claims = "".join(self.claims[:2])
        words = f'<div class="told">{self.lead}{formula}{claims}</div>'
        notes = f'<aside class="notes">{"".join(self.notes + self.claims[2:])}</aside>'
        return f'<section class="{kind}"><h2>{self.heading}</h2>{words}{"".join(self.figures[-1:])}{notes}</section>'


def as_html(markdown: str) -> str:
    """Markdown as HTML; links into the repository, which lead nowhere from a deck, keep their words alone."""
    return markdown2html(re.sub(r"\[([^]]+)\]\((?!http)[^)]+\)", r"\1", markdown))


def first_sentences(markdown: str) -> str:
    """The first paragraph's sentences up to ``LEAD`` characters, one at least; "" if there is no plain paragraph."""
    for paragraph in re.split(r"\n\s*\n", markdown):
        if not re.match(r"#|>|\||\$\$|\*\*?\s|\* |- |\d+\. |```|<|!\[", paragraph.strip() or "#"):
            told, *rest = SENTENCE.split(" ".join(paragraph.split()))
            for sentence in rest:
                if len(told) + len(sentence) > LEAD:
                    break
                told += f" {sentence}"
            return told
    return ""


def shown(cell: nbformat.NotebookNode) -> tuple[list[str], list[str]]:
    """A code cell's figures and its claims' badges, as HTML."""
    figures, claims = [], []
    for output in cell.outputs:
        data = output.get("data", {})
        if "image/png" in data:
            alt = html.escape(output.metadata.get("image/png", {}).get("alt", ""))
            figures.append(f'<img alt="{alt}" src="data:image/png;base64,{data["image/png"].strip()}">')
        elif 'class="claim"' in data.get("text/html", ""):
            badge = re.sub(r'<a href="[^"]*">(.+?)</a>', r"\1", data["text/html"])
            claims.append(re.sub(r"\s*<small>.*?</small>", "", badge))
    return figures, claims


def slides_of(notebook: nbformat.NotebookNode) -> list[Slide]:
    """The notebook's slides, in order; the references stay out."""
    slides: list[Slide] = []
    for cell in notebook.cells:
        mark = cell.metadata.get("slideshow", {}).get("slide_type", "")
        if cell.cell_type == "markdown":
            for part in re.split(r"^(?=##? )", cell.source, flags=re.M):
                heading = re.match(r"##? (.+)\n?", part)
                if heading:
                    slides.append(Slide(as_inline(heading[1]), opening=not slides))
                    part = part[heading.end() :]
                if mark != "skip" and part.strip():
                    add_words(slides[-1], part)
        elif mark != "skip":
            figures, claims = shown(cell)
            if figures and mark in ("slide", "subslide"):
                slides.append(Slide(slides[-1].heading, figures=figures))
            else:
                slides[-1].figures += figures
            slides[-1].claims += claims
    return [slide for slide in slides if slide.heading != "References"]


def as_inline(markdown: str) -> str:
    """A line of Markdown as HTML without its paragraph."""
    return re.sub(r"</?p>", "", as_html(markdown)).strip()


def add_words(slide: Slide, markdown: str) -> None:
    """Prose: all of it to the notes, its beginning on the slide; findings and exercises are shown whole, as lists."""
    slide.notes.append(as_html(markdown))
    if slide.heading == "What we found" or slide.opening:
        slide.lead += as_html(markdown)
    elif slide.heading == "Exercises":
        titles = re.findall(r"^\*\*\d+\. .+?\*\* \(.+?\)", markdown, re.M)
        slide.lead += "".join(f"<p>{as_inline(title)}</p>" for title in titles)
    else:
        slide.lead = slide.lead or as_html(first_sentences(markdown))
        formula = FORMULA.search(markdown)
        slide.formula = slide.formula or (html.escape(formula[0], quote=False) if formula else "")


def build_deck(path: Path) -> str:
    """The deck of a notebook as a page of HTML. ValueError if it has no title or was not run."""
    notebook = nbformat.read(path, as_version=4)
    if not any(cell.get("outputs") for cell in notebook.cells):
        raise ValueError(f"{path.name} has no outputs to show: run it first (make notebooks)")
    title = re.match(r"# (.+)", notebook.cells[0].source)
    if title is None:
        raise ValueError(f"{path.name} does not begin with a title such as '# 05 · Theorem 3'")
    sections = "\n".join(slide.to_html() for slide in slides_of(notebook))
    return PAGE.read_text(encoding="utf-8").replace("TITLE", html.escape(title[1])).replace("SLIDES", sections)


def build_slides(out: Path, paths: list[Path]) -> list[Path]:
    """Write the decks, what they need and a page that lists them into ``out``; returns the decks."""
    package = importlib.util.find_spec("sphinx_revealjs")
    assert package and package.submodule_search_locations
    reveal = Path(package.submodule_search_locations[0]) / "_static" / "revealjs"
    for source in [*(reveal / name for name in REVEAL), ROOT / "docs" / "_static" / "mathjax" / "tex-svg.js"]:
        (out / "files").mkdir(parents=True, exist_ok=True)
        shutil.copy(source, out / "files")
    decks, items = [], []
    for path in paths:
        decks.append(out / f"{path.stem}.html")
        check_output("--out", decks[-1], [path])
        page = build_deck(path)
        with written_whole(decks[-1], "--out") as file:
            Path(file).write_text(page, encoding="utf-8")
        items.append(f'<li><a href="{path.stem}.html">{re.search("<title>(.+?)</title>", page)[1]}</a></li>')
    index = f'<!doctype html><meta charset="utf-8"><title>nibkit slides</title><h1>Slides</h1><ul>{"".join(items)}</ul>'
    (out / "index.html").write_text(index, encoding="utf-8")
    return decks


def main() -> None:
    """Write the decks and say where to look."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="beginnings of notebook names, for example 03; default: all")
    parser.add_argument("--out", type=Path, default=BUILD / "slides", help="the folder that they go into")
    args = parser.parse_args()
    paths = [path for path in sorted(FOLDER.glob("*.ipynb")) if path.name.startswith(tuple(args.names or [""]))]
    if not paths:
        parser.error(f"no notebook in {FOLDER.name}/ begins with {' or '.join(args.names)}")
    decks = build_slides(args.out, paths)
    print(f"{len(decks)} decks: open {args.out / 'index.html'}")


if __name__ == "__main__":
    main()
