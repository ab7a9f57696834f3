"""Checks that can fail: a mistake in a formula of nibkit.bottleneck is caught by a claim of notebooks 01, 03 or 04.

The notebooks' own cells are run (those tagged "toy": no model, no figures) with one line of the module, or of the two files that
it imports, replaced. Unchanged they must pass; with the mistake, an assertion must fail.
"""

import contextlib
import importlib.util
import io
import sys
from pathlib import Path

import matplotlib
import nbformat
import pytest

import nibkit

matplotlib.use("Agg")
ROOT = Path(__file__).resolve().parents[1]
SOURCES = {name: (ROOT / "nibkit" / f"{name}.py").read_text(encoding="utf-8") for name in ("laws", "discrete", "bottleneck")}
IB, T1, T2 = "01_information_bottleneck", "03_theorem_1", "04_theorem_2"

MUTATIONS = [  # (notebook, what is wrong, a piece of the source, its replacement)
    (IB, "entropy: wrong sign", "return float(special.entr(probabilities(p, ", "return -float(special.entr(probabilities(p, "),
    (IB, "KL: p and q swapped", "special.rel_entr(p, q)", "special.rel_entr(q, p)"),
    (
        IB,
        "mutual information: one margin dropped",
        "np.outer(joint.sum(1), joint.sum(0))",
        "np.full(joint.shape, 1 / joint.size)",
    ),
    (
        IB,
        "code information: the code's joint with X for that with Y",
        "mutual_information(encoder.T @ joint)",
        "mutual_information(joint)",
    ),
    (IB, "Blahut–Arimoto: β for 1/β", "divergence / beta", "divergence * beta"),
    (IB, "Blahut–Arimoto: wrong sign", "np.log(p_z) - divergence", "np.log(p_z) + divergence"),
    (IB, "Blahut–Arimoto: p(z) dropped", "np.log(p_z) - divergence / beta", "-divergence / beta"),
    (IB, "Gaussian KL: dropped ½", "0.5 * (trace - dim", "(trace - dim"),
    (
        IB,
        "Gaussian KL: missing square",
        "distance = np.trace(np.linalg.solve(cov_q, cov_p)), shift @ np.linalg.solve(cov_q, shift)",
        "distance = np.trace(np.linalg.solve(cov_q, cov_p)), np.abs(shift).sum()",
    ),
    (
        IB,
        "Gaussian KL: determinants swapped",
        "np.linalg.slogdet(cov_q)[1] - np.linalg.slogdet(cov_p)[1]",
        "np.linalg.slogdet(cov_p)[1] - np.linalg.slogdet(cov_q)[1]",
    ),
    (IB, "Gaussian KL: dimension dropped", "trace - dim + distance", "trace + distance"),
    (IB, "Gaussian channel: λ for λ²", "width(lam) ** 2 * cov", "width(lam) * cov"),
    (IB, "Gaussian channel: σ for σ²", '* cov / positive(sigma, "sigma") ** 2', '* cov / positive(sigma, "sigma")'),
    (IB, "Gaussian channel: dropped ½", "0.5 * np.linalg.slogdet(np.eye", "np.linalg.slogdet(np.eye"),
    (
        IB,
        "h: wrong sign",
        "return float(special.entr(density).sum() * cell)",
        "return -float(special.entr(density).sum() * cell)",
    ),
    (IB, "density: missing square", "/ law.spread) ** 2) / 2)", "/ law.spread)) / 2)"),
    (IB, "law: scaling forgets the spread", "abs(factor) * self.spread)", "self.spread)"),
    (IB, "law: spreads added, not their squares", "np.hypot(self.spread, other.spread)", "self.spread + other.spread"),
    (IB, "Monte Carlo: 2τ for 2τ²", "(gap + 2 * along) / (2 * tau**2)", "(gap + 2 * along) / (2 * tau)"),
    (IB, "Monte Carlo: dropped log τ/σ", " + z.dim * np.log(tau / sigma)", ""),
    (T1, "Eq. 3: λ² for λ", "return width(lam) * z + noise", "return width(lam) ** 2 * z + noise"),
    (T1, "Eq. 2: weight of the noise dropped", "lam * z + (1 - lam) * noise", "lam * z + noise"),
    (
        T1,
        "information: h(ε) added",
        "step) - differential_entropy(noise, step)\n\n\ndef pointwise",
        "step) + differential_entropy(noise, step)\n\n\ndef pointwise",
    ),
    (T1, "pointwise information: wrong sign", "surprise = -np.log(", "surprise = np.log("),
    (T1, "bound: dropped ½", "second / (2 * positive", "second / (positive"),
    (T1, "bound: σ for σ²", '(2 * positive(sigma, "sigma") ** 2))', '(2 * positive(sigma, "sigma")))'),
    (T1, "bound: mean forgotten", "((code.points - mean) ** 2)", "(code.points**2)"),
    (T1, "bound: missing square", "((code.points - mean) ** 2)", "np.abs(code.points - mean)"),
    (T1, "bound: own spread dropped", " + code.dim * code.spread**2", ""),
    (T1, "mmse: missing square of the guess", "(numerator**2 / np.maximum(", "(np.abs(numerator) / np.maximum("),
    (T1, "mmse: missing square of the shrinking", "shrink**2 * unexplained", "shrink * unexplained"),
    (T1, "mmse: own spread dropped", "return z.dim * z.spread**2 * shrink + shrink**2", "return shrink**2"),
    (T1, "rate: λ² for λ", "return lam / sigma**2 * error", "return lam**2 / sigma**2 * error"),
    (T1, "rate: σ for σ²", "return lam / sigma**2 * error", "return lam / sigma * error"),
    (T1, "rate: a factor 2", "return lam / sigma**2 * error", "return 2 * lam / sigma**2 * error"),
    (T2, "Eq. 3: λ² for λ", "return width(lam) * z + noise", "return width(lam) ** 2 * z + noise"),
    (T2, "covariance: own spread dropped", " + self.spread**2 * np.eye(self.dim)", ""),
    (T2, "Gaussian channel: λ for λ²", "width(lam) ** 2 * cov", "width(lam) * cov"),
    (T2, "bound: λ dropped", "code = width(lam) * z", "code = z"),
    (T2, "h in the plane: one axis", "return density, kernels, h**law.dim", "return density, kernels, h"),
    (T2, "density: 2π for √2π", "np.sqrt(2 * np.pi))", "(2 * np.pi))"),
]

IN_NOTEBOOKS = [  # (notebook, what is wrong, a piece of a cell, its replacement)
    (T1, "blurring: 1 − c for √(1 − c²)", "np.sqrt(1 - c**2) * fresh", "(1 - c) * fresh"),
    (T1, "blurring: 1 / c for c", "w = c * ib.narrow(", "w = 1 / c * ib.narrow("),
    (T1, "correlated noise: wrong sign", "(lam + sigma * rho) ** 2", "(lam - sigma * rho) ** 2"),
    (T1, "correlated noise: missing square", "(1 - rho**2)", "(1 - rho)"),
    (T1, "relabelling: λ for λ/(1 − λ)", "ib.information(z, lam / (1 - lam), sigma)", "ib.information(z, lam, sigma)"),
    (T2, "bias: σ² without ½", "sigmas**2 / 2 * laplacian", "sigmas**2 * laplacian"),
    (T2, "bias: σ for σ²", "sigmas**2 / 2 * laplacian", "sigmas / 2 * laplacian"),
    (T2, "slope: one-sided difference", "(ahead - behind) / (2 * h)", "(ahead - behind) / h"),
    (
        T2,
        "layer norm: eps outside the root",
        "np.sqrt(v.var(-1, keepdims=True) + eps)",
        "(np.sqrt(v.var(-1, keepdims=True)) + eps**2)",
    ),
    (T2, "importance: the other element's gradient", "path[::-1] * speed", "path * speed"),
    (T2, "ReLU: no atom at 0", "0.5 * stats.norm.pdf(t, 0, sigma) +", "0 * t +"),
]


def toy_cells(name: str) -> list[str]:
    """The cells tagged "toy": no model, no figures."""
    cells = nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4).cells
    return [c.source for c in cells if c.cell_type == "code" and "toy" in c.metadata.get("tags", [])]


def run(sources: list[str]) -> str:
    """Run the cells in one namespace; returns what they printed."""
    printed, namespace = io.StringIO(), {}
    with contextlib.redirect_stdout(printed), matplotlib.rc_context():
        for source in sources:
            exec(compile(source, "cell", "exec"), namespace)
    return printed.getvalue()


def use(sources: dict[str, str], monkeypatch) -> None:
    """Let ``from nibkit import bottleneck`` find these sources instead, those that it imports included."""
    for name, source in sources.items():
        module = importlib.util.module_from_spec(importlib.util.spec_from_loader(f"nibkit.{name}", loader=None))
        monkeypatch.setitem(sys.modules, f"nibkit.{name}", module)
        monkeypatch.setattr(nibkit, name, module)
        exec(compile(source, f"{name}.py", "exec"), module.__dict__)


@pytest.mark.parametrize("name", [IB, T1, T2])
def test_unchanged_notebook_passes(name, monkeypatch):
    use(SOURCES, monkeypatch)
    assert run(toy_cells(name)).count("✓") >= 12


@pytest.mark.parametrize("name, what, old, new", MUTATIONS, ids=[f"{m[0][:2]}: {m[1]}" for m in MUTATIONS])
def test_mistake_in_nibkit_is_caught(name, what, old, new, monkeypatch):
    places = {module: source.count(old) for module, source in SOURCES.items()}
    assert sum(places.values()) == 1, (
        f"{old!r} stands {sum(places.values())} times in {list(SOURCES)}: bring this test up to date"
    )
    use({module: source.replace(old, new) for module, source in SOURCES.items()}, monkeypatch)
    with pytest.raises(AssertionError):
        run(toy_cells(name))


@pytest.mark.parametrize("name, what, old, new", IN_NOTEBOOKS, ids=[f"{m[0][:2]}: {m[1]}" for m in IN_NOTEBOOKS])
def test_mistake_in_a_notebook_is_caught(name, what, old, new):
    cells = toy_cells(name)
    mutated = [source.replace(old, new) for source in cells]
    assert mutated != cells, f"the notebook no longer has {old!r}: bring this test up to date"
    with pytest.raises(AssertionError):
        run(mutated)
