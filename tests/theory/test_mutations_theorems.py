"""Checks that can fail: a mistake in a formula of nibkit.bottleneck is caught by a claim of notebooks 01, 03 or 04.

The notebooks' own cells are run (those tagged "toy": no model, no figures) with one line of the module, of the two files that it
imports, or of a cell replaced. Unchanged they must pass. With the mistake the claims named beside it must fail, each of them
(plain assertions are taken out). Every claim of these cells stands beside a mistake that it catches.
"""

import ast
import contextlib
import importlib.util
import io
import re
import sys
from pathlib import Path

import matplotlib
import nbformat
import numpy as np
import pytest
from mistakes import IB, IN_NOTEBOOKS, MUTATIONS, T1, T2

import nibkit
import nibkit.theory.bottleneck  # names are imported when first used: the sources are put in its place

matplotlib.use("Agg")
ROOT = Path(__file__).resolve().parents[2]
SOURCES = {
    name: (ROOT / "nibkit" / "theory" / f"{name}.py").read_text(encoding="utf-8") for name in ("laws", "discrete", "bottleneck")
}


class WithoutAssertions(ast.NodeTransformer):
    def visit_Assert(self, node):
        return ast.copy_location(ast.Pass(), node)


def toy_cells(name: str) -> list[str]:
    """The cells tagged "toy": no model, no figures."""
    cells = nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4).cells
    return [c.source for c in cells if c.cell_type == "code" and "toy" in c.metadata.get("tags", [])]


def claims_in(sources: list[str]) -> list[str]:
    nodes = [node for source in sources for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    return [node.args[0].value for node in nodes if getattr(node.func, "attr", "") == "claim"]


def run(sources: list[str]) -> str:
    """Run the cells in one namespace; returns what they printed."""
    printed, namespace = io.StringIO(), {}
    with contextlib.redirect_stdout(printed), matplotlib.rc_context():
        for source in sources:
            exec(compile(source, "cell", "exec"), namespace)
    return printed.getvalue()


def failing_claims(sources: list[str], expected: str, monkeypatch) -> set[str]:
    """The claims that fail as the cells run on, plain assertions taken out; stops after the last one that is expected to."""
    failed, last, claim = set(), expected.split()[-1], nibkit.claim

    def record(id, *args, **kwargs):
        try:
            claim(id, *args, **kwargs)
        except AssertionError:
            failed.add(id)
        if id == last:
            raise StopIteration

    monkeypatch.setattr(nibkit, "claim", record)
    with pytest.raises(StopIteration), np.errstate(all="ignore"):
        run([ast.unparse(WithoutAssertions().visit(ast.parse(source))) for source in sources])
    return failed


def use(sources: dict[str, str], monkeypatch) -> None:
    """Let ``from nibkit import bottleneck`` find these sources instead, those that it imports included."""
    for name, source in sources.items():
        module = importlib.util.module_from_spec(importlib.util.spec_from_loader(f"nibkit.theory.{name}", loader=None))
        monkeypatch.setitem(sys.modules, f"nibkit.theory.{name}", module)
        monkeypatch.setattr(nibkit.theory, name, module)
        monkeypatch.setattr(nibkit, name, module, raising=False)
        exec(compile(source, f"{name}.py", "exec"), module.__dict__)


@pytest.mark.parametrize("name", [IB, T1, T2])
def test_unchanged_notebook_passes(name, monkeypatch):
    use(SOURCES, monkeypatch)
    shown = re.findall("^[✓◐✗] ", run(toy_cells(name)), re.M)
    assert len(shown) == len(claims_in(toy_cells(name))) >= 18


@pytest.mark.parametrize("name", [IB, T1, T2])
def test_every_claim_stands_beside_a_mistake_that_it_catches(name):
    caught = {id for row in MUTATIONS + IN_NOTEBOOKS if row[0] == name for id in row[4].split()}
    assert caught == set(claims_in(toy_cells(name)))


@pytest.mark.parametrize("name, what, old, new, ids", MUTATIONS, ids=[f"{m[0][:2]}: {m[1]}" for m in MUTATIONS])
def test_mistake_in_nibkit_is_caught(name, what, old, new, ids, monkeypatch):
    places = {module: source.count(old) for module, source in SOURCES.items()}
    assert sum(places.values()) == 1, (
        f"{old!r} stands {sum(places.values())} times in {list(SOURCES)}: bring this test up to date"
    )
    use({module: source.replace(old, new) for module, source in SOURCES.items()}, monkeypatch)
    assert failing_claims(toy_cells(name), ids, monkeypatch) >= set(ids.split())


@pytest.mark.parametrize("name, what, old, new, ids", IN_NOTEBOOKS, ids=[f"{m[0][:2]}: {m[1]}" for m in IN_NOTEBOOKS])
def test_mistake_in_a_notebook_is_caught(name, what, old, new, ids, monkeypatch):
    cells = toy_cells(name)
    mutated = [source.replace(old, new) for source in cells]
    assert mutated != cells, f"the notebook no longer has {old!r}: bring this test up to date"
    use(SOURCES, monkeypatch)
    assert failing_claims(mutated, ids, monkeypatch) >= set(ids.split())


@pytest.mark.parametrize("new, caught", [("lam, 1.0", False), ("1.0 - lam, 1.0", True), ("0.02, 1.0", True)])
def test_draws_that_show_no_growth_fail_claim_t1_25(new, caught):
    """The cell that needs CLIP's features, given others: it passes, and fails where the valve works backwards or not at all."""
    cells = nbformat.read(ROOT / "notebooks" / f"{T1}.ipynb", as_version=4).cells
    source = next(c.source for c in cells if 'nk.claim("T1.25"' in c.source)
    features = 15 * np.random.default_rng(0).standard_normal((64, 100))
    given = {"np": np, "nk": nibkit, "ib": nibkit.bottleneck, "features": features, "lams": np.linspace(0, 1, 21), "sigma": 0.5}
    assert "information_draws(turned, lam, 1.0" in source
    with (
        contextlib.redirect_stdout(io.StringIO()),
        pytest.raises(AssertionError, match="T1.25") if caught else (contextlib.nullcontext()),
    ):
        exec(source.replace("turned, lam, 1.0", f"turned, {new}"), given)
