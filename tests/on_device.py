"""Everything on a CUDA device: results stay on it and are the CPU's.

test_device.py runs these in a process of their own: on a pretended device (``pretend_cuda``) where there is no other, together
with those that look at the pretence itself (on_pretended_device.py).
"""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import tiny_inputs, tiny_model
from matplotlib import pyplot as plt

import nibkit as nk
from nibkit.__main__ import main
from nibkit.methods import batches, controls
from nibkit.metrics import masking
from nibkit.metrics.localisation import named_masks, named_words
from nibkit.model import repeatable as precision
from nibkit.show import explorer as widgets
from nibkit.theory.quadrature import RULES

PRETENDED = getattr(torch.cuda, "pretended", False)
on_pretended = pytest.mark.skipif(not PRETENDED, reason="looks at the pretended device")
QUICK = {"rise": {"num_masks": 40, "num_text_masks": 20}, "m2ib": {"num_steps": 3, "draws": 2}}
CASES = [(name, variant) for name in nk.METHODS if name != "nib" for variant in ("paper", "original")]
CASES += [("nib", None), ("legrad", None), ("gradeclip", "multihead"), ("gradeclip", "original"), ("cplrp", None)]


@pytest.fixture(scope="module")
def here():
    return nk.Clip(tiny_model(), name="tiny")


@pytest.fixture(scope="module")
def there():
    return nk.Clip(tiny_model().to("cuda"), name="tiny")


@pytest.fixture(scope="module")
def shapes():
    return nk.load_clip("shapes", device="cuda")


def holed() -> nk.Inputs:
    """Three pairs, one with a hole in its attention mask."""
    inputs = tiny_inputs((5, 8, 3))
    inputs.attention_mask[1, 2] = 0
    return inputs


def alike(ours: nk.Attribution, cpu: nk.Attribution) -> None:
    """Every tensor is on the device, and the CPU's to single precision."""
    for name, value in vars(cpu).items():
        if isinstance(value, torch.Tensor):
            found = getattr(ours, name)
            assert found.device.type == "cuda", name
            assert torch.allclose(found.cpu(), value, rtol=1e-3, atol=1e-6 + 1e-4 * float(value.abs().max())), name
    assert ours.tokens == cpu.tokens and ours.words == cpu.words


@pytest.mark.parametrize(["name", "variant"], CASES)
def test_every_method(here, there, name, variant):
    found = []
    for clip in (there, here):
        options = dict(QUICK.get(name, {})) | ({} if variant is None else {"variant": variant})
        if (name, variant) == ("mfaba", "original"):
            options |= {"distractors": tiny_inputs((4, 6), seed=1), "num_steps": 4}
        found.append(getattr(nk, name)(clip, holed(), **options))
    alike(*found)
    one = found[0][1]
    assert len(one) == 1 and one.heatmap(48).device.type == "cuda" and one.cpu().heatmap(48).device.type == "cpu"


@pytest.mark.parametrize("rule", RULES)
def test_every_rule(here, there, rule):
    alike(*(nk.nib(clip, holed(), layer=(2, 3), rule=rule, num_steps=12, batch_size=7) for clip in (there, here)))


def test_features_and_inputs(here, there):
    inputs = holed().to(there.device, there.dtype)
    assert inputs[torch.tensor([2, 0])].input_ids.is_cuda and inputs[1].attention_mask.is_cuda
    for what in ("encode_image", "encode_text", "similarity"):
        found, want = getattr(there, what)(holed()), getattr(here, what)(holed())
        assert found.is_cuda and torch.allclose(found.cpu(), want, atol=1e-5)
    assert there.tokens(inputs) == here.tokens(holed())
    with nk.count_passes(there) as passes:
        nk.nib(there, inputs)
    assert (passes.forward_image, passes.backward_text) == (36, 30)
    only_start = (torch.arange(inputs.input_ids.shape[1]) < 1).expand(len(inputs), -1).long()
    broken = nk.Inputs(inputs.pixel_values, inputs.input_ids, only_start.to(there.device))
    with pytest.raises(ValueError, match="caption 0 has nothing"):
        masking.find_words(there, broken)


@pytest.mark.parametrize("back", [False, True], ids=["maps on the device", "maps brought back"])
@pytest.mark.parametrize("protocol", ["paper", "eos"])
def test_confidence(here, there, protocol, back):
    inputs, att = tiny_inputs((5, 8, 3)), nk.nib(there, tiny_inputs((5, 8, 3)))
    found = nk.confidence(there, inputs, att.cpu() if back else att, protocol=protocol)
    assert np.allclose(found, nk.confidence(here, inputs, att.cpu(), protocol=protocol), atol=1e-2, equal_nan=True)


@pytest.mark.parametrize("unit", ["patch", "pixel"])
def test_curves(here, there, unit):
    inputs, att = tiny_inputs((5, 8, 3)), nk.nib(there, tiny_inputs((5, 8, 3)))
    for ours in (att, att.cpu()):
        found, want = (
            nk.curves(clip, inputs, ours.cpu() if clip is here else ours, steps=4, unit=unit) for clip in (there, here)
        )
        assert np.allclose(found.drop(columns="side"), want.drop(columns="side"), atol=1e-4)
    assert (nk.insertion_deletion(there, inputs, att, steps=4, unit=unit).notna()).all(axis=None)


def test_scores_against_the_truth(shapes):
    scenes = nk.shapes.sample(3, seed=5, captions="some")
    inputs = shapes.prepare([s.image for s in scenes], [s.caption for s in scenes])
    masks, distractors = named_masks(scenes)
    words = named_words(scenes, inputs)
    maps = controls.controls(shapes, inputs, seed=1, masks=masks, words=words) | {"nib": nk.nib(shapes, inputs)}
    for name, att in maps.items():
        assert att.image.is_cuda and att.text.is_cuda and att.similarity.is_cuda, name
        nk.confidence(shapes, inputs, att)
        table = nk.localisation(att, masks, distractors)
        tensors = (torch.as_tensor(m, device=shapes.device) for m in (masks, distractors))
        assert table.equals(nk.localisation(att, *tensors))
    assert (nk.localisation(maps["oracle"], masks).pointing == 1).all()
    again = controls.oracle_map(shapes, inputs, torch.as_tensor(masks, device=shapes.device))
    assert torch.equal(again.pixels, maps["oracle"].pixels)


def test_a_benchmark(shapes):
    methods = {"nib": "nib", "gradcam": "gradcam", "oracle": controls.oracle_map}
    table = nk.evaluate(shapes, nk.datasets.shapes(3, seed=5), methods, curve_steps=2, progress=False, batch_size=2)
    assert len(table) == 9 and table[["image_drop", "pointing", "image_insertion_auc", "seconds"]].notna().all(axis=None)
    assert not table.attrs["skipped"]


def test_figures_and_the_explorer(shapes):
    scenes = nk.shapes.sample(2, seed=5)
    att = nk.nib(shapes, shapes.prepare([s.image for s in scenes], [s.caption for s in scenes]))
    nk.plots.explain(scenes[1].image, att, 1)
    nk.plots.maps([s.image for s in scenes], att, shared=True)
    assert scenes[1].phrases[0].split()[0] in nk.plots.words_html(att, 1).data
    widgets.explorer(shapes, scenes)
    nk.claim("BA6", att.image, att.image)
    plt.close("all")


def test_the_command_line(tmp_path, capsys):
    picture = Path(__file__).parents[1] / "data" / "scene.png"
    assert main(["explain", str(picture), "a purple heart", "--device", "cuda", "--out", str(tmp_path / "map.png")]) == 0
    assert (tmp_path / "map.png").exists() and "purple" in capsys.readouterr().out


def test_a_copied_model_and_one_brought_back(there, here):
    twin = nk.Clip(copy.deepcopy(there.model))
    assert torch.equal(twin.encode_text(holed()), there.encode_text(holed()))
    alike(nk.nib(twin, holed()), nk.nib(nk.Clip(twin.model.to("cpu")), holed()))


@pytest.fixture
def tf32():
    """Torch's own setting: convolutions may be rounded to TF32. A function that says whether it is still so."""
    convolutions = torch.backends.cudnn.conv
    before, convolutions.fp32_precision = convolutions.fp32_precision, "tf32"
    yield lambda: convolutions.fp32_precision == "tf32"
    convolutions.fp32_precision = before


def test_heads_and_tails_by_hand_are_as_exact_as_a_methods(here, there, tf32):
    """Outside a call torch's own settings rule."""
    inputs = holed()
    with torch.no_grad():
        z, want = there.image.head(inputs.to(there.device, there.dtype), 3).cpu(), here.image.head(inputs, 3)
    assert (z - want).abs().max() < 1e-5 * want.abs().max()  # float32's rounding is 1e-6 of it, TF32's 1e-3
    assert tf32()


def test_the_device_is_left_as_it_was(there, tf32):
    before = torch.backends.cuda.matmul.fp32_precision
    nk.nib(there, holed())
    assert tf32() and torch.backends.cuda.matmul.fp32_precision == before
    assert not torch.are_deterministic_algorithms_enabled()


def test_a_batch_is_as_large_as_keeps_the_device_busy_or_as_half_of_its_memory_holds(there, monkeypatch):
    tower = there.image
    row = tower.positions * 32
    for name in ("memory_reserved", "memory_allocated"):
        monkeypatch.setattr(torch.cuda, name, lambda *_: 0)
    for free, size in ((80e9, batches.BUSY // row), (2 * 24 * 5 * row * 4 * 100, 100), (1000, 1)):
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda *_, free=free: (int(free), int(80e9)))
        assert batches.default_batch_size(tower) == size
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda *_: 24 * 5 * row * 4 * 100)  # torch's own reserve counts as free
    assert batches.default_batch_size(tower) == 50


@on_pretended
def test_a_product_before_the_import_costs_repeatability_alone(there, monkeypatch):
    """cuBLAS has read its settings by then, and torch refuses every product that is asked to be repeatable."""
    import pretend_arithmetic

    monkeypatch.setattr(pretend_arithmetic, "_workspace", lambda: False)
    precision.products_keep_their_order.cache_clear()
    with pytest.warns(UserWarning, match="before nibkit was imported") as told:
        nk.nib(there, holed())
        nk.nib(there, holed())
    assert len(told) == 1
    precision.products_keep_their_order.cache_clear()
