"""The Narrowing Information Bottleneck: Eq. 10 on a dual encoder.

    A_i = z_i · ∫₀¹ ∂F/∂z_i (λz) dλ,    F(z) = cos(tail(z), e)

One scalar λ narrows a whole layer from open (1) to closed (0); what the similarity F loses on the way is shared out among the
elements of z = head(x). Values are summed over the channels of each token. e is the other encoder's embedding of the same pair.
Derived in notebooks 03 to 05, built by hand in notebook 07.
"""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional as nnf
from tqdm.auto import tqdm

from ..model.clip import Clip
from ..model.inputs import Inputs
from ..model.repeatable import untouched
from ..theory.quadrature import Panels, check_rule, nodes
from .attribution import Attribution
from .cut import Side


def nib(
    clip: Clip,
    inputs: Inputs,
    layer: int | tuple[int | None, int | None] | None = None,
    num_steps: int = 10,
    rule: str = "riemann",
    start: float | None = None,
    batch_size: int | None = None,
    progress: bool = False,
) -> Attribution:
    """Explain why each picture and its caption are alike (Eq. 10; the paper's settings are the defaults, §5.2).

    Args:
        clip, inputs: the model and B pairs.
        layer: cut both towers at the input of this block, 0 … depth; or (image, text). None: ¾ of each depth, floored (9 of 12).
        num_steps: how many gradients the integral is made of (for "adaptive": at most).
        rule: "riemann" (the paper's right sum), "midpoint", "gauss", "log-gauss", "sinh" or "adaptive"; see ``quadrature``.
        start: where the integral begins; by default 0, for "log-gauss" .05. What lies below is reported as ``*_null``.
        batch_size: how many pair-steps go through the model at once, which bounds the memory; it never changes the result.
        progress: show a progress bar.

    Returns:
        Attribution: ``image`` [B, gh, gw] and ``text`` [B, T] in units of cosine similarity, on the model's device.

    Raises:
        ValueError, TypeError: layer, num_steps, rule, start or batch_size out of range, before any work is done.

    A pair's result depends on nothing else in its batch. (For "adaptive", whose splits are decisions, that holds up to the gap at
    which it stops: rounding may tip one.) The model is left as it was: no hooks, no gradients, same mode.

    Cut before the last block (depth − 1), patches, and words before the end token, get 0 but for the layer norm's eps: what they
    still do goes through a layer norm, which does not see their length, so z · ∇F = 0. Cut behind it (depth), so do the class
    and the end token: there the whole sum explains nothing.
    """
    begin = check_rule(rule, num_steps, start)
    image_layer, text_layer = both(layer)
    image_layer, text_layer = clip.image.check_layer(image_layer), clip.text.check_layer(text_layer)
    if batch_size is not None and (
        isinstance(batch_size, bool) or not isinstance(batch_size, (int, np.integer)) or batch_size < 1
    ):
        raise ValueError(f"batch_size must be a whole number, 1 or more, or None; got {batch_size!r}")
    inputs = clip.check(inputs)
    how = (rule, num_steps, begin)
    with untouched(clip.model), torch.inference_mode(False), torch.no_grad(), tqdm(disable=not progress, unit="gradient") as bar:
        image = Side(clip.image, inputs, image_layer, batch_size, bar)
        text = Side(clip.text, inputs, text_layer, batch_size, bar)
        image_sums, image_delta, image_null = integrate(image, text.features, *how)
        text_sums, text_delta, text_null = integrate(text, image.features, *how)
        similarity = nnf.cosine_similarity(image.features, text.features, dim=-1)
    return Attribution(
        image=image_sums[:, 1:].unflatten(1, (clip.image.grid, clip.image.grid)),
        text=nnf.pad(text_sums, (0, inputs.input_ids.shape[1] - text_sums.shape[1])),
        tokens=clip.tokens(inputs),
        similarity=similarity,
        class_token=image_sums[:, 0],
        image_delta=image_delta,
        text_delta=text_delta,
        image_null=image_null,
        text_null=text_null,
        words=inputs.words,
        method="nib",
        options={"layer": (image_layer, text_layer), "num_steps": num_steps, "rule": rule, "start": begin},
    )


def both(layer) -> tuple:
    """(image layer, text layer) of one for both, or of a pair."""
    if not isinstance(layer, (tuple, list)):
        return layer, layer
    if len(layer) != 2:
        raise ValueError(f"layer must be a whole number or a pair (image, text); got {layer!r}")
    return tuple(layer)


def integrate(
    side: Side, target: torch.Tensor, rule: str, num_steps: int, start: float
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Eq. 10 for one encoder against the other's features ``target`` [B, D].

    Returns token sums A [B, S], Σ A − (F(z) − F(start · z)) [B], and F(start · z) − F(0) [B].
    """
    count = len(target)
    if rule == "adaptive":
        sums = integrate_adaptively(side, target, num_steps, start)
    else:
        lam, weights = nodes(rule, num_steps, start)
        _, slopes = side.narrow(np.repeat(np.arange(count), num_steps), np.tile(lam, count), target, gradient=True)
        sums = (torch.as_tensor(weights).to(slopes)[:, None] * slopes.unflatten(0, (count, num_steps))).sum(1)
    opened = nnf.cosine_similarity(side.features, target, dim=-1)
    closed, _ = side.narrow(np.arange(count), np.zeros(count), target)
    begin = side.narrow(np.arange(count), np.full(count, start), target)[0] if start else closed
    return sums, sums.sum(1) - (opened - begin), begin - closed


def integrate_adaptively(side: Side, target: torch.Tensor, num_steps: int, start: float) -> torch.Tensor:
    """The same with panels that each pair refines for itself; a round's nodes of all pairs share the batches."""
    panels = [Panels(num_steps, start) for _ in target]
    while wanted := {i: panel.wanted() for i, panel in enumerate(panels) if not panel.done}:
        rows = lambda which: np.concatenate([np.full(len(ask[which]), i) for i, ask in wanted.items()])  # noqa: E731
        lam = lambda which: np.concatenate([ask[which] for ask in wanted.values()])  # noqa: E731
        _, slopes = side.narrow(rows(0), lam(0), target, gradient=True)
        scores, _ = side.narrow(rows(1), lam(1), target)
        slopes, scores, rows_0, rows_1 = slopes.cpu().double().numpy(), scores.cpu().double().numpy(), rows(0), rows(1)
        for i in wanted:
            panels[i].accept(slopes[rows_0 == i], scores[rows_1 == i])
    return torch.as_tensor(np.stack([panel.total() for panel in panels])).to(target)
