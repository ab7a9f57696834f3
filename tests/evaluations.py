"""Shared by the benchmark's tests: a fast model, a few pairs, and what "the same table" means."""

from __future__ import annotations

import multiprocessing
import multiprocessing.forkserver
from types import SimpleNamespace

import helpers
import pandas as pd

import nibkit as nk
from nibkit.evaluation.evaluate import evaluate

MEASURED = ["seconds", "fps", "peak_memory"]  # all else must come out the same every time
FAST = {"nib": ("nib", {"num_steps": 2}), "m2ib": ("m2ib", {"num_steps": 1, "draws": 2})}
NIB = {"nib": FAST["nib"]}


def tiny() -> nk.Clip:
    """Random weights, but the bundled model's own tokenizer and pictures' size, so that ``prepare`` works."""
    bundled = nk.load_clip("shapes", device="cpu")
    model = helpers.tiny_model(image_size=224, patch=56)
    return nk.Clip(model, bundled.tokenizer, bundled.image_processor, name="tiny")


def some_pairs(n: int = 6) -> list[SimpleNamespace]:
    scenes = nk.shapes.sample(n, seed=5)
    return [SimpleNamespace(id=f"scene {i}", image=s.image, caption=s.caption, masks=None) for i, s in enumerate(scenes)]


def prepare_forks():
    """A multiprocessing context whose processes start in no time: forked from a server that has imported all that is slow."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["nibkit.metrics.confidence", "transformers.models.clip.modeling_clip", "distributed", "pytest"]
    )
    multiprocessing.forkserver.ensure_running()
    return context


def call(clip, pairs, methods=FAST, out=None, **how):
    """``evaluate`` as the tests want it: small batches, no bar."""
    return evaluate(clip, pairs, methods, out, **{"batch_size": 2, "progress": False} | how)


def same_rows(ours: pd.DataFrame, other: pd.DataFrame) -> None:
    """The same rows in the same order, measured costs aside: to the last bit."""
    pd.testing.assert_frame_equal(ours.drop(columns=MEASURED), other.drop(columns=MEASURED), check_exact=True)
    assert ours.attrs == other.attrs


def close_rows(ours: pd.DataFrame, other: pd.DataFrame) -> None:
    """The same up to rounding, where the batches were others."""
    names = [*MEASURED, "pair"]
    pd.testing.assert_frame_equal(ours.drop(columns=names), other.drop(columns=names), rtol=1e-4, atol=1e-4)


class Speechless(Exception):
    def __str__(self):
        raise RuntimeError("no words")


ERRORS = [ValueError("bad"), RuntimeError("bad\nand worse"), MemoryError(), RecursionError("deep"), AssertionError(),
          KeyError("k"), AttributeError("a"), StopIteration(), ZeroDivisionError("z"),
          UnicodeDecodeError("utf-8", b"\xe9", 0, 1, "bad"), Speechless(), ValueError("half \ud83d")]  # fmt: skip
