"""Checks that can fail: a mistake in the formulas of notebook 02 is caught by one of its claims.

Only the cells named by a piece of their source are run, with that source changed in one place; none needs the model's pictures.
"""

import importlib

import pytest
import torch
from test_mutations_integral import model_cells, run

NOTEBOOK = "02_bottleneck_attribution"
BOUNDS = (
    *("def densities(", "def posterior(", "floor = ", "widths = "),
    *(f'nk.claim("{id}"' for id in ("BA16", "BA18", "BA19", "BA20")),
)
SQUEEZE = ("import nibkit as nk", "def squeeze(", *(f'nk.claim("{id}"' for id in ("BA1", "BA3", "BA4", "BA22")))
MUTATIONS = [  # (cells, what is wrong, source, its replacement)
    (BOUNDS, "the other decoder", "2 * lam * grid / (1 - lam)", "-2 * lam * grid / (1 - lam)"),
    (BOUNDS, "H(Y) left out", "return np.log(2) + (densities", "return (densities"),
    (BOUNDS, "another prior in the gap", "stats.norm.logpdf(grid)", "stats.norm.logpdf(grid, 0, 2)"),
    (BOUNDS, "y always right", "[[0.9, 0.1], [0.1, 0.9]]", "[[1, 0], [0, 1]]"),
    (BOUNDS, "the truth without noise's weight", "nk.bottleneck.blend(part, lam, unit)", "nk.bottleneck.narrow(part, lam, unit)"),
    (BOUNDS, "half of β", "floor = fine_y - 0.1 *", "floor = fine_y - 0.05 *"),
    (BOUNDS, "an ensemble of two", "nk.bottleneck.Law([1.0])", "nk.bottleneck.Law([1.0, -1.0])"),
    (BOUNDS, "bits for nats", "special.rel_entr(given_y", "1.4427 * special.rel_entr(given_y"),
    (BOUNDS, "blind to the caption", "widths * xy)] for xy in (1, -1)", "widths)] for xy in (1, -1)"),
    (SQUEEZE, "the optimiser takes no step", "optimizer.step()", "pass"),
    (SQUEEZE, "score with the wrong sign", "- score(noisy).mean()", "+ score(noisy).mean()"),
    (SQUEEZE, "β forgotten", "beta * divergence(in_std, lam)", "0 * divergence(in_std, lam)"),
    (SQUEEZE, "variance for its root", "[[(1 - lam) ** 2]]", "[[1 - lam]]"),
    (SQUEEZE, "noise without its size", "noise = mean + std * torch", "noise = mean + torch"),
    (SQUEEZE, "divergence not counted in σ", "in_std = (z - mean) / std", "in_std = z"),
]


@pytest.mark.parametrize("cells", [BOUNDS, SQUEEZE], ids=["bounds", "squeeze"])
def test_unchanged_cells_pass(cells):
    assert "✓" in run(model_cells(NOTEBOOK, cells, 0))


@pytest.mark.parametrize("cells, what, old, new", MUTATIONS, ids=[mutation[1] for mutation in MUTATIONS])
def test_mistake_is_caught(cells, what, old, new):
    sources = model_cells(NOTEBOOK, cells, 0)
    mutated = [source.replace(old, new) for source in sources]
    assert mutated != sources, f"the notebook no longer has {old!r}: bring this test up to date"
    with pytest.raises(AssertionError):
        run(mutated)


def test_mistake_in_the_divergence_is_caught(monkeypatch):
    module = importlib.import_module("nibkit.methods.m2ib")
    wrong = lambda z, lam: 0.5 * ((1 - lam) ** 2 + lam * z**2 - 1) - torch.log(1 - lam)  # noqa: E731
    monkeypatch.setattr(module, "divergence", wrong)
    with pytest.raises(AssertionError):
        run(model_cells(NOTEBOOK, SQUEEZE, 0))
