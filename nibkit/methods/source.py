"""What a piece of code is, reads and changes, as far as its text shows it."""

from __future__ import annotations

import ast
import contextlib
import dis
import functools
import inspect
import re
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator
from types import CodeType, FunctionType
from typing import Any

IN_PLACE = re.compile(
    "[a-z].*[^_]_|append|appendleft|extend|extendleft|insert|pop|popleft|popitem|remove|clear|update|subtract|rotate|setdefault"
    "|add|discard|sort|reverse"
)
Names = frozenset[str]
LIBRARIES = {"nibkit", "torch", "transformers", "numpy", "pandas", "PIL", *sys.stdlib_module_names}  # classes known by name
CACHED = type(functools.cache(len))
INSIDE: dict[type, str] = {staticmethod: "__func__", classmethod: "__func__", property: "fget", functools.cached_property: "func"}
INSIDE[CACHED] = "__wrapped__"


def function_of(member: Any) -> FunctionType | None:
    """The function that is called, behind ``functools.cache`` or as a class has it (a property, say); None if there is none."""
    while type(member) in INSIDE:
        member = getattr(member, INSIDE[type(member)])
    return member if inspect.isfunction(member) else None


def layers(member: Any) -> list[FunctionType]:
    """The function that is called, and those that it wraps (``functools.wraps``, as ``torch.no_grad()`` does)."""
    found = list[FunctionType]()
    while (function := function_of(member)) is not None and function not in found:
        found.append(function)
        member = getattr(function, "__wrapped__", None)
    return found


def source_of(code: Any) -> str:
    """The source of a function's code, or of a class; where there is none (it was typed at a prompt), its bytecode."""
    try:
        source = inspect.getsource(code)
    except (OSError, TypeError):
        if isinstance(code, type):
            code = [function.__code__ for member in vars(code).values() if (function := function_of(member))]
        return repr(_bytecode(code)) if code else ""
    return _of_lambda(code, source) if isinstance(code, CodeType) and code.co_name == "<lambda>" else source


def _of_lambda(code: CodeType, source: str) -> str:
    """A lambda alone; where others stand beside it, or its lines do not parse, these lines and its bytecode."""
    for form in ("{}", "({})", "{{{}}}"):
        with contextlib.suppress(SyntaxError):
            found = [node for node in ast.walk(ast.parse(form.format(source.strip()))) if isinstance(node, ast.Lambda)]
            if len(found) == 1:
                return ast.unparse(found[0])
    return f"{source}\n# {_bytecode(code)!r}"


def kinds_of(owner: Any) -> list[type]:
    """An object's class and those that it inherits from, but for a library's."""
    return [kind for kind in type(owner).__mro__ if kind.__module__.partition(".")[0] not in LIBRARIES]


def sources_of(owner: Any) -> list[str]:
    """The source of each of them."""
    return [source_of(kind) for kind in kinds_of(owner)]


def _bytecode(value: Any) -> Any:
    """Code as its instructions, names and constants."""
    if isinstance(value, CodeType):
        return [value.co_name, value.co_code.hex(), value.co_names, value.co_varnames, _bytecode(value.co_consts)]
    if isinstance(value, (tuple, list)):
        return [_bytecode(one) for one in value]
    return sorted(map(repr, value)) if isinstance(value, frozenset) else value


def names_in(code: CodeType) -> set[str]:
    """The globals that it reads, in functions within it, too."""
    inner = [names_in(part) for part in code.co_consts if isinstance(part, CodeType)]
    return {op.argval for op in dis.get_instructions(code) if op.opname == "LOAD_GLOBAL"}.union(*inner)


def is_library(function: Any) -> bool:
    """Is it a library's, whose own globals are left alone?"""
    installed = "site-packages" in function.__code__.co_filename
    return installed or str(function.__globals__.get("__name__")).partition(".")[0] in LIBRARIES


def with_helpers(functions: list[Any]) -> list[Any]:
    """These, the functions of the same module that they call by name, those that these call, and so on."""
    found, todo = list(functions), list(functions)
    while todo:
        function = todo.pop(0)
        for name in () if is_library(function) else sorted(names_in(function.__code__)):
            called = layers(function.__globals__.get(name))
            if any(one.__globals__ is function.__globals__ for one in called):
                new = [one for one in called if one not in found]
                found += new
                todo += new
    return found


def attributes(*sources: str) -> frozenset[str]:
    """The names of the attributes and methods in this code."""
    return frozenset(node.attr for part in _parsed(*sources) for node in ast.walk(part) if isinstance(node, ast.Attribute))


def _parsed(*sources: str) -> list[ast.AST]:
    parts: list[ast.AST] = []
    for source in sources:
        try:
            parts.append(ast.parse(textwrap.dedent(source)))
        except SyntaxError:  # a lambda within a line
            continue
    return parts


def changed_by(*sources: str) -> frozenset[str]:
    """The variables, and the attributes of any object, that this code sets anew or changes in place."""
    return frozenset(map(_name, _changed_in(_parsed(*sources))))


def changed_by_methods(*sources: str, starts: Iterable[str]) -> tuple[frozenset[str], frozenset[str]]:
    """What an object's methods change: (its own attributes, all variables and attributes of any object).

    sources: of its classes. starts: the methods that are called; others count as far as these lead to them.
    """
    classes = [node for part in _parsed(*sources) for node in ast.walk(part) if isinstance(node, ast.ClassDef)]
    methods = [node for kind in classes for node in kind.body if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]
    named, reached, parts = {*starts, "__call__", "forward"}, set[str](), list[Any]()
    while reached != named:
        reached, parts = set(named), [method for method in methods if method.name in named]
        named |= {node.attr for part in parts for node in ast.walk(part) if isinstance(node, ast.Attribute)}
    own = set[str]()
    for method in parts:
        itself = [argument.arg for argument in (*method.args.posonlyargs, *method.args.args)][:1]
        own |= {node.attr for node in _changed_in([method]) if isinstance(node, ast.Attribute) and _name(node.value) in itself}
    return frozenset(own), frozenset(map(_name, _changed_in(parts)))


def _name(node: ast.AST) -> str:
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""


def _changed_in(parts: Iterable[ast.AST]) -> list[ast.AST]:
    """What this code changes, also under another name: ``s = self.stats; s["n"] += 1`` changes ``self.stats``."""
    found = list[ast.AST]()
    for part in parts:
        nodes = list(ast.walk(part))
        stored = [node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)]
        todo = [target for node in nodes for target in _changed(node)]
        other = [  # names that are given once
            (target.id, _base(node.value)) for node in nodes if isinstance(node, ast.Assign) for target in node.targets
            if isinstance(target, ast.Name) and stored.count(target.id) == 1
        ]  # fmt: skip
        while todo:
            found.append(node := todo.pop())
            if isinstance(node, ast.Name):
                todo += [value for name, value in other if name == node.id and value not in found]
    return [node for node in found if _name(node)]


def _changed(node: ast.AST) -> Iterator[ast.AST]:
    """``x.a = …``, ``x[…] = …``, ``x.add_(…)``, ``x.append(…)``, ``f(…, out=x)``, ``nonlocal x``."""
    if isinstance(node, (ast.Global, ast.Nonlocal)):
        yield from map(ast.Name, node.names)
    elif isinstance(node, (ast.Attribute, ast.Subscript)) and isinstance(node.ctx, (ast.Store, ast.Del)):
        yield _base(node)
    elif isinstance(node, ast.Call):
        yield from (_base(keyword.value) for keyword in node.keywords if keyword.arg == "out")
        if isinstance(node.func, ast.Attribute) and IN_PLACE.fullmatch(node.func.attr):  # torch's methods end in "_"
            yield _base(node.func.value)


def _base(node: ast.AST) -> ast.AST:
    while isinstance(node, ast.Subscript):
        node = node.value
    return node


def public_module(function: Callable) -> str:
    """A function's module; of nibkit's own without the room, so that no stored benchmark depends on where a file lies."""
    module = str(getattr(function, "__module__", None))
    return f"nibkit.{module.rpartition('.')[2]}" if module.startswith("nibkit.") else module


def qualified_name(function: Callable) -> str:
    """A function's name, or that of a callable object's class: the same in every process."""
    return getattr(function, "__qualname__", type(function).__qualname__)
