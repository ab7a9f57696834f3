"""Shared by the benchmark's tests."""

import gc

import pytest
from evaluations import tiny


@pytest.fixture(scope="module", autouse=True)
def frozen():
    """Every method's memory is measured after a garbage collection, which all that was imported would make slow."""
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(scope="module")
def clip():
    """A tiny model; a module that needs the bundled one has a fixture of its own."""
    return tiny()
