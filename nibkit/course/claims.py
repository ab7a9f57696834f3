"""Claims that can fail: ``claim`` asserts one, ``read_ledger`` is the list of all of them (``data/claims.csv``)."""

from __future__ import annotations

import csv
import functools
import html
import sys
import textwrap
from typing import Any

import numpy as np

from ..resources import data_dir

RELATIONS = {"==": "equal", "<=": "at most", ">=": "at least", "!=": "different"}  # the left side is … the right side
VERDICTS = {"holds if": ("◐", "#bf8700"), "holds": ("✓", "#1a7f37"), "fails": ("✗", "#cf222e")}  # how one begins: sign, colour
LEDGER_PAGE = "../docs/claims.md"  # from notebooks/; the book has it as .html


@functools.cache
def read_ledger() -> dict[str, dict[str, str]]:
    """The ledger: id -> its row, in the order of the file.

    Keys: id, source ("paper": the paper says it, "reading": we had to read or rebuild what it says, "ours"), quote (where in the
    paper, and its words or how we read them), claim, notebook, model ("none" for theory), verdict, tolerance.
    """
    with (data_dir() / "claims.csv").open(encoding="utf-8", newline="") as file:
        return {row["id"]: row for row in csv.DictReader(file)}


def kind_of(verdict: str) -> str:
    """How a verdict begins: "holds", "holds if" or "fails"."""
    return next(kind for kind in VERDICTS if verdict.startswith(kind))


def claim(id: str, lhs: Any, rhs: Any, op: str = "==", tol: float | None = None) -> None:
    """Assert ``lhs op rhs`` within ``tol`` and show one line that is the same on every machine.

    The line begins with ✓ (the claim holds), ◐ (holds under a condition) or ✗ (fails: then what is asserted is that it fails). In
    a notebook it is a badge with a link to the ledger's page, elsewhere text.

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
    if op not in RELATIONS:
        raise ValueError(f"op must be one of {', '.join(RELATIONS)}; got {op!r}")
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
    _show(row, RELATIONS[op] + (f" within {stated:g}" if stated else ""))


def _show(row: dict[str, str], relation: str) -> None:
    """A badge in a notebook, text elsewhere."""
    sign, colour = VERDICTS[kind_of(row["verdict"])]
    verdict = row["verdict"] if row["verdict"].startswith("holds") else f"{row['verdict']} (asserted as failing)"
    text = textwrap.fill(f"{sign} {row['id']}: {row['claim']} → {verdict} [compared: {relation}]", 100, subsequent_indent="  ")
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    if shell is None:
        print(text)
        return
    claimed, decided, compared = map(html.escape, (row["claim"], verdict, relation))
    shell.display_pub.publish(
        {
            "text/plain": text,
            "text/html": f'<div class="claim" style="border-left: 3px solid {colour}; padding-left: .6em; margin: .3em 0">'
            f'<b style="color: {colour}">{sign}</b> <a href="{LEDGER_PAGE}#{row["id"]}">{row["id"]}</a> {claimed} → '
            f'<b style="color: {colour}">{decided}</b> <small>[compared: {compared}]</small></div>',
        }
    )


def _numbers(value: Any) -> np.ndarray:
    if hasattr(value, "detach"):  # a tensor, wherever it lies
        value = value.detach().cpu().double().numpy()
    return np.asarray(value, dtype=np.float64)
