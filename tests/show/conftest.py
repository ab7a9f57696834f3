"""Shared by the tests of figures and explorers."""

import pytest

import nibkit as nk


@pytest.fixture(scope="module")
def clip():
    return nk.load_clip("shapes", device="cpu")


@pytest.fixture(scope="module")
def scenes():
    return nk.shapes.sample(3, seed=3)
