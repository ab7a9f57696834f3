"""M2IB (Wang et al., NeurIPS 2023): a bottleneck that is optimised, Eq. 2. Notebook 02 builds it step by step.

    z̃ = λ ⊙ z + (1 − λ) ⊙ ε,   ε ~ N(μ, σ²),   λ = sigmoid(α), one for each element of z
    minimise over α:  β · mean KL[ N(λz + (1 − λ)μ, (1 − λ)²σ²) ‖ N(μ, σ²) ] − mean cos(tail(z̃), e)

An element's importance is its KL divergence at the end: how far the optimised code is from pure noise. M2IB has μ = 0, σ = 1. IBA
(Schulz et al., ICLR 2020), which it adapts to CLIP, estimates both from data, so that an element's size does not count.
"""

from __future__ import annotations

import numpy as np
import torch

from ..checks import check_batch_size, check_choice, check_number, check_seed, check_whole
from ..model.clip import Clip
from ..model.inputs import Inputs
from .attribution import Attribution
from .cut import CutEncoder, check_gradient
from .frame import VARIANTS, Importance, Layers, check_layers, explain_both, real_tokens, warn_of_nothing

LEAST_STD = 0.01  # of the noise, as in IBA's published code: a channel that never changes would divide by 0


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
    noise: str = "unit",
    reference: Inputs | None = None,
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
        noise: "unit": N(0, 1), as M2IB's code has it whatever its options say. "data": N(μ, σ²) as in IBA, with the mean and the
            variance of each channel over all tokens of ``reference`` (IBA takes them at each place of a picture apart; a
            caption's words have no such places). A σ below .01 counts as .01.
        reference: for noise="data": other pairs, a few dozen, like those to explain. They are given, not taken from the batch or
            from the pair itself: a pair's result must not depend on its batch, and noise that depends on z bounds no information.

    Where the published code differs: M2IB's own wrapper for CLIP changes the model that it explains (no causal mask, the last
    position is read, the text projection is applied twice); here, as in the NIB authors' code, the model is as it is. Their
    setting for the noise's variance changes nothing: noise and prior are N(0, 1), as noise="unit" is.

    Raises:
        ValueError, TypeError: an option out of range, noise="data" without a reference, or a reference that holds one of the
            pairs to explain, before any work is done.
    """
    check_choice("variant", variant, VARIANTS)
    check_choice("noise", noise, ("unit", "data"))
    num_steps, draws = check_whole("num_steps", num_steps), check_whole("draws", draws)
    beta, lr = check_number("beta", beta, least=0), check_number("lr", lr, above=0)
    seed, batch_size = check_seed(seed), check_batch_size(batch_size)
    layers = check_layers(clip, layer, looks_at="M2IB, the block behind which it lies")
    if noise == "unit" and reference is not None:
        raise ValueError('reference is an option of noise="data"; noise="unit" estimates nothing')
    if noise == "data" and not isinstance(reference, Inputs):
        raise TypeError(
            'noise="data" estimates its mean and variance, so it needs reference=: nk.Inputs (see clip.prepare) of other pairs; '
            f"got {type(reference).__name__}"
        )
    others = None if reference is None else clip.check(reference)
    if others is not None and isinstance(inputs, Inputs):
        check_others(others, inputs.to(clip.device, clip.dtype))
    settings = {"beta": beta, "num_steps": num_steps, "draws": draws, "lr": lr, "seed": seed}

    def explain(encoder: CutEncoder, target: torch.Tensor) -> Importance:
        mean, std = torch.zeros(()), torch.ones(())
        if others is not None:
            mean, std = moments(CutEncoder(encoder.tower, others, encoder.layer, encoder.batch_size))
        return Importance(optimise(encoder, target, beta, num_steps, draws, lr, seed, mean, std))

    options = {"layer": layers, **settings, "variant": variant, "noise": noise}
    options |= {} if others is None else {"reference": len(others)}
    cuts = layers[0] + 1, layers[1] + 1
    attribution = explain_both(clip, inputs, cuts, explain, "m2ib", options, batch_size)
    warn_of_nothing(clip, inputs, attribution, cuts)
    return attribution


def check_others(reference: Inputs, inputs: Inputs) -> None:
    """ValueError if a pair, the same pixels and tokens, is in both."""

    def captions(batch: Inputs) -> list[list[int]]:
        return [ids[: int(mask.nonzero().max()) + 1].tolist() for ids, mask in zip(batch.input_ids, batch.attention_mask)]

    explained = captions(inputs)
    for i, caption in enumerate(captions(reference)):
        for j in (j for j, other in enumerate(explained) if other == caption):
            if torch.equal(reference.pixel_values[i], inputs.pixel_values[j]):
                raise ValueError(f"reference must be other pairs, but its pair {i} is pair {j} of those to explain: leave it out")


def moments(encoder: CutEncoder) -> tuple[torch.Tensor, torch.Tensor]:
    """(mean, standard deviation ≥ .01) of each channel over all tokens of the pairs, padding left out: [C] and [C]."""
    z = encoder.latents.to(encoder.features)
    tokens = z.flatten(0, 1) if encoder.tower.is_image else z[real_tokens(encoder)]
    return tokens.mean(0), tokens.std(0).clamp_min(LEAST_STD)


def optimise(
    encoder: CutEncoder,
    target: torch.Tensor,
    beta: float,
    num_steps: int,
    draws: int,
    lr: float,
    seed: int,
    mean: torch.Tensor,
    std: torch.Tensor,
) -> torch.Tensor:
    """The divergence of each token, [B, S], after ``num_steps`` of Adam on α, for one encoder against ``target`` [B, D].

    mean, std: of the noise, [C] or numbers.
    """
    values = target.new_zeros(encoder.latents.shape[:2])

    def fit(pairs: np.ndarray, longest: int) -> None:
        z = encoder.latents[pairs, :longest].to(target)  # wide: Adam's eps is nothing in float16
        centre, scale = mean.to(z), std.to(z)
        real = torch.arange(longest, device=z.device) < torch.as_tensor(encoder.length[pairs], device=z.device)[:, None]
        rows = torch.as_tensor(pairs, device=z.device).repeat_interleave(draws)
        generator = torch.Generator().manual_seed(seed)  # on the CPU, so that every device meets the same noise
        alpha = torch.full_like(z, 5.0).requires_grad_()
        optimizer = torch.optim.Adam([alpha], lr=lr)
        for _ in range(num_steps):
            shape = draws, encoder.tower.positions, z.shape[-1]
            noise = centre + scale * torch.randn(shape, generator=generator, dtype=torch.float32)[:, :longest].to(z)
            with torch.enable_grad():
                lam = torch.sigmoid(alpha)
                kl = divergence((z - centre) / scale, lam)
                noisy = (lam * z)[:, None] + (1 - lam)[:, None] * noise  # [b, draws, S, C]
                score = encoder.score(noisy.flatten(0, 1).to(encoder.latents), target, rows).unflatten(0, (-1, draws))
                check_gradient(score)
                passed = (kl * real[..., None]).sum((1, 2)) / (real.sum(1) * z.shape[-1])
                (alpha.grad,) = torch.autograd.grad((beta * passed - score.mean(1)).sum(), alpha)
            optimizer.step()
        values[pairs, :longest] = (kl.detach().sum(-1) * real).to(values)

    encoder.in_batches(np.arange(len(target)), fit, rows_each=draws)
    return values


def divergence(z: torch.Tensor, lam: torch.Tensor) -> torch.Tensor:
    """KL[ N(λz, (1 − λ)²) ‖ N(0, 1) ] for each element, in nats: 0 at λ = 0, growing with λ.

    It would be without bound as λ → 1, but ln(1 − λ) is taken of 10⁻⁷ at least: at λ = 1 it is 16.1 + (z² − 1)/2.

    For noise N(μ, σ²) give (z − μ)/σ: a divergence is the same in any unit.
    """
    keep = 1 - lam
    return 0.5 * (keep**2 + (lam * z) ** 2 - 1) - torch.log(keep.clamp_min(1e-7))
