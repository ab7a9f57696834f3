"""Every exercise's check accepts the reference and refuses the mistakes that ``wrong_answers`` lists for it.

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

FOLDER = Path(__file__).parents[2] / "notebooks"
SOLUTION = re.compile(r"^( *)### BEGIN SOLUTION\n.*?### END SOLUTION", re.M | re.S)


def wrong_answers() -> dict[str, dict[int, dict[str, str]]]:
    """Notebook -> exercise -> name of the mistake -> what stands in place of the solution."""
    found = {}
    for path in sorted((Path(__file__).parent / "wrong_answers").glob("*.py")):
        spec = importlib.util.spec_from_file_location(f"wrong_answers_{path.stem}", path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        found[path.stem] = module.WRONG
    return found


CASES = [
    (number, exercise, name)
    for number, exercises in wrong_answers().items()
    for exercise, names in exercises.items()
    for name in (None, *names)
]


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
        for node in ast.walk(statement):  # x[0] = 1 and x.y = 1 change x
            if isinstance(node, (ast.Subscript, ast.Attribute)) and isinstance(node.ctx, ast.Store):
                bound |= {inner.id for inner in ast.walk(node.value) if isinstance(inner, ast.Name)}
        return bound, used


@functools.cache
def cells_of(number: str) -> tuple[list[str], list[int]]:
    """(the code cells of a notebook without magics, where its solutions stand among them)."""
    (path,) = FOLDER.glob(f"{number}_*.ipynb")
    cells = [c for c in nbformat.read(path, as_version=4).cells if c.cell_type == "code"]
    solved = [i for i, c in enumerate(cells) if c.metadata.get("nbgrader", {}).get("solution")]
    return [re.sub(r"^(\s*)[%!].*", r"\1pass", c.source, flags=re.M) for c in cells], solved


@functools.cache
def before(number: str, exercise: int) -> dict:
    """The names that an exercise finds: of the statements in front of it those are run that define what it uses."""
    cells, solved = cells_of(number)
    place = solved[exercise - 1]
    first, *others = (ast.parse(cell).body for cell in cells[:place])
    statements = [statement for cell in others for statement in cell]
    wanted, chosen = Names(*ast.parse(cells[place] + "\n" + cells[place + 1]).body).used, []
    for statement in reversed(statements):
        names = Names(statement)
        if names.bound & wanted:
            chosen.append(statement)
            wanted = (wanted - names.bound) | names.used
    space = {"display": lambda *things: None}
    for statement in [*first, *reversed(chosen)]:
        exec(compile(ast.Module([statement], []), f"notebook {number}, line {statement.lineno} of a cell", "exec"), space)
        plt.close("all")
    return space


def answer(number: str, exercise: int, code: str | None) -> None:
    """Run an exercise, with this code in place of its solution, and its check."""
    cells, solved = cells_of(number)
    place, space = solved[exercise - 1], dict(before(number, exercise))
    source = cells[place]
    exec(cells[0], space)  # the imports, and what is set for the whole notebook
    if code is not None:
        assert SOLUTION.search(source), f"{number}, exercise {exercise} has no solution to replace"
        source = SOLUTION.sub(lambda match: textwrap.indent(textwrap.dedent(code).strip("\n"), match[1]), source)
    exec(compile(source, f"{number} answer", "exec"), space)
    exec(compile(cells[place + 1], f"{number} check", "exec"), space)
    plt.close("all")


@pytest.fixture
def as_in_a_kernel_of_its_own(monkeypatch):
    """In the notebooks' folder; what a notebook sets for its kernel ends with the test."""
    monkeypatch.chdir(FOLDER)
    dtype = torch.get_default_dtype()
    with plt.rc_context():
        yield
    torch.set_default_dtype(dtype)


@pytest.mark.parametrize("number, exercise, name", CASES, ids=lambda value: str(value).replace(" ", "_"))
def test_the_check_knows_right_from_wrong(number, exercise, name, as_in_a_kernel_of_its_own):
    before(number, exercise)
    if name is None:
        answer(number, exercise, None)
    else:
        with pytest.raises(AssertionError) as refused:
            answer(number, exercise, wrong_answers()[number][exercise][name])
        assert str(refused.value), "the check says nothing of what is wrong"


@pytest.mark.parametrize("number", sorted(wrong_answers()))
def test_every_exercise_has_two_wrong_answers_at_least(number):
    _, solved = cells_of(number)
    assert {exercise for exercise, names in wrong_answers()[number].items() if len(names) >= 2} == set(range(1, len(solved) + 1))
