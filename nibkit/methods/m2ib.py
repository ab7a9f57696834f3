"""M2IB (Wang et al., NeurIPS 2023): a bottleneck that is optimised, Eq. 2. Notebook 02 builds it step by step.

    z̃ = λ ⊙ z + (1 − λ) ⊙ ε,   ε ~ N(0, 1),   λ = sigmoid(α), one for each element of z
    minimise over α:  β · mean KL[ N(λz, (1 − λ)²) ‖ N(0, 1) ] − mean cos(tail(z̃), e)

An element's importance is its KL divergence at the end: how far the optimised code is from pure noise.
"""

from __future__ import annotations

import numpy as np
import torch

from ..checks import check_batch_size, check_choice, check_number, check_seed, check_whole
from ..model.clip import Clip
from ..model.inputs import Inputs
from .attribution import Attribution
from .cut import CutEncoder, check_gradient
from .frame import VARIANTS, Importance, Layers, check_layers, explain_both, warn_of_nothing


def m2ib(
    clip: Clip,
    inputs: Inputs,
    layer: Layers = None,
    beta: float = 0.1,
    num_steps: int = 10,
    draws: int = 10,
    lr: float = 1.0,
    seed: int = 0,
    batch_size: int | None = None,
    variant: str = "paper",
) -> Attribution:
    """M2IB's importances, the KL divergence in nats summed over channels: never negative.

    Args:
        clip, inputs: the model and B pairs.
        layer: the bottleneck lies behind this block (block l's *output*, one later than NIB's cut), 0 … depth − 1; or
            (image, text). None: ¾ of each depth, floored.
        beta: the weight of the divergence: the larger, the less is let through (Table 5 varies it).
        num_steps, lr: Adam's steps and rate; α starts at 5 (λ = .993). The divergence is that of the last forward pass.
        draws: noise samples a step. seed: of their own generator; all pairs of a batch meet the same noise, so that a pair's
            result does not depend on its batch.
        batch_size: how many pair-draws go through the model at once.
        variant: "paper" and "original" are the same algorithm; both are taken so that all methods have one signature.

    Raises:
        ValueError: an option out of range, before any work is done.
    """
    check_choice("variant", variant, VARIANTS)
    num_steps, draws = check_whole("num_steps", num_steps), check_whole("draws", draws)
    beta, lr = check_number("beta", beta, least=0), check_number("lr", lr, above=0)
    seed, batch_size = check_seed(seed), check_batch_size(batch_size)
    layers = check_layers(clip, layer, looks_at="M2IB, the block behind which it lies")
    settings = {"beta": beta, "num_steps": num_steps, "draws": draws, "lr": lr, "seed": seed}

    def explain(encoder: CutEncoder, target: torch.Tensor) -> Importance:
        return Importance(optimise(encoder, target, beta, num_steps, draws, lr, seed))

    options = {"layer": layers, **settings, "variant": variant}
    cuts = layers[0] + 1, layers[1] + 1
    attribution = explain_both(clip, inputs, cuts, explain, "m2ib", options, batch_size)
    warn_of_nothing(clip, inputs, attribution, cuts)
    return attribution


def optimise(
    encoder: CutEncoder, target: torch.Tensor, beta: float, num_steps: int, draws: int, lr: float, seed: int
) -> torch.Tensor:
    """The divergence of each token, [B, S], after ``num_steps`` of Adam on α, for one encoder against ``target`` [B, D]."""
    values = target.new_zeros(encoder.latents.shape[:2])

    def fit(pairs: np.ndarray, longest: int) -> None:
        z = encoder.latents[pairs, :longest].to(target)  # wide: Adam's eps is nothing in float16
        real = torch.arange(longest, device=z.device) < torch.as_tensor(encoder.length[pairs], device=z.device)[:, None]
        rows = torch.as_tensor(pairs, device=z.device).repeat_interleave(draws)
        generator = torch.Generator().manual_seed(seed)  # on the CPU, so that every device meets the same noise
        alpha = torch.full_like(z, 5.0).requires_grad_()
        optimizer = torch.optim.Adam([alpha], lr=lr)
        for _ in range(num_steps):
            shape = draws, encoder.tower.positions, z.shape[-1]
            noise = torch.randn(shape, generator=generator, dtype=torch.float32)[:, :longest].to(z)
            with torch.enable_grad():
                lam = torch.sigmoid(alpha)
                kl = divergence(z, lam)
                noisy = (lam * z)[:, None] + (1 - lam)[:, None] * noise  # [b, draws, S, C]
                score = encoder.score(noisy.flatten(0, 1).to(encoder.latents), target, rows).unflatten(0, (-1, draws))
                check_gradient(score)
                mean = (kl * real[..., None]).sum((1, 2)) / (real.sum(1) * z.shape[-1])
                (alpha.grad,) = torch.autograd.grad((beta * mean - score.mean(1)).sum(), alpha)
            optimizer.step()
        values[pairs, :longest] = (kl.detach().sum(-1) * real).to(values)

    encoder.in_batches(np.arange(len(target)), fit, rows_each=draws)
    return values


def divergence(z: torch.Tensor, lam: torch.Tensor) -> torch.Tensor:
    """KL[ N(λz, (1 − λ)²) ‖ N(0, 1) ] for each element, in nats: 0 at λ = 0, without bound as λ → 1."""
    keep = 1 - lam
    return 0.5 * (keep**2 + (lam * z) ** 2 - 1) - torch.log(keep.clamp_min(1e-7))
