"""Claims that can fail: ``claim`` asserts one, ``read_ledger`` is the list of all of them (``data/claims.csv``).

``python -m nibkit ledger`` writes the list into README.md, between the two marks.
"""

from __future__ import annotations

import csv
import functools
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from ..resources import data_dir

VERDICTS = ("holds if", "holds", "fails")  # a verdict begins with exactly one of these
MARKS = ("<!-- ledger: written by python -m nibkit ledger -->", "<!-- end of ledger -->")
_SIGNS = {"==": "=", "<=": "≤", ">=": "≥", "!=": "≠"}


@functools.cache
def read_ledger() -> dict[str, dict[str, str]]:
    """The ledger: id -> its row (keys id, paper, claim, notebook, verdict, tolerance), in the order of the file."""
    with (data_dir() / "claims.csv").open(encoding="utf-8", newline="") as file:
        return {row["id"]: row for row in csv.DictReader(file)}


def claim(id: str, lhs: Any, rhs: Any, op: str = "==", tol: float | None = None) -> None:
    """Assert ``lhs op rhs`` within ``tol`` and print one line that is the same on every machine.

    Args:
        id: the claim's row in ``data/claims.csv``.
        lhs, rhs: numbers, or arrays or tensors that broadcast; every element must satisfy the relation, except that "!="
            asks for one element at least that differs by more than ``tol``.
        op: "==" (|lhs − rhs| ≤ tol), "<=" (lhs ≤ rhs + tol), ">=" (lhs ≥ rhs − tol) or "!=".
        tol: absolute tolerance; by default the ledger's. If both are given they must agree.

    Raises:
        AssertionError: it does not hold; the message has the id, the worst values and the tolerance.
        ValueError: unknown id or op, a tolerance that is not the ledger's, or nothing to compare.
    """
    ledger = read_ledger()
    if id not in ledger:
        raise ValueError(f"no claim {id!r} in data/claims.csv: add its row first")
    if op not in _SIGNS:
        raise ValueError(f"op must be one of {', '.join(_SIGNS)}; got {op!r}")
    row = ledger[id]
    stated = float(row["tolerance"])
    if tol is not None and tol != stated:
        raise ValueError(f"claim {id}: tol={tol} here, but {stated} in data/claims.csv; make them agree")
    left, right = np.broadcast_arrays(_numbers(lhs), _numbers(rhs))
    if left.size == 0:
        raise ValueError(f"claim {id}: nothing to compare (empty arrays)")
    # how far beyond the relation each element lies; NaN (and ∞ − ∞) counts as a failure
    with np.errstate(invalid="ignore"):
        excess = {"<=": left - right, ">=": right - left}.get(op, np.where(left == right, 0.0, np.abs(left - right)))
    ok = bool((excess > stated).any() and not np.isnan(excess).any()) if op == "!=" else bool((excess <= stated).all())
    if not ok:
        worst = int(np.argmax(np.nan_to_num(excess, nan=np.inf)))
        raise AssertionError(
            f"claim {id} does not hold: {left.flat[worst]!r} {op} {right.flat[worst]!r} (tolerance {stated:g}, "
            f"{left.size} compared): {row['claim']}"
        )
    within = f" within {stated:g}" if stated else ""
    print(f"✓ {id}: {row['claim']} ({_SIGNS[op]}{within}) → {row['verdict']}")


def ledger_markdown() -> str:
    """The ledger for README.md: claims by notebook and verdict, and all of them folded away below."""
    rows = list(read_ledger().values())
    kinds = {row["id"]: next(verdict for verdict in VERDICTS if row["verdict"].startswith(verdict)) for row in rows}
    counts = Counter((row["notebook"], kinds[row["id"]]) for row in rows)
    order, totals = ("holds", "holds if", "fails"), Counter(kinds.values())
    line = lambda *cells: "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |"
    lines = [line("notebook", *(f"*{kind}*" for kind in order)), "|---|--:|--:|--:|"]
    for notebook in sorted({row["notebook"] for row in rows}):
        lines.append(line(f"[{notebook}](notebooks/{notebook}.ipynb)", *(counts[notebook, kind] for kind in order)))
    lines += [line(f"**all {len(rows)}**", *(f"**{totals[kind]}**" for kind in order)), ""]
    for kind, title in zip(order[::-1], ("What fails", "What holds under a condition", "What holds")):
        lines += [f"<details><summary>{title}: {totals[kind]} claims</summary>", ""]
        lines += [line("id", "in the paper", "claim", "verdict"), "|---|---|---|---|"]
        chosen = sorted((row for row in rows if kinds[row["id"]] == kind), key=lambda row: row["notebook"])
        lines += [line(*(row[key] for key in ("id", "paper", "claim", "verdict"))) for row in chosen]
        lines += ["", "</details>", ""]
    return "\n".join(lines).rstrip()


def write_ledger(readme: Path | None = None) -> Path:
    """Put ``ledger_markdown`` between the marks in README.md; see ``write_between``."""
    return write_between(MARKS, ledger_markdown(), readme)


def write_between(marks: tuple[str, str], text: str, readme: Path | None = None) -> Path:
    """Put a text between two marks in README.md (by default the one beside ``data``); returns its path.

    Raises ValueError if the marks are not there, each once and in order.
    """
    readme = Path(readme or data_dir().parent / "README.md")
    before, *rest = readme.read_text(encoding="utf-8").split(marks[0])
    inside, *after = "".join(rest).split(marks[1])
    if len(rest) != 1 or len(after) != 1:
        raise ValueError(f"{readme.name} must hold {marks[0]!r} and then {marks[1]!r}, each once")
    readme.write_text(f"{before}{marks[0]}\n{text}\n{marks[1]}{after[0]}", encoding="utf-8")
    return readme


def _numbers(value: Any) -> np.ndarray:
    if hasattr(value, "detach"):  # a tensor, wherever it lies
        value = value.detach().cpu().double().numpy()
    return np.asarray(value, dtype=np.float64)
