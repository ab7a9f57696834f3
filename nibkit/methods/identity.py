"""How a file's settings call a function: the same text in every process, another one for other code or other values in it.

Values count as far as they can't change while the function runs: numbers, texts, arrays, functions, and the lists, dicts and
objects that hold them. What its code sets anew or changes in place (a counter, a sum, a cache) is left out, and so is the state
of a random generator: a run must find its own file again.
"""

from __future__ import annotations

import ast
import dis
import functools
import hashlib
import inspect
import json
import random
import re
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import CodeType, SimpleNamespace
from typing import Any

import numpy as np
import torch

ADDRESS = re.compile(r"\bat 0x[0-9a-fA-F]+")
NUMBERS = (bool, int, float, complex, str, bytes, np.generic, np.ndarray, torch.Tensor)
SETTINGS = (*NUMBERS, tuple)
HOLDERS = (list, dict, set, frozenset, SimpleNamespace)
RANDOM = (np.random.Generator, np.random.RandomState, torch.Generator, random.Random)
LIBRARIES = {"nibkit", "torch", "transformers", "numpy", "pandas", "PIL", *sys.stdlib_module_names}  # classes known by name
DEEPEST = 100  # objects in one another
TORCHS = frozenset(vars(torch.nn.Module()))  # of each module: its weights and the modules in it count on their own
IN_PLACE = re.compile("[a-z].*[^_]_|append|extend|insert|pop|popitem|remove|clear|update|setdefault|add|discard|sort|reverse")


def written_name(function: Callable) -> str:
    """Its module and name; of the user's own also a digest of what it is.

    That is its source, its defaults, the values that it closes over or reads as globals, and the same of the functions of its
    module that it calls; of a method or an object that can be called also the class's source and the object's own values.
    """
    if isinstance(function, functools.partial):
        return f"{written_name(function.func)} {json.dumps([function.args, function.keywords], default=plain, sort_keys=True)}"
    name = f"{public_module(function)}.{qualified_name(function)}"
    if name.startswith("nibkit."):  # which has a version
        return name
    parts = _of_function(function) if hasattr(function, "__code__") else []
    if inspect.isfunction(function):
        parts += map(_of_function, _helpers([function]))
    else:
        parts += of_object(getattr(function, "__self__", function), getattr(function, "__name__", "__call__"))
    if not parts and not inspect.isroutine(function) and not isinstance(function, type):  # a library's object: a picture, say
        parts = [_settled(function)]
    text = json.dumps(parts, default=plain, sort_keys=True)
    return f"{name} {hashlib.sha256(text.encode()).hexdigest()[:12]}" if parts else name


def of_object(owner: Any, start: str, within: tuple = ()) -> list:
    """The source of an object's class, and its values that do not change while its method ``start`` runs; [] of a library's."""
    if isinstance(owner, type) or not (sources := _sources(owner)):
        return []
    start = getattr(getattr(type(owner), start, None), "__name__", start)  # its own name, where ``__call__ = hook``
    changing = changed_by(*sources, starts={start}) | {"training"}
    left_out = changing | TORCHS if isinstance(owner, torch.nn.Module) else changing
    values = {name: value for name, value in getattr(owner, "__dict__", {}).items() if name not in left_out}
    methods = [value for kind in type(owner).__mro__ for value in vars(kind).values() if inspect.isfunction(value)]
    helpers = map(_of_function, _helpers([method for method in methods if method.__module__ == type(owner).__module__]))
    settled = functools.partial(_settled, within=(*within, id(owner)), used=attributes(*sources), changing=changing)
    return [*sources, {name: settled(value) for name, value in values.items()}, *helpers]


def _sources(owner: Any) -> list[str]:
    """The sources of an object's class and of those that it inherits from, up to a library's."""
    return [source_of(kind) for kind in type(owner).__mro__ if kind.__module__.partition(".")[0] not in LIBRARIES]


def _of_function(function: Any, within: tuple = ()) -> list:
    """Its source, its defaults and the values that it finds outside itself. within: what is being written already."""
    code: CodeType = function.__code__
    source, home = source_of(code), function.__globals__
    changing = changed_by(source)
    outside = {name: home[name] for name in _names(code) if name in home and _is_own(home[name], function)}
    for name, cell in zip(code.co_freevars, function.__closure__ or ()):
        try:
            outside[name] = cell.cell_contents
        except ValueError:  # empty: its variable is not set yet
            continue
    values = {name: value for name, value in outside.items() if name not in changing} | (function.__kwdefaults__ or {})
    settled = functools.partial(_settled, within=(*within, id(function)), used=attributes(source), changing=changing)
    return [source, settled(function.__defaults__), {name: settled(value) for name, value in values.items()}]


def _is_own(value: Any, function: Any) -> bool:
    """Is a global a value that counts: a setting, what holds some, or an object of a class of the same module?"""
    return isinstance(value, (*SETTINGS, *HOLDERS)) or type(value).__module__ == function.__module__


def _helpers(functions: list[Any]) -> list[Any]:
    """The functions of the same module that these call by name, those that they call, and so on."""
    found, todo = dict[str, Any](), list(functions)
    while todo:
        function = todo.pop()
        called = {name: function.__globals__.get(name) for name in _names(function.__code__)}
        own = {name: f for name, f in called.items() if inspect.isfunction(f) and f.__globals__ is function.__globals__}
        new = {name: f for name, f in own.items() if name not in found and f not in functions}
        found |= new
        todo += new.values()
    return [found[name] for name in sorted(found)]


def _names(code: CodeType) -> set[str]:
    """The globals that it reads, in functions within it, too."""
    inner = [_names(part) for part in code.co_consts if isinstance(part, CodeType)]
    return {op.argval for op in dis.get_instructions(code) if op.opname == "LOAD_GLOBAL"}.union(*inner)


def _settled(value: Any, within: tuple = (), used: frozenset[str] = frozenset(), changing: frozenset[str] = frozenset()) -> Any:
    """A value that is found, as JSON has it or ``plain`` makes it; once, if it holds itself.

    within: what is being written already. used, changing: the attributes that the code around it names, and that it changes.
    """
    if value is None or isinstance(value, NUMBERS):
        return value
    if id(value) in within:
        return "itself"
    if len(within) == DEEPEST:
        return type(value).__qualname__
    if inspect.isfunction(value):
        return written_name(value) if public_module(value).startswith("nibkit.") else _of_function(value, within)
    if inspect.ismethod(value):
        return [value.__name__, _settled(value.__self__, within, used | {value.__name__}, changing)]
    inner = functools.partial(_settled, within=(*within, id(value)), used=used, changing=changing)
    if isinstance(value, (list, tuple)):
        return [inner(one) for one in value]
    if isinstance(value, (set, frozenset)):
        return sorted(json.dumps(inner(one), default=plain, sort_keys=True) for one in value)
    if isinstance(value, dict):
        return {str(name): inner(one) for name, one in value.items()}
    if inspect.ismodule(value) or isinstance(value, (type, *RANDOM)):
        return getattr(value, "__name__", type(value).__qualname__)
    return _of_state(value, inner, used, changing)


def _of_state(value: Any, inner: Callable[[Any], Any], used: frozenset[str], changing: frozenset[str]) -> Any:
    """Another object: its class, and what it would be pickled as, but for what its methods change; else its type alone."""
    sources, kind = _sources(value), f"{type(value).__module__}.{type(value).__qualname__}"
    try:
        reduced = value.__reduce_ex__(2)
    except Exception:  # a lock, an open file, a generator: there is nothing to compare
        return kind
    if isinstance(reduced, str):
        return [kind, reduced]
    _, arguments, state, *items = (*reduced, None, None, None)[:5]
    changing = changing | changed_by(*sources, starts={*used, "__call__"})
    if isinstance(state, Mapping):
        state = {name: one for name, one in state.items() if name not in changing}
    return [kind, *sources, *map(inner, (arguments, state, *(None if some is None else list(some) for some in items)))]


def attributes(*sources: str) -> frozenset[str]:
    """The names of the attributes and methods in this code."""
    return frozenset(node.attr for part in _parsed(*sources) for node in ast.walk(part) if isinstance(node, ast.Attribute))


def _parsed(*sources: str) -> list[ast.AST]:
    try:
        return [ast.parse(textwrap.dedent(source)) for source in sources]
    except SyntaxError:  # a lambda within a line
        return []


def changed_by(*sources: str, starts: Iterable[str] = ()) -> frozenset[str]:
    """The variables and attributes that this code sets anew or changes in place.

    starts: of classes, the methods that are called; their other methods count as far as these lead to them.
    """
    parts = _parsed(*sources)
    if starts:
        methods = [node for part in parts for node in ast.walk(part) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]
        reached, named = set[str](), {*starts, "__call__", "forward"}
        while reached != named:
            reached, parts = set(named), [method for method in methods if method.name in named]
            named |= {node.attr for part in parts for node in ast.walk(part) if isinstance(node, ast.Attribute)}
    return frozenset(name for part in parts for node in ast.walk(part) for name in _changed(node))


def _changed(node: ast.AST) -> Iterator[str]:
    """What this code changes: ``x.a = …``, ``x[…] = …``, ``x.add_(…)``, ``x.append(…)``, ``f(…, out=x)``, ``nonlocal x``."""
    targets: list[ast.AST] = []
    if isinstance(node, (ast.Global, ast.Nonlocal)):
        yield from node.names
    elif isinstance(node, (ast.Attribute, ast.Subscript)) and isinstance(node.ctx, (ast.Store, ast.Del)):
        targets.append(node)
    elif isinstance(node, ast.Call):
        targets += [keyword.value for keyword in node.keywords if keyword.arg == "out"]
        if isinstance(node.func, ast.Attribute) and IN_PLACE.fullmatch(node.func.attr):  # torch's methods end in "_"
            targets.append(node.func.value)
    for target in targets:
        while isinstance(target, ast.Subscript):
            target = target.value
        if isinstance(target, (ast.Attribute, ast.Name)):
            yield target.attr if isinstance(target, ast.Attribute) else target.id


def plain(value: Any) -> Any:
    """What JSON has no form for: numpy's numbers as Python's, arrays and tensors whole (their repr leaves out the middle),
    functions by name and source, all else as its repr, or, where that has an address in memory, by its type."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray) and value.dtype == object:  # its bytes are addresses
        value = value.tolist() if value.ndim else [value.item()]
    if isinstance(value, (np.ndarray, torch.Tensor)):
        array = value.detach().cpu().double().numpy() if isinstance(value, torch.Tensor) else value
        content = hashlib.sha256(array.tobytes()).hexdigest()[:16]
        return f"{type(value).__name__} {value.dtype} {list(value.shape)} {content}"
    if isinstance(value, bytes):
        return f"bytes {hashlib.sha256(value).hexdigest()[:16]}"
    if isinstance(value, HOLDERS):  # a set has another order in every process
        return json.dumps(_settled(value), default=plain, sort_keys=True)
    if inspect.isroutine(value) or isinstance(value, functools.partial):
        return written_name(value)
    unsaid = isinstance(value, torch.nn.Module) or hasattr(value, "__array__")  # of a model or a table repr says a part
    return written_name(value) if unsaid or ADDRESS.search(text := repr(value)) else text


def source_of(code: Any) -> str:
    """The source of a function's code, or of a class; "" of one that was typed at a prompt, or is not written in Python."""
    try:
        return inspect.getsource(code)
    except (OSError, TypeError):
        return ""


def public_module(function: Callable) -> str:
    """A function's module; of nibkit's own without the room, so that no stored benchmark depends on where a file lies."""
    module = str(getattr(function, "__module__", None))
    return f"nibkit.{module.rpartition('.')[2]}" if module.startswith("nibkit.") else module


def qualified_name(function: Callable) -> str:
    """A function's name, or that of a callable object's class: the same in every process."""
    return getattr(function, "__qualname__", type(function).__qualname__)
