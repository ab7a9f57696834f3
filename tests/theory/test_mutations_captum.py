"""Checks that can fail: a mistake in nibkit is caught by notebook 05's comparison with captum."""

import importlib

import pytest
from test_mutations_integral import THEOREM_3, code_cells, run


def captum_cells() -> list[str]:
    """Notebook 05 up to the comparison of nk.nib with captum, figures left out, two scenes instead of six."""
    cells = [c.source for c in code_cells(THEOREM_3) if "plt.show()" not in c.source]
    last = next(i for i, source in enumerate(cells) if 'nk.claim("T3.7"' in source)
    shortened = [source.replace("sample(6,", "sample(2,") for source in cells[: last + 1]]
    assert shortened != cells[: last + 1]
    return shortened


def midpoint_for_riemann(monkeypatch):
    quadrature = importlib.import_module("nibkit.theory.quadrature")
    real = quadrature.nodes
    wrong = lambda rule, *how: real("midpoint" if rule == "riemann" else rule, *how)  # noqa: E731
    monkeypatch.setattr(quadrature, "nodes", wrong)
    monkeypatch.setattr(importlib.import_module("nibkit.methods.nib"), "nodes", wrong)


def slopes_times(factor):
    def break_it(monkeypatch):
        encoder = importlib.import_module("nibkit.methods.nib").CutEncoder
        real = encoder.slopes

        def wrong(self, *args):
            return real(self, *args) * factor(self.latents)

        monkeypatch.setattr(encoder, "slopes", wrong)

    return break_it


NIBKIT = {
    "midpoint for right sum": midpoint_for_riemann,
    "wrong sign": slopes_times(lambda z: -1),
    "channel mean instead of sum": slopes_times(lambda z: 1 / z.shape[-1]),
    "half the weights": slopes_times(lambda z: 0.5),
}


def test_nibkit_agrees_with_captum():
    assert "T3.7" in run(captum_cells())


@pytest.mark.parametrize("what", NIBKIT)
def test_mistake_in_nibkit_is_caught(monkeypatch, what):
    NIBKIT[what](monkeypatch)
    with pytest.raises(AssertionError):
        run(captum_cells())
