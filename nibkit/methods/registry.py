"""The methods of a benchmark: names, functions and options made into one list, checked before any work is done."""

from __future__ import annotations

import functools
import hashlib
import inspect
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from .attention import chefer, fastig, saliency
from .attribution import Attribution
from .cplrp import cplrp
from .gradcam import gradcam
from .gradeclip import gradeclip
from .legrad import legrad
from .m2ib import m2ib
from .mfaba import mfaba
from .nib import nib
from .rise import rise

METHODS: dict[str, Callable[..., Attribution]] = {  # the paper's eight, which are what "all methods" means
    "nib": nib,
    "m2ib": m2ib,
    "rise": rise,
    "gradcam": gradcam,
    "chefer": chefer,
    "saliency": saliency,
    "mfaba": mfaba,
    "fastig": fastig,
}
# Methods that the paper does not compare.
BEYOND: dict[str, Callable[..., Attribution]] = {"legrad": legrad, "gradeclip": gradeclip, "cplrp": cplrp}

TRUTH = ("masks", "words")  # parameters that a benchmark fills in from the pairs: ``controls.oracle_map`` has them


@dataclass(frozen=True)
class Method:
    """A method under the label that it has in the table.

    name: how the file's settings call the function. truth: those of ``TRUTH`` that it takes and that no option gives.
    """

    label: str
    name: str
    function: Callable[..., Attribution]
    options: dict
    truth: tuple[str, ...] = ()

    @property
    def written(self) -> str:
        """Function and options as text, the same for the same call."""
        return f"{self.name} {json.dumps(self.options, sort_keys=True, default=_plain)}"


def _plain(value: Any) -> Any:
    """What JSON has no form for: numpy's numbers as Python's, arrays and tensors whole (their repr leaves out the middle),
    functions by name and source, all else as its repr."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, (np.ndarray, torch.Tensor)):
        array = value.detach().cpu().double().numpy() if isinstance(value, torch.Tensor) else value
        content = hashlib.sha256(array.tobytes()).hexdigest()[:16]
        return f"{type(value).__name__} {value.dtype} {list(value.shape)} {content}"
    return written_name(value) if inspect.isfunction(value) else repr(value)


def written_name(function: Callable) -> str:
    """How a file's settings call a function: its module and name, of the user's own also a digest of what it is.

    That is its source, its defaults, and the values that it closes over as far as they can't change while it runs: numbers,
    texts, arrays, functions. An object that can be called is known by name alone.
    """
    if isinstance(function, functools.partial):
        return f"{written_name(function.func)} {json.dumps([function.args, function.keywords], default=_plain)}"
    name = f"{public_module(function)}.{qualified_name(function)}"
    if name.startswith("nibkit.") or not hasattr(function, "__code__"):  # of nibkit, which has a version; an object
        return name
    values = {**inspect.getclosurevars(function).nonlocals, **(function.__kwdefaults__ or {})}
    given = [_settled(function.__defaults__), {key: _settled(value) for key, value in values.items()}]
    text = source_of(function) + json.dumps(given, default=_plain, sort_keys=True)
    return f"{name} {hashlib.sha256(text.encode()).hexdigest()[:12]}"


def source_of(function: Callable) -> str:
    """Its source; "" of one that was typed at a prompt, or is not written in Python."""
    try:
        return inspect.getsource(function)
    except (OSError, TypeError):
        return ""


def _settled(value: Any) -> Any:
    """A default, or what a function closes over: a function by its source (it may close over the first), a container by type."""
    if isinstance(value, (bool, int, float, str, np.generic, np.ndarray, torch.Tensor, type(None))):
        return value
    if isinstance(value, tuple):
        return [_settled(one) for one in value]
    return source_of(value) if inspect.isfunction(value) else type(value).__qualname__


def read_methods(methods: Iterable[str] | Mapping | None, options: Mapping[str, Mapping] | None, seed: int) -> list[Method]:
    """The methods that ``evaluate``'s arguments mean. ValueError or TypeError if one is unknown or takes no such option."""
    methods = list(METHODS) if methods is None else [methods] if isinstance(methods, str) else methods
    if not isinstance(methods, Mapping):
        labels = list(methods)
        if repeated := {str(label) for label in labels if labels.count(label) > 1}:
            raise ValueError(f"methods names {', '.join(sorted(repeated))} twice: give a mapping with a label for each")
        methods = {label: label for label in labels}
    if not methods:
        raise ValueError(f"methods is empty: the methods are {all_names()}")
    if unused := set(options or {}) - set(methods):
        raise ValueError(f"options for {', '.join(sorted(unused))}, which is not among the methods")
    return [_read_method(label, chosen, (options or {}).get(label, {}), seed) for label, chosen in methods.items()]


def _read_method(label: str, chosen: object, more: Mapping, seed: int) -> Method:
    """One method: ``chosen`` is a name or a function, alone or as (that, its options)."""
    name, own = chosen if isinstance(chosen, tuple) else (chosen, {})
    function = METHODS.get(name, BEYOND.get(name)) if isinstance(name, str) else name
    if not isinstance(label, str) or not label:
        raise TypeError(f"a method's label must be text; got {label!r}")
    if not callable(function):
        raise ValueError(f"unknown method {name!r}: the methods are {all_names()}, or give a function")
    if isinstance(function, functools.partial) and not function.args:
        partial: functools.partial = function
        name, function, own = partial.func, partial.func, {**partial.keywords, **own}
    options = {**own, **more}
    signature = inspect.signature(function)
    truth = tuple(parameter for parameter in TRUTH if parameter in signature.parameters and parameter not in options)
    try:
        signature.bind(None, None, **options, **dict.fromkeys(truth))
    except TypeError as error:
        raise TypeError(f"method {label!r} can't be called with these options: {error}") from error
    if "seed" in signature.parameters:
        options.setdefault("seed", seed)
    written = name if isinstance(name, str) else written_name(function)
    return Method(label, written, function, options, truth)


def all_names() -> str:
    """Every method's name, for a message: the paper's eight and, called so, those beyond the paper."""
    return f"{', '.join(METHODS)}, beyond the paper {', '.join(BEYOND)}"


def public_module(function: Callable) -> str:
    """A function's module; of nibkit's own without the room, so that no stored benchmark depends on where a file lies."""
    module = function.__module__
    return f"nibkit.{module.rpartition('.')[2]}" if module.startswith("nibkit.") else module


def qualified_name(function: Callable) -> str:
    """A function's name, or that of a callable object's class: the same in every process."""
    return getattr(function, "__qualname__", type(function).__qualname__)
