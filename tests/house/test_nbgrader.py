"""nbgrader on the course, end to end: assignments generated, answers handed in and graded. Slow: ``make test-course``."""

import csv
import os
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import nbformat
import pytest
from exercises import exercises, listed

from tools import course
from tools.student import SOLUTION, without_solutions

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
STEMS = ("00_start_here", "03_theorem_1")


def mistakes(number: str, who: str) -> dict[int, str]:
    """Exercise -> code: mistakes that the checks refuse from the second exercise on, or answers that they let pass, for all."""
    if who == "low":
        return {e: next(iter(answers.values())) for e, answers in listed("wrong_answers", "WRONG")[number].items() if e > 1}
    known = {name: answers for table in listed("fitted_answers", "FITTED").values() for name, answers in table.items()}
    return {exercise.number: next(iter(known[name].values())) for name, exercise in exercises(number).items()}


def cells_of(path: Path) -> list[tuple[str, str | None]]:
    """Each code cell's source and that of each cell for nbgrader, with the name that nbgrader knows it by."""
    cells = [(cell, cell.metadata.get("nbgrader", {}).get("grade_id")) for cell in nbformat.read(path, as_version=4).cells]
    return [(cell.source, name) for cell, name in cells if name or cell.cell_type == "code"]


def hand_in(given: Path, stem: str, who: str) -> nbformat.NotebookNode:
    """The students' notebook with answers: right; wrong from the second on; fitted to the checks; none; or the first right and
    the checks tampered with, the cells of the hidden tests included. Who is right or low answers the written question, too.
    """
    notebook = nbformat.read(given, as_version=4)
    solved = nbformat.read(ROOT / "notebooks" / given.name, as_version=4)
    cells = {cell.metadata.nbgrader.grade_id: cell for cell in notebook.cells if "nbgrader" in cell.metadata}
    for exercise in course.exercises(solved):
        cell, source = cells[f"exercise-{exercise.number}"], solved.cells[exercise.answer].source
        assert cell.source == without_solutions(source), "the exercise's cell is not the students' one"
        if who == "right" or who in ("low", "cheat") and exercise.number == 1:
            cell.source = re.sub(r"^ *### (BEGIN|END) SOLUTION\n?", "", source, flags=re.M)
        elif who in ("low", "fitted"):
            indent = SOLUTION.search(source)["indent"]
            code = textwrap.indent(textwrap.dedent(mistakes(stem[:2], who)[exercise.number]).strip("\n"), indent)
            cell.source = SOLUTION.sub(lambda match, code=code: code, source)
        elif who == "cheat":
            for kind in ("check", "hidden"):
                cells[f"exercise-{exercise.number}-{kind}"].source = "print('all is well')"
    assert cells["question-answer"].source == course.YOUR_ANSWER
    if who in ("right", "low"):
        cells["question-answer"].source = "By the ledger it holds on one small model."
    if who == "cheat":
        notebook.cells = [c for c in notebook.cells if c not in (cells["exercise-1-check"], cells["exercise-1-hidden"])]
    return notebook


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """nbgrader's folder, with everybody's notebooks graded."""
    pytest.importorskip("nbgrader", reason="nbgrader is not installed: make test-course installs it")
    folder, temporary = tmp_path_factory.mktemp("nbgrader"), tmp_path_factory.mktemp("students")
    wheel = temporary / "nibkit-0-py3-none-any.whl"
    wheel.touch()  # not used here: the kernel has nibkit
    paths = [ROOT / "notebooks" / f"{stem}.ipynb" for stem in STEMS]
    course.gather_students(temporary / "zip", wheel, paths)
    course.gather_teachers(temporary / "teachers", wheel, paths)
    shutil.copytree(temporary / "teachers/nbgrader", folder, dirs_exist_ok=True)
    for stem in STEMS:
        nbgrader(folder, "generate_assignment", stem, "--create")
        given, released = temporary / "zip/notebooks" / f"{stem}.ipynb", folder / "release" / stem / f"{stem}.ipynb"
        assert cells_of(given) == cells_of(released), "nbgrader's release and the students' zip have other exercises"
        for who in ("right", "low", "fitted", "empty", "cheat"):
            place = folder / "submitted" / who / stem
            place.mkdir(parents=True)
            nbformat.write(hand_in(given, stem, who), place / f"{stem}.ipynb")
        nbgrader(folder, "autograde", stem, "--create")
    return folder


def nbgrader(folder: Path, *arguments: str) -> None:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])  # as an activated environment has it
    where = os.environ | {"PATH": path, "PYTHONPATH": str(ROOT), "JUPYTER_DATA_DIR": str(folder / "jupyter")}
    command = [sys.executable, "-m", "nbgrader", *arguments]
    done = subprocess.run(command, cwd=folder, env=where, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def points(folder: Path) -> dict[tuple[str, str], tuple[float, float]]:
    """(assignment, student) -> (points, points at most), as nbgrader exports them."""
    nbgrader(folder, "export")
    with (folder / "grades.csv").open() as file:
        rows = list(csv.DictReader(file))
    return {(row["assignment"], row["student_id"]): (float(row["raw_score"]), float(row["max_score"])) for row in rows}


@pytest.mark.parametrize("stem", STEMS)
def test_right_wrong_and_empty_answers_get_their_points(folder, stem):
    found, given = points(folder), course.exercises(nbformat.read(ROOT / "notebooks" / f"{stem}.ipynb", as_version=4))
    full = sum(exercise.points for exercise in given)
    most = full + course.WRITTEN  # which autograde gives nobody
    assert found[stem, "right"] == (full, most)
    assert found[stem, "low"] == (given[0].points, most)  # the first answer is right, the others are wrong
    assert found[stem, "fitted"] == (full / 2, most)  # every check passes, no hidden test does
    assert found[stem, "empty"] == (0, most)
    assert found[stem, "cheat"] == (given[0].points, most)  # checks are put back: the first was deleted, the others changed
    assert 0 < given[0].points < full / 2


@pytest.mark.parametrize("stem", STEMS)
def test_the_written_answers_wait_for_a_person(folder, stem):
    from nbgrader.api import Gradebook

    before = points(folder)
    with Gradebook(f"sqlite:///{folder / 'gradebook.db'}") as book:
        grades = {who: book.find_grade("question-answer", stem, stem, who) for who in ("right", "low", "empty")}
        assert {who: (grade.needs_manual_grade, grade.auto_score) for who, grade in grades.items()} == {
            "right": (True, None),
            "low": (True, None),
            "empty": (False, 0),  # nothing was written
        }
        grades["right"].manual_score, grades["right"].needs_manual_grade = 3, False
        book.db.commit()
    (got, most), (graded, _) = before[stem, "right"], points(folder)[stem, "right"]
    assert graded == got + 3 == most - 1
