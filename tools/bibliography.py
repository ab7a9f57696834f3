"""The entries of docs/references.bib, found by the titles that the notebooks' reference lists print."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

from pybtex.database import BibliographyData, parse_file

BIB = Path(__file__).resolve().parents[1] / "docs" / "references.bib"


@cache
def bibliography() -> BibliographyData:
    """docs/references.bib, read."""
    return parse_file(BIB)


def letters(title: str) -> str:
    """A title by its letters, digits and plus signs alone: Grad-CAM and Grad-CAM++ are two."""
    return re.sub(r"[^\w+]|_", "", title).casefold()


@cache
def keys_by_title() -> dict[str, str]:
    """Every title, and every short title, by its letters: the key of its entry. ValueError where two entries share one."""
    found: dict[str, str] = {}
    for key, entry in bibliography().entries.items():
        for field in ("title", "shorttitle"):
            for title in entry.fields.get(field, "").split(" / ") if field in entry.fields else []:
                if found.setdefault(letters(title.replace("{", "").replace("}", "")), key) != key:
                    raise ValueError(f"two entries of {BIB.name} are called {title!r}")
    return found


def key_of(title: str) -> str | None:
    """The key of the entry with a title; "Narrowing Information …", cut short, finds the one that begins so.

    None where there is none, where several begin so, or where fewer than three letters are left of it.
    """
    whole, known = letters(title), keys_by_title()
    if title.rstrip().endswith("…"):
        begun = {key for name, key in known.items() if name.startswith(whole)}
        return begun.pop() if len(begun) == 1 and len(whole) >= 3 else None
    return known.get(whole)
