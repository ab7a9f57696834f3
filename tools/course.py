"""A course to hand out: a zip for students and a zip for teachers.

python -m tools.course                      # into build/course
python -m tools.course --repo owner/name    # with links that launch the notebooks of that repository on GitHub

Students get the notebooks without solutions, the wheel with its data and a check of the set-up: nothing of the clone is needed.
Teachers get the solutions, the points, slides, the pages and nbgrader's source folder. What nbgrader must know of an exercise is
written into these copies; it is read from the marks in the notebooks: the heading's difficulty and ``### BEGIN SOLUTION``. Hidden
tests (``tools/hidden.py``) go into nbgrader's source alone, the written questions of ``docs/questions.md`` to the students, too.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import NamedTuple

import nbformat

from nibkit.io.outputs import check_output, written_whole

from . import launch
from .book import BUILD, PARTS, ROOT
from .hidden import hidden_tests
from .slides import build_slides
from .student import FOLDER, HANDOUT, make_folder, student_version

HALF = {"easy": 1, "medium": 2, "hard": 3}  # points of the check that students see, and as many of the hidden tests
WRITTEN = 4  # points of a written question
YOUR_ANSWER = "*Your answer here, in half a page.*"  # as nbgrader_config.py has it
QUESTION = re.compile(r"^## (\d\d) [^\n]+\n\n(.+?)\n\n(\* \*\*Answer .+?)\s*(?=^## |\Z)", re.M | re.S)
HEADING = re.compile(r"^\*\*(?:Exercise )?(\d+)(?:\. (.+?))?\*\* \((easy|medium|hard)(?:er)?, (\d+) minutes\)", re.M)
TABLE = "| exercise | | difficulty | minutes | points |\n|---|---|---|--:|--:|"


class Exercise(NamedTuple):
    """An exercise, as its heading says, and the places of its two cells in the notebook."""

    number: int
    title: str
    level: str
    minutes: int
    answer: int
    check: int

    @property
    def points(self) -> int:
        return 2 * HALF[self.level]


def exercises(notebook: nbformat.NotebookNode) -> list[Exercise]:
    """The notebook's exercises in order; ValueError, with the cell's first line, if one lacks its heading or its check."""
    found, headings = [], []
    for i, cell in enumerate(notebook.cells):
        if cell.cell_type == "markdown":
            headings += HEADING.findall(cell.source)
        elif "### BEGIN SOLUTION" in cell.source:
            line = cell.source.splitlines()[0]
            if [int(heading[0]) for heading in headings] != list(range(1, len(found) + 2)):
                raise ValueError(f"exercise {len(found) + 1} ({line!r}) needs a heading such as **1. Title** (easy, 5 minutes)")
            check = notebook.cells[i + 1] if i + 1 < len(notebook.cells) else None
            if check is None or check.cell_type != "code" or "assert" not in check.source:
                raise ValueError(f"exercise {len(found) + 1} ({line!r}) needs a cell with its check right after it")
            number, title, level, minutes = headings[-1]
            found.append(Exercise(int(number), title.rstrip("."), level, int(minutes), i, i + 1))
    if len(headings) != len(found):
        raise ValueError(f"exercise {headings[-1][0]} has a heading and no cell with ### BEGIN SOLUTION")
    return found


def written_questions() -> dict[str, tuple[str, str]]:
    """Number of the notebook -> (its written question, the rubric), from ``docs/questions.md``."""
    text = (ROOT / "docs" / "questions.md").read_text(encoding="utf-8")
    return {number: (question, rubric) for number, question, rubric in QUESTION.findall(text)}


def marks(grade_id: str, **more: bool | int) -> dict[str, dict]:
    """A cell's metadata for nbgrader; what ``more`` does not say is neither graded nor a solution, and locked."""
    plain = {"schema_version": 3, "task": False, "grade": False, "solution": False, "locked": True}
    return {"nbgrader": plain | {"grade_id": grade_id} | more}


def graded(notebook: nbformat.NotebookNode, number: str) -> nbformat.NotebookNode:
    """The notebook whose name begins with ``number`` as nbgrader needs it, with nothing that students may not see.

    Answers are to edit; checks are locked and worth their points; a cell for hidden tests follows each check, and the written
    question with a cell for its answer the last. ValueError where an exercise or the question is not complete.
    """
    found = exercises(notebook)
    if number not in written_questions():
        raise ValueError(f"docs/questions.md has no question with its rubric for notebook {number}")
    for cell in notebook.cells:
        cell.metadata.pop("nbgrader", None)
    for exercise in reversed(found):  # from the last, so that the places of the others stay
        name, half = f"exercise-{exercise.number}", HALF[exercise.level]
        notebook.cells[exercise.answer].metadata.update(marks(name, solution=True, locked=False))
        notebook.cells[exercise.check].metadata.update(marks(f"{name}-check", grade=True, points=half))
        text = f"# When your answer is graded, tests that you don't see run here: {half} more point{'s' * (half > 1)}."
        hidden = marks(f"{name}-hidden", grade=True, points=half)
        notebook.cells.insert(exercise.check + 1, nbformat.v4.new_code_cell(text, id=f"{name}-hidden", metadata=hidden))
    place = (found[-1].check if found else len(notebook.cells) - 1) + len(found) + 1
    text = f"**Written question** ({WRITTEN} points, graded by a person). {written_questions()[number][0]}"
    written = marks("question-answer", grade=True, solution=True, locked=False, points=WRITTEN)
    notebook.cells[place:place] = [
        nbformat.v4.new_markdown_cell(text, id="question", metadata=marks("question")),
        nbformat.v4.new_markdown_cell(YOUR_ANSWER, id="question-answer", metadata=written),
    ]
    return notebook


def source_version(notebook: nbformat.NotebookNode, number: str) -> nbformat.NotebookNode:
    """As nbgrader's source: graded, with hidden tests and rubric, and links that lead on from an assignment's own folder."""
    tests = {f"exercise-{e.number}-hidden": hidden_tests(number, e.title, e.number) for e in exercises(notebook)}
    for cell in graded(notebook, number).cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
            if (name := cell.metadata.get("nbgrader", {}).get("grade_id")) in tests:
                cell.source += f"\n### BEGIN HIDDEN TESTS\n{tests[name]}\n### END HIDDEN TESTS"
        elif cell.source == YOUR_ANSWER:
            rubric = written_questions()[number][1].replace("](claims.md", "](../../../docs/claims.md")
            cell.source = f"### BEGIN SOLUTION\n{rubric}\n### END SOLUTION"
        else:
            moved = cell.source.replace("](../", "](../../../")
            cell.source = re.sub(r"\]\((\d\d_\w+)\.ipynb", r"](../\1/\1.ipynb", moved)
    return notebook


def points_page(paths: list[Path]) -> str:
    """The exercises of all notebooks as a page: difficulty, minutes, points and sums."""
    parts, total = [], 0
    for path in paths:
        rows = exercises(nbformat.read(path, as_version=4))
        points = sum(row.points for row in rows) + WRITTEN
        total += points
        lines = [f"| {row.number} | {row.title} | {row.level} | {row.minutes} | {row.points} |" for row in rows]
        minutes = sum(row.minutes for row in rows)
        lines.append(f"| | written question | | | {WRITTEN} |")
        parts.append("\n".join([f"## {path.stem}\n", TABLE, *lines, f"| all | | | {minutes} | {points} |"]))
    intro = f"""An easy exercise is worth 2 points, a medium one 4, a hard one 6: half for the check that students see, half for
hidden tests, each given whole or not at all. A written question is worth {WRITTEN}, given by a person (`docs/questions.md`).
{total} points in all. Minutes are estimates."""
    return "\n\n".join(["# Exercises and points", intro, *parts]) + "\n"


def build_wheel(folder: Path) -> Path:
    """Build the package's wheel into ``folder``; returns the file."""
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check", "--no-deps"]
    subprocess.run([*command, "--no-build-isolation", "--wheel-dir", folder, ROOT], check=True)
    (wheel,) = folder.glob("nibkit-*.whl")
    return wheel


def gather_both(folder: Path, readme: str, wheel: Path) -> None:
    """What both zips hold: how to begin, the wheel, the pins, the check of the set-up, the licences with what they link to."""
    folder.mkdir(parents=True)
    text = (HANDOUT / readme).read_text(encoding="utf-8")
    (folder / "README.md").write_text(text.replace("WHEEL", wheel.name), encoding="utf-8")
    for path in (wheel, HANDOUT / "check_setup.py", ROOT / "requirements.txt", ROOT / "LICENSE", ROOT / "LICENSES.md"):
        shutil.copy(path, folder)
    (folder / "data" / "emoji").mkdir(parents=True)
    for name in ("OFL.txt", "README.md"):
        shutil.copy(ROOT / "data" / "emoji" / name, folder / "data" / "emoji")


def gather_students(folder: Path, wheel: Path, paths: list[Path]) -> None:
    """Lay the students' files into ``folder``."""
    gather_both(folder, "students.md", wheel)
    (folder / "notebooks").mkdir()
    (folder / "docs").mkdir()
    shutil.copy(ROOT / "docs" / "claims.md", folder / "docs")  # the notebooks' badges link to it
    for path in paths:
        notebook = graded(nbformat.read(path, as_version=4), path.stem[:2])
        nbformat.write(student_version(notebook), folder / "notebooks" / path.name)


def gather_teachers(folder: Path, wheel: Path, paths: list[Path]) -> None:
    """Lay the teachers' files into ``folder``."""
    gather_both(folder, "teachers.md", wheel)
    for path in (path for pattern in PARTS for path in sorted(ROOT.glob(pattern))):  # as in the clone, so that links lead on
        place = folder / path.relative_to(ROOT)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, place)
    build_slides(folder / "slides", paths)
    (folder / "points.md").write_text(points_page(paths), encoding="utf-8")
    for path in paths:
        place = folder / "nbgrader" / "source" / path.stem
        place.mkdir(parents=True)
        nbformat.write(source_version(nbformat.read(path, as_version=4), path.stem[:2]), place / path.name)
    for name in ("nbgrader_config.py", "requirements-course.txt"):
        shutil.copy((HANDOUT if name.endswith(".py") else ROOT) / name, folder / "nbgrader")


def build_course(out: Path, repository: launch.Repository | None = None) -> list[Path]:
    """Write the two zips into the folder ``out``; returns them.

    ValueError if an exercise is not complete, a notebook was not run, or ``out`` can't be a folder.
    """
    make_folder(out)
    paths, zips = sorted(FOLDER.glob("*.ipynb")), []
    with tempfile.TemporaryDirectory() as name:
        wheel = build_wheel(Path(name))
        for who, gather in (("students", gather_students), ("teachers", gather_teachers)):
            folder = Path(name) / f"nibkit-{who}"
            gather(folder, wheel, paths)
            launch.make_launchable(folder, wheel.name, repository, students=who == "students")
            zips.append(out / f"{folder.name}.zip")
            check_output("--out", zips[-1])
            with written_whole(zips[-1], "--out") as file, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
                for path in sorted(path for path in folder.rglob("*") if path.is_file()):
                    archive.write(path, path.relative_to(folder.parent))
    return zips


def main() -> None:
    """Write the zips and say where they are."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=BUILD / "course", help="the folder that they go into")
    parser.add_argument(
        "--repo", metavar="OWNER/NAME", help="links lead to this repository on GitHub (OWNER/NAME@BRANCH: not main)"
    )
    args = parser.parse_args()
    try:
        repository = launch.Repository(args.repo) if args.repo else None
        zips = build_course(args.out, repository)
    except (ModuleNotFoundError, OSError, ValueError) as error:
        parser.error(str(error))
    for path in zips:
        print(f"{path}   {path.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
