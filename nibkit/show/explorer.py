"""Something to play with in a notebook: ``explorer`` lets a reader choose scene, caption, layer, rule and steps."""

from __future__ import annotations

import io
from collections.abc import Sequence

import ipywidgets
from matplotlib import pyplot as plt

from ..data.shapes import Scene
from ..methods.nib import nib
from ..model.clip import Clip
from ..show import plots
from ..theory.quadrature import RULES


def explorer(clip: Clip, scenes: Sequence[Scene]) -> ipywidgets.Widget:
    """Controls over an explained picture; every change runs NIB again (a fraction of a second on the bundled model).

    A caption that the model can't read shows the error's one line in place of the figure.
    """
    wide = ipywidgets.Layout(width="34em")
    scene = ipywidgets.Dropdown(
        options=[(f"{i}: {s.caption}", i) for i, s in enumerate(scenes)], description="scene", layout=wide
    )
    caption = ipywidgets.Text(value=scenes[0].caption, description="caption", continuous_update=False, layout=wide)
    deepest = min(clip.image.depth, clip.text.depth)
    layer = ipywidgets.IntSlider(value=3 * deepest // 4, min=0, max=deepest, description="layer", continuous_update=False)
    steps = ipywidgets.IntSlider(value=10, min=1, max=64, description="steps", continuous_update=False)
    rule = ipywidgets.Dropdown(options=RULES, value="riemann", description="rule")
    picture, message = ipywidgets.Image(format="png"), ipywidgets.Label()

    def follow(change: dict) -> None:
        caption.value = scenes[change["new"]].caption

    def draw(_=None) -> None:
        try:
            inputs = clip.prepare(scenes[scene.value].image, caption.value)
        except (ValueError, TypeError) as error:
            message.value, picture.layout.display = str(error), "none"
            return
        fig = plots.explain(scenes[scene.value].image, nib(clip, inputs, layer.value, steps.value, rule.value))
        shown = io.BytesIO()
        fig.savefig(shown, format="png")
        plt.close(fig)
        message.value, picture.layout.display, picture.value = "", None, shown.getvalue()

    scene.observe(follow, names="value")
    for control in (scene, caption, layer, steps, rule):
        control.observe(draw, names="value")
    draw()
    return ipywidgets.VBox([scene, caption, ipywidgets.HBox([layer, steps, rule]), message, picture])
