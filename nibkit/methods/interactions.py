"""Which word met which patch: Eq. 10 for both encoders at once, as vectors.

NIB holds one side fixed, so its patch map explains the whole caption. Let ĝ(y) be the image tail's feature of a state y, ĥ(y)
the text tail's, both scaled to length 1, so that F = ĝ · ĥ. Each narrows on its own ray, and Eq. 10's integral is taken of the
vector:

    J_i = ∫ z_i · ∂ĝ/∂z_i (λz) dλ,    K_j = ∫ t_j · ∂ĥ/∂t_j (λt) dλ,    A_ij = J_i · K_j

J_i and K_j have the features' D coordinates, and A_ij is a number for each patch and token. Completeness (Eq. 11 twice, A is
bilinear): Σ_ij A_ij = (ĝ(z) − ĝ(0)) · (ĥ(t) − ĥ(0)). NIB's own patch value is J_i · ĥ(t): a row of A and what met no word.
Derived in notebook 12. Products of two integrated Jacobians are Möller et al.'s second-order attributions (TMLR 2025), there from
a blank picture and a blank caption; here the closed bottleneck stands for both, and what meets nothing is kept.

As in ``cut``, a token's sum is the slope when its own valve moves. K_j is the slope of a vector, and takes one pass a token
(``token_vectors``), not one for each of D coordinates; J_i is needed only in the direction of each K_j, one backward pass a token
(``products``).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch.nn import functional as nnf
from torch.nn.attention import SDPBackend, sdpa_kernel
from tqdm.auto import tqdm

from ..checks import check_batch_size, check_choice, check_whole
from ..model.clip import Clip
from ..model.inputs import Inputs
from ..theory.quadrature import RULES, check_rule, nodes
from .attribution import Attribution
from .cut import CutEncoder, check_gradient
from .frame import Layers, both_cut, check_layers, real_tokens, warn_of_nothing, way_of
from .interaction_result import Interactions

FIXED = tuple(rule for rule in RULES if rule != "adaptive")  # both sides' nodes are known before any gradient is


def interactions(
    clip: Clip,
    inputs: Inputs,
    layer: Layers = None,
    num_steps: int = 8,
    rule: str = "log-gauss",
    start: float | None = None,
    batch_size: int | None = None,
    progress: bool = False,
) -> Interactions:
    """Explain each pair's similarity patch by word: A_ij = J_i · K_j (see the module; notebook 12).

    Args:
        clip, inputs: the model and B pairs.
        layer: cut both towers at the input of this block, 0 … depth; or (image, text). None: ¾ of each depth, floored (9 of 12).
        num_steps: how many nodes each of the two integrals has. 100,000 at most, for "gauss" and "log-gauss" 1,000.
        rule: "riemann", "midpoint", "gauss", "log-gauss" or "sinh"; see ``quadrature``.
        start: where both integrals begin; by default 0, for "log-gauss" .05. What lies below is in the ``null_*`` parts.
        batch_size: how many pair-nodes go through the model at once, which bounds the memory; it never changes the result.
        progress: show a progress bar.

    Returns:
        Interactions: ``values`` [B, gh, gw, T] in units of cosine similarity, on the model's device.

    Raises:
        ValueError, TypeError: layer, num_steps, rule, start or batch_size out of range, before any work is done.
        ValueError: a model that is not its own forward pass (``Clip.check``), or a similarity that is NaN or infinite.

    A pair's result depends on nothing else in its batch, and the model is left as it was. Cut at depth − 1 or at depth a map is
    next to nothing, as NIB's is (see ``nib``); a UserWarning says so.
    """
    check_choice("rule", rule, FIXED)
    start = check_rule(rule, num_steps, start)
    num_steps, layers = check_whole("num_steps", num_steps), check_layers(clip, layer)
    batch_size = check_batch_size(batch_size)
    lam, weights = nodes(rule, num_steps, start)
    options = {"layer": layers, "num_steps": num_steps, "rule": rule, "start": start}
    inputs = clip.check(inputs)

    with tqdm(disable=not progress, unit="gradient") as bar, both_cut(clip, inputs, layers, batch_size, bar) as cut:
        image, text, similarity = cut
        open_image, open_text = (nnf.normalize(encoder.features, dim=-1) for encoder in (image, text))  # ĝ(z), ĥ(t), [B, D]
        begin_image, begin_text = (unit_features(encoder, start) for encoder in (image, text))
        words = token_vectors(text, lam, weights)  # K, [B, T, D]
        words = torch.where(real_tokens(text)[..., None], words, 0.0)
        no_word = open_text - words.sum(1)  # what of ĥ(t) no word has: ĥ(start · t) where the sum over λ is complete
        patches = products(image, torch.cat([no_word[:, None], words], dim=1), text.length, lam, weights)
        values, null_caption = patches[..., 1:], patches[..., 0]  # [B, S, T], [B, S]
        gained = ((open_image - begin_image) * (open_text - begin_text)).sum(-1)
        null_picture = torch.einsum("btd,bd->bt", words, open_image) - values.sum(1)
        padding = inputs.input_ids.shape[1] - values.shape[2]
        values, null_picture = nnf.pad(values, (0, padding)), nnf.pad(null_picture, (0, padding))
        grid = (clip.image.grid, clip.image.grid)
        found = Interactions(
            values=values[:, 1:].unflatten(1, grid),
            class_token=values[:, 0],
            null_caption=null_caption[:, 1:].unflatten(1, grid),
            class_null=null_caption[:, 0],
            null_picture=null_picture,
            null=similarity - values.sum((1, 2)) - null_caption.sum(1) - null_picture.sum(1),
            delta=values.sum((1, 2)) - gained,
            similarity=similarity,
            tokens=clip.tokens(inputs),
            words=inputs.words,
            views=inputs.views,
            options=options | {"blocks": (way_of(image), way_of(text))},
        )
    sizes = [values.abs().sum(dim) for dim in (2, 1)]  # of patches, class token first, and of words
    of_patches, of_class = sizes[0][:, 1:].unflatten(1, grid), sizes[0][:, 0]
    att = Attribution(of_patches, sizes[1], found.tokens, similarity, of_class, method="interactions")
    warn_of_nothing(clip, inputs, att, layers)
    return found


def unit_features(encoder: CutEncoder, lam: float) -> torch.Tensor:
    """The features of λz, scaled to length 1, [B, D]."""
    features = torch.zeros_like(encoder.features)

    def evaluate(rows: np.ndarray, longest: int) -> None:
        valves = encoder.valves(np.full(len(rows), lam), longest)
        features[rows] = nnf.normalize(encoder.narrowed_features(rows, valves), dim=-1)

    encoder.in_batches(np.arange(len(features)), evaluate)
    return features


def token_vectors(encoder: CutEncoder, lam: np.ndarray, weights: np.ndarray) -> torch.Tensor:
    """Σ_k w_k z_i · ∂ĥ/∂z_i (λ_k z), the vector of each token i, [B, S, D].

    A backward pass gives the slopes of *one coordinate* at all tokens: D of them would be needed. One pass a token does if the
    backward pass itself is differentiated: g(u) = uᵀ ∂ĥ/∂λ is linear in u, so that the slope of its element g_i is ∂ĥ/∂λ_i.
    Coordinate by coordinate it goes where these are fewer, and where a model's own code can't be differentiated twice: torch may
    leave it out without a word, but then u · ∂ĥ/∂λ_i is not g_i.
    """
    vectors = encoder.features.new_zeros(*encoder.latents.shape[:2], encoder.features.shape[1])
    precision = torch.finfo(encoder.latents.dtype).eps ** 0.5  # half of the digits

    def twice(valves: torch.Tensor, features: torch.Tensor) -> torch.Tensor | None:
        u = torch.ones_like(features, requires_grad=True)
        (slopes,) = torch.autograd.grad(features, valves, u, create_graph=True)  # g(u), [R, S]
        try:
            columns = [torch.autograd.grad(g.sum(), u, retain_graph=True)[0] for g in slopes.unbind(1)]
        except torch.OutOfMemoryError:
            raise
        except RuntimeError:  # no second derivative at all
            return None
        missed = (torch.stack([(column * u).sum(-1) for column in columns], dim=1) - slopes).abs().max()
        return torch.stack(columns, dim=1) if missed <= precision * slopes.abs().max() else None

    def differentiate(pairs: np.ndarray, valves: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
        columns = twice(valves, features) if valves.shape[1] < features.shape[1] else None
        if columns is not None:
            return columns
        basis = torch.eye(features.shape[1]).to(features)[:, None].expand(-1, len(features), -1)
        return torch.stack([torch.autograd.grad(features, valves, e, retain_graph=True)[0] for e in basis], dim=-1)

    with sdpa_kernel(SDPBackend.MATH):  # torch's fused attention has no second derivative
        add_up(encoder, np.arange(len(vectors)), lam, weights, differentiate, vectors)
    return vectors


def products(
    encoder: CutEncoder, directions: torch.Tensor, lengths: np.ndarray, lam: np.ndarray, weights: np.ndarray
) -> torch.Tensor:
    """J_i · d for each token i and direction d of its pair, [B, S, 1 + T]: directions [B, 1 + T, D], of which a pair's first
    1 + ``lengths`` [B] are not 0. A node takes one forward pass, and one backward pass a direction (or a coordinate, if fewer).
    """
    found = encoder.features.new_zeros(*encoder.latents.shape[:2], directions.shape[1])
    every = torch.eye(directions.shape[2]).to(directions)

    def differentiate(pairs: np.ndarray, valves: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
        wanted = directions[pairs, : 1 + int(lengths[pairs].max())]
        basis = wanted if wanted.shape[1] <= len(every) else every.expand(len(pairs), -1, -1)
        each = [torch.autograd.grad(features, valves, d, retain_graph=True)[0] for d in basis.unbind(1)]
        slopes = torch.stack(each, dim=2)  # [R, S, directions]
        slopes = slopes if basis is wanted else slopes @ wanted.mT
        return nnf.pad(slopes, (0, directions.shape[1] - slopes.shape[2]))

    add_up(encoder, np.argsort(lengths, kind="stable"), lam, weights, differentiate, found)
    return found


Differentiate = Callable[[np.ndarray, torch.Tensor, torch.Tensor], torch.Tensor]


def add_up(
    encoder: CutEncoder, pairs: np.ndarray, lam: np.ndarray, weights: np.ndarray, differentiate: Differentiate, into: torch.Tensor
) -> None:
    """Σ_k w_k D(λ_k) for each pair, added to ``into`` [B, S, …], rows of pairs in this order sharing batches.

    D(λ), [R, S, …]: what ``differentiate(pairs, valves, features)`` makes of R rows' features [R, D], scaled to length 1, and the
    valves [R, S] that they depend on.
    """
    owners, lam, weights = np.repeat(pairs, len(lam)), np.tile(lam, len(pairs)), np.tile(weights, len(pairs))

    def work(rows: np.ndarray, longest: int) -> None:
        with torch.enable_grad():
            valves = encoder.valves(lam[rows], longest).requires_grad_()
            features = nnf.normalize(encoder.narrowed_features(owners[rows], valves), dim=-1)
            check_gradient(features)
            slopes = differentiate(owners[rows], valves, features).detach()
        weight = torch.as_tensor(weights[rows]).to(slopes).reshape(-1, *[1] * (slopes.ndim - 1))
        place = torch.as_tensor(owners[rows], device=into.device)
        into[:, :longest].index_add_(0, place, weight * slopes)
        if encoder.bar is not None:
            encoder.bar.update(len(rows))

    encoder.in_batches(owners, work)
