"""What the book asks of Sphinx beyond its settings.

Docstrings are read as plain text, anchors written as HTML are found by links, theorems and proofs become boxes (``boxes.py``),
mentions of equations, theorems, notebooks and claims become links (``mentions.py``), and the ledger's page gets a filter.
"""

from __future__ import annotations

import re
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx

from .boxes import make_anchors, make_boxes
from .mentions import LEDGER, link_mentions

SECTION = re.compile(r"(Args|Returns|Yields|Raises|Attributes):$")  # napoleon's headings, as far as the docstrings have them
ENTRY = re.compile(r"^([\w*\\-]+(, [\w*\\-]+)*): ")  # "image: [B, gh, gw], patches"
ANCHOR = re.compile(r'<a id="([^"]+)"')


def docstring_to_rst(text: str) -> str:
    """A docstring as reStructuredText: indented blocks stay as they are set, lines like "name: what it is" become a list."""
    blocks: list[str] = []
    in_section = False
    for block in re.split(r"\n\s*\n", text.strip("\n")):
        lines = block.splitlines()
        in_section = bool(SECTION.match(lines[0])) or in_section and lines[0].startswith(" ")
        if in_section:
            blocks.append(escaped(block))
        elif lines[0].startswith(">>> "):
            blocks.append(re.sub(r" +# doctest: .*", "", block))
        elif all(line.startswith(" ") for line in lines):
            blocks.append(f"::\n\n{block}")
        elif ENTRY.match(lines[0]):
            lines = escaped(block).splitlines()
            items = (ENTRY.sub(r"* **\1**: ", line) if ENTRY.match(line) else f"  {line.strip()}" for line in lines)
            blocks.append("\n".join(items))
        else:
            blocks.append("\n".join(line.strip() for line in escaped(block).splitlines()))
    return "\n\n".join(blocks)


def escaped(text: str) -> str:
    """|x| and **options, outside ``code``, as they stand."""
    pieces = re.split(r"(``.+?``)", text, flags=re.S)
    pieces[::2] = [re.sub(r"\||\*\*", lambda match: "".join(f"\\{sign}" for sign in match[0]), piece) for piece in pieces[::2]]
    return "".join(pieces)


def read_docstring(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Before napoleon sees it."""
    lines[:] = [*docstring_to_rst("\n".join(lines)).splitlines(), ""]


def find_anchors(app: Sphinx, document: nodes.document) -> None:
    """An anchor written as HTML, ``<a id="T1.2">``, can be linked to from any page as ``claims.md#T1.2``."""
    html = (node.astext() for node in document.findall(nodes.raw) if node.get("format") == "html")
    if found := {match[1]: (0, match[1], match[1]) for text in html for match in ANCHOR.finditer(text)}:
        slugs = app.env.metadata[app.env.docname].setdefault("myst_slugs", {})
        slugs.update(found)


def read_marks(app: Sphinx, document: nodes.document) -> None:
    """Boxes and anchors, as soon as a page is read; where an equation is at home is known when all are."""
    make_boxes(document)
    app.env.metadata[app.env.docname]["homes"] = make_anchors(document)


def add_filter(app: Sphinx, page: str, template: str, context: dict[str, Any], document: nodes.document | None) -> None:
    """The ledger's page alone loads the script that filters it."""
    if page == LEDGER:
        app.add_js_file("ledger.js")


def setup(app: Sphinx) -> dict[str, bool]:
    """Sphinx calls this."""
    app.connect("autodoc-process-docstring", read_docstring, priority=400)
    app.connect("doctree-read", find_anchors)
    app.connect("doctree-read", read_marks)
    app.connect("doctree-resolved", link_mentions)
    app.connect("html-page-context", add_filter)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
