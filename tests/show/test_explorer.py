"""The explorer: every control redraws, and what can't be read is told in one line."""

import ipywidgets
import pytest
from matplotlib import pyplot as plt

import nibkit as nk
from nibkit.show import explorer as widgets


@pytest.fixture
def explorer(monkeypatch):
    """An explorer over three scenes, and the attributions that it has drawn."""
    shown = []
    explain = widgets.plots.explain
    monkeypatch.setattr(widgets.plots, "explain", lambda image, att: shown.append(att) or explain(image, att))
    plt.close("all")  # what other tests of this process left open is not the explorer's doing
    clip = nk.load_clip("shapes", device="cpu")
    return widgets.explorer(clip, nk.shapes.sample(3, seed=3)), shown


def controls(widget) -> dict:
    found, todo = {}, [widget]
    while todo:
        one = todo.pop()
        todo += getattr(one, "children", ())
        if getattr(one, "description", ""):
            found[one.description] = one
    return found


def test_every_control_draws_again(explorer):
    widget, shown = explorer
    parts = controls(widget)
    assert isinstance(widget, ipywidgets.Widget) and set(parts) == {"scene", "caption", "layer", "rule", "steps"}
    assert len(shown) == 1 and shown[0].options["layer"] == (9, 9)
    parts["layer"].value = 4
    assert shown[-1].options["layer"] == (4, 4)
    parts["steps"].value = 3
    assert shown[-1].options["num_steps"] == 3
    parts["rule"].value = "midpoint"
    assert shown[-1].options["rule"] == "midpoint"
    parts["caption"].value = "a red ring"
    assert shown[-1].tokens[0][1:-1] == ("a", "red", "ring")
    assert plt.get_fignums() == []


def test_a_new_scene_brings_its_caption(explorer):
    widget, shown = explorer
    parts = controls(widget)
    parts["scene"].value = 2
    caption = nk.shapes.sample(3, seed=3)[2].caption
    assert parts["caption"].value == caption and shown[-1].tokens[0][1:-1] == tuple(caption.split())


def test_a_caption_that_cannot_be_read_is_told(explorer):
    widget, shown = explorer
    (picture,) = (part for part in widget.children if isinstance(part, ipywidgets.Image))
    (message,) = (part for part in widget.children if isinstance(part, ipywidgets.Label))
    before, first = len(shown), bytes(picture.value)
    assert first.startswith(b"\x89PNG") and message.value == ""
    controls(widget)["caption"].value = "  "
    assert len(shown) == before and "caption 0 is empty" in message.value and picture.layout.display == "none"
    controls(widget)["caption"].value = "a red ring"
    assert message.value == "" and picture.layout.display is None and bytes(picture.value) != first


def test_log_gauss_and_few_steps_can_be_chosen(explorer):
    widget, shown = explorer
    parts = controls(widget)
    for rule in nk.quadrature.RULES:
        parts["rule"].value = rule
        assert shown[-1].options["rule"] == rule
