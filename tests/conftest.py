"""Shared by all tests: the reference fixture's folder, one hypothesis profile, few threads, no window ever opened."""

import os
from pathlib import Path

import hypothesis
import matplotlib
import numpy as np
import pytest
import torch

import nibkit as nk

matplotlib.use("Agg")
torch.set_num_threads(min(torch.get_num_threads(), 4))  # the models are tiny: more threads only wait for each other
hypothesis.settings.register_profile("nibkit", derandomize=True, deadline=None, max_examples=15, database=None)
hypothesis.settings.load_profile("nibkit")


@pytest.fixture(scope="session")
def fixture_dir() -> Path:
    """The folder with the figures that the published code returned (NIBKIT_FIXTURE); a user does not have it."""
    folder = os.environ.get("NIBKIT_FIXTURE")
    if not folder:
        pytest.skip("NIBKIT_FIXTURE is not set: the published code's figures are not here")
    return Path(folder)


@pytest.fixture(scope="session")
def fixture_clip(fixture_dir) -> nk.Clip:
    """The published figures' model. Config and safetensors alone: it has no tokenizer and no processor."""
    return nk.load_clip(fixture_dir / "clip_a")


@pytest.fixture(scope="session")
def figures(fixture_dir) -> dict[str, np.ndarray]:
    """What the published code returned."""
    return dict(np.load(fixture_dir / "clip_a" / "expected.npz"))


@pytest.fixture(scope="session")
def fixture_inputs(figures) -> nk.Inputs:
    """All six pairs as one ragged batch, captions padded on the right. In the fourth caption a token stands twice."""
    ids = [figures[f"ids_{i}"] for i in range(6)]
    padded, mask = np.full((6, max(map(len, ids))), 599), np.zeros((6, max(map(len, ids))), dtype=np.int64)
    for row, caption in enumerate(ids):
        padded[row, : len(caption)], mask[row, : len(caption)] = caption, 1
    assert len(set(ids[3])) < len(ids[3])
    return nk.Inputs(torch.from_numpy(figures["pixel_values"]).float(), torch.from_numpy(padded), torch.from_numpy(mask))
