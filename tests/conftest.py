"""Shared by all tests: the reference fixture's folder, one hypothesis profile, few threads, no window ever opened."""

import os
from pathlib import Path

import hypothesis
import matplotlib
import pytest
import torch

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
