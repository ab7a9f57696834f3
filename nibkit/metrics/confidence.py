"""How good is a map? Confidence drop and increase: the model itself is asked again. Notebook 09.

A picture or a caption is scaled by its map in 0 … 1, and F, the cosine with the other side of the same pair, which stays whole,
is looked at before and after. What "removed" means: the mean colour (0 after normalisation), or a place without a word; see
``masking``.

A map is min–max scaled first. One that is constant has nothing to say and becomes all zeros (the published code divides by zero):
the picture is then all mean colour. To have a map used as it is, give a ``attribution.Scaled``, as ``controls.ones_map`` does.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike

from ..checks import check_batch_size, check_choice
from ..methods.attribution import Attribution
from ..model.captions import first
from ..model.clip import Clip, find_words
from ..model.inputs import Inputs
from .masking import check_maps, compound, cosine, cut, encode, shift, token_weights
from .names import PROTOCOLS


def confidence(
    clip: Clip, inputs: Inputs, att: Attribution, protocol: str = "paper", batch_size: int | None = None
) -> pd.DataFrame:
    """Confidence Drop and Increase (§5.3; Chattopadhay et al., 2018, as Wang et al., 2023, carried them over to CLIP).

        drop = 100 · max(0, before − after), increase = 100 · [after > before], before and after being cosines.

    The paper's drop is this difference; Chattopadhay et al. divide it by "before": the column ``*_relative_drop``.

    Args:
        clip, inputs: the model and B pairs.
        att: their maps. A ``attribution.Scaled`` is used as it is; all others are min–max scaled.
        protocol: how the caption is scaled (the picture: its heatmap times the normalised pixels, under all three).
            "paper": min–max over all tokens, then start and end token are cut off, and "before" is the caption so cut, too. The
            model then reads the highest id that is left (``eos_token_id`` 2) or the first token (other configurations), see
            ``masking.cut_captions``; what stands behind it is inert. A repeated token's row is scaled once for each occurrence.
            "eos": min–max over the words; start and end token are kept and not scaled, each position on its own.
            A caption of one word has a constant map there: the word is taken away.
            "m2ib": as M2IB's own published code (Wang et al., 2023) has it. Start and end token are cut off as in "paper"; words
            at or below the median of the caption's map (any map's, a ``Scaled``'s too) have their *ids* multiplied by 0. Id 0 is
            some other token, and the position that is read may move: it is found anew in the caption so changed.
        batch_size: how many go through an encoder at once; it never changes the result.

    Returns:
        DataFrame, a row per pair: image_drop, image_increase, text_drop, text_increase (percent); image_relative_drop and
        text_relative_drop (percent, see ``relative_drop``); image_before, image_after, text_before, text_after (cosines);
        text_position, the position in the caption whose state is read (under "m2ib": before its ids are changed).

    Raises:
        ValueError, TypeError: an unknown protocol, maps that are not of these inputs or hold NaN or infinity, a caption with
            nothing between its start and end token.
    """
    check_choice("protocol", protocol, PROTOCOLS)
    batch_size = check_batch_size(batch_size)
    inputs = clip.check(inputs)
    check_maps(inputs, att)
    real, words = find_words(clip, inputs)
    height, width = inputs.pixel_values.shape[-2:]
    heat = att.heatmap((height, width)).to(clip.device)
    if protocol == "eos":
        captions, weights = inputs, torch.where(words, token_weights(att, words), 1.0)
    else:
        captions = cut(inputs, words)  # which "m2ib" has in common with "paper"
        weights = compound(captions, shift(token_weights(att, real), words)[0])

    image, scaled_image = encode(clip.image, inputs, None, lambda rows: heat[rows], batch_size=batch_size)
    if protocol == "m2ib":
        kept = shift(above_median(att, words), words)[0]
        text, scaled_text = (encode(clip.text, c, None, batch_size=batch_size)[0] for c in (captions, with_ids(captions, kept)))
    else:
        text, scaled_text = encode(clip.text, captions, None, lambda rows: weights[rows], batch_size=batch_size)
    whole = text if protocol == "eos" else encode(clip.text, inputs, None, batch_size=batch_size)[0]
    cosines = {
        "image": (cosine(image, whole), cosine(scaled_image, whole)),
        "text": (cosine(text, image), cosine(scaled_text, image)),
    }

    table = {}
    for side, (before, after) in cosines.items():
        table[f"{side}_drop"] = 100 * np.maximum(0.0, before - after)
        table[f"{side}_increase"] = 100.0 * (after > before)
    table |= {f"{side}_relative_drop": relative_drop(*scores) for side, scores in cosines.items()}
    for side, scores in cosines.items():
        table |= dict(zip((f"{side}_before", f"{side}_after"), scores))
    start = 0 if protocol == "eos" else first(words)[:, 0]  # of what is encoded, in the caption
    return pd.DataFrame(table | {"text_position": (start + clip.text.pooled(captions)).cpu().numpy()})


def above_median(att: Attribution, words: torch.Tensor) -> torch.Tensor:
    """Bool [B, T]: the words whose value is above the median of their caption's words (of an even number: the middle's mean)."""
    values = att.text.to(words.device).double()
    median = values.masked_fill(~words, torch.nan).nanquantile(0.5, dim=1, keepdim=True)
    return words & (values > median)


def with_ids(captions: Inputs, kept: torch.Tensor) -> Inputs:
    """The captions with the ids of all other tokens multiplied by 0, [B, T], and without their strings."""
    return Inputs(captions.pixel_values, captions.input_ids * kept, captions.attention_mask)


def relative_drop(before: ArrayLike, after: ArrayLike) -> np.ndarray:
    """Average Drop's summand as Chattopadhay et al. (2018) defined it, 100 · max(0, before − after) / before, in percent.

    It was made for class probabilities. A cosine may be 0 or negative: such a score has no share to lose, and the result is NaN
    (which pandas leaves out of means: say how many). Just above 0 it is as large as you like.
    """
    before, after = np.asarray(before, dtype=np.float64), np.asarray(after, dtype=np.float64)
    positive = before > 0
    return np.where(positive, 100 * np.maximum(0.0, before - after) / np.where(positive, before, 1.0), np.nan)
