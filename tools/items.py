"""Where each equation, theorem, table and appendix of the paper is tested: read from the places that the ledger's rows name."""

from __future__ import annotations

import re
from collections import Counter

from benchmarks.tables import table
from nibkit.course.claims import kind_of

Row = dict[str, str]  # of the ledger
KINDS = ("holds", "holds if", "fails")
APPENDICES = "ABCDEFGHIJK"
ITEMS = [f"Eq. {n}" for n in range(1, 12)] + [f"Theorem {n}" for n in range(1, 4)]
ITEMS += [f"Table {n}" for n in range(1, 9)] + [f"Appendix {letter}" for letter in APPENDICES]
NAMED = re.compile(r"(Eq|Theorem|Table|Appendi)(?:s|x|ces)?\.? ((?:(?:\d+|[A-K])\b(?:, | and |–|-| to )?)+)")
TOPICS = {  # parts of the paper: what a place in them looks like
    "abstract and introduction (§1)": r"Abstract|§1\b",
    "related work, preliminaries (§2, §3, Appendix A)": r"§[23]|Appendix A\b",
    "the theory (§4, Appendices B to G)": r"§4|Appendix [B-G]\b|Eqs?\.|Theorem",
    "the experiments (§5, §6, Appendices H to K)": r"§[56]|Appendix [H-K]\b|Table",
}


def places(row: Row) -> str:
    """The places in the paper that a row names, without the words that it quotes."""
    if row["source"] == "paper":  # §5.2: “its own words”; Appendix I: “others”
        return ", ".join(re.findall(r"(?:^|; )([^“”]+?): “", row["quote"]))
    return row["quote"].split(":")[0] if row["source"] == "reading" else row["quote"]  # Eq. 6: how we read it


def cited(place: str) -> set[str]:
    """The items in it: "Eqs. 5 and 6, Appendix B" gives {"Eq. 5", "Eq. 6", "Appendix B"}, "Tables 2 to 4" three."""
    found = set()
    for kind, numbers in NAMED.findall(place):
        name = {"Eq": "Eq.", "Appendi": "Appendix"}.get(kind, kind)
        order = [item for item in ITEMS if item.startswith(name)]
        for first, last in re.findall(r"(\d+|[A-K])\b(?:(?:–|-| to )(\d+|[A-K])\b)?", numbers):
            ends = f"{name} {first}", f"{name} {last or first}"
            if all(end in order for end in ends):
                found |= set(order[order.index(ends[0]) : order.index(ends[1]) + 1])
    return found


def by_item(rows: list[Row]) -> dict[str, list[Row]]:
    """Item -> the rows that name it."""
    return {item: [row for row in rows if item in cited(places(row))] for item in ITEMS}


def item_table(rows: list[Row]) -> str:
    """Items, the notebooks that test them, the claims, and how the paper's own sentences among them end."""
    lines = []
    for item, chosen in by_item(rows).items():
        notebooks = sorted({row["notebook"] for row in chosen})
        own = Counter(kind_of(row["verdict"]) for row in chosen if row["source"] == "paper")
        links = ", ".join(f"[{name[:2]}](../notebooks/{name}.ipynb)" for name in notebooks)
        claims = ", ".join(f"[{row['id']}](claims.md#{row['id']})" for row in chosen)
        lines.append([item, links, claims, *(str(own[kind]) for kind in KINDS), str(len(chosen) - own.total())])
    return table(["in the paper", "notebooks", "claims", *(f"*{kind}*" for kind in KINDS), "other rows"], lines, left=3)


def topic_table(rows: list[Row]) -> str:
    """Parts of the paper, and how its own sentences in them end; one that cites two parts counts in both."""
    own, lines = [row for row in rows if row["source"] == "paper"], []
    for topic, begins in TOPICS.items():
        counts = Counter(kind_of(row["verdict"]) for row in own if re.search(begins, places(row)))
        lines.append([topic, *(str(counts[kind]) for kind in KINDS), str(counts.total())])
    return table(["part of the paper", *(f"*{kind}*" for kind in KINDS), "sentences"], lines)
