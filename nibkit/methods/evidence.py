"""Where in an encoder is the evidence, and where to cut then? Asked of the model, without truth. Notebook 11, section 4."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch

from ..checks import check_batch_size
from ..model.clip import Clip, find_words
from ..model.inputs import Inputs
from ..model.repeatable import untouched
from ..model.towers import Tower
from .cut import CutEncoder

TINY = 1e-6
HALF = 0.5  # of F: where more survives without the patches, the token that is read has copied most of the evidence


def surviving(clip: Clip, inputs: Inputs, batch_size: int | None = None) -> pd.DataFrame:
    """How much of F survives when the patches (the words) lose what tells one picture (caption) from another, layer by layer.

    At the input of block l the states of all patches are replaced by their means over the B pairs, position by position, and the
    class token stays: F_l. For captions the words' states are replaced, and the end token stays. Where both are replaced: F_0.
    With means over the pairs, share = (F_l − F_0) / (F − F_0): 0 where all evidence is still in the patches, 1 where none is
    needed there any more.

    Args:
        clip, inputs: the model and B ≥ 2 pairs that differ; some 30 or more, since the means are over them.
        batch_size: how many go through an encoder at once; it never changes the result.

    Returns:
        DataFrame, a row for each layer 0 … depth: layer, image, text (NaN beyond an encoder's own depth).

    Raises:
        ValueError: fewer than two pairs, a caption without a word, or pairs whose F does not depend on picture or caption.
    """
    batch_size = check_batch_size(batch_size)
    inputs = clip.check(inputs)
    if len(inputs) < 2:
        raise ValueError("inputs must be two pairs or more (some 30): patches are replaced by their means over the pairs; got 1")
    _, words = find_words(clip, inputs)
    patches = torch.arange(clip.image.positions, device=words.device).expand(len(inputs), -1) > 0
    with untouched(clip.model), torch.inference_mode(False), torch.no_grad():
        image, text = (CutEncoder(tower, inputs, 0, batch_size).features for tower in (clip.image, clip.text))
        shares = {
            "image": _shares(clip.image, inputs, patches, text, batch_size),
            "text": _shares(clip.text, inputs, words, image, batch_size),
        }
    table = pd.DataFrame({side: pd.Series(values) for side, values in shares.items()})
    return table.rename_axis("layer").reset_index()


def suggest_layer(clip: Clip, inputs: Inputs, batch_size: int | None = None) -> tuple[int, int]:
    """A layer to cut at, (image, text), found without truth: the last one at which less than half of F ``surviving`` says is
    left without the patches (the words). Behind it the token that is read has copied most of what they said.

    Takes and raises what ``surviving`` does. As for ``nib``'s ``layer``, the cut is the input of that block.

    What it was tried on: the bundled models, "shapes" first (where it was made, too). There it picks layer 8 or 7 of both. Judged
    by NIB's maps of 100 scenes of three shapes (``data/results/suggested_layers.csv``, made by
    ``data/recipes/make_faithfulness.py``), layer 8 has an average precision of .63 where the best layer, 7, has .66; its sums on
    painted-over shapes follow what F loses with ρ = .85, as the best; in captions the true phrase gets more than an absent
    one in 95 %, where the best layer has 97 %. Its misses: the order of phrases by what F loses without them, ρ = .39 where layer
    5 has .46. The share rises slowly there, so other pairs pick the layer beside it. On the other bundled models (notebook 11,
    section 8) it picks 6, 4 and 7 for pictures; NIB's average precision is .00, .03 and .15 below the best layer's there: on
    "emoji" it misses. It gives an upper bound in kind: evidence that is still in the patches need not be readable yet (layer 0
    passes, too).
    """
    table = surviving(clip, inputs, batch_size)
    image, text = (int(table.loc[(table[side] < HALF), "layer"].max()) for side in ("image", "text"))
    return image, text


def _shares(tower: Tower, inputs: Inputs, content: torch.Tensor, target: torch.Tensor, batch_size: int | None) -> list[float]:
    """What survives of F, layer by layer, without the states at ``content``, bool [B, S]; target: the other side's features."""
    shares = []
    for layer in range(tower.depth + 1):
        encoder = CutEncoder(tower, inputs, layer, batch_size)
        z, every = encoder.latents, np.arange(len(inputs))
        inside = content[:, : z.shape[1], None]
        mean = (z * inside).sum(0) / inside.sum(0).clamp_min(1)
        emptied = torch.where(inside, mean, z)
        read = torch.arange(z.shape[1], device=z.device)[None, :, None] == encoder.pooled[:, None, None]
        nothing = torch.where(read, (z * read).sum((0, 1)) / len(z), emptied)
        whole, left, least = (_mean_score(encoder, states, target, every) for states in (z, emptied, nothing))
        if abs(whole - least) < TINY:
            side = "picture" if tower.is_image else "caption"
            raise ValueError(
                f"F is the same without the {side} (to {TINY:g}): there is no evidence to look for, give other pairs"
            )
        shares.append((left - least) / (whole - least))
    return shares


def _mean_score(encoder: CutEncoder, states: torch.Tensor, target: torch.Tensor, every: np.ndarray) -> float:
    """F of all pairs' states [B, S, C] at the cut, in the mean."""
    scores = target.new_zeros(len(every))

    def score(rows: np.ndarray, longest: int) -> None:
        scores[rows] = encoder.score(states[rows, :longest], target, rows)

    encoder.in_batches(every, score)
    return float(scores.double().mean())
