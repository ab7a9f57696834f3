"""The Narrowing Information Bottleneck: Eq. 10 on a dual encoder.

    A_i = z_i · ∫₀¹ ∂F/∂z_i (λz) dλ,    F(z) = cos(tail(z), e)

One scalar λ narrows a whole layer from open (1) to closed (0); what the similarity F loses on the way is shared out among the
elements of z = head(x). Values are summed over the channels of each token. e is the other encoder's embedding of the same pair.
``integrate`` holds the sum; its integrand, z · ∇F(λz) token by token, is ``cut.CutEncoder.slopes_at``; nodes and weights are in
``theory/quadrature.py``. Derived in notebooks 03 to 05, built by hand in notebook 07.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch.nn import functional as nnf
from tqdm.auto import tqdm

from ..checks import check_batch_size, check_whole
from ..model.clip import Clip
from ..model.inputs import Inputs
from ..theory.quadrature import Panels, check_rule, nodes
from .attribution import Attribution
from .cut import CutEncoder
from .frame import Importance, Layers, check_layers, explain_both, warn_of_nothing

TOGETHER = 1000  # steps held at once: the memory does not grow with num_steps


def nib(
    clip: Clip,
    inputs: Inputs,
    layer: Layers = None,
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
        num_steps: how many gradients the integral is made of (for "adaptive": at most; ``options["open"]`` says how many
            pairs' integrals, (image, text), they did not close). 100,000 at most, for "gauss" and "log-gauss" 1,000.
        rule: "riemann" (the paper's right sum), "midpoint", "gauss", "log-gauss", "sinh" or "adaptive"; see ``quadrature``.
        start: where the integral begins; by default 0, for "log-gauss" .05. What lies below is reported as ``*_null``.
        batch_size: how many pair-steps go through the model at once, which bounds the memory; it never changes the result.
        progress: show a progress bar.

    Returns:
        Attribution: ``image`` [B, gh, gw] and ``text`` [B, T] in units of cosine similarity, on the model's device.

    Raises:
        ValueError, TypeError: layer, num_steps, rule, start or batch_size out of range, before any work is done.
        ValueError: a model that is not its own forward pass (``Clip.check``), or a similarity that is NaN or infinite.

    Where the published code differs: it explains each caption against the mean over all pictures of its batch, so that its text
    maps depend on the batch; here every pair is on its own. It computes the weights' gradients as well, which nobody uses.

    A pair's result depends on nothing else in its batch. (For "adaptive", whose splits are decisions, that holds up to the gap at
    which it stops: rounding may tip one.) The model is left as it was: no hooks, no gradients, same mode.

    Cut before the last block (depth − 1), even steps and "log-gauss" give patches, and words before the end token, next to
    nothing: what they still do goes through a layer norm, which does not see their length unless λ is as small as √eps, so that
    z · ∇F = 0. Cut behind it (depth), only the class and the end token are read. A UserWarning says so. (Rules that reach down to
    λ = 0, "sinh" and "adaptive", do find what happens there: notebook 05, section 11.)
    """
    start = check_rule(rule, num_steps, start)
    num_steps, layers = check_whole("num_steps", num_steps), check_layers(clip, layer)
    batch_size = check_batch_size(batch_size)
    options = {"layer": layers, "num_steps": num_steps, "rule": rule, "start": start}

    def explain(encoder: CutEncoder, target: torch.Tensor) -> Importance:
        return integrate(encoder, target, rule, num_steps, start)

    with tqdm(disable=not progress, unit="gradient") as bar:
        attribution = explain_both(clip, inputs, layers, explain, "nib", options, batch_size, bar)
    warn_of_nothing(clip, inputs, attribution, layers)
    if rule == "adaptive":
        attribution = replace(attribution, options={**(attribution.options or {}), "open": still_open(attribution)})
    return attribution


def still_open(att: Attribution) -> tuple[int, int]:
    """Of how many pairs the gap |delta| is above "adaptive"'s goal, .01 · |F(z) − F(start · z)|, at least 1e-3: (image, text)."""
    values = {name: value for name, value in vars(att).items() if isinstance(value, torch.Tensor)}
    sums = values["image"].sum((1, 2)) + values["class_token"], values["text"].sum(1)
    deltas = values["image_delta"], values["text_delta"]
    image, text = (
        int((delta.abs() > (0.01 * (total - delta).abs()).clamp_min(1e-3)).sum()) for total, delta in zip(sums, deltas)
    )
    return image, text


def integrate(encoder: CutEncoder, target: torch.Tensor, rule: str, num_steps: int, start: float) -> Importance:
    """Eq. 10 for one encoder against the other's features ``target`` [B, D].

    Returns the token sums A [B, S], delta = Σ A − (F(z) − F(start · z)) [B] (Eq. 11), and null = F(start · z) − F(0) [B].
    """
    if rule == "adaptive":
        importance = integrate_adaptively(encoder, target, num_steps, start)
    else:
        lam, weights = nodes(rule, num_steps, start)
        importance = target.new_zeros(encoder.latents.shape[:2])
        for k in range(0, num_steps, TOGETHER):
            slopes = encoder.slopes(lam[k : k + TOGETHER], target)  # z · ∇F(λ_k z), [B, K, S]
            weight = torch.as_tensor(weights[k : k + TOGETHER]).to(slopes)[:, None]
            importance += (weight * slopes).sum(dim=1)  # Eq. 10: Σ_k w_k z · ∇F(λ_k z)

    opened = nnf.cosine_similarity(encoder.features, target, dim=-1)  # F(z)
    closed = encoder.closed_scores(target)  # F(0)
    begin = encoder.scores([start], target)[:, 0] if start else closed  # F(start · z)
    return Importance(importance, delta=importance.sum(1) - (opened - begin), null=begin - closed)


def integrate_adaptively(encoder: CutEncoder, target: torch.Tensor, num_steps: int, start: float) -> torch.Tensor:
    """The same with panels that each pair refines for itself, [B, S]; a round's nodes of all pairs share the batches."""
    panels = [Panels(num_steps, start) for _ in target]
    while unfinished := [i for i, panel in enumerate(panels) if not panel.done]:
        inner, ends = zip(*(panels[i].wanted() for i in unfinished))  # λ where gradients are needed, and where F is
        slopes = encoder.slopes_at(_owners(unfinished, inner), np.concatenate(inner), target).cpu().double().numpy()
        scores = encoder.scores_at(_owners(unfinished, ends), np.concatenate(ends), target).cpu().double().numpy()
        for i, own_slopes, own_scores in zip(unfinished, _split(slopes, inner), _split(scores, ends)):
            panels[i].accept(own_slopes, own_scores)
    return torch.as_tensor(np.stack([panel.total() for panel in panels])).to(target)


def _owners(pairs: list[int], lam: tuple[np.ndarray, ...]) -> np.ndarray:
    """The pair of each λ, all pairs' λ standing one behind the other."""
    return np.repeat(pairs, [len(values) for values in lam])


def _split(rows: np.ndarray, lam: tuple[np.ndarray, ...]) -> list[np.ndarray]:
    """Each pair's own rows again."""
    return np.split(rows, np.cumsum([len(values) for values in lam])[:-1])
