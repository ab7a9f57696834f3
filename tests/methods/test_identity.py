"""A method's name tells what it closes over, what it reads and what it calls: by value, and the same in every process."""

import functools
import linecache
import textwrap
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from helpers import tiny_clip, tiny_inputs
from PIL import Image

import nibkit as nk
from nibkit.methods.identity import written_name


class Strength:
    """A setting as an object, with a count that changes as it is used, and a setter that nobody calls."""

    def __init__(self, value):
        self.value, self.used = value, 0

    def scale(self, values):
        self.used += 1
        return values * self.value

    def set(self, value):
        self.value = value


def closing_over(held, seen=None):
    def method(clip, inputs):
        if seen is not None:
            seen.append(inputs)
        return nk.saliency(clip, inputs)._changed(lambda values: held.scale(values) if hasattr(held, "scale") else values)

    return method


HELD = {
    "object": Strength,
    "method": lambda value: Strength(value).scale,
    "partial": lambda value: functools.partial(Strength, value),
    "in a list": lambda value: [Strength(value)],
    "list": lambda value: [value],
    "dict": lambda value: {"strength": {"of": value}},
    "set": lambda value: {value, "x"},
    "namespace": lambda value: SimpleNamespace(strength=value),
    "array in it": lambda value: SimpleNamespace(strength=np.full(3, value)),
    "array of objects": lambda value: np.array([Strength(value), None]),
    "table": lambda value: pd.DataFrame({"a": [value, 1.0], "b": ["x", "y"]}),
    "picture": lambda value: Image.new("L", (3, 3), int(value)),
    "weights": lambda value: torch.nn.Linear(1, 1).requires_grad_(False).apply(
        lambda layer: (layer.weight.fill_(value), layer.bias.fill_(0.0))
    ),
    "function": lambda value: closing_over(Strength(value)),
}  # fmt: skip


@pytest.mark.parametrize("make", HELD.values(), ids=HELD)
def test_what_a_method_closes_over_counts_by_what_it_holds(make):
    """And the same values are the same, in another object, also after use."""
    one, same, other = (closing_over(make(value)) for value in (2.0, 2.0, 3.0))
    before = written_name(one)
    assert before == written_name(same) != written_name(other)
    one(tiny_clip(), tiny_inputs((5, 8)))
    assert written_name(one) == before
    one, same, other = (written_name(functools.partial(one, seen=make(value))) for value in (2.0, 2.0, 3.0))
    assert one == same != other


def test_an_object_that_holds_its_settings_in_another_is_told_apart():
    names = [written_name(Strength(SimpleNamespace(of=value)).scale) for value in (1.0, 1.0, 2.0)]
    assert names[0] == names[1] != names[2]


def test_the_state_of_a_random_generator_does_not_count_and_what_holds_itself_ends():
    draw, ring = np.random.default_rng(0), []
    ring.append(ring)
    method = closing_over(SimpleNamespace(draw=draw, ring=ring))
    before = written_name(method)
    draw.random(9)
    assert written_name(method) == before


def in_a_module(source: str):
    """The function ``method`` of a module of this source."""
    module = {"__name__": "mine", "nk": nk}
    lines = textwrap.dedent(source)
    file = f"<mine {len(linecache.cache)}>"
    linecache.cache[file] = (len(lines), None, lines.splitlines(keepends=True), file)
    exec(compile(lines, file, "exec"), module)
    return module["method"]


@pytest.mark.parametrize(
    "settings, code", [("strengths = {}", "strengths[0]"), ("def strength(): return {}[0]", "strength()"),
                       ("def inner(): return {}\ndef strength(): return inner()[0]", "strength()")]
)  # fmt: skip
def test_what_a_method_reads_and_calls_in_its_module_counts(settings, code):
    body = f"\ndef method(clip, inputs):\n    return nk.saliency(clip, inputs)._changed(lambda values: values * {code})\n"
    one, same, other = (written_name(in_a_module(settings.format(value) + body)) for value in ([2.0], [2.0], [3.0]))
    assert one == same != other
