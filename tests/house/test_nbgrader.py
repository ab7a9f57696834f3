"""nbgrader on the course, end to end: assignments generated, answers handed in, graded. Slow: ``make test-course``."""

import csv
import os
import re
import runpy
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import nbformat
import pytest

from tools import course
from tools.student import SOLUTION, without_solutions

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
STEMS = ("00_start_here", "03_theorem_1")


def wrong(number: str) -> dict[int, str]:
    """Exercise -> the first mistake that is listed for it; exercise 1 is left right."""
    listed = runpy.run_path(str(Path(__file__).parent / "wrong_answers" / f"{number}.py"))["WRONG"]
    return {exercise: next(iter(mistakes.values())) for exercise, mistakes in listed.items() if exercise > 1}


def code_of(path: Path) -> list[tuple[str, str | None]]:
    """Each code cell's source, and the name that nbgrader knows it by."""
    cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    return [(cell.source, cell.metadata.get("nbgrader", {}).get("grade_id")) for cell in cells]


def hand_in(given: Path, stem: str, who: str) -> nbformat.NotebookNode:
    """The students' notebook with answers: all right; wrong from the second exercise on; none; and the checks tampered with."""
    notebook = nbformat.read(given, as_version=4)
    solved = nbformat.read(ROOT / "notebooks" / given.name, as_version=4)
    for exercise in course.exercises(solved):
        cell, source = notebook.cells[exercise.answer], solved.cells[exercise.answer].source
        assert cell.source == without_solutions(source), "the exercise's cell is not the students' one"
        if who == "right" or who != "empty" and exercise.number == 1:
            cell.source = re.sub(r"^ *### (BEGIN|END) SOLUTION\n?", "", source, flags=re.M)
        elif who == "low":
            indent = SOLUTION.search(source)["indent"]
            code = textwrap.indent(textwrap.dedent(wrong(stem[:2])[exercise.number]).strip("\n"), indent)
            cell.source = SOLUTION.sub(lambda match, code=code: code, source)
        elif who == "cheat":
            notebook.cells[exercise.check].source = "print('all is well')"
    if who == "cheat":
        del notebook.cells[course.exercises(solved)[0].check]
    return notebook


@pytest.fixture(scope="module")
def points(tmp_path_factory) -> dict[tuple[str, str], tuple[float, float]]:
    """(assignment, student) -> (points, points at most), as nbgrader exports them."""
    pytest.importorskip("nbgrader", reason="nbgrader is not installed: make test-course installs it")
    folder, temporary = tmp_path_factory.mktemp("nbgrader"), tmp_path_factory.mktemp("students")
    wheel = temporary / "nibkit-0-py3-none-any.whl"
    wheel.touch()  # not used here: the kernel has nibkit
    paths = [ROOT / "notebooks" / f"{stem}.ipynb" for stem in STEMS]
    course.gather_students(temporary / "zip", wheel, paths)
    course.gather_teachers(temporary / "teachers", wheel, paths)
    shutil.copytree(temporary / "teachers/nbgrader", folder, dirs_exist_ok=True)

    def nbgrader(*arguments: str) -> None:
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])  # as an activated environment has it
        where = os.environ | {"PATH": path, "PYTHONPATH": str(ROOT), "JUPYTER_DATA_DIR": str(temporary / "jupyter")}
        command = [sys.executable, "-m", "nbgrader", *arguments]
        done = subprocess.run(command, cwd=folder, env=where, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr

    for stem in STEMS:
        nbgrader("generate_assignment", stem, "--create")
        given, released = temporary / "zip/notebooks" / f"{stem}.ipynb", folder / "release" / stem / f"{stem}.ipynb"
        assert code_of(given) == code_of(released), "nbgrader's release and the students' zip have other exercises"
        for who in ("right", "low", "empty", "cheat"):
            place = folder / "submitted" / who / stem
            place.mkdir(parents=True)
            nbformat.write(hand_in(given, stem, who), place / f"{stem}.ipynb")
        nbgrader("autograde", stem, "--create")
    nbgrader("export")
    with (folder / "grades.csv").open() as file:
        rows = list(csv.DictReader(file))
    return {(row["assignment"], row["student_id"]): (float(row["raw_score"]), float(row["max_score"])) for row in rows}


@pytest.mark.parametrize("stem", STEMS)
def test_right_wrong_and_empty_answers_get_their_points(points, stem):
    exercises = course.exercises(nbformat.read(ROOT / "notebooks" / f"{stem}.ipynb", as_version=4))
    full = sum(exercise.points for exercise in exercises)
    assert points[stem, "right"] == (full, full)
    assert points[stem, "low"] == (exercises[0].points, full)  # the first answer is right, the others are wrong
    assert points[stem, "empty"] == (0, full)
    assert points[stem, "cheat"] == (exercises[0].points, full)  # checks are put back: the first was deleted, the others changed
    assert 0 < exercises[0].points < full
