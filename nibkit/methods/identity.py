"""How a file's settings call a function: the same text in every process, another one for other code or other values in it.

Values count as far as they can't change while the function runs: numbers, texts, arrays, functions. What its code sets anew, or
changes in place (a counter, a sum), is left out, and so are lists, caches and models: a run must find its own file again.
"""

from __future__ import annotations

import ast
import dis
import functools
import hashlib
import inspect
import json
import re
import textwrap
from collections.abc import Callable, Iterator
from types import CodeType
from typing import Any

import numpy as np
import torch

ADDRESS = re.compile(r"\bat 0x[0-9a-fA-F]+")
SETTINGS = (bool, int, float, str, np.generic, np.ndarray, torch.Tensor, tuple)
LIBRARIES = ("builtins", "torch", "transformers", "typing", "abc")  # whose classes are known by name


def written_name(function: Callable) -> str:
    """Its module and name; of the user's own also a digest of what it is.

    That is its source, its defaults, the values that it closes over or reads as globals; of a method or an object that can be
    called also the class's source and the object's own values.
    """
    if isinstance(function, functools.partial):
        return f"{written_name(function.func)} {json.dumps([function.args, function.keywords], default=plain, sort_keys=True)}"
    name = f"{public_module(function)}.{qualified_name(function)}"
    if name.startswith("nibkit."):  # which has a version
        return name
    parts = _of_function(function) if hasattr(function, "__code__") else []
    if not inspect.isfunction(function):
        parts += of_object(getattr(function, "__self__", function), getattr(function, "__name__", "__call__"))
    text = json.dumps(parts, default=plain, sort_keys=True)
    return f"{name} {hashlib.sha256(text.encode()).hexdigest()[:12]}" if parts else name


def of_object(owner: Any, start: str) -> list:
    """The source of an object's class, and its values that do not change while its method ``start`` runs; [] of a library's."""
    kinds = [kind for kind in type(owner).__mro__ if kind.__module__.partition(".")[0] not in LIBRARIES]
    if isinstance(owner, type) or not kinds:
        return []
    sources = [source_of(kind) for kind in kinds]
    start = getattr(getattr(type(owner), start, None), "__name__", start)  # its own name, where ``__call__ = hook``
    changing = {"training"} | changed_by(*sources, start=start)
    values = {name: value for name, value in getattr(owner, "__dict__", {}).items() if name not in changing}
    return [*sources, {name: _settled(value) for name, value in values.items() if isinstance(value, SETTINGS)}]


def _of_function(function: Any, callers: tuple[CodeType, ...] = ()) -> list:
    """Its source, its defaults and the values that it finds outside itself. callers: those whose values are being written."""
    code: CodeType = function.__code__
    source, names = source_of(code), {op.argval for op in dis.get_instructions(code) if op.opname == "LOAD_GLOBAL"}
    changing = changed_by(source)
    outside = {name: value for name in names if isinstance(value := function.__globals__.get(name), SETTINGS)}
    for name, cell in zip(code.co_freevars, function.__closure__ or ()):
        try:
            outside[name] = cell.cell_contents
        except ValueError:  # empty: its variable is not set yet
            continue
    values = {name: value for name, value in outside.items() if name not in changing} | (function.__kwdefaults__ or {})
    settled = functools.partial(_settled, callers=(*callers, code))
    return [source, settled(function.__defaults__), {name: settled(value) for name, value in values.items()}]


def _settled(value: Any, callers: tuple[CodeType, ...] = ()) -> Any:
    """A value that a function finds: another function by what it is (once, if it closes over the first), the rest by type."""
    if isinstance(value, tuple):
        return [_settled(one, callers) for one in value]
    if isinstance(value, SETTINGS) or value is None:
        return value
    if inspect.isfunction(value):
        return "itself" if value.__code__ in callers else _of_function(value, callers)
    return type(value).__qualname__


def changed_by(*sources: str, start: str = "") -> set[str]:
    """The variables and attributes that this code sets anew or changes in place.

    start: of classes, the method that is called; their other methods count as far as it leads to them.
    """
    try:
        parts: list[ast.AST] = [ast.parse(textwrap.dedent(source)) for source in sources]
    except SyntaxError:  # a lambda within a line
        return set()
    if start:
        methods = [node for part in parts for node in ast.walk(part) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]
        reached, named = set[str](), {start, "__call__", "forward"}
        while reached != named:
            reached, parts = set(named), [method for method in methods if method.name in named]
            named |= {node.attr for part in parts for node in ast.walk(part) if isinstance(node, ast.Attribute)}
    return {name for part in parts for node in ast.walk(part) for name in _changed(node)}


def _changed(node: ast.AST) -> Iterator[str]:
    """Whose value this piece of code changes: ``x.a = …``, ``x[…] = …``, ``x.add_(…)``, ``f(…, out=x)``, ``nonlocal x``."""
    targets: list[ast.AST] = []
    if isinstance(node, (ast.Global, ast.Nonlocal)):
        yield from node.names
    elif isinstance(node, (ast.Attribute, ast.Subscript)) and isinstance(node.ctx, (ast.Store, ast.Del)):
        targets.append(node)
    elif isinstance(node, ast.Call):
        targets += [keyword.value for keyword in node.keywords if keyword.arg == "out"]
        if isinstance(node.func, ast.Attribute) and re.fullmatch("[a-z].*[^_]_", node.func.attr):  # torch's in-place methods
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
    if isinstance(value, (np.ndarray, torch.Tensor)):
        array = value.detach().cpu().double().numpy() if isinstance(value, torch.Tensor) else value
        content = hashlib.sha256(array.tobytes()).hexdigest()[:16]
        return f"{type(value).__name__} {value.dtype} {list(value.shape)} {content}"
    if inspect.isroutine(value) or isinstance(value, functools.partial):
        return written_name(value)
    return written_name(value) if ADDRESS.search(text := repr(value)) else text


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
