"""Methods told apart by what they are made of, of every kind, and found again after they have run."""

import collections
import dataclasses
import functools
import importlib
import time

import numpy as np
import pytest
import torch
from helpers import new_clip, tiny_clip, tiny_inputs
from test_identity import Strength, closing_over, in_a_module

import nibkit as nk
from nibkit.methods.identity import plain, written_name

BODY = "\ndef method(clip, inputs):\n    return {}\n"
OF_A_MODULE = {
    "cached method": "import functools\nstrength = {}\n@functools.cache\ndef method(clip, inputs): return strength",
    "cached helper": "import functools\n@functools.lru_cache(9)\ndef helper(): return {}" + BODY.format("helper()"),
    "wrapped helper": "import torch\n@torch.no_grad()\ndef helper(): return {}" + BODY.format("helper()"),
    "helper of a wrapped method": "import torch\n"
    "def helper(): return {}\n@torch.no_grad()\ndef method(clip, inputs): return helper()",
    "partial": "import functools\ndef score(k): return k\nscored = functools.partial(score, k={})" + BODY.format("scored()"),
    "weights": "import torch\nlayer = torch.nn.Linear(1, 1)\nlayer.load_state_dict({{'weight': torch.tensor([[{}]]), 'bias': "
    "torch.zeros(1)}})" + BODY.format("layer(inputs)"),
    "path": "from pathlib import Path\nplace = Path('{}')" + BODY.format("place"),
    "table": "import pandas\ntable = pandas.DataFrame([{}])" + BODY.format("table"),
    "method of a class": "strength = {}\nclass Mine:\n    def __call__(self, clip, inputs): return strength\nmethod = Mine()",
    "property": "def helper(): return {}\nclass Mine:\n    @property\n    def k(self): return helper()\n"
    "    def __call__(self, clip, inputs): return self.k\nmethod = Mine()",
}  # fmt: skip


@pytest.mark.parametrize("source", OF_A_MODULE.values(), ids=OF_A_MODULE)
def test_what_a_method_is_made_of_in_its_module_counts(source):
    one, same, other = (written_name(in_a_module(source.format(value))) for value in (2.0, 2.0, 3.0))
    assert one == same != other


class Slots:
    __slots__ = ("value",)

    def __init__(self, value):
        self.value = value

    def __call__(self, clip, inputs):
        return self.value


class Named(collections.UserDict):
    def __call__(self, clip, inputs):
        return self["k"]


class Keyed(dict):
    def __call__(self, clip, inputs):
        return self["k"]


class Pair(tuple):
    def __call__(self, clip, inputs):
        return self[0]


class Layer(torch.nn.Module):
    def __init__(self, value):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.full((1,), value))
        self.register_buffer("calls", torch.zeros(1))

    def forward(self, clip, inputs):
        self.calls += 1
        return self.weight


class Other:
    """It sets an attribute of another object, which has the name of its own setting."""

    def __init__(self, k):
        self.k = k

    def __call__(self, clip, i):
        i.k = 3
        return self.k


class Unpicklable(Strength):
    def __call__(self, clip, inputs):
        return self.value

    def __reduce_ex__(self, protocol):
        raise TypeError("not this one")


OBJECTS = {"unpicklable": Unpicklable, "slots": Slots,
           "keyed": lambda k: Keyed(k=k), "named": lambda k: Named(k=k), "pair": lambda k: Pair([k]),
           "weights": Layer, "of another": Other}  # fmt: skip


@pytest.mark.parametrize("make", OBJECTS.values(), ids=OBJECTS)
def test_objects_are_told_apart_by_all_that_they_hold(make):
    for name in (written_name, lambda value: written_name(closing_over(value))):
        one, same, other = (name(make(value)) for value in (1.0, 1.0, 2.0))
        assert one == same != other


class Statistics:
    """What it computes once, and what it counts in each of several ways."""

    def __init__(self):
        self.stats, self.last, self.counter = {"n": 0}, collections.deque([1, 2, 3], 3), collections.Counter(a=3)

    @functools.cached_property
    def table(self):
        return np.arange(3)

    def __call__(self, clip, inputs):
        stats = self.stats
        stats["n"] += len(self.table)
        self.last.appendleft(stats["n"])
        self.counter.subtract("a")


CHANGING = "CACHE = {}\ndef fill(key): CACHE[key] = 1\n" + BODY.format("fill(3) or CACHE")


@pytest.mark.parametrize(
    "make", [Statistics, lambda: in_a_module(CHANGING), lambda: Layer(1.0)], ids=["object", "helper", "buffer"]
)
def test_what_a_run_leaves_behind_does_not_count(make):
    method = make()
    before = written_name(method)
    method(None, None)
    assert written_name(method) == before


def test_a_method_that_asks_a_second_model_is_found_again_and_another_model_told_apart():
    def asking(clip):
        def method(_, inputs):
            return nk.saliency(clip, clip.prepare([np.zeros((9, 9, 3), np.uint8)], ["a red heart"]))

        return method

    second = nk.load_clip("shapes", device="cpu")
    before = written_name(asking(second))
    asking(second)(None, None)
    assert written_name(asking(second)) == before == written_name(asking(nk.load_clip("shapes", device="cpu")))
    other = new_clip()
    nk.saliency(other, tiny_inputs((5, 8)))
    assert written_name(asking(other)) == written_name(asking(tiny_clip())) != before


def test_keys_count_by_what_they_are():
    keys = [written_name(closing_over({key: 0})) for key in (1, "1", None, "None", np.mean, written_name)]
    assert len(set(keys)) == 6
    one, same, other = (written_name(closing_over({closing_over(value): 0})) for value in (1, 1, 2))
    assert one == same != other


def typed(source):
    module = {"__name__": "typed"}
    exec(source, module)
    return module["method"]


def test_code_without_source_counts_by_what_it_does():
    body = "def method(clip, inputs): return [(lambda x: x {0})(inputs) for _ in inputs {1}]"
    names = [written_name(typed(body.format(*some))) for some in (("+ 1", ""), ("+ 1", ""), ("+ 2", ""), ("- 1", ""))]
    assert names[0] == names[1] and len(set(names)) == 3
    body = "class Mine:\n    def __call__(self): return {}\nmethod = Mine()"
    assert written_name(typed(body.format(1))) != written_name(typed(body.format(2)))


TENSORS = {
    "imaginary": lambda k: torch.tensor([1 + k * 1j]),
    "whole": lambda k: torch.tensor([2**53 + k]),
    "sparse": lambda k: torch.tensor([0.0, k]).to_sparse(),
    "no number": lambda k: torch.empty(k, device="meta"),
    "conjugate": lambda k: torch.tensor([k * 1j]).conj(),
    "half": lambda k: torch.tensor(float(k), dtype=torch.bfloat16),
}


@pytest.mark.parametrize("make", TENSORS.values(), ids=TENSORS)
def test_tensors_count_by_their_numbers(make):
    assert plain(make(0)) == plain(make(0)) != plain(make(1))


def test_what_is_held_many_times_is_written_once():
    held = ["x"]
    for _ in range(60):
        held = [held, held]
    begun = time.perf_counter()
    written_name(closing_over(held))
    assert time.perf_counter() - begun < 1


@dataclasses.dataclass
class Held:
    inner: object = None


def test_many_objects_in_one_another_end():
    one = Held()
    for _ in range(300):
        one = Held(one)
    assert written_name(closing_over(one)) == written_name(closing_over(one))


def test_a_lambda_counts_without_what_stands_beside_it():
    lines = ["method = lambda x: x + {}", "method = lambda x: x + {}  # a remark", "method = (1, lambda x: x + {})[1]"]
    one, *same = (written_name(in_a_module(line.format(1))) for line in lines)
    assert same == [one] * 2 and one != written_name(in_a_module(lines[0].format(2)))
    first, second = (in_a_module(f"method = [lambda x: x + 1, lambda x: x + 2][{i}]") for i in (0, 0))
    assert written_name(first) == written_name(second)
    both = in_a_module("method = lambda: [lambda x: x + 1, lambda x: x + 2]")()
    assert written_name(both[0]) != written_name(both[1])


def test_the_globals_of_an_installed_package_are_left_alone(tmp_path, monkeypatch):
    """They are its own affair, and change as it is used."""
    package = tmp_path / "site-packages"
    package.mkdir()
    package.joinpath("borrowed.py").write_text("CALLS = []\nclass Tool:\n    def use(self): return list(CALLS)\n")
    monkeypatch.syspath_prepend(package)
    borrowed = importlib.import_module("borrowed")
    method = closing_over(borrowed.Tool())
    before = written_name(method)
    borrowed.CALLS.append(1)
    assert written_name(method) == before
