"""Shared by the benchmark's tests."""

import gc

import pytest


@pytest.fixture(scope="module", autouse=True)
def frozen():
    """Every method's memory is measured after a garbage collection, which all that was imported would make slow."""
    gc.freeze()
    yield
    gc.unfreeze()
