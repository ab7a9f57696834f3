"""What a row depends on is noticed: methods of one source, modules of one class, masks that are no masks."""

import copy
import functools
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from helpers import new_clip, tiny_clip, tiny_inputs

import nibkit as nk
from nibkit.evaluation.digests import describe_model
from nibkit.methods.identity import written_name
from nibkit.resources import data_dir


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


class Scaled:
    """A method as an object: settings, and a count, a sum and a cache that change as it runs."""

    def __init__(self, factor, mask=(1.0, 2.0)):
        self.factor, self.mask = factor, np.array(mask)
        self.calls, self.total, self.maps, self.cache = 0, np.zeros(2), torch.zeros(2), {}

    def __call__(self, clip, inputs):
        return self.explain(clip, inputs)

    def explain(self, clip, inputs):
        self.calls += 1
        self.total[0] += 1.0
        self.maps.add_(1.0)
        self.cache[self.calls] = nk.saliency(clip, inputs)
        return self.cache[self.calls]


class Doubled(Scaled):
    def __call__(self, clip, inputs):
        return 2 * super().__call__(clip, inputs)


def test_objects_that_can_be_called_are_told_apart_by_their_class_and_their_values():
    names = [written_name(one) for one in (Scaled(1.0), Scaled(2.0), Scaled(1.0, (1.0, 3.0)), Doubled(1.0))]
    names += [written_name(one.explain) for one in (Scaled(1.0), Scaled(2.0))]
    assert len(set(names)) == 6 and written_name(Scaled(1.0)) == names[0]


@pytest.mark.parametrize("start", ["__call__", "explain"])
def test_what_changes_while_an_object_runs_does_not_count(start):
    one = Doubled(1.0) if start == "explain" else Scaled(1.0)
    before = written_name(getattr(one, start))
    getattr(one, start)(tiny_clip(), tiny_inputs((5, 8)))
    assert one.calls == one.total[0] == one.maps[0] == 1 and written_name(getattr(one, start)) == before


def test_a_count_that_a_function_closes_over_does_not_count_but_its_variable_need_not_be_set():
    def method(clip, inputs):
        nonlocal calls
        calls += 1
        return later(clip, inputs)

    calls, before = 0, written_name(method)
    later = nk.saliency
    with_later = written_name(method)
    method(tiny_clip(), tiny_inputs((5, 8)))
    assert calls == 1 and written_name(method) == with_later != before


def hook_by(strength):
    return lambda module, given, output: output * strength


class Editor:
    def __init__(self, strength):
        self.strength, self.calls = strength, 0

    def hook(self, module, given, output):
        self.calls += 1
        return output * self.strength

    __call__ = hook


def scale(module, given, output, strength):
    return output * strength


def patch(module, strength):
    module.forward = lambda x, forward=module.forward: forward(x) * strength


class Wrapped(torch.nn.Module):
    """Another linear layer in the place of the first."""

    def __init__(self, inner, strength):
        super().__init__()
        self.inner, self.strength, self.calls = inner, strength, 0

    def forward(self, x):
        self.calls += 1
        return self.inner(x) * self.strength


CHANGES = {
    "closure": lambda model, s: model.visual_projection.register_forward_hook(hook_by(s)),
    "object": lambda model, s: model.visual_projection.register_forward_hook(Editor(s)),
    "method": lambda model, s: model.visual_projection.register_forward_hook(Editor(s).hook),
    "partial": lambda model, s: model.visual_projection.register_forward_hook(functools.partial(scale, strength=s)),
    "forward": lambda model, s: patch(model.visual_projection, s),
    "class": lambda model, s: setattr(model, "visual_projection", Wrapped(model.visual_projection, s)),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_another_strength_of_a_hook_is_another_model(change):
    """And the same strength the same one, also after use."""
    clips = [new_clip() for _ in range(3)]
    for clip, strength in zip(clips, (0.5, 0.5, 2.0)):
        change(clip.model, strength)
    clips[0].model.visual_projection(torch.ones(1, 32))
    one, same, other = (describe_model(clip)["architecture"] for clip in clips)
    assert one == same != other


def test_a_model_in_another_folder_is_the_same_model(tmp_path):
    shutil.copytree(data_dir() / "shapes-clip", tmp_path / "elsewhere")
    here, there = (nk.load_clip(name, device="cpu") for name in ("shapes", tmp_path / "elsewhere"))
    assert describe_model(here) == describe_model(there)


def test_a_hook_on_every_module_is_another_model():
    before = describe_model(tiny_clip())
    handle = torch.nn.modules.module.register_module_forward_hook(hook_by(2.0))
    try:
        assert describe_model(tiny_clip())["architecture"] != before["architecture"]
    finally:
        handle.remove()
    assert describe_model(tiny_clip()) == before


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
