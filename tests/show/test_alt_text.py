"""Alternative text: a figure's titles, axes, legends and words; stored beside the PNG by a notebook's kernel."""

import sys
import types

import nbformat
import pytest
from matplotlib import pyplot as plt
from nbclient import NotebookClient

from nibkit.show.alt_text import MOST, alt_text, announce


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def test_titles_axes_legends_and_what_is_drawn():
    figure, (left, middle, right) = plt.subplots(1, 3)
    left.plot([1, 2], label="nib")
    left.plot([2, 1], label="m2ib")
    left.legend()
    left.set(title=r"Steps $\lambda$", xlabel="steps", ylabel="gap")
    middle.scatter([1], [2])
    middle.set(xlabel="named", ylabel="other")
    right.barh([0, 1], [1, 2])
    right.set(title="Bars")
    figure.suptitle("Who wins?")
    told = "Who wins? Steps lambda: gap against steps (lines: nib, m2ib). other against named (points). Bars: bars."
    assert alt_text(figure) == told


def test_a_map_says_its_title_and_its_colour_bar_is_no_panel():
    figure, ax = plt.subplots()
    shown = ax.imshow([[1, 2]])
    ax.set_title("“a dog”")
    figure.colorbar(shown, label="cosine")
    assert alt_text(figure) == "“a dog”."


def test_words_alone_panels_alike_and_nothing_at_all():
    figure, axes = plt.subplots(1, 3)
    for ax in axes:
        ax.set_axis_off()
        ax.text(0, 0, "a")
        ax.text(1, 0, "dog\n+0.15")
    assert alt_text(figure) == "a dog +0.15."
    assert alt_text(plt.figure()) == "A figure of 0 panels without words."


def test_it_ends_at_a_word():
    figure = plt.figure()
    figure.suptitle("word " * 300)
    assert len(alt_text(figure)) <= MOST and alt_text(figure).endswith("word…")


def test_intervals_and_a_legend_of_the_whole_figure():
    figure, ax = plt.subplots()
    ax.errorbar([1, 2], [1, 2], [0.1, 0.1], fmt="o", label="nib")
    ax.set(xlabel="skill", ylabel="quality")
    figure.legend()
    assert alt_text(figure) == "quality against skill (points with intervals). nib."


@pytest.mark.parametrize(
    "text, told",
    [
        (r"$\frac{a}{b}$ of $\hat\lambda$", "frac a b of hat lambda."),
        (r"cost {1, 2} at \$5, mathbf", "cost {1, 2} at $5, mathbf."),
        (r"$10^{-3}$, $\mathrm{eps}$", "10^-3, eps."),
    ],
)
def test_formulas_are_read_as_words(text, told):
    figure = plt.figure()
    figure.suptitle(text)
    assert alt_text(figure) == told


def test_outside_of_a_notebook_nothing_happens(monkeypatch):
    shell_free = types.SimpleNamespace(get_ipython=lambda: None)
    monkeypatch.setitem(sys.modules, "IPython", shell_free)
    monkeypatch.setattr(plt, "switch_backend", lambda name: pytest.fail("the backend was switched"))
    announce()


def test_a_kernel_stores_it_beside_the_picture():
    draw = "fig, ax = plt.subplots()\nax.set_title('The message')\nplt.show()"
    setup = "from matplotlib import pyplot as plt\nfrom nibkit.show import plots\nplots.use_style()\nplots.use_style()"
    cells = [nbformat.v4.new_code_cell(source) for source in (setup, draw)]
    notebook = NotebookClient(nbformat.v4.new_notebook(cells=cells), timeout=120).execute()
    (output,) = notebook.cells[1].outputs
    assert output.metadata["image/png"]["alt"] == "The message." and output.data["image/png"]
