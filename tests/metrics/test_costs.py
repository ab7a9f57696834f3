"""Passes, seconds and memory are measured: against calls whose costs are known."""

import gc
import math
import time

import helpers
import pytest
import torch

import nibkit as nk
from nibkit.metrics import costs
from nibkit.metrics.costs import Passes, count_passes, timed, with_peak_memory

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def clip():
    return helpers.tiny_clip()


@pytest.mark.parametrize("pairs, steps, batch_size", [(1, 10, None), (3, 10, None), (3, 10, 2), (3, 4, None)])
def test_nib_takes_two_forward_passes_more_than_gradients(clip, pairs, steps, batch_size):
    """Table 8: 12 and 10 with ten steps, for one modality; however the rows are folded into batches."""
    inputs = helpers.tiny_inputs((5, 8, 3)[:pairs])
    with count_passes(clip) as passes:
        nk.nib(clip, inputs, num_steps=steps, batch_size=batch_size)
    assert passes == Passes(*[pairs * (steps + 2)] * 2, *[pairs * steps] * 2, 1, 1)  # F(0): one row for all
    assert (passes.forward, passes.backward) == (2 * pairs * (steps + 2), 2 * pairs * steps)


def test_m2ib_pays_for_every_draw(clip):
    with count_passes(clip) as passes:
        nk.m2ib(clip, helpers.tiny_inputs((5, 8)), num_steps=3, draws=7)
    assert passes == Passes(2 * 22, 2 * 22, 2 * 21, 2 * 21)


def test_the_models_own_forward_is_counted_each_side_apart(clip):
    inputs = helpers.tiny_inputs((5, 8, 3))
    with count_passes(clip) as passes:
        clip.model.get_image_features(pixel_values=inputs.pixel_values)
        clip.encode_text(inputs[:2])
    assert passes == Passes(3, 2, 0, 0)


def test_a_graph_gone_through_twice_counts_twice(clip):
    z = clip.image.head(helpers.tiny_inputs((5, 8)), 2).requires_grad_()
    with count_passes(clip) as passes:
        features = clip.image.tail(z, helpers.tiny_inputs((5, 8)), 2)
        for _ in range(2):
            torch.autograd.grad(features.sum(), z, retain_graph=True)
    assert passes == Passes(2, 0, 4, 0)


def test_counting_ends_with_the_block_also_after_an_exception(clip):
    before = helpers.state(clip)
    inputs = helpers.tiny_inputs((5,))
    z = clip.image.head(inputs, 2).requires_grad_()
    with pytest.raises(ZeroDivisionError), count_passes(clip) as passes:
        features = clip.image.tail(z, inputs, 2)
        raise ZeroDivisionError
    assert helpers.same(before, helpers.state(clip)) and not features._backward_hooks
    features.sum().backward()
    clip.encode_image(inputs)
    assert passes == Passes(1, 0, 0, 0)


def test_counters_inside_one_another_do_not_meet(clip):
    inputs = helpers.tiny_inputs((5,))
    with count_passes(clip) as outer:
        clip.encode_image(inputs)
        with count_passes(clip) as inner:
            clip.encode_image(inputs)
    assert (outer.forward_image, inner.forward_image) == (2, 1)


def test_counting_changes_no_result(clip):
    inputs = helpers.tiny_inputs((5, 8))
    with count_passes(clip):
        counted = nk.nib(clip, inputs)
    assert torch.equal(counted.image, nk.nib(clip, inputs).image)


def test_time_is_the_median_of_the_repeats():
    waits = iter([0.02, 0.2, 0.03])
    result, seconds = timed(lambda: time.sleep(wait := next(waits)) or wait, CPU, repeats=3)
    assert result == 0.03 and 0.03 <= seconds < 0.15


@pytest.mark.skipif(math.isnan(costs._reset_high_water_mark()), reason="no high-water mark on this system")
def test_peak_memory_is_what_a_call_holds_at_once():
    """Blocks of memory of known size; one after the other does not count twice; what was freed before hides nothing."""

    def hold(megabytes: int, times: int = 1) -> int:
        return sum(len(torch.ones(megabytes * 2**18)) for _ in range(times))

    hold(1)
    assert with_peak_memory(lambda: hold(64), CPU)[1] == pytest.approx(64, abs=6)
    assert with_peak_memory(lambda: hold(64, times=3), CPU)[1] == pytest.approx(64, abs=6)
    kept = [bytearray(2000) for _ in range(20000)]  # 40 MB in small pieces, which malloc keeps when they are freed
    del kept
    gc.collect()
    result, peak = with_peak_memory(lambda: len([bytearray(2000) for _ in range(20000)]), CPU)
    assert result == 20000 and peak == pytest.approx(40, abs=6)
    assert with_peak_memory(lambda: None, CPU)[1] < 2


def test_peak_memory_is_nan_where_it_cannot_be_known(monkeypatch):
    def refuse(*_):
        raise PermissionError

    monkeypatch.setattr("pathlib.Path.write_text", refuse)
    assert str(with_peak_memory(lambda: 7, CPU)) == "(7, nan)"
    assert str(with_peak_memory(lambda: 7, torch.device("meta"))) == "(7, nan)"


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available() or hasattr(torch.cuda, "pretended"), reason="needs a CUDA device")
def test_peak_memory_on_cuda_is_the_allocators():
    def hold(megabytes: int) -> None:
        torch.ones(megabytes * 250_000, device="cuda")

    there = torch.ones(250_000, device="cuda")
    assert with_peak_memory(lambda: hold(32), there.device)[1] == pytest.approx(32, abs=0.1)
