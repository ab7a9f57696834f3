"""Shared by the model's tests."""

import pytest
from helpers import tiny_model

import nibkit as nk


@pytest.fixture(scope="module")
def clip():
    return nk.load_clip("shapes", device="cpu")


@pytest.fixture
def folder(tmp_path):
    """A random CLIP as transformers saves it: config and safetensors."""
    tiny_model().save_pretrained(tmp_path / "clip")
    return tmp_path / "clip"
