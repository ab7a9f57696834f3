"""``nk.Clip``: without a tokenizer, in other precisions, and exact for the time of a call."""

import contextlib

import pytest
import torch
from helpers import END, START, new_clip, relative, tiny_clip, tiny_inputs

import nibkit as nk
from nibkit.model.repeatable import exact

# --- the wrapper ------------------------------------------------------------------------------------------------------


def test_a_clip_without_tokenizer_says_so():
    with pytest.raises(ValueError, match="tiny came without tokenizer and image processor"):
        tiny_clip().prepare("x.png", "a ring")
    bundled = nk.load_clip("shapes", device="cpu")
    for missing, parts in {
        "tokenizer": (None, bundled.image_processor),
        "image processor": (bundled.tokenizer, None),
    }.items():
        with pytest.raises(ValueError, match=f"tiny came without {missing}: make nk.Inputs from tensors yourself"):
            nk.Clip(bundled.model, *parts, name="tiny").prepare("x.png", "a ring")


def test_tokens_without_tokenizer_are_the_ids():
    inputs = tiny_inputs((4, 3))
    ids = inputs.input_ids
    assert tiny_clip().tokens(inputs) == (tuple(map(str, ids[0].tolist())), (str(START), str(int(ids[1, 1])), str(END)))


def test_repr_says_what_it_is():
    assert repr(tiny_clip(depth=(6, 4))) == "Clip('tiny', 6 + 4 blocks, 3 × 3 patches, torch.float32, cpu)"


def test_other_precisions():
    """The wrapper follows the model's type; inputs are brought to it."""
    double, inputs = new_clip(dtype=torch.float64), tiny_inputs()
    assert double.dtype == torch.float64 and double.encode_image(inputs).dtype == torch.float64
    assert relative(double.encode_image(inputs).float(), tiny_clip().encode_image(inputs)) < 1e-5
    half = new_clip(dtype=torch.bfloat16)
    assert half.encode_text(inputs).dtype == torch.bfloat16
    assert relative(half.encode_text(inputs).float(), tiny_clip().encode_text(inputs)) < 0.05


# --- exactness on a GPU -----------------------------------------------------------------------------------------------


def settings() -> tuple:
    """What ``exact`` sets for the time of a call."""
    return (
        torch.backends.cudnn.conv.fp32_precision,
        torch.backends.cuda.matmul.fp32_precision,
        torch.utils.deterministic.fill_uninitialized_memory,
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
    )


@pytest.mark.parametrize("raises", [False, True])
@pytest.mark.parametrize("tf32", [False, True])
def test_exactness_is_for_the_time_of_a_call(monkeypatch, raises, tf32):
    monkeypatch.setenv("NIBKIT_TF32", str(int(tf32)))
    monkeypatch.setattr("nibkit.model.repeatable.products_keep_their_order", lambda device: True)  # asks the device itself
    before = settings()
    with exact(torch.device("cpu")):
        assert settings() == before
    with contextlib.suppress(KeyError), exact(torch.device("cuda")):
        inside = settings()
        if raises:
            raise KeyError
    assert settings() == before
    assert inside[2:] == (False, True, False)
    assert (inside[:2] == ("ieee", "ieee")) != tf32


class Opaque(torch.nn.Module):
    """A block whose inside nobody sees."""

    def __init__(self, inner):
        super().__init__()
        self.call = [inner]

    def forward(self, z, mask, **more):
        return self.call[0](z, mask, **more)


@pytest.mark.parametrize("side", ["image", "text"])
def test_a_last_block_of_another_kind_is_called_whole(side):
    clip, other, inputs = tiny_clip(), new_clip(), tiny_inputs((5, 8, 3))
    tower = getattr(other, side)
    tower.blocks[-1] = Opaque(tower.blocks[-1])
    same, changed = (getattr(c, f"encode_{side}")(inputs) for c in (clip, other))
    assert relative(same, changed) < 1e-5
    assert torch.allclose(nk.nib(clip, inputs).image, nk.nib(other, inputs).image, atol=1e-6)
