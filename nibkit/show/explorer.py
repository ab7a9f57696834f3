"""Something to play with in a notebook: ``explorer`` lets a reader choose model, picture, caption, cut, λ and more.

What is computed is in ``explanation``, how it is drawn in ``panels``; here are the controls.
"""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from matplotlib import pyplot as plt
from PIL import Image

from ..checks import one_line
from ..data import emoji, shapes
from ..data.scenes import Scene
from ..methods.registry import BEYOND, METHODS
from ..model.clip import Clip
from ..model.loading import load_clip
from ..model.pictures import to_rgb
from ..resources import MODELS
from ..theory.quadrature import RULES
from . import explanation, panels
from .accessible import Message, Picture, ipywidgets

SECOND = [name for name in (METHODS | BEYOND) if name != "nib"]
WIDE, MIDDLE, NARROW, SMALL = (ipywidgets.Layout(width=f"{width}em") for width in (31, 24, 21, 14))


def explorer(clip: Clip | str | None = None, scenes: Sequence[Scene] | None = None) -> Explorer:
    """Controls over an explained picture. A change computes what depends on it, once (about a second on a bundled model).

    Errors (a caption that is empty, a file that is no picture) and warnings (words that the model does not know) stand in a line
    above the figure. On a static page, where no control can move, the figure is there as a picture.

    Args:
        clip: the model to begin with: a ``Clip``, or what ``load_clip`` takes. The bundled ones can be chosen beside it.
        scenes: pictures with known objects, for this model and those of the same world; by default a dozen of its world.

    Raises:
        ValueError, FileNotFoundError: no scenes, or a name that ``load_clip`` does not know.
    """
    return Explorer(clip if isinstance(clip, Clip) else load_clip(clip), scenes)


class Explorer(ipywidgets.VBox):
    """The controls, the message line and the figure; see ``explorer``.

    explanation: what is shown (``explanation.Explanation``), None until something could be explained.
    """

    def __init__(self, clip: Clip, scenes: Sequence[Scene] | None = None):
        if scenes is not None and not len(scenes):
            raise ValueError("scenes is empty: give one at least, or None for a dozen of the model's world")
        self.first, self.clips = clip, {clip.name: clip}
        self.scenes = {} if scenes is None else {world_of(clip.name): list(scenes)}
        self.own: Any = None  # a picture of the reader's: a path, or a file's bytes
        self.explanation: explanation.Explanation | None = None
        self._kept: dict[str, tuple[Any, Any, list[str]]] = {}  # of each computation the last: key, result, warnings
        self._settling = False

        now = dict(continuous_update=False)
        self.model = ipywidgets.Dropdown(options=list(dict.fromkeys([clip.name, *MODELS])), description="model", layout=MIDDLE)
        self.second = ipywidgets.Dropdown(
            options=[("nothing", None), *((m, m) for m in SECOND)], description="beside NIB", layout=NARROW
        )
        self.second.value = "m2ib"
        self.scene = ipywidgets.Dropdown(description="scene", layout=WIDE)
        self.path = ipywidgets.Text(description="own picture", placeholder="a file's path, then Enter", layout=MIDDLE, **now)
        self.upload = ipywidgets.FileUpload(
            accept="image/*", description="upload", tooltip="a picture's file", layout={"width": "8em"}
        )
        self.caption = ipywidgets.Text(description="caption", layout=WIDE, **now)
        self.layer = ipywidgets.IntSlider(description="layer", max=1, layout=NARROW, **now)
        self.steps = ipywidgets.IntSlider(value=10, min=1, max=64, description="steps", layout=NARROW, **now)
        self.rule = ipywidgets.Dropdown(options=[rule for rule in RULES if rule != "adaptive"], description="rule", layout=SMALL)
        self.lam = ipywidgets.FloatLogSlider(
            value=1, min=-5, max=0, step=0.05, description="λ", readout_format=".1e", layout=NARROW, **now
        )
        self.paint = ipywidgets.Dropdown(description="paint over", layout=MIDDLE)
        self.message, self.picture = Message(), Picture()
        rows = [
            [self.model, self.second, self.rule],
            [self.scene, self.path, self.upload],
            [self.caption, self.paint],
            [self.layer, self.steps, self.lam],
        ]
        wraps = ipywidgets.Layout(flex_flow="row wrap")  # a narrow page gets more rows, not sliders too short to move
        super().__init__([*(ipywidgets.HBox(row, layout=wraps) for row in rows), self.message, self.picture])

        self._bring_model()
        for control in (control for row in rows for control in row):
            control.observe(self._moved, names="value")
        self._draw()

    def __repr__(self) -> str:
        return f"Explorer({self.model.value!r}, {self.caption.value!r})"

    def _repr_mimebundle_(self, **options: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """The widget, and its first figure for pages without a kernel."""
        picture, metadata = self.picture.bundle()
        return super()._repr_mimebundle_(**options) | picture, metadata

    # --- controls that move others ------------------------------------------------------------------------------------------

    def _moved(self, change: dict[str, Any]) -> None:
        """A control was moved: bring what follows from it, then draw once."""
        if self._settling:
            return
        bring: dict[Any, Callable[[], None]] = {
            self.model: self._bring_model,
            self.scene: self._bring_scene,
            self.path: self._bring_path,
            self.upload: self._bring_upload,
        }
        if change["owner"] in bring:
            bring[change["owner"]]()
        self._draw()

    @contextlib.contextmanager
    def _quietly(self) -> Iterator[None]:
        """Controls may be set here without being heard."""
        before, self._settling = self._settling, True
        try:
            yield
        finally:
            self._settling = before

    def _bring_model(self) -> None:
        """The model's depth, and its world's scenes; a picture and caption of the same world stay."""
        name = self.model.value
        if name not in self.clips:
            self.clips[name] = load_clip(name, self.first.device, self.first.dtype)
        world, clip = world_of(name), self.clips[name]
        deepest = min(clip.image.depth, clip.text.depth)
        if world not in self.scenes:
            self.scenes[world] = (emoji if world == "emoji" else shapes).sample(12, seed=77, captions="one", objects=3)
        listed = tuple((f"{number}: {scene.caption}", number) for number, scene in enumerate(self.scenes[world]))
        with self._quietly():
            if deepest != self.layer.max:
                self.layer.max, self.layer.value = deepest, 3 * deepest // 4
            if self.own is None and listed != self.scene.options:
                self.scene.options, self.scene.value = listed, 0
                self._bring_scene()
            elif self.own is not None:
                self.scene.options, self.scene.value = listed, None

    def _bring_scene(self) -> None:
        """A scene's caption and objects; the reader's own picture goes."""
        if (scene := self._scene()) is None:
            return
        with self._quietly():
            self.own, self.path.value, self.upload.value = None, "", ()
            self.caption.value = scene.caption
            known = scene.objects if scene.redraw else ()  # what stood behind an object is known where the scene can be redrawn
            self.paint.options = [("nothing", None), *((thing.phrase, i) for i, thing in enumerate(known))]
            self.paint.value = next((i for i in scene.named if i is not None), 0) if known else None

    def _bring_path(self) -> None:
        """The picture at the path; where that was emptied, the first scene again."""
        if path := self.path.value.strip():
            self._bring_own(path)
        elif self.scene.value is None:
            with self._quietly():
                self.scene.value = 0
            self._bring_scene()

    def _bring_upload(self) -> None:
        """The file's bytes."""
        if self.upload.value:
            with self._quietly():
                self.path.value = ""
            self._bring_own(bytes(self.upload.value[0]["content"]))

    def _bring_own(self, picture: str | bytes) -> None:
        """A picture of the reader's own: no scene is chosen then, and nothing is known that could be painted over."""
        with self._quietly():
            self.own, self.scene.value, self.paint.options, self.paint.value = picture, None, [("nothing", None)], None

    def _scene(self) -> Scene | None:
        return None if self.scene.value is None else self.scenes[world_of(self.model.value)][self.scene.value]

    # --- what is computed and drawn ------------------------------------------------------------------------------------------

    def _draw(self) -> None:
        """The figure, or in its place the error's one line."""
        try:
            figure, told = recorded(self._figure)
        except (ValueError, TypeError, OSError) as error:
            self.explanation = None
            self.message.tell(one_line(error))
            self.picture.hide()
            return
        told = [line for _, _, lines in self._kept.values() for line in lines] + told
        self.message.tell(" · ".join(dict.fromkeys(told)))
        self.picture.show(*figure)

    def _figure(self) -> tuple[bytes, str]:
        """The figure's PNG and what it shows in words; what it needs is computed unless it is there from the last time."""
        name, caption, second = self.model.value, self.caption.value, self.second.value
        clip, scene = self.clips[name], self._scene()
        settings = (self.layer.value, self.steps.value, self.rule.value)
        key = (name, self.own, None if scene is None else id(scene), caption, *settings)

        def explain() -> explanation.Explanation:
            picture: Image.Image = scene.image if scene else to_rgb(self.own, "own picture")
            return explanation.explain_one(clip, picture, caption, *settings, scene)

        shown = self.explanation = self._keep("nib", key, explain)
        other = second and self._keep(
            "second", (*key[:4], second), lambda: explanation.explain_otherwise(clip, shown.inputs, second)
        )
        if not second:
            self._kept.pop("second", None)
        similarity = f"{float(shown.attribution.similarity[0]):.2f}".replace("-", "−")
        title = f"“{caption}”: F = {similarity}, the similarity of picture and caption ({name}, cut at layer {settings[0]})"
        what = shown, title, self.lam.value, other or None, self.paint.value
        figure, png = panels.draw(*what), io.BytesIO()
        figure.savefig(png, format="png")
        plt.close(figure)
        return png.getvalue(), panels.describe(*what)

    def _keep(self, what: str, key: Any, compute: Callable[[], Any]) -> Any:
        """``compute``'s result, from the last time if nothing has changed since."""
        if what not in self._kept or self._kept[what][0] != key:
            self._kept.pop(what, None)
            self._kept[what] = key, *recorded(compute)
        return self._kept[what][1]


def recorded(compute: Callable[[], Any]) -> tuple[Any, list[str]]:
    """(its result, the texts of its warnings, which are shown nowhere else)."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", UserWarning)
        result = compute()
    return result, [one_line(warning.message) for warning in told if issubclass(warning.category, UserWarning)]


def world_of(name: str) -> str:
    """The world that a model is at home in: a bundled one's; another model has one of its own."""
    return "emoji" if name == "emoji" else "shapes" if name in MODELS else name
