"""Links from every mention of an equation, theorem, table, notebook or claim to the place where it is at home."""

from __future__ import annotations

import re
from collections.abc import Iterator

from docutils import nodes
from sphinx.application import Sphinx

from nibkit.course.claims import read_ledger

from .bibliography import key_of

N = r"(?:\(\d+(?:\.\d+)?\)|\d+(?:\.\d+)?)"
LIST = rf"{N}(?:(?:\s?[–-]\s?|, | and | to ){N})*"
FEW = r"(?:(?:, | and | to |–)\d{1,2})*"
IDS = "|".join(re.escape(id) for id in sorted(read_ledger(), key=len, reverse=True))
MENTION = re.compile(
    rf"(?P<eq>\bEqs\.\s{LIST}|\bEq\.\s{N}|(?<![\w.])\(\d+\.\d+\))|(?P<theorem>\bTheorems?\s\d{FEW})|(?P<table>\bTables?\s\d{FEW})"
    rf"|(?P<notebook>\b[Nn]otebooks?\s\d\d{FEW})|(?P<claim>(?<![\w.])(?:{IDS})(?![\w.]*\w))"
)
QUIET = nodes.reference, nodes.title, nodes.literal, nodes.FixedTextElement, nodes.math, nodes.raw, nodes.term  # hold no links
LEDGER, REFERENCES = "docs/claims", "docs/references"


def link_mentions(app: Sphinx, document: nodes.document, page: str) -> None:
    """After Sphinx has read all pages: turn mentions into links, and titles in a list of references into links to its entry."""
    homes = homes_of(app)
    pages = {name.split("/")[1][:2]: name for name in app.env.all_docs if name.startswith("notebooks/")}

    def uri(place: tuple[str, str]) -> str:
        return (app.builder.get_relative_uri(page, place[0]) if place[0] != page else "") + place[1]

    for text in [node for node in document.findall(nodes.Text) if not within(node, QUIET)]:
        pieces: list[nodes.Node] = []
        at = 0
        for start, end, place in mentions(text.astext(), page, homes, pages):
            link = nodes.reference("", text[start:end], internal=True, refuri=uri(place), classes=["mention"])
            pieces += [nodes.Text(text[at:start]), link]
            at = end
        if pieces and text.parent is not None:
            text.parent.replace(text, [*pieces, nodes.Text(text[at:])])
    if REFERENCES in app.env.all_docs:
        for title in titles_in(document):
            if key := key_of(title.astext()):
                link = nodes.reference("", "", internal=True, refuri=uri((REFERENCES, f"#{key}")))
                title.replace_self(link)
                link += title


def mentions(text: str, page: str, homes: dict[str, str], pages: dict[str, str]) -> Iterator[tuple[int, int, tuple[str, str]]]:
    """Where in a text something is named that has a home: start, end, and the home as (page, fragment).

    The first of several numbers takes its word along: "Eqs. 3" and "7" of "Eqs. 3–7".
    """
    for found in MENTION.finditer(text):
        kind = found.lastgroup
        numbers = [found] if kind == "claim" else list(re.finditer(N, found[0]))
        for i, number in enumerate(numbers):
            name = number[0].strip("()")
            start, end = (0, len(found[0])) if len(numbers) == 1 else (number.start() if i else 0, number.end())
            if kind == "claim":
                place = (LEDGER, f"#{found[0]}")
            elif kind == "notebook":
                place = (pages.get(name, page), "")
            else:
                place = (homes.get(id := f"{kind}-{name}", ""), f"#{id}")
            here = place[0] == page and kind not in ("eq", "theorem")  # a page links to its own formulas, not to its own rows
            if place[0] and not here:
                yield found.start() + start, found.start() + end, place


def homes_of(app: Sphinx) -> dict[str, str]:
    """The page where each equation, theorem and table is at home: the first of the lowest rank in ``make_anchors``."""
    ranked = [(rank, page, name) for page, known in app.env.metadata.items() for name, rank in known.get("homes", {}).items()]
    return {name: page for _, page, name in sorted(ranked, reverse=True)}


def titles_in(document: nodes.document) -> list[nodes.emphasis]:
    """The titles in the lists of a notebook's references: what is in italics there and begins with a capital letter."""
    sections = [section for section in document.findall(nodes.section) if section[0].astext() == "References"]
    items = [item for section in sections for item in section.findall(nodes.list_item)]
    return [title for item in items for title in item.findall(nodes.emphasis) if title.astext()[:1].isupper()]


def within(node: nodes.Node, kinds: tuple[type, ...]) -> bool:
    """Whether a node lies in one of some kinds."""
    while (parent := node.parent) is not None:
        if isinstance(parent, kinds):
            return True
        node = parent
    return False
