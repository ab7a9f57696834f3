"""Shared by the benchmark's tests."""

import gc

import pytest
from evaluations import FAST, call, some_pairs, tiny


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


@pytest.fixture(scope="module")
def pairs(request):
    """As many as the module's ``COUNT`` says."""
    return some_pairs(getattr(request.module, "COUNT", 6))


@pytest.fixture(scope="module")
def whole(request, clip, pairs):
    """The table of the module's ``ASKED`` methods, which every other way must give, too."""
    return call(clip, pairs, getattr(request.module, "ASKED", FAST))
