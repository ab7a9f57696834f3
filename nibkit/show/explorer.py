"""Something to play with in a notebook: ``explorer`` lets a reader choose scene, caption, layer, rule and steps."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

from matplotlib import pyplot as plt

from ..data.scenes import Scene
from ..methods.nib import nib
from ..model.clip import Clip
from ..theory.quadrature import RULES
from . import plots

try:
    import ipywidgets
except ImportError as error:
    raise ImportError("the explorer needs ipywidgets, which is not installed: pip install 'nibkit[notebooks]'") from error


def explorer(clip: Clip, scenes: Sequence[Scene]) -> ipywidgets.Widget:
    """Controls over an explained picture; every change runs NIB again (a fraction of a second on the bundled model).

    A caption that the model can't read shows the error's one line in place of the figure.
    """
    wide = ipywidgets.Layout(width="34em")
    numbered = [(f"{number}: {scene.caption}", number) for number, scene in enumerate(scenes)]
    chosen = ipywidgets.Dropdown(options=numbered, description="scene", layout=wide)
    caption = ipywidgets.Text(value=scenes[0].caption, description="caption", continuous_update=False, layout=wide)
    deepest = min(clip.image.depth, clip.text.depth)
    layer = ipywidgets.IntSlider(value=3 * deepest // 4, min=0, max=deepest, description="layer", continuous_update=False)
    steps = ipywidgets.IntSlider(value=10, min=1, max=64, description="steps", continuous_update=False)
    rule = ipywidgets.Dropdown(options=RULES, value="riemann", description="rule")
    picture, message = ipywidgets.Image(format="png"), ipywidgets.Label()

    def bring_caption(change: dict[str, Any]) -> None:
        caption.value = scenes[change["new"]].caption

    def draw(_: dict[str, Any] | None = None) -> None:
        image = scenes[chosen.value].image
        try:
            inputs = clip.prepare(image, caption.value)
        except (ValueError, TypeError) as error:
            message.value, picture.layout.display = str(error), "none"
            return
        figure = plots.explain(image, nib(clip, inputs, layer.value, steps.value, rule.value))
        png = io.BytesIO()
        figure.savefig(png, format="png")
        plt.close(figure)
        message.value, picture.layout.display, picture.value = "", None, png.getvalue()

    chosen.observe(bring_caption, names="value")
    for control in (chosen, caption, layer, steps, rule):
        control.observe(draw, names="value")
    draw()
    return ipywidgets.VBox([chosen, caption, ipywidgets.HBox([layer, steps, rule]), message, picture])
