"""Boxes for theorems, proofs, definitions and common mistakes, and anchors of equations, from plain markdown.

The notebooks mark them as any reader of markdown sees them: a head in bold or italics (**Definition.**, *Proof.*, and in a quote
**Theorem 1**), the sign ∎ at a proof's end, and ``\\tag{10}`` or "(5.1)" at the end of a formula.
"""

from __future__ import annotations

import re
from typing import Any

from docutils import nodes

HEAD = re.compile(r"(Theorem \d|Proposition|Lemma|Definition|Proof|Common mistakes)\b")
END = "∎"
TAG = re.compile(r"\\tag\{([^}]*)\}")
WRITTEN = re.compile(r"\\qquad\s*(?:\\text\{)?\((\d+(?:\.\d+)?)(, [^)]*)?\)\}?(?:\\text\{([^}]*)\})?\s*$")  # (5.1) as plain text
NUMBER = re.compile(r"\d+(?:\.\d+)?")


def make_boxes(document: nodes.document) -> None:
    """Put every statement and proof into a box of its own."""
    for paragraph in document.findall(nodes.paragraph):  # MyST begins one with an empty text where bold type comes first
        paragraph.children = [child for child in paragraph if not isinstance(child, nodes.Text) or child.astext()]
    for quote in list(document.findall(nodes.block_quote)):
        if kind := head_of(quote[0], 0, quoted=True) if len(quote) and isinstance(quote[0], nodes.paragraph) else None:
            quote.replace_self(box(kind, list(quote.children)))
    for parent in [document, *document.findall(nodes.section), *document.findall(nodes.list_item)]:
        parent.children = boxed(parent, list(parent.children))
        for child in parent.children:
            parent.setup_child(child)


def boxed(parent: nodes.Element, waiting: list[nodes.Node]) -> list[nodes.Node]:
    """The children of a section or of an item, with those that belong together in boxes."""
    done: list[nodes.Node] = []
    if isinstance(parent, nodes.section) and waiting[0].astext().startswith("Proof"):  # a section of its own
        if body := up_to_the_end(waiting[1:]):
            done, waiting = [waiting[0], box("proof", body, "Proof")], waiting[1 + len(body) :]
    while waiting:
        first = waiting.pop(0)
        if not isinstance(first, nodes.paragraph):
            done.append(first)
            continue
        at, kind = next(((i, kind) for i in range(len(first)) if (kind := head_of(first, i))), (None, None))
        if at is None or kind is None:
            done.append(first)
        elif at:
            before, rest = split(first, at)
            waiting[:0] = [before, rest] if before.astext().strip() else [rest]
        else:
            body = up_to_the_end([first, *waiting]) if kind == "proof" else statement([first, *waiting])
            del waiting[: max(len(body) - 1, 0)]
            *body, last = body or [first]
            if kind == "proof" and isinstance(last, nodes.paragraph):
                last, after = cut_behind_the_end(last)
                waiting[:0] = after
            elif last is first and (middle := next((i for i in range(1, len(first)) if head_of(first, i)), 0)):
                last, after = split(first, middle)  # a proof begins in the statement's own paragraph
                waiting.insert(0, after)
            done.append(box(kind, [*body, last]))
    return done


def head_of(paragraph: nodes.Element, at: int, quoted: bool = False) -> str | None:
    """The kind of box that begins at a paragraph's child, None where none does."""
    if at >= len(paragraph) or not isinstance(node := paragraph[at], nodes.strong | nodes.emphasis):
        return None
    text = node.astext()
    if not (found := HEAD.match(text)) or quoted and not isinstance(node, nodes.strong):
        return None
    if not (quoted or text.endswith((".", ":")) or at == 0 and text == "Proof"):
        return None
    return found[1].split()[0].lower()


def statement(children: list[Any]) -> list[Any]:
    """A statement that is not quoted: its paragraph, and what follows while no sentence has ended, or one begins with Then."""
    body = children[:1]
    if any(head_of(children[0], i) for i in range(1, len(children[0]))):
        return body
    for child in children[1:]:
        if isinstance(child, nodes.section | nodes.container) or isinstance(child, nodes.paragraph) and head_of(child, 0):
            break
        if body[-1].astext().rstrip().endswith(".") and not child.astext().startswith("Then "):
            break
        body.append(child)
    return body


def up_to_the_end(children: list[Any]) -> list[Any]:
    """A proof's parts, up to the one that holds its last sign; none where a code cell or a heading comes first."""
    for i, child in enumerate(children):
        if isinstance(child, nodes.section | nodes.container):
            break
        if END in child.astext():
            return children[: i + 1]
    return []


def split(paragraph: nodes.Element, at: int) -> tuple[nodes.paragraph, nodes.paragraph]:
    """A paragraph as two, the second from the child ``at`` on."""
    children = list(paragraph.children)
    return nodes.paragraph("", "", *children[:at]), nodes.paragraph("", "", *children[at:])


def cut_behind_the_end(paragraph: nodes.paragraph) -> tuple[nodes.paragraph, list[nodes.Node]]:
    """A proof's last paragraph up to its last sign, and what is left of it."""
    for i, child in enumerate(paragraph):
        if isinstance(child, nodes.Text) and END in child:
            before, _, after = child.partition(END)
            rest = [nodes.Text(after.lstrip()), *paragraph[i + 1 :]]
            kept = nodes.paragraph("", "", *paragraph[:i], nodes.Text(before + END))
            return kept, [nodes.paragraph("", "", *rest)] if any(node.astext().strip() for node in rest) else []
    return paragraph, []


def without_head(paragraph: nodes.Element) -> nodes.paragraph:
    """A paragraph less its first child and the signs that follow it."""
    children = list(paragraph.children[1:])
    if children and isinstance(children[0], nodes.Text):
        children[0] = nodes.Text(children[0].lstrip(" .\n"))
    return nodes.paragraph("", "", *children)


def box(kind: str, children: list[nodes.Node], title: str = "") -> nodes.admonition:
    """A box with a title: the head, as far as the first full stop (**Theorem 1** (as we read it). Let …)."""
    if not title:
        paragraph = children[0]
        title = paragraph[0].astext()
        if not title.endswith((".", ":")) and len(paragraph) > 1 and isinstance(paragraph[1], nodes.Text):
            more, stop, rest = paragraph[1].partition(".")
            if stop:
                title, paragraph.children[1] = title + more, nodes.Text(rest)
        left = without_head(paragraph)
        children = [left, *children[1:]] if left.astext().strip() else children[1:]
    found = nodes.admonition("", nodes.title("", title.rstrip(".:")), *children, classes=["box", f"box-{kind}"])
    if kind == "theorem":
        found["ids"].append("theorem-" + NUMBER.findall(title)[0])
    return found


def make_anchors(document: nodes.document) -> dict[str, int]:
    """Give every numbered equation, theorem and table an id; returns them with a rank, 0 for what is a home before all others.

    A formula's number makes a home of rank 0. An equation that is nowhere set apart is at home where its name stands in bold or
    in a heading ("Eqs. 6 and 7", "1 · Eq. 2: a layer …"): rank 1. A table of the paper has its home in our row about it.
    """
    found = {id: 0 for node in document.findall(nodes.admonition) for id in node["ids"] if id.startswith("theorem-")}
    for block in list(document.findall(nodes.math_block)):
        text = WRITTEN.sub(lambda match: rf"\tag{{{match[1]}{match[2] or match[3] or ''}}}", block.astext())
        if tag := TAG.search(text):
            block.children = [nodes.Text(text)]
            found |= anchored(block, NUMBER.findall(tag[1].replace("Theorem 3", "")), 0, found)
    for node in [*document.findall(nodes.strong), *document.findall(nodes.title)]:
        if named := re.match(r"(?:\d+ · )?Eqs?\. (\d+(?:(?:, | and )\d+)*)(?=:|$)", node.astext()):
            place = node if isinstance(node, nodes.strong) else node.parent[1] if len(node.parent) > 1 else node
            found |= anchored(place, NUMBER.findall(named[1]), 1, found)
    for entry in [row[0] for body in document.findall(nodes.tbody) for row in body]:
        if (named := re.fullmatch(r"Table (\d)", entry.astext())) and f"table-{named[1]}" not in found:
            entry["ids"].append(f"table-{named[1]}")
            found[f"table-{named[1]}"] = 1
    return found


def anchored(node: nodes.Element, numbers: list[str], rank: int, taken: dict[str, int]) -> dict[str, int]:
    """An invisible target before a node for each number that has none on this page yet."""
    new = {name: rank for number in numbers if (name := f"eq-{number}") not in taken}
    node.parent[node.parent.index(node) : node.parent.index(node)] = [nodes.target("", "", ids=[name]) for name in new]
    return new
