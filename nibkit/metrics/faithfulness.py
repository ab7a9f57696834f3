"""Does a map say what the model does? Randomisation and removal (see also ``perturbation``). Notebook 09.

``localisation`` asks whether a map lies where a person expects it (plausibility). Here the model itself is asked, and no mask
says what is right: what happens to F when a thing is really gone, and to the map when the model is another one. Maps are taken
with their signs. Where an order is compared, ρ is Spearman's rank correlation; a map that is constant has no order: ρ is 0 then.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
import pandas as pd
import torch
from scipy import stats

from ..checks import check_batch_size, check_seed, check_whole
from ..data.scenes import Scene
from ..methods.attribution import Attribution
from ..methods.controls import check_stages, randomised, stages
from ..model.clip import Clip, find_words
from ..model.inputs import Inputs
from .localisation import phrase_numbers
from .masking import check_maps, cosine, encode

Explain = Callable[[Clip, Inputs], Attribution]
TOGETHER = 64  # pictures prepared at once: the memory does not grow with the number of scenes
PARTS = ["pair", "side", "part", "phrase", "named"]


# --- another model ------------------------------------------------------------------------------------------------------------


def cascade(clip: Clip, side: str = "image", steps: int = 4) -> dict[str, tuple[str, ...]]:
    """Stages of one encoder from the top down, each with all above it: what is drawn anew, by the name of the lowest.

    steps: how many; the projection, the last norm, the last block, the one before, … (``controls.stages``).
    """
    parts = stages(clip, side)
    return {parts[k]: parts[: k + 1] for k in range(check_whole("steps", steps, most=len(parts)))}


def randomisation(
    clip: Clip,
    inputs: Inputs,
    explain: Explain,
    which: Mapping[str, str | Sequence[str]] | Iterable[str] | None = None,
    seeds: Sequence[int] = (0, 1, 2),
) -> pd.DataFrame:
    """Does the map change when the model's weights are drawn anew (Adebayo et al., 2018, model parameter randomisation)?

    Args:
        clip, inputs: the model and B pairs.
        explain: (clip, inputs) -> Attribution, such as ``nk.nib``; options by ``functools.partial``.
        which: what is drawn anew: names of ``controls.stages``, "image", "text", "last_block"; or a mapping, label -> one or
            several of these, such as ``cascade`` gives. None: ``cascade(clip, "image")`` and "text", the whole other encoder.
        seeds: of the draws; each is a model of its own.

    Returns:
        DataFrame, a row for each stage, seed and pair: stage, seed, pair, image, text: ρ of the true model's and the other
        model's values, over the patches and over the words. 1: the map does not see the change. A caption of one word has no
        order: NaN.

    Raises ValueError on an unknown stage or a seed that is none, before any work is done; and what ``explain`` raises.
    """
    which = cascade(clip) | {"text": "text"} if which is None else which
    named = dict(which) if isinstance(which, Mapping) else {one: one for one in which}
    for name, given in (("which", named), ("seeds", seeds)):
        if not len(given):
            raise ValueError(f"{name} is empty: there is nothing to draw anew")
    for parts, seed in itertools.product(named.values(), seeds):
        check_stages(clip, parts)
        check_seed(seed)
    inputs = clip.check(inputs)
    _, words = find_words(clip, inputs)
    before = explain(clip, inputs)
    tables = []
    for (label, parts), seed in itertools.product(named.items(), seeds):
        after = explain(randomised(clip, parts, seed), inputs)
        image = [rho(a, b) for a, b in zip(before.image.flatten(1), after.image.flatten(1))]
        text = [rho(a[row], b[row]) for a, b, row in zip(before.text, after.text, words)]
        tables.append(pd.DataFrame({"stage": label, "seed": seed, "pair": range(len(inputs)), "image": image, "text": text}))
    return pd.concat(tables, ignore_index=True)


def rho(a: torch.Tensor | np.ndarray, b: torch.Tensor | np.ndarray) -> float:
    """Spearman's rank correlation of two rows of numbers: 0 if one is constant, NaN if there are fewer than two."""
    a, b = (v.detach().cpu().double().numpy() if isinstance(v, torch.Tensor) else np.asarray(v, float) for v in (a, b))
    if len(a) < 2:
        return np.nan
    return 0.0 if np.ptp(a) == 0 or np.ptp(b) == 0 else float(stats.spearmanr(a, b)[0])


# --- a thing that is really gone ----------------------------------------------------------------------------------------------


def removal(
    clip: Clip, scenes: Sequence[Scene], maps: Attribution | Mapping[str, Attribution], batch_size: int | None = None
) -> pd.DataFrame:
    """What F loses when one object is painted over, or one phrase left out, beside what the maps give it.

    An object is painted over by the scene's own ground and by what stood behind it (``Scene.without``): no grey, no hole. A
    phrase is left out with its "and". With x' the picture (or caption) without the part: effect = F(x) − F(x'). A map's value
    for a part is its sum there: Σ over the object's pixels of the value of their patch, divided by the pixels of a patch; Σ over
    the phrase's tokens.

    Args:
        clip: the model, with tokenizer and image processor.
        scenes: B scenes of a synthetic world, with their captions.
        maps: of the pairs (scene.image, scene.caption), or several by name.
        batch_size: how many go through an encoder at once; it never changes the result.

    Returns:
        DataFrame, a row for each pair and part: pair; side ("image": objects, "text": phrases); part, its number in
        ``scene.objects`` or ``scene.phrases``; phrase; named: is the object named, is the phrase true; effect (cosine); and a
        column for each map, "map" if there is one without a name. A caption of one phrase has no row for it: nothing would stay.

    Raises ValueError or TypeError if scenes and maps are not of the same pairs, or a scene can't be drawn again.
    """
    batch_size = check_batch_size(batch_size)
    named_maps = dict(maps) if isinstance(maps, Mapping) else {"map": maps}
    inputs = clip.prepare([scene.image for scene in scenes], [scene.caption for scene in scenes])
    rows, changed = [], []
    for i, scene in enumerate(scenes):
        for k, thing in enumerate(scene.objects):
            rows.append((i, "image", k, thing.phrase, k in scene.named))
            changed.append((scene.without(k).image, scene.caption))
        for k, phrase in enumerate(scene.phrases if len(scene.phrases) > 1 else ()):
            rows.append((i, "text", k, phrase, scene.named[k] is not None))
            changed.append((scene.image, " and ".join(scene.phrases[:k] + scene.phrases[k + 1 :])))
    for att in named_maps.values():
        check_maps(inputs, att)
    table = pd.DataFrame(rows, columns=PARTS)
    parts = [changed[k : k + TOGETHER] for k in range(0, len(changed), TOGETHER)]
    after = np.concatenate([similarity(clip, clip.prepare(*zip(*part)), batch_size) for part in parts])
    table["effect"] = similarity(clip, inputs, batch_size)[table["pair"]] - after
    for name, att in named_maps.items():
        sums = {"image": object_sums(clip, inputs, att, scenes), "text": phrase_sums(inputs, att, scenes)}
        table[name] = [sums[side][i][k] for i, side, k in table[["pair", "side", "part"]].itertuples(index=False)]
    return table


def agreement(table: pd.DataFrame) -> pd.DataFrame:
    """Within each pair, ρ of the parts' effects and each map's sums, of a table that ``removal`` made.

    Returns a row for each pair and side with two parts or more: pair, side, parts (how many), and a column for each map.
    """
    names = [name for name in table.columns if name not in (*PARTS, "effect")]
    rows = []
    for (pair, side), parts in table.groupby(["pair", "side"]):
        if len(parts) > 1:
            own = {name: rho(parts["effect"].to_numpy(), parts[name].to_numpy()) for name in names}
            rows.append({"pair": pair, "side": side, "parts": len(parts)} | own)
    return pd.DataFrame(rows, columns=["pair", "side", "parts", *names])


def similarity(clip: Clip, inputs: Inputs, batch_size: int | None = None) -> np.ndarray:
    """Cosines [B] in float64, ``batch_size`` pairs at a time."""
    return cosine(*(encode(tower, inputs, None, batch_size=batch_size)[0] for tower in (clip.image, clip.text)))


def object_sums(clip: Clip, inputs: Inputs, att: Attribution, scenes: Sequence[Scene]) -> list[np.ndarray]:
    """The map's sum on each object of each scene."""
    patch = clip.image.patch_size
    values = np.kron(att.image.cpu().double().numpy(), np.ones((patch, patch)))  # each pixel has its patch's value
    if att.pixels is not None:
        values = att.pixels.cpu().double().numpy()
    height, width = values.shape[1:]  # what is left at the edges belongs to no patch
    sums = []
    for view, scene, own in zip(inputs.views or (), scenes, values):
        masks = np.stack([view.mask(mask, f"the mask of {thing.phrase!r}") for mask, thing in zip(scene.masks, scene.objects)])
        sums.append((masks[:, :height, :width] * own).sum((1, 2)) / patch**2)
    return sums


def phrase_sums(inputs: Inputs, att: Attribution, scenes: Sequence[Scene]) -> list[np.ndarray]:
    """The map's sum on the tokens of each phrase of each scene's caption."""
    text, sums = att.text.cpu().double().numpy(), []
    for values, scene, numbers in zip(text, scenes, phrase_numbers(scenes, inputs)):
        sums.append(np.array([values[: len(numbers)][numbers == k].sum() for k in range(len(scene.phrases))]))
    return sums
