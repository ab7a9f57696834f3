"""The notebooks' exercises as tests run them: an answer, the check that students see, and the hidden tests.

Of a notebook only the statements that an exercise needs are run, found by the names that they define and use.
"""

import ast
import functools
import importlib.util
import re
import symtable
import textwrap
from pathlib import Path

import nbformat
import pytest
import torch
from matplotlib import pyplot as plt

from tools import course
from tools.hidden import hidden_tests, name_of

FOLDER = Path(__file__).parents[1] / "notebooks"
SOLUTION = re.compile(r"^( *)### BEGIN SOLUTION\n.*?### END SOLUTION", re.M | re.S)


def listed(folder: str, table: str) -> dict[str, dict]:
    """Notebook -> what the dictionary of that name holds in its file of this folder of tests/house."""
    found = {}
    for path in sorted((Path(__file__).parent / "house" / folder).glob("*.py")):
        spec = importlib.util.spec_from_file_location(f"{folder}_{path.stem}", path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        found[path.stem] = getattr(module, table)
    return found


class Names:
    """The names that statements bind outside of functions, and those that they take from what stands in front of them."""

    def __init__(self, *statements: ast.stmt):
        self.bound, self.used = set(), set()
        for statement in statements:
            block = isinstance(statement, (ast.For, ast.With))
            bound, used = self.of_block(statement) if block else self.of_line(statement)
            self.used |= used - self.bound
            self.bound |= bound

    @staticmethod
    def of_block(block: ast.For | ast.With) -> tuple[set, set]:
        """A loop's own variables are nobody else's."""
        heads = [block] if isinstance(block, ast.For) else block.items
        given = [head.iter if isinstance(head, ast.For) else head.context_expr for head in heads]
        own = {
            node.id
            for head in heads
            for node in ast.walk(getattr(head, "target", None) or head.optional_vars or ast.Pass())
            if isinstance(node, ast.Name)
        }
        before, inside = Names(*(ast.Expr(value) for value in given)), Names(*block.body)
        return inside.bound - own, before.used | (inside.used - own)

    @staticmethod
    def of_line(statement: ast.stmt) -> tuple[set, set]:
        scopes = [symtable.symtable(ast.unparse(statement), "a statement", "exec")]
        top = scopes[0].get_symbols()
        bound = {symbol.get_name() for symbol in top if symbol.is_assigned() or symbol.is_imported()}
        used = {symbol.get_name() for symbol in top if symbol.is_referenced()}
        for scope in scopes:  # functions and comprehensions, and those within them
            scopes += scope.get_children()
            used |= {symbol.get_name() for symbol in scope.get_symbols() if symbol.is_global() and symbol.is_referenced()}
        for node in ast.walk(statement):  # x[0] = 1, x.y = 1 and x.append(1) change x
            stored = isinstance(node, (ast.Subscript, ast.Attribute)) and isinstance(node.ctx, ast.Store)
            if stored or isinstance(node, ast.Attribute) and node.attr == "append":
                bound |= {inner.id for inner in ast.walk(node.value) if isinstance(inner, ast.Name)}
        return bound, used


@functools.cache
def read(number: str) -> nbformat.NotebookNode:
    """The notebook whose name begins so."""
    (path,) = FOLDER.glob(f"{number}_*.ipynb")
    return nbformat.read(path, as_version=4)


@functools.cache
def exercises(number: str) -> dict[str, course.Exercise]:
    """A notebook's exercises by the names of their hidden tests."""
    return {name_of(exercise.title, exercise.number): exercise for exercise in course.exercises(read(number))}


def without_magics(cell: nbformat.NotebookNode) -> str:
    return re.sub(r"^(\s*)[%!].*", r"\1pass", cell.source, flags=re.M)


@functools.cache
def parts(number: str, name: str) -> tuple[str, str, str]:
    """The code of an exercise: the answer with its solution, the check, the hidden tests."""
    exercise, cells = exercises(number)[name], read(number).cells
    answer, check = (without_magics(cells[place]) for place in (exercise.answer, exercise.check))
    return answer, check, hidden_tests(number, exercise.title, exercise.number)


@functools.cache
def before(number: str, name: str) -> tuple[dict, torch.dtype]:
    """(the names that an exercise finds, torch's default type there).

    Of the statements in front of it those are run that define what it uses.
    """
    place = exercises(number)[name].answer
    first, *others = (ast.parse(without_magics(c)).body for c in read(number).cells[:place] if c.cell_type == "code")
    statements = [statement for cell in others for statement in cell]
    wanted, chosen = Names(*ast.parse("\n".join(parts(number, name))).body).used, []
    for statement in reversed(statements):
        names = Names(statement)
        if names.bound & wanted:
            chosen.append(statement)
            wanted = (wanted - names.bound) | names.used
    space = {"display": lambda *things: None}
    for statement in [*first, *reversed(chosen)]:
        exec(compile(ast.Module([statement], []), f"notebook {number}, line {statement.lineno} of a cell", "exec"), space)
        plt.close("all")
    return space, torch.get_default_dtype()


def answered(number: str, name: str, code: str | None = None) -> dict:
    """The names of a notebook after an exercise was answered, with this code in place of its solution (None: with that)."""
    space, dtype = before(number, name)
    space, source = dict(space), parts(number, name)[0]
    torch.set_default_dtype(dtype)
    if code is not None:
        assert SOLUTION.search(source), f"{number}, {name} has no solution to replace"
        source = SOLUTION.sub(lambda match: textwrap.indent(textwrap.dedent(code).strip("\n"), match[1]), source)
    exec(compile(source, f"{number} answer", "exec"), space)
    return space


def run_check(number: str, name: str, space: dict) -> None:
    """Run the check that students see."""
    exec(compile(parts(number, name)[1], f"{number} check", "exec"), space)
    plt.close("all")


def run_hidden(number: str, name: str, space: dict) -> None:
    """Run the hidden tests."""
    exec(compile(parts(number, name)[2], f"{number} hidden tests", "exec"), space)


@pytest.fixture
def as_in_a_kernel_of_its_own(monkeypatch):
    """In the notebooks' folder; what a notebook sets for its kernel ends with the test."""
    monkeypatch.chdir(FOLDER)
    dtype = torch.get_default_dtype()
    with plt.rc_context():
        yield
    torch.set_default_dtype(dtype)
