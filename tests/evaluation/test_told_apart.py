"""What a row depends on is noticed: methods of one source, modules of one class, masks that are no masks."""

import copy
from types import SimpleNamespace

import numpy as np
import pytest
from helpers import tiny_clip, tiny_inputs

import nibkit as nk
from nibkit.evaluation.digests import describe_model
from nibkit.methods.registry import written_name


def scaled(factor, offset=0.0):
    def method(clip, inputs, power=offset):
        return nk.saliency(clip, inputs)._changed(lambda values: values * factor + power)

    return method


def test_methods_of_one_source_are_told_apart_by_what_they_close_over_and_their_defaults():
    names = [written_name(method) for method in (scaled(1.0), scaled(-1.0), scaled(1.0, 2.0))]
    assert len(set(names)) == 3
    assert written_name(scaled(1.0)) == names[0]


def counting():
    """A function that closes over a list which grows as it runs, over itself, and over one that closes over it."""
    calls = []

    def method(clip, inputs):
        calls.append(other)
        return nk.saliency(clip, inputs)

    def other():
        return method

    return method


def test_what_changes_while_a_method_runs_does_not_count():
    method = counting()
    before = written_name(method)
    method(tiny_clip(), tiny_inputs((5, 8)))
    assert written_name(method) == before == written_name(counting())


@pytest.mark.parametrize("change", ["eps", "scale"])
def test_a_setting_on_a_module_is_another_model(change):
    clip, other = tiny_clip(), copy.deepcopy(tiny_clip())
    assert describe_model(clip) == describe_model(other)
    if change == "eps":
        other.model.vision_model.post_layernorm.eps = 0.5
    else:
        other.model.vision_model.encoder.layers[0].self_attn.scale *= 2
    assert describe_model(clip)["architecture"] != describe_model(other)["architecture"]


def test_masks_that_are_not_boolean_cost_their_row():
    clip, scene = nk.load_clip("shapes", device="cpu"), nk.shapes.sample(1, 0)[0]
    soft = np.full((1, 224, 224), 0.01, np.float32)
    pairs = [
        SimpleNamespace(id=id, image=scene.image, caption="a red heart", masks=m) for id, m in (("a", soft), ("b", soft > 0.5))
    ]
    with pytest.warns(UserWarning, match="masks must be booleans"):
        table = nk.evaluate(clip, pairs, ["saliency"], progress=False)
    assert list(table["pair"]) == ["b"]
