"""The same numbers on a GPU: every method against the CPU, twice the same, and as many rows at once as memory holds."""

import pytest
import torch
from scipy import stats

import nibkit as nk

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]
on_a_real_one = pytest.mark.skipif(
    getattr(torch.cuda, "pretended", False), reason="the pretended device has no memory of its own"
)
QUICK = {"rise": {"num_masks": 200, "num_text_masks": 50}}
METHODS = nk.METHODS | nk.BEYOND


@pytest.fixture(scope="module")
def scenes():
    return nk.shapes.sample(6, seed=11, captions="some")


@pytest.fixture(scope="module")
def clips():
    return nk.load_clip("shapes", device="cpu"), nk.load_clip("shapes", device="cuda")


def explained(clip, scenes, name, **options):
    inputs = clip.prepare([s.image for s in scenes], [s.caption for s in scenes])
    return METHODS[name](clip, inputs, **QUICK.get(name, {}), **options)


@pytest.mark.parametrize("name", METHODS)
def test_gpu_and_cpu_agree(clips, scenes, name, record_property):
    here, there = (explained(clip, scenes, name) for clip in clips)
    assert there.image.device.type == "cuda"
    difference = float((here.image - there.image.cpu()).abs().max() / here.image.abs().max())
    order = min(float(stats.spearmanr(a.flatten(), b.flatten())[0]) for a, b in zip(here.image, there.image.cpu()))
    record_property("relative difference", difference)
    record_property("lowest rank correlation", order)
    print(f"{name:9s} relative difference {difference:.1e}, lowest rank correlation {order:.6f}")
    assert difference < 1e-3 and order > 0.99
    assert torch.allclose(here.text, there.text.cpu(), atol=1e-3 * float(here.text.abs().max()))


@pytest.mark.parametrize("name", METHODS)
def test_twice_the_same_to_the_last_digit(clips, scenes, name):
    first, second = (explained(clips[1], scenes, name) for _ in range(2))
    assert torch.equal(first.image, second.image) and torch.equal(first.text, second.text)


@pytest.mark.parametrize("rule", nk.quadrature.RULES)
def test_every_rule(clips, scenes, rule):
    here, there = (explained(clip, scenes, "nib", rule=rule, num_steps=20) for clip in clips)
    assert torch.allclose(here.image, there.image.cpu(), atol=2e-3 * float(here.image.abs().max()))


@on_a_real_one
def test_memory_does_not_grow_with_the_steps(clips, scenes):
    peaks = []
    for steps in (10, 80):
        torch.cuda.reset_peak_memory_stats()
        explained(clips[1], scenes, "nib", num_steps=steps, batch_size=16)
        peaks.append(torch.cuda.max_memory_allocated())
    assert peaks[1] < 1.1 * peaks[0]


@on_a_real_one
def test_more_than_memory_holds_goes_in_halves(clips, scenes, monkeypatch):
    """A limit of a few MB above what is in use: the batch is halved until it fits, the result is the same."""
    want = explained(clips[1], scenes, "nib", num_steps=40, batch_size=4)
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + 64e6) / total)
    try:
        found = explained(clips[1], scenes, "nib", num_steps=40, batch_size=240)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert torch.allclose(found.image, want.image, atol=1e-5 * float(want.image.abs().max()))
