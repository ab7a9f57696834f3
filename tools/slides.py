"""Slides: a deck for each notebook, made from it: its questions, figures and claims, and its prose as the speaker's notes.

python -m tools.slides           # all, into build/slides: open index.html; S opens the speaker's window
python -m tools.slides 05 07     # only those whose name begins so

The opening becomes the first slide. A section becomes one: its heading, the first sentences with the formula that ends them, else
the first displayed formula where there is no figure, the last figure, and the first two claims that it asserts. Marks in a cell's
metadata (JupyterLab: Property Inspector, Slide Type) change this: figures marked "slide" or "subslide" get a slide each, after
their section's own; what is marked "skip" stays out, headings too, but not the title. Nothing is fetched: reveal.js comes from
the package sphinx-revealjs, MathJax from docs/_static, each with its licence.
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

from nibkit.io.outputs import check_output, written_whole

from .book import BUILD, ROOT
from .student import HANDOUT, chosen, make_folder

PAGE = HANDOUT / "slides.html"
MARK = ".slides-made-by-nibkit"  # in folders whose index may be written again
SENTENCE = re.compile(r"(?:(?<=[.?!])|(?<=[.?!][*)”])|(?<=[.?!]\*\*))\s+(?=[A-Z“*`$\[])")
ENDED = re.compile(r"[.?!∎][*)”\"`]*$")
HEADING = re.compile(r"^##? (.+)\n?", re.M)
FENCE = re.compile(r"^ {0,3}(`{3,}|~{3,})[^`\n]*\n.*?(?:^ {0,3}\1[`~]*|\Z)", re.M | re.S)
PARAGRAPH = re.compile(r"\n\s*\n|\n(?=[*-] |\|)")  # what ends one: an empty line, a list, a table
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
    """The first paragraph's sentences up to ``LEAD`` characters, one at least; "" if there is no plain paragraph.

    A sentence that goes on in a displayed formula ends with it. One that goes on in a list, a table or code is left out, unless
    it is the only one.
    """
    paragraphs = [part.strip() for part in PARAGRAPH.split(FENCE.sub("\n\n```\n\n", markdown))]
    for paragraph, following in zip(paragraphs, [*paragraphs[1:], ""]):
        if not re.match(r"#|>|\||\$\$|\*\*?\s|\* |- |\d+\. |```|<|!\[", paragraph or "#"):
            told, *rest = SENTENCE.split(" ".join(paragraph.split()))
            formula = FORMULA.match(following)
            for sentence in rest:
                if len(told) + len(sentence) > LEAD or not (ENDED.search(sentence) or formula):
                    break
                told += f" {sentence}"
            if formula and not ENDED.search(told):
                told += "\n\n" + re.sub(r"[,;]\s*\$\$$", ".$$", formula[0])
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
    """The notebook's slides, in order; the references stay out. The first cell holds the title."""
    slides: list[Slide] = []
    section = Slide("")  # the one that words, claims and figures without a mark go to
    for cell in notebook.cells:
        mark = cell.metadata.get("slideshow", {}).get("slide_type", "")
        if mark == "skip" and slides:
            continue
        if cell.cell_type == "markdown":
            for heading, words in parts_of(cell.source):
                if heading:
                    section = Slide(as_inline(heading), opening=not slides)
                    slides.append(section)
                if words.strip():
                    add_words(section, words)
        else:
            figures, claims = shown(cell)
            if figures and mark in ("slide", "subslide"):
                slides += [Slide(section.heading, figures=[figure]) for figure in figures]
                slides[-1].claims += claims
            else:
                section.figures += figures
                section.claims += claims
    return [slide for slide in slides if slide.heading != "References"]


def parts_of(markdown: str) -> list[tuple[str, str]]:
    """(heading of level 1 or 2, what stands below it), in order; the first has no heading. A comment in code is none."""
    code = [match.span() for match in FENCE.finditer(markdown)]
    headings = [match for match in HEADING.finditer(markdown) if not any(a <= match.start() < b for a, b in code)]
    starts = [*(match.start() for match in headings), len(markdown)]
    below = [(match[1], markdown[match.end() : end]) for match, end in zip(headings, starts[1:])]
    return [("", markdown[: starts[0]]), *below]


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
        if formula and not slide.formula and "$$" not in slide.lead:
            slide.formula = html.escape(formula[0], quote=False)


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
    """Write the decks, what they need and a page that lists all decks that are there into ``out``; returns those of ``paths``.

    Raises, before anything is written, ValueError: a notebook that has no title or was not run, an ``out`` that is no folder or
    holds something else, such as the book. ModuleNotFoundError: reveal.js is missing.
    """
    package = importlib.util.find_spec("sphinx_revealjs")
    if package is None or not package.submodule_search_locations:
        raise ModuleNotFoundError("slides need reveal.js, from sphinx-revealjs: pip install 'nibkit[docs]'")
    if out.is_dir() and any(out.iterdir()) and out.resolve() != BUILD / "slides" and not (out / MARK).is_file():
        raise ValueError(f"--out {out} holds something that is no slides of ours: give another folder, or empty it")
    pages = {out / f"{path.stem}.html": build_deck(path) for path in paths}
    make_folder(out)
    (out / MARK).touch()
    copy_files(Path(package.submodule_search_locations[0]) / "_static" / "revealjs", out / "files")
    for (deck, page), path in zip(pages.items(), paths):
        check_output("--out", deck, [path])
        write(deck, page)
    titles = {deck.name: re.search("<title>(.+?)</title>", deck.read_text("utf-8")) for deck in sorted(out.glob("[0-9]*.html"))}
    items = "".join(f'<li><a href="{name}">{title[1]}</a></li>' for name, title in titles.items() if title)
    write(out / "index.html", f'<!doctype html><meta charset="utf-8"><title>nibkit slides</title><h1>Slides</h1><ul>{items}</ul>')
    return list(pages)


def copy_files(reveal: Path, folder: Path) -> None:
    """What every deck needs, with its licences. The theme's own font is left out: the page names another."""
    folder.mkdir(exist_ok=True)
    mathjax = ROOT / "docs" / "_static" / "mathjax"
    for source in [*(reveal / name for name in REVEAL), mathjax / "tex-svg.js"]:
        shutil.copyfile(source, folder / source.name)
    for name, source in (("reveal.LICENSE", reveal), ("mathjax.LICENSE", mathjax)):
        shutil.copyfile(source / "LICENSE", folder / name)
    theme = folder / "white.css"
    theme.write_text(re.sub(r"^@import [^;]*;\n", "", theme.read_text("utf-8"), flags=re.M), encoding="utf-8")


def write(path: Path, page: str) -> None:
    """A page written whole."""
    with written_whole(path, "--out") as file:
        file.write_text(page, encoding="utf-8")


def main() -> None:
    """Write the decks and say where to look."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="beginnings of notebook names, for example 03; default: all")
    parser.add_argument("--out", type=Path, default=BUILD / "slides", help="the folder that they go into")
    args = parser.parse_args()
    try:
        decks = build_slides(args.out, chosen(args.names))
    except (ModuleNotFoundError, OSError, ValueError) as error:
        parser.error(str(error))
    print(f"{len(decks)} decks: open {args.out / 'index.html'}")


if __name__ == "__main__":
    main()
