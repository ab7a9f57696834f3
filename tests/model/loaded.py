"""How a load fails, and whether it gave the model that was saved."""

import pytest
import torch
from helpers import tiny_clip

import nibkit as nk


def fails_with(error, message: str, *args, **options) -> str:
    """``load_clip`` raises this, in one line."""
    with pytest.raises(error, match=message) as caught:
        nk.load_clip(*args, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def same_model(clip: nk.Clip) -> bool:
    return all(torch.equal(w, v) for w, v in zip(clip.model.parameters(), tiny_clip().model.parameters(), strict=True))
