"""The work that NIB does: which rows and columns go through which blocks, with how many gradients, in how much memory."""

import numpy as np
import pytest
import torch
from helpers import ShortMemory, new_clip, relative, tiny_clip, tiny_inputs

import nibkit as nk
from nibkit.methods.cut import CutEncoder
from nibkit.theory.quadrature import RULES

# --- work done --------------------------------------------------------------------------------------------------------


@pytest.fixture
def watched(monkeypatch):
    """A clip, and what its blocks see: (tower, block) -> list of (rows, columns, whether a gradient is taken)."""
    clip, seen = new_clip(), {}
    for tower in ("image", "text"):
        for number, block in enumerate(getattr(clip, tower).blocks):
            calls = seen[tower, number] = []

            def forward(z, calls=calls, forward=block.layer_norm1.forward):
                calls.append((*z.shape[:2], z.requires_grad))
                return forward(z)

            monkeypatch.setattr(block.layer_norm1, "forward", forward)  # where a block's input goes, however it is computed
    clip.check(tiny_inputs())  # compared with its own forward pass, once: not what is watched
    for calls in seen.values():
        calls.clear()
    return clip, seen


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("steps", [4, 40])
def test_memory_is_flat_in_num_steps(watched, rule, steps):
    """No block ever sees more rows than ``batch_size``, whatever the number of steps."""
    clip, seen = watched
    nk.nib(clip, tiny_inputs((5, 8, 3)), num_steps=steps, rule=rule, batch_size=5)
    largest = max(rows for calls in seen.values() for rows, _, _ in calls)
    assert largest == 5


def test_the_head_runs_once_per_pair(watched):
    clip, seen = watched
    nk.nib(clip, tiny_inputs((5, 8, 3)), layer=2, num_steps=10)
    for tower in ("image", "text"):
        for number in (0, 1):
            assert sum(rows for rows, _, _ in seen[tower, number]) == 3
            assert not any(gradient for _, _, gradient in seen[tower, number])


@pytest.mark.parametrize("rule", RULES)
def test_num_steps_counts_gradients(watched, rule):
    """Exactly, and for "adaptive" as a bound."""
    clip, seen = watched
    nk.nib(clip, tiny_inputs((5, 8, 3)), layer=2, num_steps=13, rule=rule)
    for tower in ("image", "text"):
        spent = sum(rows for rows, _, gradient in seen[tower, 2] if gradient)
        assert spent == 39 if rule != "adaptive" else 0 < spent <= 39


def test_no_column_of_padding_is_computed(watched):
    """Captions go in by length: nothing is computed behind a batch's longest, and short ones do not wait for long ones."""
    clip, seen = watched
    nk.nib(clip, tiny_inputs((8, 3, 8, 3), columns=77), layer=2, num_steps=1, batch_size=2)
    assert {columns for _, columns, _ in seen["text", 4]} == {3, 8}


def test_steps_share_the_batch(watched):
    """All steps of all pairs go through in one call, if ``batch_size`` allows."""
    clip, seen = watched
    nk.nib(clip, tiny_inputs((5, 8, 3)), layer=2, num_steps=10, batch_size=30)
    assert [rows for rows, _, gradient in seen["text", 4] if gradient] == [30]


def test_progress_is_shown_only_on_request(capsys):
    nk.nib(tiny_clip(), tiny_inputs())
    assert capsys.readouterr() == ("", "")
    nk.nib(tiny_clip(), tiny_inputs(), progress=True)
    assert "gradient" in capsys.readouterr().err


# --- memory and half precision ----------------------------------------------------------------------------------------


def test_a_batch_that_memory_does_not_hold_is_halved(monkeypatch):
    """As on a GPU: above 5 rows the memory is out. The result is the same; a single row that does not fit is an error."""
    clip, inputs = tiny_clip(), tiny_inputs((5, 8, 3))
    want, memory = nk.nib(clip, inputs), ShortMemory(monkeypatch, clip, room=5)
    found = nk.nib(clip, inputs, batch_size=30)
    assert max(memory.tried) > memory.room and torch.allclose(found.image, want.image, rtol=1e-5, atol=1e-7)
    assert torch.allclose(found.text, want.text, rtol=1e-5, atol=1e-7)
    memory.room = 0
    with pytest.raises(torch.OutOfMemoryError):
        nk.nib(clip, inputs)


def test_autocast_around_a_call_changes_digits_only():
    clip, inputs = tiny_clip(), tiny_inputs((5, 8, 3))
    want = nk.nib(clip, inputs)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = nk.nib(clip, inputs)
    assert found.image.dtype == torch.float32 and not torch.equal(found.image, want.image)
    assert torch.corrcoef(torch.stack([found.image.flatten(), want.image.flatten()]))[0, 1] > 0.98


# --- many steps -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule, most", [("riemann", 100_000), ("adaptive", 100_000), ("gauss", 1000), ("log-gauss", 1000)])
def test_absurd_counts_of_steps_are_refused_before_any_work(rule, most):
    with nk.count_passes(tiny_clip()) as passes:
        for count in (most + 1, 100_000_000, 10**400):
            with pytest.raises(ValueError, match=f'num_steps must be at most {most:,} for "{rule}"; got 1'):
                nk.nib(tiny_clip(), tiny_inputs(), rule=rule, num_steps=count)
    assert passes.forward == 0


def test_steps_beyond_those_held_at_once_are_added_up():
    """2,500 steps go through in three parts; Riemann's sum by hand."""
    clip, inputs = tiny_clip(), tiny_inputs((4,))
    att = nk.nib(clip, inputs, layer=3, num_steps=2500)
    whole = CutEncoder(clip.image, inputs, 3)
    slopes = whole.slopes(np.arange(1, 2501) / 2500, clip.encode_text(inputs))
    assert relative(att.image.flatten(), slopes.double().mean(1)[0, 1:].float()) < 1e-4
