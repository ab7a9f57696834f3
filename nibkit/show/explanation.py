"""What the explorer shows of one picture and one caption, computed once: map, words, bill, the way along λ, and what painting
an object over really does to F, beside what the map says of it."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace

import numpy as np
import torch
from PIL import Image

from ..data.scenes import Scene
from ..methods.attribution import Attribution
from ..methods.cut import CutEncoder
from ..methods.frame import patch_means
from ..methods.nib import nib
from ..methods.registry import BEYOND, METHODS
from ..model.clip import Clip
from ..model.inputs import Inputs
from ..model.repeatable import untouched
from ..model.views import seen_masks
from ..theory.quadrature import nodes

LAM = np.concatenate([[0.0], np.geomspace(1e-5, 1, 61)])  # where F is looked at
QUICK = {"rise": {"num_masks": 500, "num_text_masks": 50}}  # a reader waits: two seconds in place of half a minute


@dataclass(frozen=True)
class Removal:
    """One object painted over: what the map's sum on it predicts, what F really loses (both in cosine units), and the picture."""

    phrase: str
    predicted: float
    real: float
    painted: Image.Image


@dataclass(frozen=True, eq=False)
class Explanation:
    """NIB of one picture and caption, and how it came about.

    attribution: on the CPU, B = 1. lam: the rule's nodes, [K]. steps: each node's part of the values, w_k z · ∇F(λ_k z) [K, S],
    the class token first. scores: F(λz) at ``LAM``. removals: of each object of the scene; none for a picture of one's own.
    """

    picture: Image.Image
    inputs: Inputs
    attribution: Attribution
    lam: np.ndarray
    steps: np.ndarray
    scores: np.ndarray
    removals: tuple[Removal, ...] = ()

    def bill(self) -> dict[str, float]:
        """What the similarity's change is made of: the first four add up to the last (picture; cosine units)."""
        att = self.attribution.numpy()
        return {
            "patches": float(att["image"].sum()),
            "class token": float(att["class_token"][0]),
            "below the start": float(att["image_null"][0]),
            "missed by the sum": -float(att["image_delta"][0]),
            "F(open) − F(closed)": float(self.scores[-1] - self.scores[0]),
        }

    def up_to(self, lam: float) -> Attribution:
        """The map as far as it is summed when the valve stands at ``lam``: of the nodes up to there alone."""
        patches = self.steps[self.lam <= lam * (1 + 1e-9), 1:].sum(0)
        image = torch.as_tensor(patches).to(self.attribution.image).view_as(self.attribution.image)
        return replace(self.attribution, image=image)

    def running_sums(self) -> np.ndarray:
        """The patches' sum after each node, [K]: the last is the bill's first entry."""
        return self.steps[:, 1:].sum(1).cumsum()


def explain_one(
    clip: Clip, picture: Image.Image, caption: str, layer: int, num_steps: int, rule: str, scene: Scene | None = None
) -> Explanation:
    """NIB of one pair and all that ``Explanation`` holds.

    rule: any but "adaptive", which has no fixed nodes. scene: the scene that the picture is, if it is one: its objects are
    painted over where it can be drawn again.
    Raises ValueError or TypeError as ``Clip.prepare`` and ``nib`` do.
    """
    inputs = clip.prepare(picture, caption)
    lam, weights = nodes(rule, num_steps)
    attribution = nib(clip, inputs, layer, num_steps, rule).cpu()
    with untouched(clip.model), torch.inference_mode(False), torch.no_grad():
        encoder = CutEncoder(clip.image, inputs, layer)
        target = CutEncoder(clip.text, inputs, layer).features
        steps = weights[:, None] * encoder.slopes(lam, target)[0].cpu().double().numpy()
        scores = encoder.scores(LAM, target)[0].cpu().double().numpy()
    removals = paint_each(clip, scene, caption, attribution) if scene and scene.redraw else ()
    return Explanation(picture, inputs, attribution, lam, steps, scores, removals)


def explain_otherwise(clip: Clip, inputs: Inputs, method: str) -> Attribution:
    """The same pair by another method of METHODS or BEYOND, with its own settings (RISE with ``QUICK``'s fewer masks)."""
    return (METHODS | BEYOND)[method](clip, inputs, **QUICK.get(method, {})).cpu()


def paint_each(clip: Clip, scene: Scene, caption: str, attribution: Attribution) -> tuple[Removal, ...]:
    """Each object of a scene painted over by what stood behind it (``Scene.without``), F measured again.

    The map's sum on an object takes each patch by the share of its pixels that lie on the object.
    """
    count = len(scene.objects)
    painted = [scene.without(i).image for i in range(count)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of this caption's words the first call has warned
        left = clip.similarity(clip.prepare(painted, [caption] * count)).cpu()
    losses = (attribution.similarity - left).tolist()
    views = attribution.views and attribution.views * count
    masks = seen_masks(scene.masks, views, count, empty=True)
    shares = patch_means(clip.image, torch.as_tensor(masks, dtype=torch.float32))
    sums = (shares * attribution.image.float()).sum((1, 2)).tolist()
    return tuple(Removal(o.phrase, *rest) for o, *rest in zip(scene.objects, sums, losses, painted))
