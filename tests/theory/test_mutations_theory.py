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

import nibkit
import nibkit.theory.bottleneck  # names are imported when first used: the sources are put in its place

matplotlib.use("Agg")
ROOT = Path(__file__).resolve().parents[2]
SOURCES = {
    name: (ROOT / "nibkit" / "theory" / f"{name}.py").read_text(encoding="utf-8") for name in ("laws", "discrete", "bottleneck")
}
IB, T1, T2 = "01_information_bottleneck", "03_theorem_1", "04_theorem_2"

MUTATIONS = [  # (notebook, what is wrong, a piece of the source, its replacement, the claims that must fail)
    (
        IB,
        "entropy: wrong sign",
        "return float(special.entr(probabilities(p, ",
        "return -float(special.entr(probabilities(p, ",
        "IB.1 IB.8 IB.8b IB.17",
    ),
    (IB, "KL: p and q swapped", "special.rel_entr(p, q)", "special.rel_entr(q, p)", "IB.3 IB.8 IB.16 IB.19 IB.23"),
    (
        IB,
        "KL: wrong sign",
        "return float(special.rel_entr(p, q).sum())",
        "return -float(special.rel_entr(p, q).sum())",
        "IB.2 IB.3 IB.5 IB.18 IB.24",
    ),
    (
        IB,
        "mutual information: one margin dropped",
        "np.outer(joint.sum(1), joint.sum(0))",
        "np.full(joint.shape, 1 / joint.size)",
        "IB.6 IB.8 IB.9 IB.10 IB.11 IB.25",
    ),
    (
        IB,
        "mutual information: Y taken as uniform",
        "np.outer(joint.sum(1), joint.sum(0))",
        "np.outer(joint.sum(1), np.full(joint.shape[1], 1 / joint.shape[1]))",
        "IB.6 IB.7 IB.8 IB.9 IB.10",
    ),
    (
        IB,
        "code information: the code's joint with X for that with Y",
        "mutual_information(encoder.T @ joint)",
        "mutual_information(joint)",
        "IB.10 IB.16 IB.17 IB.21 IB.23",
    ),
    (IB, "Blahut–Arimoto: β for 1/β", "divergence / beta", "divergence * beta", "IB.17 IB.18 IB.19 IB.20"),
    (IB, "Blahut–Arimoto: wrong sign", "np.log(p_z) - divergence", "np.log(p_z) + divergence", "IB.17 IB.19 IB.20"),
    (IB, "Blahut–Arimoto: p(z) dropped", "np.log(p_z) - divergence / beta", "-divergence / beta", "IB.17"),
    (IB, "Gaussian KL: dropped ½", "0.5 * (trace - dim", "(trace - dim", "IB.4 IB.14"),
    (
        IB,
        "Gaussian KL: missing square",
        "distance = np.trace(np.linalg.solve(cov_q, cov_p)), shift @ np.linalg.solve(cov_q, shift)",
        "distance = np.trace(np.linalg.solve(cov_q, cov_p)), np.abs(shift).sum()",
        "IB.4",
    ),
    (
        IB,
        "Gaussian KL: off-diagonal entries dropped (trace)",
        "np.trace(np.linalg.solve(cov_q, cov_p))",
        "(np.diag(cov_p) / np.diag(cov_q)).sum()",
        "IB.4",
    ),
    (
        IB,
        "Gaussian KL: off-diagonal entries dropped (distance)",
        "shift @ np.linalg.solve(cov_q, shift)",
        "(shift**2 / np.diag(cov_q)).sum()",
        "IB.4",
    ),
    (
        IB,
        "Gaussian KL: determinants swapped",
        "np.linalg.slogdet(cov_q)[1] - np.linalg.slogdet(cov_p)[1]",
        "np.linalg.slogdet(cov_p)[1] - np.linalg.slogdet(cov_q)[1]",
        "IB.4 IB.14",
    ),
    (IB, "Gaussian KL: dimension dropped", "trace - dim + distance", "trace + distance", "IB.4 IB.14"),
    (IB, "Gaussian channel: λ for λ²", "width(lam) ** 2 * cov", "width(lam) * cov", "IB.12 IB.13 IB.14"),
    (
        IB,
        "Gaussian channel: σ for σ²",
        '* cov / positive(sigma, "sigma") ** 2',
        '* cov / positive(sigma, "sigma")',
        "IB.12 IB.13 IB.14 IB.15",
    ),
    (IB, "Gaussian channel: dropped ½", "0.5 * np.linalg.slogdet(np.eye", "np.linalg.slogdet(np.eye", "IB.12 IB.13 IB.14"),
    (
        IB,
        "Gaussian channel: off-diagonal entries dropped",
        "width(lam) ** 2 * cov",
        "width(lam) ** 2 * np.diag(np.diag(cov))",
        "IB.14",
    ),
    (
        IB,
        "h: wrong sign",
        "return float(special.entr(density).sum() * cell)",
        "return -float(special.entr(density).sum() * cell)",
        "IB.12 IB.13",
    ),
    (IB, "density: missing square", "/ law.spread) ** 2) / 2)", "/ law.spread)) / 2)", "IB.12 IB.13"),
    (IB, "law: scaling forgets the spread", "abs(factor) * self.spread)", "self.spread)", "IB.12"),
    (IB, "law: spreads added, not their squares", "np.hypot(self.spread, other.spread)", "self.spread + other.spread", "IB.12"),
    (IB, "Monte Carlo: 2τ for 2τ²", "(gap + 2 * along) / (2 * tau**2)", "(gap + 2 * along) / (2 * tau)", "IB.13"),
    (IB, "Monte Carlo: dropped log τ/σ", " + z.dim * np.log(tau / sigma)", "", "IB.13"),
    (IB, "Monte Carlo: wrong sign", "atoms = -special.logsumexp", "atoms = special.logsumexp", "IB.13"),
    (T1, "Eq. 3: λ² for λ", "return width(lam) * z + noise", "return width(lam) ** 2 * z + noise", "T1.1 T1.2 T1.11 T1.13 T1.15"),
    (
        T1,
        "Eq. 3: 1 − λ for λ",
        "return width(lam) * z + noise",
        "return (1 - width(lam)) * z + noise",
        "T1.8 T1.10 T1.12 T1.16",
    ),
    (T1, "Eq. 2: weight of the noise dropped", "lam * z + (1 - lam) * noise", "lam * z + noise", "T1.19 T1.20"),
    (T1, "Eq. 2: λ and 1 − λ exchanged", "lam * z + (1 - lam) * noise", "(1 - lam) * z + lam * noise", "T1.19 T1.20"),
    (T1, "Eq. 2: (1 − λ)² for λ", "lam * z + (1 - lam) * noise", "(1 - lam) ** 2 * z + (1 - lam) * noise", "T1.19 T1.20 T1.21"),
    (
        T1,
        "information: h(ε) added",
        "step) - differential_entropy(noise, step)\n\n\ndef pointwise",
        "step) + differential_entropy(noise, step)\n\n\ndef pointwise",
        "T1.2 T1.10 T1.11 T1.15",
    ),
    (T1, "pointwise information: wrong sign", "surprise = -np.log(", "surprise = np.log(", "T1.12"),
    (T1, "bound: dropped ½", "second / (2 * positive", "second / (positive", "T1.3 T1.6"),
    (T1, "bound: σ for σ²", '(2 * positive(sigma, "sigma") ** 2))', '(2 * positive(sigma, "sigma")))', "T1.5 T1.6"),
    (T1, "bound: mean forgotten", "((code.points - mean) ** 2)", "(code.points**2)", "T1.6"),
    (T1, "bound: missing square", "((code.points - mean) ** 2)", "np.abs(code.points - mean)", "T1.6"),
    (T1, "bound: own spread dropped", " + code.dim * code.spread**2", "", "T1.3 T1.5"),
    (
        T1,
        "mmse: missing square of the guess",
        "(numerator**2 / np.maximum(",
        "(np.abs(numerator) / np.maximum(",
        "T1.13 T1.14",
    ),
    (T1, "mmse: missing square of the shrinking", "shrink**2 * unexplained", "shrink * unexplained", "T1.13"),
    (T1, "mmse: own spread dropped", "return z.dim * z.spread**2 * shrink + shrink**2", "return shrink**2", "T1.13"),
    (T1, "rate: λ² for λ", "return lam / sigma**2 * error", "return lam**2 / sigma**2 * error", "T1.13 T1.14"),
    (T1, "rate: σ for σ²", "return lam / sigma**2 * error", "return lam / sigma * error", "T1.13 T1.14"),
    (T1, "rate: a factor 2", "return lam / sigma**2 * error", "return 2 * lam / sigma**2 * error", "T1.13 T1.14"),
    (T1, "covariance: own spread dropped", " + self.spread**2 * np.eye(self.dim)", "", "T1.4"),
    (T2, "Eq. 3: λ² for λ", "return width(lam) * z + noise", "return width(lam) ** 2 * z + noise", "T2.2 T2.3 T2.4 T2.5 T2.9"),
    (
        T2,
        "Eq. 3: λ dropped, except at 0",
        "return width(lam) * z + noise",
        "return (width(lam) > 0) * z + noise",
        "T2.2 T2.4 T2.5 T2.24 T2.25",
    ),
    (
        T2,
        "h: wrong sign",
        "return float(special.entr(density).sum() * cell)",
        "return -float(special.entr(density).sum() * cell)",
        "T2.3 T2.4 T2.5 T2.7 T2.24",
    ),
    (T2, "Gaussian channel: λ for λ²", "width(lam) ** 2 * cov", "width(lam) * cov", "T2.8"),
    (T2, "bound: λ dropped", "code = width(lam) * z", "code = z", "T2.12"),
    (T2, "h in the plane: one axis", "return density, kernels, h**law.dim", "return density, kernels, h", "T2.9"),
    (T2, "density: 2π for √2π", "np.sqrt(2 * np.pi))", "(2 * np.pi))", "T2.3 T2.4 T2.5 T2.7 T2.24"),
]

IN_NOTEBOOKS = [  # (notebook, what is wrong, a piece of a cell, its replacement, the claims that must fail)
    (T1, "blurring: 1 − r for √(1 − r²)", "np.sqrt(1 - r**2) * sigma", "(1 - r) * sigma", "T1.7"),
    (
        T1,
        "blurring: the wide code not shrunk",
        "stats.norm.pdf(u / r, lam_b * value, sigma) / r",
        "stats.norm.pdf(u, lam_b * value, sigma)",
        "T1.7",
    ),
    (T1, "divergence from the code's law: from one bell's instead", "each / each.mean(0)", "each / each[0]", "T1.1 T1.19"),
    (
        T1,
        "Eq. 2: weight of the noise dropped",
        "divergences([-lam, lam], (1 - lam) * sigma)",
        "divergences([-lam, lam], sigma)",
        "T1.19",
    ),
    (T1, "correlated noise: wrong sign", "(lam + sigma * rho) ** 2", "(lam - sigma * rho) ** 2", "T1.17"),
    (T1, "correlated noise: missing square", "(1 - rho**2)", "(1 - rho)", "T1.17"),
    (T1, "correlated noise: its size forgotten", "(lam + sigma * rho) ** 2", "(lam + rho) ** 2", "T1.17 T1.28"),
    (T1, "relabelling: λ for λ/(1 − λ)", "ib.information(z, lam / (1 - lam), sigma)", "ib.information(z, lam, sigma)", "T1.19"),
    (T2, "bias: σ² without ½", "sigmas**2 / 2 * laplacian", "sigmas**2 * laplacian", "T2.14"),
    (T2, "bias: σ for σ²", "sigmas**2 / 2 * laplacian", "sigmas / 2 * laplacian", "T2.14"),
    (T2, "slope: one-sided difference", "(ahead - behind) / (2 * step)", "(ahead - behind) / step", "T2.15"),
    (
        T2,
        "layer norm: eps outside the root",
        "np.sqrt(v.var(-1, keepdims=True) + eps)",
        "(np.sqrt(v.var(-1, keepdims=True)) + eps**2)",
        "T2.16",
    ),
    (T2, "importance: the other element's gradient", "path[::-1] * speed", "path * speed", "T2.18"),
    (
        T2,
        "ReLU: forgotten, z ~ N(0, 1)",
        "0.5 * stats.norm.pdf(t, 0, sigma)",
        "stats.norm.pdf(t, 0, tau) * special.ndtr(-lam * t / (sigma * tau))",
        "T2.10",
    ),
    (T2, "z̃: noise weighted by 1 − λ", "+ 0.01 * rng.standard_normal", "+ 0.3 * 0.01 * rng.standard_normal", "T2.1"),
    (
        T2,
        "by definition: λ dropped",
        "stats.norm.pdf(line, lam * points, sigma)",
        "stats.norm.pdf(line, points, sigma)",
        "T2.2 T2.6",
    ),
    (T2, "ReLU: λ for τ", "special.ndtr(lam * t / (sigma * tau))", "special.ndtr(lam * t / sigma**2)", "T2.10"),
    (
        T2,
        "Cantor: halves for thirds",
        "points = np.r_[points, points + 2] / 3",
        "points = np.r_[points, points + 1] / 2",
        "T2.24 T2.25",
    ),
    (T2, "noiseless: λ dropped", "np.unique(lam * law.points", "np.unique(law.points", "T2.11"),
    (
        T2,
        "scaled information: σ for σ²",
        "[sigma**2 * ib.information(eight, 1.0, sigma)",
        "[sigma * ib.information(eight, 1.0, sigma)",
        "T2.13",
    ),
    (T2, "float32: noise of 1e-7", "(1e-9 * draw", "(1e-7 * draw", "T2.17"),
    (T2, "bins of tanh: their edges not taken back to x", "np.arctanh(inner) / w", "inner / w", "T2.26"),
    (T2, "bins of the linear unit: weight dropped", "binned(wide / w)", "binned(wide)", "T2.26"),
    (T2, "the valve: one answer alone is subtracted", "of_x - p_y @ given_y", "of_x - p_y[0] * given_y[0]", "T2.27"),
]


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
