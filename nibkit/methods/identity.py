"""How a file's settings call a function: the same text in every process, another one for other code or other values in it.

Values count as far as they can't change while the function runs: numbers, texts, arrays, functions, and the lists, dicts and
objects that hold them. What its code sets anew or changes in place (a counter, a sum, a cache) is left out, and so is the state
of a random generator: a run must find its own file again.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import json
import random
import re
from collections.abc import Callable, Iterable, Mapping
from types import BuiltinFunctionType, FunctionType, ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import torch

from ..model.clip import Clip
from .source import (
    CACHED,
    Names,
    attributes,
    changed_by,
    changed_by_methods,
    function_of,
    is_library,
    kinds_of,
    layers,
    names_in,
    public_module,
    qualified_name,
    source_of,
    sources_of,
    with_helpers,
)

NONE = frozenset[str]()
ADDRESS = re.compile(r"\bat 0x[0-9a-fA-F]+")
NUMBERS = (bool, int, float, complex, str, bytes, np.generic, np.ndarray, torch.Tensor)
HOLDERS = (list, dict, set, frozenset, SimpleNamespace)
RANDOM = (np.random.Generator, np.random.RandomState, torch.Generator, random.Random)
NAMED = (ModuleType, type, *RANDOM)  # by name alone
FUNCTIONS = (FunctionType, BuiltinFunctionType, CACHED)  # those of the same module count as what is called
DEEPEST = 100  # objects in one another
TORCHS = frozenset(vars(torch.nn.Module()))  # of each module: its weights and the modules in it count on their own
PASSING = frozenset({"training", "_is_full_backward_hook"})  # of torch's modules: set anew as they are used


def written_name(function: Callable) -> str:
    """Its module and name; of the user's own also a digest of what it is.

    That is its source, its defaults, the values that it closes over or reads as globals, and the same of the functions of its
    module that it calls; of a method or an object that can be called also the class's source and the object's own values.
    Not told apart: what is called in other modules, and a class's attributes. What a function changes of an object that was
    handed to it, or through ``setattr`` or ``__dict__``, is not seen: such an object is another one after the run.
    """
    if isinstance(function, functools.partial):
        return f"{written_name(function.func)} {json.dumps([function.args, function.keywords], default=plain, sort_keys=True)}"
    name = f"{public_module(function)}.{qualified_name(function)}"
    if name.startswith("nibkit."):  # which has a version
        return name
    called = function_of(getattr(function, "__func__", function))
    parts = [] if called is None else _of_functions([called])
    if not inspect.isfunction(function_of(function)):
        parts += of_object(getattr(function, "__self__", function), getattr(function, "__name__", "__call__"), weights=True)
    if not parts and not inspect.isroutine(function) and not isinstance(function, type):  # a library's object: a picture, say
        parts = [_settled(function)]
    return f"{name} {_short(parts)[:12]}" if parts else name


def of_object(owner: Any, start: str, weights: bool = False) -> list:
    """The source of an object's class, and its values that do not change while its method ``start`` runs; [] of a library's.

    weights: of a torch module also its weights and the modules in it.
    """
    if isinstance(owner, type) or not (sources := sources_of(owner)):
        return []
    start = getattr(getattr(type(owner), start, None), "__name__", start)  # its own name, where ``__call__ = hook``
    inner = functools.partial(_settled, within=(id(owner),), seen={})
    return _of_user(owner, sources, {start}, inner, NONE, PASSING if weights else TORCHS)


def _of_user(owner: Any, sources: list[str], starts: set[str], inner: Callable, changing: Names, torchs: Names) -> list:
    """The sources, values and functions of an object of the user's; inner writes a value, torchs are left out of a module."""
    own, every = changed_by_methods(*sources, starts=starts)
    functions = with_helpers(
        [function for kind in kinds_of(owner) for member in vars(kind).values() for function in layers(member)]
    )
    every |= changing.union(changed_by(*(source_of(function.__code__) for function in functions)) if functions else ())
    inner = functools.partial(inner, used=attributes(*sources), changing=every)
    try:
        named, more = _state_of(owner)
    except Exception:  # it can't be pickled
        named, more = {}, []
    lazy = {
        name for kind in type(owner).__mro__ for name, one in vars(kind).items() if isinstance(one, functools.cached_property)
    }
    left_out = changing | own | lazy | (torchs if isinstance(owner, torch.nn.Module) else NONE)
    named |= getattr(owner, "__dict__", {})
    for part in {"_parameters", "_buffers"} & named.keys() - left_out:  # each by its own name, as code changes them
        named |= named.pop(part)
    values = {name: inner(one) for name, one in named.items() if name not in left_out}
    return [*sources, values, inner(more), *(_of_function(function, inner, every) for function in functions)]


def _of_functions(functions: list[Any], within: tuple = (), changing: Names = NONE, seen: Any = None) -> list:
    """Each function, what it wraps, and what these call in their module: sources, defaults and the values from outside."""
    every = with_helpers([layer for function in functions for layer in layers(function)])
    changing = changing.union(changed_by(*(source_of(function.__code__) for function in every)))
    inner = functools.partial(_settled, within=(*within, *map(id, every)), seen={} if seen is None else seen)
    return [_of_function(function, inner, changing) for function in every]


def _of_function(function: Any, inner: Callable, changing: Names) -> list:
    """Its source, its defaults and the values that it finds outside itself, but for those of the names that change."""
    source, home = source_of(function.__code__), function.__globals__
    outside = {} if is_library(function) else {name: home[name] for name in names_in(function.__code__) if name in home}
    outside = {name: value for name, value in outside.items() if not isinstance(value, (*NAMED, *FUNCTIONS))}
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or ()):
        try:
            outside[name] = cell.cell_contents
        except ValueError:  # empty: its variable is not set yet
            continue
    values = {name: value for name, value in outside.items() if name not in changing} | (function.__kwdefaults__ or {})
    settled = functools.partial(inner, used=attributes(source), changing=changing)
    return [source, settled(function.__defaults__), {name: settled(values[name]) for name in sorted(values)}]


def _settled(value: Any, within: tuple = (), used: Names = NONE, changing: Names = NONE, seen: dict | None = None) -> Any:
    """A number or text as it is, anything else as a digest of what it holds; once, if it holds itself.

    within: what is being written already. used, changing: the attributes that the code around it names, and that it changes.
    seen: what was written before.
    """
    if value is None or isinstance(value, NUMBERS):
        return value
    if id(value) in within:
        return "itself"
    if len(within) >= DEEPEST:
        return type(value).__qualname__
    seen = {} if seen is None else seen
    key = (id(value), used, changing)
    if key not in seen:
        inner = functools.partial(_settled, within=(*within, id(value)), used=used, changing=changing, seen=seen)
        seen[key] = _short(_contents(value, inner, within, used, changing, seen)), value  # kept, so that no other has its id
    return seen[key][0]


def _contents(value: Any, inner: Callable, within: tuple, used: Names, changing: Names, seen: dict) -> Any:
    """What a value holds, as JSON has it or ``plain`` makes it."""
    if (function := function_of(value)) is not None:
        nibkits = public_module(function).startswith("nibkit.")
        return written_name(function) if nibkits else _of_functions([function], within, changing, seen)
    if inspect.ismethod(value):
        return [value.__name__, inner(value.__func__), inner(value.__self__, used=used | {value.__name__})]
    if type(value) in (list, tuple):
        return [inner(one) for one in value]
    if isinstance(value, (set, frozenset)):
        return {"set": sorted((inner(one) for one in value), key=_short), "kind": type(value).__qualname__}
    if type(value) is dict:
        return {"dict": sorted(([inner(name), inner(one)] for name, one in value.items()), key=_short)}
    if isinstance(value, NAMED):
        return getattr(value, "__name__", type(value).__qualname__)
    if isinstance(value, Clip):  # not when it was last checked
        return [inner(value.model), inner(value.tokenizer), inner(value.image_processor)]
    if hasattr(type(value), "backend_tokenizer"):  # what comes first, padding and truncation, each call sets anew
        return [
            type(value).__qualname__,
            str(value.padding_side),
            value.backend_tokenizer.to_str().partition('"added_tokens"')[2],
        ]
    return _of_state(value, inner, used, changing)


def _of_state(value: Any, inner: Callable[[Any], Any], used: Names, changing: Names) -> Any:
    """Another object: its class, and what it would be pickled as, but for what its methods change; else its type alone."""
    kind = f"{type(value).__module__}.{type(value).__qualname__}"
    if sources := sources_of(value):
        return [kind, *_of_user(value, sources, {*used, "__call__"}, inner, changing, PASSING)]
    try:
        reduced = value.__reduce_ex__(2)
    except Exception:  # a lock, an open file, a generator: there is nothing to compare
        return kind
    if isinstance(reduced, str):
        return [kind, reduced]
    named, more = _state_of(value)
    left_out = changing | (PASSING if isinstance(value, torch.nn.Module) else NONE)
    return [kind, {str(name): inner(one) for name, one in named.items() if name not in left_out}, inner(more)]


def _state_of(value: Any) -> tuple[dict, list]:
    """(an object's attributes, by name, those of ``__slots__`` too; all else that it would be pickled as)."""
    reduced = value.__reduce_ex__(2)
    if isinstance(reduced, str):
        return {}, [reduced]
    _, arguments, state, *items = (*reduced, None, None, None)[:5]
    parts = state if isinstance(state, tuple) and len(state) == 2 else (state,)
    if not all(part is None or isinstance(part, Mapping) for part in parts):
        return {}, [arguments, state, *map(_listed, items)]
    return {name: one for part in parts if part for name, one in part.items()}, [arguments, *map(_listed, items)]


def _listed(some: Iterable | None) -> list | None:
    return None if some is None else list(some)


def _short(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, default=plain, sort_keys=True).encode()).hexdigest()[:16]


def plain(value: Any) -> Any:
    """What JSON has no form for: numpy's numbers as Python's, arrays and tensors whole (their repr leaves out the middle),
    functions by name and source, all else as its repr, or, where that has an address in memory, by its type."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray) and value.dtype == object:  # its bytes are addresses
        value = value.tolist() if value.ndim else [value.item()]
    if isinstance(value, (np.ndarray, torch.Tensor)):
        content = hashlib.sha256(_bytes_of(value)).hexdigest()[:16]
        return f"{type(value).__name__} {value.dtype} {list(value.shape)} {content}"
    if isinstance(value, bytes):
        return f"bytes {hashlib.sha256(value).hexdigest()[:16]}"
    if isinstance(value, HOLDERS):  # a set has another order in every process
        return f"{type(value).__name__} {_settled(value)}"
    if inspect.isroutine(value) or isinstance(value, functools.partial):
        return written_name(value)
    unsaid = isinstance(value, torch.nn.Module) or hasattr(value, "__array__")  # of a model or a table repr says a part
    return written_name(value) if unsaid or ADDRESS.search(text := repr(value)) else text


def _bytes_of(value: np.ndarray | torch.Tensor) -> bytes:
    """An array's numbers in its own type; nothing of a tensor without any (on torch's device "meta")."""
    if isinstance(value, np.ndarray):
        return value.tobytes()
    if value.is_meta:
        return b""
    dense = value.detach().to_dense() if value.layout != torch.strided else value.detach()
    return dense.cpu().resolve_conj().resolve_neg().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
