"""Checks that can fail: a mistake in the formulas of notebooks 05 and 06 is caught by one of their claims.

The notebooks' own cells are run: those tagged "toy" (no model) and a few that need the model, with one piece of source replaced.
An unchanged run must pass, a changed one must raise AssertionError. (Mistakes in nibkit: test_mutations_captum.py.)
"""

import contextlib
import io
import re
from pathlib import Path

import matplotlib
import nbformat
import pytest

matplotlib.use("Agg")
NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"
THEOREM_3, AXIOMS = "05_theorem_3", "06_axioms"
BOTH = (THEOREM_3, AXIOMS)

MUTATIONS = [  # (notebooks, what is wrong, source, its replacement)
    (BOTH, "dropped factor z", "return z * sum(float(w) * gradient", "return sum(float(w) * gradient"),
    (BOTH, "wrong sign", "return z * sum(float(w) * gradient", "return -z * sum(float(w) * gradient"),
    (BOTH, "weights dropped", "float(w) * gradient(F, float(l) * z)", "gradient(F, float(l) * z) / len(lam)"),
    (BOTH, "weights times λ", "float(w) * gradient(F, float(l) * z)", "float(l) * float(w) * gradient(F, float(l) * z)"),
    (BOTH, "gradient at z, not along the ray", "gradient(F, float(l) * z)", "gradient(F, z)"),
    (BOTH, "z squared", "return z * sum(float(w) * gradient", "return z**2 * sum(float(w) * gradient"),
    (BOTH, "change of variables without its derivative", "w * 3 * tau**2", "w"),
    (
        (THEOREM_3,),
        "midpoint for right sum",
        "(np.arange(1, n + 1) / n, np.full(n, 1 / n))",
        "((np.arange(n) + 0.5) / n, np.full(n, 1 / n))",
    ),
    (
        (THEOREM_3,),
        "left sum for right sum",
        "(np.arange(1, n + 1) / n, np.full(n, 1 / n))",
        "(np.arange(n) / n, np.full(n, 1 / n))",
    ),
    ((THEOREM_3,), "weights 1/(n + 1)", "np.full(n, 1 / n))", "np.full(n, 1 / (n + 1)))"),
    ((THEOREM_3,), "channel mean instead of sum", "return A.sum(-1)", "return A.mean(-1)"),
    ((THEOREM_3,), "eps for its root in λ*", "(1e-5**0.5 / spread).item()", "(1e-5 / spread).item()"),
    ((THEOREM_3,), "the other standard deviation", "z_ln.std(unbiased=False)", "z_ln.std()"),
    ((THEOREM_3,), "interval to 1 + 1/n", "F((1 + 0.5 / n) * z)", "F((1 + 1 / n) * z)"),
    ((THEOREM_3,), "interval from 0", "F(0.5 / n * z)", "F(0 * z)"),
    ((THEOREM_3,), "cells shifted by a whole step", "shifted = 1 / (2 * n)", "shifted = 1 / n"),
    ((THEOREM_3,), "missing 24", "errors * 24 * ns**2", "errors * 12 * ns**2"),
    ((THEOREM_3,), "n for n²", "errors * 24 * ns**2", "errors * 24 * ns"),
    ((THEOREM_3,), "projection forgotten", "(r_ln - r_ln.mean() - height * normed / 8)", "(r_ln - height * normed / 8)"),
    ((THEOREM_3,), "½ forgotten in ½ log(1/eps)", "0.5 * np.log(10) * gain", "np.log(10) * gain"),
    ((THEOREM_3,), "eps left in where it should be 0", "F_ln(z, 0.0)", "F_ln(z)"),
    (
        (THEOREM_3,),
        "eps forgotten",
        "lambda z, eps=1e-5: nnf.layer_norm(z, (8,), eps=eps)",
        "lambda z, eps=1e-5: nnf.layer_norm(z, (8,), eps=1e-30)",
    ),
    ((THEOREM_3,), "cosh forgotten in the sinh weights", "step * scale * np.cosh(tau)", "np.full(n, step * scale)"),
    ((AXIOMS,), "speed forgotten along a path", "speed(float(l)) * gradient", "gradient"),
    ((AXIOMS,), "bias not taken back", "(u[..., 0] - 1) * u[..., 1]", "u[..., 0] * u[..., 1]"),
    ((AXIOMS,), "min–max without division", "return (m - low) / (high - low)", "return m - low"),
    ((AXIOMS,), "min–max without shift", "return (m - low) / (high - low)", "return m / (high - low)"),
    ((AXIOMS,), "a shared width without its derivative", "lambda l: vector(2 * l, 2 * l)", "lambda l: vector(1.0, 1.0)"),
    ((AXIOMS,), "a ramp that does not saturate", "(50 * z).clamp(max=1)", "50 * z"),
    ((AXIOMS,), "a head that doesn't mix", "swap_head = lambda x: x.flip(-1)", "swap_head = lambda x: x"),
    ((AXIOMS,), "the same width for all values", "e = 1 + z**2", "e = 2 + 0 * z"),
    ((AXIOMS,), "change of unit forgotten", "product(u * vector(1.0, 2.0))", "product(u)"),
    ((AXIOMS,), "legs that start at 0", "lambda u: F(p + u), q - p", "F, q - p"),
    ((AXIOMS,), "loop without its mirror image", "*(c.flip(0) for c in corner)", "*corner"),
    ((AXIOMS,), "one order alone", "walk(F, [origin, two, z])) / 2", "walk(F, [origin, one, z])) / 2"),
    ((AXIOMS,), "a step that neither path feels", "a=0.3, b=0.45", "a=0.0, b=1.0"),
    ((AXIOMS,), "kept and removed mixed up", "torch.eye(2).flip(0)", "torch.eye(2)"),
    ((AXIOMS,), "removal with the wrong sign", "[A[1], F(z) - F(without)]", "[A[1], F(without) - F(z)]"),
    ((AXIOMS,), "interaction in the additive toy", "- z[..., 1] ** 2 + 1", "- z[..., 0] * z[..., 1] ** 2 + 1"),
]


def code_cells(name: str) -> list:
    return [cell for cell in nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4).cells if cell.cell_type == "code"]


def toy_cells(name: str) -> list[str]:
    """The cells that need no model, figures left out."""
    return [c.source for c in code_cells(name) if "toy" in c.metadata.get("tags", []) and "plt.show()" not in c.source]


def run(sources: list[str]) -> str:
    """Run the cells in one namespace; returns what they printed."""
    printed, namespace = io.StringIO(), {}
    with contextlib.redirect_stdout(printed):
        for source in sources:
            exec(compile(source, "cell", "exec"), namespace)
    return printed.getvalue()


@pytest.mark.parametrize("name", BOTH)
def test_unchanged_notebook_passes(name):
    assert len(re.findall("[✓◐✗] ", run(toy_cells(name)))) >= 10


@pytest.mark.parametrize(
    "name, old, new",
    [(name, old, new) for names, _, old, new in MUTATIONS for name in names],
    ids=[f"{name[:2]}: {what}" for names, what, _, _ in MUTATIONS for name in names],
)
def test_mistake_is_caught(name, old, new):
    cells = toy_cells(name)
    mutated = [source.replace(old, new) for source in cells]
    assert mutated != cells, f"the notebook no longer has {old!r}: bring this test up to date"
    with pytest.raises(AssertionError):
        run(mutated)


# --- mistakes in the cells that need the model -------------------------------------------------------------------------------
# Only the cells named by a piece of their source are run, with fewer pairs where that does.

IMPORTANCE, LEDGER_05 = "def importance(", ("clip = nk.load_clip", "sides = {", 'nk.claim("T3.18"', 'nk.claim("T3.31"')
EFFECTS = ("clip = nk.load_clip", "A_by = {", "def removal_effects(")
REMOVAL = (*EFFECTS, "def counts(", "def interval(", "all patches in one pot", 'nk.claim("AX.26"')
TOKEN = ("clip = nk.load_clip", "toys = {", "A_ray, A_ten =", "def minmax(", "A_by = {", 'nk.claim("AX.21"')
NIB_RULE = ', rule="log-gauss")'
IN_THE_MODEL = [  # (notebook, cells, pairs, what is wrong, source, its replacement)
    (
        THEOREM_3,
        LEDGER_05,
        2,
        "class token forgotten",
        "(shares[name].sum(1) + null[name]",
        "(shares[name][:, 1:].sum(1) + null[name]",
    ),
    (THEOREM_3, LEDGER_05, 2, "null term forgotten", "(shares[name].sum(1) + null[name]", "(shares[name].sum(1)"),
    (THEOREM_3, LEDGER_05, 2, "null term with the wrong sign", "= low - closed", "= closed - low"),
    (
        THEOREM_3,
        LEDGER_05,
        2,
        "another start",
        "null, start, books = clip.similarity(inputs).cpu(), {}, {}, 0.05",
        "null, start, books = clip.similarity(inputs).cpu(), {}, {}, 0.1",
    ),
    (
        THEOREM_3,
        LEDGER_05,
        2,
        "even nodes for log-spaced ones",
        'nk.quadrature.nodes("log-gauss", 10)',
        'nk.quadrature.nodes("riemann", 10)',
    ),
    (THEOREM_3, LEDGER_05, 2, "dropped factor z", "return z * sum(float(w) * gradient", "return sum(float(w) * gradient"),
    (THEOREM_3, LEDGER_05, 2, "nk.nib with another rule", NIB_RULE, ', rule="gauss", start=0.05)'),
    (AXIOMS, TOKEN, 12, "a patch for the class token", "token, patches = A_by[9][:, 0]", "token, patches = A_by[9][:, 1]"),
    (
        AXIOMS,
        TOKEN,
        12,
        "class token counted twice",
        "patches = A_by[9][:, 0], A_by[9][:, 1:]",
        "patches = A_by[9][:, 0], A_by[9][:, 0:]",
    ),
    (AXIOMS, REMOVAL, 48, "removal with the wrong sign", "(F(z) - torch.stack(scores))", "(torch.stack(scores) - F(z))"),
    (
        AXIOMS,
        REMOVAL,
        48,
        "patches shifted by the class token",
        "for i in range(1, z.shape[1]):",
        "for i in range(z.shape[1] - 1):",
    ),
]


def model_cells(name: str, wanted: tuple, pairs: int) -> list[str]:
    """The setup cell, the definition of importance and the wanted cells, in order, pictures not shown, with so many pairs."""
    cells = [c.source.replace("plt.show()", "plt.close()") for c in code_cells(name)]
    chosen = cells[:1] + [c for c in cells[1:] if any(mark in c for mark in (IMPORTANCE, *wanted))]
    assert all(any(mark in c for c in chosen) for mark in wanted), (
        "the notebook lacks one of these cells: bring this test up to date"
    )
    return [c.replace("sample(6,", f"sample({pairs},").replace("sample(48,", f"sample({pairs},") for c in chosen]


def rare(wanted: tuple, *case):
    """A case of the tests below, among the slow ones where a patch after the other is removed from 48 pictures."""
    return pytest.param(*case, marks=[pytest.mark.slow] * (wanted is REMOVAL))


@pytest.mark.parametrize(
    "name, wanted, pairs", [rare(c[1], *c) for c in dict.fromkeys(c[:3] for c in IN_THE_MODEL)], ids=lambda x: str(x)[:20]
)
def test_unchanged_model_cells_pass(name, wanted, pairs):
    assert re.search("[✓◐✗] ", run(model_cells(name, wanted, pairs)))


@pytest.mark.parametrize(
    "name, wanted, pairs, old, new",
    [rare(wanted, name, wanted, pairs, old, new) for name, wanted, pairs, _, old, new in IN_THE_MODEL],
    ids=[f"{name[:2]}: {what}" for name, _, _, what, _, _ in IN_THE_MODEL],
)
def test_mistake_in_model_cells_is_caught(name, wanted, pairs, old, new):
    cells = model_cells(name, wanted, pairs)
    mutated = [source.replace(old, new) for source in cells]
    assert mutated != cells, f"the notebook no longer has {old!r}: bring this test up to date"
    with pytest.raises(AssertionError):
        run(mutated)
