"""MFABA (Zhu et al., AAAI 2024): push the input downhill step by step, and see which parts of it made F fall.

    A = −Σ_k Δx_k ∘ ∇F(x_k),    x_{k+1} = x_k + Δx_k

Δx_k goes against the gradient, so A says how much of F's fall, to first order, each element brought about.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch.nn import functional as nnf
from transformers.image_utils import OPENAI_CLIP_MEAN, OPENAI_CLIP_STD

from ..model.clip import Clip
from ..model.inputs import Inputs
from ..model.repeatable import untouched
from ..model.towers import ImageTower
from .attribution import Attribution
from .common import attribution, check_options, cosine, enter, pick, raw, slope
from .cut import Side

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

    Raises:
        ValueError, TypeError: an option out of range, no distractors, or a pair all of whose distractors equal its own.
    """
    options = check(num_steps, step_size, batch_size, variant, distractors, attack)
    inputs = clip.check(inputs)
    with untouched(clip.model), torch.inference_mode(False), torch.no_grad():
        sides = image, text = [Side(tower, inputs, 0, batch_size) for tower in (clip.image, clip.text)]
        if variant == "paper":
            how = options["num_steps"], options["step_size"]
            values = descend(image, inputs, text.features, *how), descend(text, inputs, image.features, *how)
        else:
            others = clip.check(distractors)
            captions, pictures = rivals(clip, inputs, others, spell), rivals(clip, inputs, others, look)
            of_image = Label(clip, text.features, clip.encode_text(others), captions, "caption")
            of_text = Label(clip, image.features, clip.encode_image(others), pictures, "picture")
            steps = options["num_steps"]
            attacks = [Attack(options["attack"], options["step_size"], space) for space in (pixel_space(clip), None)]
            values = flip(image, inputs, of_image, attacks[0], steps), flip(text, inputs, of_text, attacks[1], steps)
            options["distractors"] = len(others)
        return attribution(clip, inputs, sides, *values, "mfaba", options)


def check(num_steps, step_size, batch_size, variant, distractors, attack) -> dict:
    """The options with their defaults filled in; ValueError or TypeError, naming the option, if one is out of range."""
    check_options(variant, batch_size, num_steps=1 if num_steps is None else num_steps)
    if variant == "paper":
        for name, value in (("distractors", distractors), ("attack", attack)):
            if value is not None:
                raise ValueError(f'{name} is an option of variant="original"; variant="paper" has no label')
    elif attack not in (None, "sharp", "smooth"):
        raise ValueError(f'attack must be "sharp" or "smooth"; got {attack!r}')
    elif not isinstance(distractors, Inputs):
        raise TypeError(
            'variant="original" attacks until the label flips, so it needs distractors=: nk.Inputs (see clip.prepare) of the '
            f"pairs that this one is to be told from; got {type(distractors).__name__}"
        )
    usual = STEPS["paper" if variant == "paper" else attack or "sharp"]
    num_steps, step_size = (default if value is None else value for value, default in zip((num_steps, step_size), usual))
    if isinstance(step_size, bool) or not isinstance(step_size, (int, float)) or not 0 < step_size < float("inf"):
        raise ValueError(f"step_size must be a number above 0; got {step_size!r}")
    options = {"num_steps": num_steps, "step_size": step_size, "variant": variant}
    return options if variant == "paper" else options | {"attack": attack or "sharp"}


# --- as the NIB authors have it -----------------------------------------------------------------------------------------------


def descend(side: Side, inputs: Inputs, target: torch.Tensor, num_steps: int, step_size: float) -> torch.Tensor:
    """−Σ_k Δx_k · ∇F(x_k) of each token, [B, S], for sign steps on the embeddings."""
    tower, values = side.tower, target.new_zeros(side.latents.shape[:2])
    picture = isinstance(tower, ImageTower)
    entered, into = raw(tower, inputs), tower.pre_norm if picture else lambda x: enter(tower, x)

    def work(rows: np.ndarray, longest: int) -> None:
        x = pick(entered, rows, longest)
        x, ids = (tower.embeddings(x).to(values), None) if picture else (x, inputs.input_ids[rows, :longest])
        total = torch.zeros_like(x[..., 0])
        for _ in range(num_steps):
            g = slope(x, lambda x: cosine(side, into(x), target, rows))
            if ids is not None:  # one row of the table for all places of a token
                g = ((ids[:, :, None] == ids[:, None]).to(g) @ g).to(g)
            step = -step_size * g.sign()
            total -= (step * g).sum(-1)
            x = x + step
        values[rows, :longest] = total

    side.in_batches(np.arange(len(target)), work)
    return values


# --- as its own authors have it -----------------------------------------------------------------------------------------------


class Label:
    """Which of several captions is a picture's own (or of several pictures a caption's): how likely, and whether it is first.

    own: features [B, D]; others: [M, D]; compete: bool [B, M], which of the others are each pair's rivals.
    """

    def __init__(self, clip: Clip, own: torch.Tensor, others: torch.Tensor, compete: torch.Tensor, name: str):
        if not (some := compete.any(1)).all():
            raise ValueError(f"all distractors have pair {int(some.int().argmin())}'s own {name}: give some that differ")
        self.scale, self.compete = clip.model.logit_scale.exp(), compete
        self.own, self.others = nnf.normalize(own, dim=-1), nnf.normalize(others, dim=-1)

    def compare(self, features: torch.Tensor, rows) -> tuple[torch.Tensor, torch.Tensor]:
        """(log p / (1 − p) of the own one, whether it is first), [R] each, of features [R, D] that stand for these pairs."""
        features = nnf.normalize(features.to(self.own), dim=-1)
        own = self.scale * (features * self.own[rows]).sum(-1)
        others = (self.scale * features @ self.others.T).masked_fill(~self.compete[rows], -torch.inf)
        return own - others.logsumexp(-1), own >= others.amax(-1)


class Attack:
    """Steps downhill. space: (mean, standard deviation), [3, 1, 1] each, that pixels were normalised with; None: no pixels."""

    def __init__(self, kind: str, step_size: float, space: tuple[torch.Tensor, torch.Tensor] | None):
        self.kind, self.step_size, self.space = kind, step_size, space
        self.unit = 1.0 if space is None else 1 / space[1]  # how much a change of 1 is in x

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
        way = g.sign() if self.kind == "smooth" else nnf.normalize((g * self.unit).flatten(1), dim=1).view_as(g)
        return x - self.step_size * way * self.unit


def flip(side: Side, inputs: Inputs, label: Label, attack: Attack, num_steps: int) -> torch.Tensor:
    """−Σ_k Δx_k · ∇p(x_k) until the label flips, summed over the channels of each pixel [B, H, W] or each token [B, S]."""
    tower, entered = side.tower, raw(side.tower, inputs)
    channels = 1 if entered.ndim == 4 else -1
    values = torch.zeros_like(entered[:, 0] if channels == 1 else side.latents[..., 0])

    def work(rows: np.ndarray, longest: int) -> None:
        x = pick(entered, rows, longest)
        total, (low, high) = torch.zeros_like(x), attack.limits(x)
        here = np.arange(len(rows))  # the pairs that are still on their way
        for k in range(num_steps):
            x.requires_grad_()
            with torch.enable_grad():
                margin, first = label.compare(side.tail(enter(tower, x), rows[here]), rows[here])
            stay = first | (k == 0)
            if not stay.any():
                break
            (g,) = torch.autograd.grad(margin, x, torch.ones_like(margin))
            here, x, g, margin = here[stay.cpu().numpy()], x.detach()[stay], g[stay], margin.detach()[stay]
            after = attack.step(x, g).clamp(low[here], high[here])
            slope_of_p = (margin.sigmoid() * (-margin).sigmoid()).to(g)  # ∇p = p (1 − p) ∇margin, also where p rounds to 1
            total[here] -= (after - x) * g * slope_of_p.view(-1, *[1] * (g.ndim - 1))
            x = after
        found = total.sum(channels)
        values[rows, : found.shape[1]] = found

    side.in_batches(np.arange(len(inputs)), work)
    return values


def pixel_space(clip: Clip) -> tuple[torch.Tensor, torch.Tensor]:
    """(mean, standard deviation), [3, 1, 1] each, that pixels in 0 … 1 are normalised with: the processor's, or OpenAI's."""
    mean = getattr(clip.image_processor, "image_mean", None) or OPENAI_CLIP_MEAN
    deviation = getattr(clip.image_processor, "image_std", None) or OPENAI_CLIP_STD
    return tuple(torch.tensor(values, device=clip.device, dtype=clip.dtype)[:, None, None] for values in (mean, deviation))


def spell(clip: Clip, inputs: Inputs) -> list[tuple[int, ...]]:
    """The token ids of each caption, up to the one that is read."""
    rows = zip(inputs.input_ids.cpu(), inputs.attention_mask.cpu() != 0, clip.text.span(inputs))
    return [tuple(ids[:end][real[:end]].tolist()) for ids, real, end in rows]


def look(clip: Clip, inputs: Inputs) -> list[bytes]:
    """The pixels of each picture."""
    return [pixels.cpu().float().numpy().tobytes() for pixels in inputs.pixel_values]


def rivals(clip: Clip, inputs: Inputs, others: Inputs, content: Callable[[Clip, Inputs], list]) -> torch.Tensor:
    """bool [B, M]: which of the other pairs differ from each pair in their caption (their picture)."""
    own, other = content(clip, inputs), content(clip, others)
    return torch.tensor([[mine != theirs for theirs in other] for mine in own], device=clip.device)
