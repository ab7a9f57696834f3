"""MFABA (Zhu et al., AAAI 2024): push the input downhill step by step, and see which parts of it made F fall.

    A = −Σ_k Δx_k ∘ ∇F(x_k),    x_{k+1} = x_k + Δx_k

Δx_k goes against the gradient, so A says how much of F's fall, to first order, each element brought about.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch.nn import functional as nnf

from ..checks import check_batch_size, check_choice, check_number, check_whole
from ..model.clip import Clip, check_clip
from ..model.inputs import Inputs
from ..model.towers import ImageTower
from .attribution import Attribution
from .cut import CutEncoder, check_gradient, gradient_of
from .frame import VARIANTS, Importance, explain_both

STEPS = {"paper": (10, 0.01), "sharp": (50, 0.1), "smooth": (50, 0.001)}
FARTHEST = 0.3  # "smooth": no pixel moves farther, as a share of its range


def mfaba(
    clip: Clip,
    inputs: Inputs,
    num_steps: int | None = None,
    step_size: float | None = None,
    batch_size: int | None = None,
    variant: str = "paper",
    distractors: Inputs | None = None,
    attack: str | None = None,
) -> Attribution:
    """MFABA's importances: what each token or pixel did for the fall of F on the way.

    Args:
        clip, inputs: the model and B pairs.
        num_steps, step_size: None: 10 steps of .01 ("paper"); at most 50 of .1 ("sharp") or .001 ("smooth").
        batch_size: how many pairs go through the model at once; it never changes the result.
        variant: "paper": the NIB authors' code. F is the cosine (for captions they take the logit, a fixed multiple); x are the
            embeddings: class token, patches and positions before the first layer norm; for captions the rows of the embedding
            table. Δx = −step_size · sign ∇F, so A = step_size · Σ|∇F|, never negative. Their steps change the *table*: a token
            that stands twice in a caption has one row, whose gradient is the sum over its places; each place gets its value.
            "original": Zhu et al.: x are the pixels (``pixels`` [B, H, W], summed over colours), attacked until the label flips.
        distractors: for "original", which needs a label, and CLIP has none: pairs whose captions compete with the picture's own,
            and whose pictures compete with the caption's own. F is the probability of the own one (softmax of the scaled
            cosines); the label has flipped once the own one is no longer first. What equals the pair's own is no
            rival. They must be given: were they the batch's other pairs, a pair's result would depend on its batch. Where the own
            one is not first to begin with, a single step is made, as in their code.
        attack: for "original": "sharp" (None means it): Δx = −step_size · ∇F / ‖∇F‖; "smooth": Δx = −step_size · sign ∇F, no
            pixel farther than .3. Sizes are those of pixels in 0 … 1, which they do not leave. Captions, which Zhu et al. do
            not explain, are attacked likewise at their rows of the embedding table, each place on its own, without bounds.

    Signs and flips are decisions: where a gradient is 0 but for rounding, or the label about to flip, the last digits of the
    model's arithmetic may tip one. But for that, a pair's result depends on nothing else in its batch.

    Where the published code differs: Zhu et al.'s attack never clears its steps' gradients, so they add up over the steps and a
    result depends on its batch, and its drivers put a softmax on a model that ends with one; here neither is so.

    Raises:
        ValueError, TypeError: an option out of range, no distractors, or a pair all of whose distractors equal its own.
    """
    batch_size, options = check_batch_size(batch_size), check_options(num_steps, step_size, variant, distractors, attack)
    steps, size = options["num_steps"], options["step_size"]
    if distractors is None:  # the paper's variant, which has no label

        def descend_for(encoder: CutEncoder, target: torch.Tensor) -> Importance:
            return Importance(descend(encoder, target, steps, size))

        return explain_both(clip, inputs, (0, 0), descend_for, "mfaba", options, batch_size)

    check_clip(clip)
    clip.check(inputs)  # before any work: the rivals are encoded first
    others = clip.check(distractors)
    features = {True: clip.encode_text(others), False: clip.encode_image(others)}  # by is_image: what its own is told from

    def flip_for(encoder: CutEncoder, target: torch.Tensor) -> Importance:
        picture = encoder.tower.is_image
        content, space = (spell, pixel_space(clip)) if picture else (look, None)
        rivalry = rivals(content(clip, encoder.inputs), content(clip, others)).to(clip.device)
        label = Label(clip, target, features[picture], rivalry, "caption" if picture else "picture")
        return Importance(flip(encoder, label, Attack(options["attack"], size, space), steps))

    return explain_both(clip, inputs, (0, 0), flip_for, "mfaba", options | {"distractors": len(others)}, batch_size)


def check_options(
    num_steps: int | None, step_size: float | None, variant: str, distractors: Inputs | None, attack: str | None
) -> dict[str, Any]:
    """The options with their defaults filled in; ValueError or TypeError, naming the option, if one is out of range."""
    check_choice("variant", variant, VARIANTS)
    if variant == "paper":
        for name, value in (("distractors", distractors), ("attack", attack)):
            if value is not None:
                raise ValueError(f'{name} is an option of variant="original"; variant="paper" has no label')
    else:
        attack = check_choice("attack", "sharp" if attack is None else attack, ("sharp", "smooth"))
        if not isinstance(distractors, Inputs):
            raise TypeError(
                'variant="original" attacks until the label flips, so it needs distractors=: nk.Inputs (see clip.prepare) of the '
                f"pairs that this one is to be told from; got {type(distractors).__name__}"
            )
    usual_steps, usual_size = STEPS[attack or "paper"]
    options = {
        "num_steps": check_whole("num_steps", usual_steps if num_steps is None else num_steps),
        "step_size": check_number("step_size", usual_size if step_size is None else step_size, above=0),
        "variant": variant,
    }
    return options if attack is None else options | {"attack": attack}


# --- as the NIB authors have it -----------------------------------------------------------------------------------------------


def descend(encoder: CutEncoder, target: torch.Tensor, num_steps: int, step_size: float) -> torch.Tensor:
    """−Σ_k Δx_k · ∇F(x_k) of each token, [B, S], for sign steps on the embeddings."""
    tower, raw, values = encoder.tower, encoder.tower.raw(encoder.inputs), target.new_zeros(encoder.latents.shape[:2])
    into = tower.pre_norm if isinstance(tower, ImageTower) else tower.enter

    def work(pairs: np.ndarray, longest: int) -> None:
        x = tower.crop_raw(raw[pairs], longest)
        x = (tower.embeddings(x) if tower.is_image else x).to(values)  # wide: few bits would lose the steps
        ids = encoder.inputs.input_ids[pairs, :longest]
        total = torch.zeros_like(x[..., 0])
        for _ in range(num_steps):
            gradient = gradient_of(lambda x: encoder.score(into(x.to(raw.dtype)), target, pairs), x)
            if not tower.is_image:  # one row of the table for all places of a token
                gradient = ((ids[:, :, None] == ids[:, None]).to(gradient) @ gradient).to(gradient)
            step = -step_size * gradient.sign()
            total -= (step * gradient).sum(-1)
            x = x + step
        values[pairs, :longest] = total

    encoder.in_batches(np.arange(len(target)), work)
    return values


# --- as its own authors have it -----------------------------------------------------------------------------------------------


class Label:
    """Which of several captions is a picture's own (or of several pictures a caption's): how likely, and whether it is first.

    own: features [B, D]; others: [M, D]; compete: bool [B, M], which of the others are each pair's rivals.
    """

    def __init__(self, clip: Clip, own: torch.Tensor, others: torch.Tensor, compete: torch.Tensor, name: str):
        if not (rivalled := compete.any(1)).all():
            raise ValueError(f"all distractors have pair {int(rivalled.int().argmin())}'s own {name}: give some that differ")
        self.scale, self.compete = clip.model.logit_scale.to(own).exp(), compete
        self.own, self.others = nnf.normalize(own, dim=-1), nnf.normalize(others.to(own), dim=-1)

    def compare(self, features: torch.Tensor, rows: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        """(log p / (1 − p) of the own one, whether it is first), [R] each, of features [R, D] that stand for these pairs."""
        features = nnf.normalize(features.to(self.own), dim=-1)
        own = self.scale * (features * self.own[rows]).sum(-1)
        others = (self.scale * features @ self.others.T).masked_fill(~self.compete[rows], -torch.inf)
        return own - others.logsumexp(-1), own >= others.amax(-1)


class Attack:
    """Steps downhill. space: (mean, standard deviation), [3, 1, 1] each, that pixels were normalised with; None: no pixels."""

    def __init__(self, kind: str, step_size: float, space: tuple[torch.Tensor, torch.Tensor] | None):
        self.kind, self.step_size, self.space = kind, step_size, space
        self.unit: float | torch.Tensor = 1.0 if space is None else 1 / space[1]  # how much a change of 1 is in x

    def limits(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(lowest, highest) that each element may become: pixels stay in 0 … 1, or where they were if that is beyond."""
        if self.space is None:
            return torch.full_like(x, -torch.inf), torch.full_like(x, torch.inf)
        low, high = torch.minimum(x, -self.space[0] * self.unit), torch.maximum(x, (1 - self.space[0]) * self.unit)
        if self.kind == "smooth":
            low, high = torch.maximum(low, x - FARTHEST * self.unit), torch.minimum(high, x + FARTHEST * self.unit)
        return low, high

    def step(self, x: torch.Tensor, g: torch.Tensor) -> torch.Tensor:
        """x after a step, the gradient being g."""
        direction = g.sign() if self.kind == "smooth" else nnf.normalize((g * self.unit).flatten(1), dim=1).view_as(g)
        return x - self.step_size * direction * self.unit


def flip(encoder: CutEncoder, label: Label, attack: Attack, num_steps: int) -> torch.Tensor:
    """−Σ_k Δx_k · ∇p(x_k) until the label flips, summed over the channels of each pixel [B, H, W] or each token [B, S]."""
    tower, raw = encoder.tower, encoder.tower.raw(encoder.inputs)
    channels = 1 if raw.ndim == 4 else -1
    values = torch.zeros_like(raw[:, 0] if raw.ndim == 4 else encoder.latents[..., 0]).to(label.own)

    def work(pairs: np.ndarray, longest: int) -> None:
        x = tower.crop_raw(raw[pairs], longest).to(values)
        total, (low, high) = torch.zeros_like(x), attack.limits(x)
        moving = np.arange(len(pairs))  # the rows whose label has not flipped yet
        for k in range(num_steps):
            x.requires_grad_()
            with torch.enable_grad():
                margin, first = label.compare(encoder.tail(tower.enter(x.to(raw.dtype)), pairs[moving]), pairs[moving])
            check_gradient(margin)
            stay = first | (k == 0)
            if not stay.any():
                break
            (gradient,) = torch.autograd.grad(margin, x, torch.ones_like(margin))
            moving, x, gradient = moving[stay.cpu().numpy()], x.detach()[stay], gradient[stay]
            margin = margin.detach()[stay]
            after = attack.step(x, gradient).clamp(low[moving], high[moving])
            slope_of_p = (margin.sigmoid() * (-margin).sigmoid()).to(gradient)  # ∇p = p (1 − p) ∇margin, also where p rounds to 1
            total[moving] -= (after - x) * gradient * slope_of_p.view(-1, *[1] * (gradient.ndim - 1))
            x = after
        summed = total.sum(channels)
        values[pairs, : summed.shape[1]] = summed

    encoder.in_batches(np.arange(len(encoder.inputs)), work)
    return values


def pixel_space(clip: Clip) -> tuple[torch.Tensor, torch.Tensor]:
    """(mean, standard deviation), [3, 1, 1] each, that pixels in 0 … 1 are normalised with: the processor's, or OpenAI's."""
    from transformers.image_utils import OPENAI_CLIP_MEAN, OPENAI_CLIP_STD

    mean = getattr(clip.image_processor, "image_mean", None) or OPENAI_CLIP_MEAN
    deviation = getattr(clip.image_processor, "image_std", None) or OPENAI_CLIP_STD
    in_pixels = [torch.tensor(values, device=clip.device, dtype=clip.dtype)[:, None, None] for values in (mean, deviation)]
    return in_pixels[0], in_pixels[1]


def spell(clip: Clip, inputs: Inputs) -> list[tuple[int, ...]]:
    """The token ids of each caption, up to the one that is read."""
    rows = zip(inputs.input_ids.cpu(), inputs.attention_mask.cpu() != 0, clip.text.span(inputs))
    return [tuple(ids[:end][real[:end]].tolist()) for ids, real, end in rows]


def look(clip: Clip, inputs: Inputs) -> list[bytes]:
    """The pixels of each picture."""
    return [pixels.cpu().float().numpy().tobytes() for pixels in inputs.pixel_values]


def rivals(own: list, others: list) -> torch.Tensor:
    """bool [B, M]: which of the other pairs differ from each pair in their caption (their picture)."""
    return torch.tensor([[mine != theirs for theirs in others] for mine in own])
