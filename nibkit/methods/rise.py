"""RISE (Petsiuk et al., BMVC 2018): hide random parts again and again, and see when the score stays high. No gradients.

    S = 1 / (N · p) · Σ_n  F(x ∘ m_n) · m_n

m_n is a coarse grid of cells, each open with probability p, enlarged by linear interpolation and shifted by a random part of a
cell. E m = p everywhere, so S estimates the mean score over the masks in which a pixel is seen.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from tqdm.auto import tqdm

from ..checks import check_batch_size, check_choice, check_seed, check_whole
from ..model.clip import Clip
from ..model.inputs import Inputs
from .attribution import Attribution
from .cut import CutEncoder
from .frame import VARIANTS, Importance, explain_both

PICTURES = {"paper": (6000, 8, 0.1), "original": (4000, 7, 0.5)}  # masks, cells a side, probability of a cell to be open
CAPTIONS = (8, 0.1)  # cells, probability
MOST = 1_000_000  # masks: their draws are held at once
TOGETHER = 64  # masks held at once when they are added up; fixed, so that batch_size changes no sum


def rise(
    clip: Clip,
    inputs: Inputs,
    num_masks: int | None = None,
    num_text_masks: int = 200,
    seed: int = 0,
    batch_size: int | None = None,
    variant: str = "paper",
    progress: bool = False,
) -> Attribution:
    """RISE's importances, the mean cosine over the masks in which a pixel or a token is seen: ``pixels`` [B, H, W], ``text``.

    Args:
        clip, inputs: the model and B pairs.
        num_masks: masks for the picture; None: 6000 ("paper") or 4000 ("original"). num_text_masks: masks for the caption.
        seed: of the masks' own generator. All pairs meet the same masks; the first n are the same, however many there are.
        batch_size: how many masked pictures or captions go through the model at once.
        variant: "paper": 8 × 8 cells, p = .1. "original": 7 × 7 cells, p = .5, with 4000 masks as Petsiuk et al. took for
            VGG16 (8000 for ResNet50); their score is a class probability, here it is the cosine.
            Captions are the NIB authors' invention and the same in both: 8 cells over the tokens, start and end token included,
            p = .1, the value of m_n multiplies a token's row of the embedding table, before its position is added. 43 % of
            these masks (.9⁸) hide every token.
        progress: show a progress bar.

    Masks multiply the normalised picture: what is hidden takes the mean colour. S is divided by p, as Petsiuk et al. do.

    Where the published code differs: in the NIB authors' a token that occurs twice has one row of the table, so that the last
    occurrence's m_n overwrites the others'; here each has its own. It uses 6000 masks, the paper's Table 8 counts 301 passes.

    Raises:
        ValueError: an option out of range, before any work is done.
    """
    check_choice("variant", variant, VARIANTS)
    seed, batch_size = check_seed(seed), check_batch_size(batch_size)
    usual, cells, keep = PICTURES[variant]
    count = check_whole("num_masks", usual if num_masks is None else num_masks, most=MOST)
    text_count = check_whole("num_text_masks", num_text_masks, most=MOST)
    options = {"num_masks": count, "num_text_masks": text_count, "seed": seed, "variant": variant}

    def explain(encoder: CutEncoder, target: torch.Tensor) -> Importance:
        bar.total = len(target) * (count + text_count)
        if encoder.tower.is_image:
            return Importance(probe_image(encoder, target, Masks(count, (cells, cells), keep, seed)))
        return Importance(probe_text(encoder, target, Masks(text_count, CAPTIONS[:1], CAPTIONS[1], seed)))

    with tqdm(disable=not progress, unit="mask") as bar:
        return explain_both(clip, inputs, (0, 0), explain, "rise", options, batch_size, bar)


class Masks:
    """N random masks in 0 … 1 for pictures (two axes of cells) or captions (one), made when they are asked for.

    ``keep`` is the probability of a cell to be open, and each mask's mean over all draws, at every place.
    """

    def __init__(self, count: int, cells: tuple[int, ...], keep: float, seed: int):
        generator, shape = torch.Generator().manual_seed(seed), (count, int(np.prod(cells)) + len(cells))
        draws = torch.rand(shape, generator=generator, dtype=torch.float32)
        self.count, self.keep, self.cells = count, keep, cells[0]
        self.open = (draws[:, : -len(cells)] < keep).unflatten(1, cells)
        self.shift = draws[:, -len(cells) :]  # as a share of a cell

    def __call__(self, rows: torch.Tensor | np.ndarray, size: int, like: torch.Tensor) -> torch.Tensor:
        """These masks for pictures of size × size pixels [R, size, size], or for captions of so many tokens [R, size].

        The s cells of an axis are enlarged to s + 1 cells of ⌈size / s⌉ places, from which ``size`` places are taken, beginning
        somewhere in the first cell. Beyond the outermost cells' centres the line is mirrored. (So do Petsiuk et al., by
        scikit-image's ``resize``; here the interpolation is a product of matrices.)
        """
        lines, cell = interpolation(self.cells, size)
        begin = (self.shift[rows] * cell).long()
        taken = lines[begin[..., None] + torch.arange(size)].to(like)  # [R, axes, size, cells]
        grid = self.open[rows].to(like)
        return (taken[:, 0] @ grid[..., None])[..., 0] if grid.ndim == 2 else taken[:, 0] @ grid @ taken[:, 1].mT


def interpolation(cells: int, size: int) -> tuple[torch.Tensor, int]:
    """(weights [(cells + 1) · cell, cells] that enlarge a line of cells linearly, rows adding up to 1; cell = ⌈size / cells⌉)."""
    cell = -(-size // cells)
    centre = ((torch.arange((cells + 1) * cell) + 0.5) / ((cells + 1) * cell) * cells - 0.5).abs()
    centre = torch.minimum(centre, 2 * (cells - 1) - centre)
    return (1 - (centre[:, None] - torch.arange(cells)).abs()).clamp_min(0), cell


def probe_image(encoder: CutEncoder, target: torch.Tensor, masks: Masks) -> torch.Tensor:
    """S [B, H, W] of the pictures."""
    pixels = encoder.inputs.pixel_values
    size = pixels.shape[-1]
    scores = probe(encoder, target, masks.count, lambda pairs, numbers, longest: masks(numbers, size, pixels)[:, None])
    total = scores.new_zeros(len(scores), size**2)
    for numbers in torch.arange(masks.count).split(TOGETHER):
        total += scores[:, numbers] @ masks(numbers, size, scores).flatten(1)
    return total.unflatten(1, (size, size)) / (masks.count * masks.keep)


def probe_text(encoder: CutEncoder, target: torch.Tensor, masks: Masks) -> torch.Tensor:
    """S [B, T] of the captions."""
    lengths, kind = np.unique(encoder.length, return_inverse=True)  # kind: of each pair, which of the lengths
    table = target.new_zeros(len(lengths), masks.count, int(lengths[-1]))  # of each length, all masks
    for row, length in zip(table, lengths):
        row[:, :length] = masks(torch.arange(masks.count), int(length), target)
    scores = probe(encoder, target, masks.count, lambda pairs, numbers, longest: table[kind[pairs], numbers][:, :longest, None])
    total = torch.stack([score @ table[k].to(score) for score, k in zip(scores, kind)]).to(scores)
    return total / (masks.count * masks.keep)


def probe(
    encoder: CutEncoder, target: torch.Tensor, count: int, weights: Callable[[np.ndarray, np.ndarray, int], torch.Tensor]
) -> torch.Tensor:
    """F(x ∘ m) of each pair under each of ``count`` masks, [B, N].

    weights(pairs, numbers, longest): m of rows of a pair and a mask, as it multiplies pixels, or token rows cut to ``longest``.
    """
    raw, wide = encoder.tower.raw(encoder.inputs), torch.promote_types(target.dtype, torch.float32)
    scores = torch.zeros(len(target), count, device=target.device, dtype=wide)

    def work(rows: np.ndarray, longest: int) -> None:
        pairs, numbers = rows // count, rows % count
        masked = (encoder.tower.crop_raw(raw[pairs], longest) * weights(pairs, numbers, longest)).to(raw.dtype)
        scores[pairs, numbers] = encoder.score(encoder.tower.enter(masked), target, pairs).to(scores)
        if encoder.bar is not None:
            encoder.bar.update(len(rows))

    encoder.in_batches(np.repeat(np.arange(len(target)), count), work)
    return scores
