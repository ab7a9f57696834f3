"""Hidden tests: what nbgrader runs on an answer beside the check that students see. Students never get them.

They stand in ``tools/handout/hidden``, a file for each notebook, a function for each exercise. The function is named after the
exercise: ``hidden_a_noisy_typewriter`` tests "A noisy typewriter", ``hidden_exercise_2`` the second one if it has no title. Its
arguments are names that the notebook has when the exercise is done, the answer first; what else it needs it imports.
"""

from __future__ import annotations

import ast
import functools
import re

from .student import HANDOUT

FOLDER = HANDOUT / "hidden"


@functools.cache
def all_tests() -> dict[tuple[str, str], ast.FunctionDef]:
    """(number of the file, name without ``hidden_``) -> the function."""
    parsed = {path.stem: ast.parse(path.read_text(encoding="utf-8")).body for path in sorted(FOLDER.glob("*.py"))}
    functions = ((number, node) for number, body in parsed.items() for node in body if isinstance(node, ast.FunctionDef))
    return {(number, node.name.removeprefix("hidden_")): node for number, node in functions}


def name_of(title: str, number: int) -> str:
    """The name of an exercise's hidden test."""
    return re.sub(r"\W+", "_", re.sub(r"['’]", "", title.lower())).strip("_") or f"exercise_{number}"


def hidden_tests(notebook: str, title: str, number: int) -> str:
    """The code that tests the answer to an exercise of the notebook whose name begins so ("03"): a function and its call.

    An exercise that has moved to another notebook keeps its tests: a title stands for one exercise of the series.
    ValueError where there are none, with the name that they should have, or where two other notebooks have them.
    """
    name = name_of(title, number)
    places = [place for place in all_tests() if place[1] == name and (title or place[0] == notebook)]
    if not places:
        where = f"tools/handout/hidden/{notebook}.py needs hidden_{name}()"
        raise ValueError(f"exercise {number} of {notebook} has no hidden tests: {where}")
    if len(places) > 1 and (notebook, name) not in places:
        where = " and ".join(f"{place[0]}.py" for place in places)
        raise ValueError(f"hidden_{name}() stands in {where}: whose is exercise {number} of {notebook}? Give it another title")
    place = (notebook, name) if (notebook, name) in places else places[0]
    function = all_tests()[place]
    lines = (FOLDER / f"{place[0]}.py").read_text(encoding="utf-8").splitlines()[function.lineno - 1 : function.end_lineno]
    call = f"hidden_{name}({', '.join(argument.arg for argument in function.args.args)})"
    return "\n".join([*lines, "", "", call])
