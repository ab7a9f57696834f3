"""How good is a map? Confidence drop and increase, insertion and deletion: the model itself is asked again. Notebook 09.

All of them scale a picture or a caption by a map in 0 … 1 and look at F, the cosine with the other side of the same pair, which
stays whole. What "removed" means: the mean colour (0 after normalisation), or a place without a word; see ``masking``.

A map is min–max scaled first. One that is constant has nothing to say and becomes all zeros (the published code divides by zero):
the picture is then all mean colour. To have a map used as it is, give a ``masking.Scaled``, as ``controls.ones_map`` does.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch

from ..checks import check_batch_size
from ..methods.attribution import Attribution
from ..model.captions import first
from ..model.clip import Clip, find_words
from ..model.inputs import Inputs
from ..model.repeatable import untouched
from .masking import check_maps, compound, cosine, cut, encode, shift, token_weights

PROTOCOLS = ("paper", "eos")


# --- confidence drop and increase ---------------------------------------------------------------------------------------------


def confidence(
    clip: Clip, inputs: Inputs, att: Attribution, protocol: str = "paper", batch_size: int | None = None
) -> pd.DataFrame:
    """Confidence Drop and Increase (§5.3; Chattopadhay et al., 2018, as Wang et al., 2023, carried them over to CLIP).

        drop = 100 · max(0, before − after), increase = 100 · [after > before], before and after being cosines.

    The paper's drop is this difference; Chattopadhay et al. divide it by "before": the column ``*_relative_drop``.

    Args:
        clip, inputs: the model and B pairs.
        att: their maps. A ``masking.Scaled`` is used as it is; all others are min–max scaled.
        protocol: how the caption is scaled (the picture: its heatmap times the normalised pixels, under both).
            "paper": min–max over all tokens, then start and end token are cut off, and "before" is the caption so cut, too. The
            model then reads the highest id that is left (``eos_token_id`` 2) or the first token (other configurations), see
            ``masking.cut_captions``; what stands behind it is inert. A repeated token's row is scaled once for each occurrence.
            "eos": min–max over the words; start and end token are kept and not scaled, each position on its own.
            A caption of one word has a constant map there: the word is taken away.
        batch_size: how many go through an encoder at once; it never changes the result.

    Returns:
        DataFrame, a row per pair: image_drop, image_increase, text_drop, text_increase (percent); image_relative_drop and
        text_relative_drop (percent, see ``relative_drop``); image_before, image_after, text_before, text_after (cosines);
        text_position, the position in the caption whose state is read.

    Raises:
        ValueError, TypeError: an unknown protocol, maps that are not of these inputs or hold NaN or infinity, a caption with
            nothing between its start and end token.
    """
    if protocol not in PROTOCOLS:
        raise ValueError(f'protocol must be "paper" or "eos"; got {protocol!r}')
    check_batch_size(batch_size)
    inputs = clip.check(inputs)
    check_maps(inputs, att)
    real, words = find_words(clip, inputs)
    heat = att.heatmap(tuple(inputs.pixel_values.shape[-2:])).to(clip.device)
    if protocol == "eos":
        scored, weights = inputs, torch.where(words, token_weights(att, words), 1.0)
        start = torch.zeros_like(words[:, :1], dtype=torch.long)
    else:
        scored, start = cut(inputs, words), first(words)
        weights = compound(scored, shift(token_weights(att, real), words)[0])
    everyone = np.arange(len(inputs))
    with untouched(clip.model), torch.no_grad():
        pictures = encode(clip.image, inputs, everyone, None, lambda rows: heat[rows], batch_size=batch_size)
        captions = encode(clip.text, scored, everyone, None, lambda rows: weights[rows], batch_size=batch_size)
        text = captions[0] if protocol == "eos" else encode(clip.text, inputs, everyone, None, batch_size=batch_size)[0]
        position = start[:, 0] + clip.text.pooled(scored)
    table, relative, cosines = {}, {}, {}
    for side, features, other in (("image", pictures, text), ("text", captions, pictures[0])):
        before, after = (cosine(found, other) for found in features)
        table |= {f"{side}_drop": 100 * np.maximum(0.0, before - after), f"{side}_increase": 100.0 * (after > before)}
        relative[f"{side}_relative_drop"] = relative_drop(before, after)
        cosines |= {f"{side}_before": before, f"{side}_after": after}
    return pd.DataFrame(table | relative | cosines | {"text_position": position.cpu().numpy()})


def relative_drop(before, after) -> np.ndarray:
    """Average Drop's summand as Chattopadhay et al. (2018) defined it, 100 · max(0, before − after) / before, in percent.

    It was made for class probabilities. A cosine may be 0 or negative: such a score has no share to lose, and the result is NaN
    (which pandas leaves out of means: say how many). Just above 0 it is as large as you like.
    """
    before, after = np.asarray(before, dtype=np.float64), np.asarray(after, dtype=np.float64)
    positive = before > 0
    return np.where(positive, 100 * np.maximum(0.0, before - after) / np.where(positive, before, 1.0), np.nan)


# --- insertion and deletion ---------------------------------------------------------------------------------------------------
