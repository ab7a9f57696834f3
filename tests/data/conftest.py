"""Shared by the data sets' tests."""

import pytest
from datafiles import COLORS, picture

import nibkit as nk


@pytest.fixture(scope="module")
def clip():
    return nk.load_clip("shapes", device="cpu")


@pytest.fixture
def folder(tmp_path):
    for name, color in zip("abc", COLORS):
        picture(tmp_path / f"{name}.jpg", color)
    return tmp_path
