"""What speed is bought with, measured on the bundled model: gradients against the gap they leave, bits against the map.

Random weights would do for times; not here, since both depend on what the model has learnt.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
from scipy import stats

from nibkit.data.shapes import sample
from nibkit.methods.attribution import Attribution
from nibkit.methods.nib import nib
from nibkit.metrics.costs import count_passes, timed
from nibkit.model.clip import Clip
from nibkit.model.inputs import Inputs
from nibkit.model.loading import load_clip


def bundled(pairs: int, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32) -> tuple[Clip, Inputs]:
    """The bundled model and pairs that it has not seen."""
    clip, scenes = load_clip("shapes", device=device, dtype=dtype), sample(pairs, seed=77, captions="all")
    return clip, clip.prepare([s.image for s in scenes], [s.caption for s in scenes])


def gradients_to_gap(
    rule: str, start: float | None, counts: list[int], pairs: int = 16, gap: float = 0.01, device: torch.device | str = "cpu"
) -> tuple[float | None, float]:
    """(gradients a pair and side, seconds of the call) of the fewest steps that bring the gap under ``gap``, bundled model.

    The gap is |Σ A − (F(z) − F(start · z))| / |F(z) − F(start · z)|, median over pairs, the larger of image and text. (None, NaN)
    if no count does.
    """
    clip, inputs = bundled(pairs, device)
    for count in counts:
        call = lambda: nib(clip, inputs, rule=rule, num_steps=count, start=start)  # noqa: B023, E731
        with count_passes(clip) as passes:
            att = call()
        totals = att.image.sum((1, 2)) + att.class_token - att.image_delta, att.text.sum(1) - att.text_delta
        gaps = [float((d / t).abs().median()) for d, t in zip((att.image_delta, att.text_delta), totals)]
        if max(gaps) < gap:
            return passes.backward / 2 / pairs, timed(call, clip.device, 3)[1]
    return None, float("nan")


def gaps(device: torch.device) -> list[dict]:
    """The fewest gradients to a completeness gap of 1 %, on the whole ray and on [.05, 1], and the time they take.

    Of 2 to 32, then 40, 48, 64 … 1024. "adaptive" stops for itself: what counts is a pair's mean.
    """
    counts = [*range(2, 33), 40, 48, 64, 96, 128, 192, 256, 384, 512, 1024]
    rows: list[dict] = []
    print("\nto a gap of 1 % (bundled model, 16 pairs, layer 9)")
    for span, start, rules in (
        ("[.05, 1]", 0.05, ("log-gauss", "gauss", "midpoint", "riemann")),
        ("[0, 1]", None, ("adaptive", "sinh", "gauss", "riemann")),
    ):
        for rule in rules:
            tried = [256] if rule == "adaptive" else counts
            count, took = gradients_to_gap(rule, start, tried, device=device)
            rows.append({"part": "gap", "way": f"{rule} on {span}", "x": count or np.nan, "seconds": took})
            rows[-1]["ratio"] = took / rows[0]["seconds"]
            text = f"{count:.0f} gradients, {took:.2f} s" if count else f"more than {tried[-1]} gradients"
            print(f"  {span:8s} {rule:10s} {text}")
    return rows


def fewer_bits(device: torch.device | str = "cpu", pairs: int = 40) -> list[dict]:
    """What fewer bits do to the maps of the bundled model: rank correlation with float32, median and lowest, and the time."""
    clip, inputs = bundled(pairs, device)
    want, full = timed(lambda: nib(clip, inputs), clip.device, 3)
    rows = []
    for name, call, weights in (
        ("autocast bfloat16", autocast, torch.float32),
        ("bfloat16 weights", nib, torch.bfloat16),
        ("float16 weights", nib, torch.float16),
    ):
        setting = bundled(pairs, device, weights)
        found, took = timed(lambda: call(*setting), clip.device, 3)  # noqa: B023
        for side in ("image", "text"):
            ranks = rank_correlations(want, found, side)
            rows.append({"part": "precision", "way": name, "side": side, "pairs": pairs, "seconds": took, "ratio": took / full})
            rows[-1] |= {"rank_median": np.median(ranks), "rank_lowest": np.min(ranks)}
    table = pd.DataFrame(rows)[["way", "side", "ratio", "rank_median", "rank_lowest"]]
    print(f"\nfewer bits (bundled model, {pairs} pairs): time, × float32's, and rank correlation with it")
    print(table.round(4).to_string(index=False))
    return rows


def autocast(clip: Clip, inputs: Inputs) -> Attribution:
    """NIB with its matrix products in bfloat16: the weights stay float32, and so do layer norms, sums and the result."""
    with torch.autocast(clip.device.type, torch.bfloat16):
        return nib(clip, inputs)


def rank_correlations(want: Attribution, found: Attribution, side: str) -> list[float]:
    """Spearman's ρ of each pair's patch values (or token values, padding left out) in two attributions."""
    lengths = [len(tokens) if side == "text" else None for tokens in want.tokens]
    values = ([a[:n] for a, n in zip(getattr(att, side).flatten(1).float().cpu(), lengths)] for att in (want, found))
    return [float(stats.spearmanr(a, b)[0]) for a, b in zip(*values)]
