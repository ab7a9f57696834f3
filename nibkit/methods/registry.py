"""The methods of a benchmark: names, functions and options made into one list, checked before any work is done."""

from __future__ import annotations

import functools
import inspect
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from .attention import chefer, fastig, saliency
from .attribution import Attribution
from .cplrp import cplrp
from .gradcam import gradcam
from .gradeclip import gradeclip
from .identity import plain, written_name
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
        return f"{self.name} {json.dumps(self.options, sort_keys=True, default=plain)}"


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
