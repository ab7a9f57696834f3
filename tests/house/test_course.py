"""``make course``: every exercise is complete for nbgrader, and the students' zip works where nothing else is."""

import os
import re
import runpy
import subprocess
import sys
import zipfile
from pathlib import Path

import nbformat
import pytest

from nibkit.course.claims import read_ledger
from tools import course
from tools.student import student_version

ROOT = Path(__file__).parents[2]
PATHS = sorted((ROOT / "notebooks").glob("*.ipynb"))
TEACHING = (ROOT / "docs/teaching.md").read_text(encoding="utf-8")
MARKDOWN, CODE = nbformat.v4.new_markdown_cell, nbformat.v4.new_code_cell
HEADING, ANSWER, CHECK = "**1. Half** (easy, 5 minutes). Halve x.", "### BEGIN SOLUTION\nx = 1\n### END SOLUTION", "assert x == 1"


@pytest.fixture(scope="module")
def zips(tmp_path_factory) -> Path:
    """A folder with both zips, unpacked, and the wheel installed from the students' into ``site``."""
    folder = tmp_path_factory.mktemp("course")
    for file in course.build_course(folder / "zips"):
        zipfile.ZipFile(file).extractall(folder)
    (wheel,) = (folder / "nibkit-students").glob("*.whl")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--no-index"]
    subprocess.run([*pip, "--target", folder / "site", wheel], check=True)
    return folder


def run(folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess:
    """Python in the students' folder, with the installed wheel in place of the clone."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith("NIBKIT")}
    where = plain | {"PYTHONPATH": str(folder / "site"), "MPLBACKEND": "Agg"} | variables
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=folder / "nibkit-students", env=where, capture_output=True, text=True)


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_every_exercise_is_complete_for_nbgrader(path):
    bare = nbformat.read(path, as_version=4)
    for cell in bare.cells:
        cell.metadata.pop("nbgrader", None)
    cells = course.graded(bare, path.stem[:2]).cells
    answers = [i for i, cell in enumerate(cells) if "### BEGIN SOLUTION" in cell.source]
    assert len(answers) >= 1
    for number, place in enumerate(answers, 1):
        answer, check, hidden = (cells[place + step].metadata["nbgrader"] for step in (0, 1, 2))
        assert (answer["grade"], answer["solution"], answer["locked"]) == (False, True, False)
        above = "\n".join(cell.source for cell in cells[:place] if cell.cell_type == "markdown")
        level = re.findall(r"\((easy|medium|hard)(?:er)?, \d+ minutes\)", above)[-1]
        for test in (check, hidden):
            assert (test["grade"], test["solution"], test["locked"]) == (True, False, True)
            assert test["points"] == {"easy": 1, "medium": 2, "hard": 3}[level] and "points" not in answer
        name = f"exercise-{number}"
        assert [part["grade_id"] for part in (answer, check, hidden)] == [name, f"{name}-check", f"{name}-hidden"]
    question, written = cells[answers[-1] + 3 : answers[-1] + 5]
    assert question.cell_type == written.cell_type == "markdown" and question.metadata["nbgrader"]["locked"]
    marks = written.metadata["nbgrader"]
    assert (marks["grade"], marks["solution"], marks["locked"], marks["points"]) == (True, True, False, 4)
    assert sum("nbgrader" in cell.metadata for cell in cells) == 3 * len(answers) + 2


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_hidden_tests_and_rubrics_are_in_nbgraders_source_alone(path):
    """And they stand where nbgrader takes them out."""
    students, source = (nbformat.read(path, as_version=4) for _ in range(2))
    students = student_version(course.graded(students, path.stem[:2])).cells
    source = course.source_version(source, path.stem[:2]).cells
    assert len(students) == len(source)
    hidden = 0
    for given, kept in zip(students, source):
        assert "HIDDEN" not in given.source and "**Answer (2)" not in given.source and "def hidden_" not in given.source
        if kept.source != given.source and "\n### BEGIN HIDDEN TESTS\n" in kept.source:
            assert kept.source.startswith(f"{given.source}\n### BEGIN HIDDEN TESTS\ndef hidden_")
            assert kept.source.endswith("\n### END HIDDEN TESTS")
            compile(kept.source, "a hidden test", "exec")
            hidden += 1
    assert hidden == sum("### BEGIN SOLUTION" in cell.source for cell in source if cell.cell_type == "code")
    rubric = next(cell.source for cell in source if cell.metadata.get("nbgrader", {}).get("grade_id") == "question-answer")
    assert rubric.startswith("### BEGIN SOLUTION\n* **Answer (2).**") and rubric.endswith("\n### END SOLUTION")
    assert "\n* **Evidence (1).**" in rubric and "\n* **Limits (1).**" in rubric


def test_every_notebook_has_one_written_question():
    text = (ROOT / "docs/questions.md").read_text(encoding="utf-8")
    numbers = [path.stem[:2] for path in PATHS]
    assert re.findall(r"^## (\d\d) ", text, re.M) == numbers == list(course.written_questions())
    assert all(len(question) > 60 and "**" not in question for question, _ in course.written_questions().values())
    named = re.findall(r"\[(\S+?)\]\(claims\.md#(\S+?)\)", text)
    assert named and all(shown == claim and claim in read_ledger() for shown, claim in named)
    with pytest.raises(ValueError, match="no question with its rubric for notebook 97"):
        course.graded(nbformat.v4.new_notebook(cells=[MARKDOWN(HEADING), CODE(ANSWER), CODE(CHECK)]), "97")


def test_what_an_exercise_lacks_is_named():
    for cells, lacks in (
        ([CODE(ANSWER), CODE(CHECK)], "needs a heading"),
        ([MARKDOWN(HEADING), CODE(ANSWER)], "needs a cell with its check"),
        ([MARKDOWN(HEADING), CODE(ANSWER), MARKDOWN(CHECK)], "needs a cell with its check"),
        ([MARKDOWN(HEADING), CODE(ANSWER), CODE(CHECK), CODE(ANSWER), CODE(CHECK)], "exercise 2 .* needs a heading"),
        ([MARKDOWN(HEADING.replace("1.", "2.")), CODE(ANSWER), CODE(CHECK)], "exercise 1 .* needs a heading"),
        ([MARKDOWN(HEADING), CODE("x = 1"), CODE(CHECK)], "exercise 1 has a heading and no cell"),
    ):
        with pytest.raises(ValueError, match=lacks):
            course.exercises(nbformat.v4.new_notebook(cells=cells))
    (found,) = course.exercises(nbformat.v4.new_notebook(cells=[MARKDOWN(HEADING), CODE(ANSWER), CODE(CHECK)]))
    assert found == course.Exercise(1, "Half", "easy", 5, 1, 2)


def test_the_zips_hold_what_they_should(zips):
    students, teachers = zips / "nibkit-students", zips / "nibkit-teachers"
    names = [path.name for path in PATHS]
    for folder in (students, teachers):
        linked = re.findall(r"\]\((?!http)(.+?)\)", (folder / "LICENSES.md").read_text())
        assert len(linked) >= 3 and all((folder / target).is_file() for target in linked)
        assert sorted(path.name for path in (folder / "notebooks").iterdir()) == names
        (wheel,) = folder.glob("*.whl")
        assert wheel.name in (folder / "README.md").read_text() and "WHEEL" not in (folder / "README.md").read_text()
    for path in students.rglob("*.ipynb"):
        text = path.read_text()
        assert not any(word in text for word in ("SOLUTION", "HIDDEN", "**Answer (2)", '"output_type"'))
        assert all(cell.source == course.YOUR_ANSWER for cell in nbformat.reads(text, 4).cells if cell.id == "question-answer")
    assert {path.stem: path.parent.name for path in (teachers / "nbgrader/source").rglob("*.ipynb")} == {
        path.stem: path.stem for path in PATHS
    }
    for path in PATHS:
        source = nbformat.read(teachers / "nbgrader/source" / path.stem / path.name, as_version=4)
        given = nbformat.read(students / "notebooks" / path.name, as_version=4)
        for cell in source.cells:
            cell.source = re.sub(r"\n### BEGIN HIDDEN TESTS\n.*\n### END HIDDEN TESTS$", "", cell.source, flags=re.S)
        kept = [(cell.source, cell.metadata) for cell in student_version(source).cells if cell.cell_type == "code"]
        assert kept == [(cell.source, cell.metadata) for cell in given.cells if cell.cell_type == "code"]
    decks = sorted(path.stem for path in (teachers / "slides").glob("[0-9]*.html"))
    assert decks == [path.stem for path in PATHS] and not list(students.rglob("*.html"))
    assert {path.name for path in (teachers / "slides/files").glob("*.LICENSE")} == {"reveal.LICENSE", "mathjax.LICENSE"}
    points = (teachers / "points.md").read_text()
    assert "| 1 | A caption that is wrong | easy | 5 | 2 |" in points and "| | written question | | | 4 |" in points
    assert all(f"## {path.stem}" in points for path in PATHS)


def test_a_place_that_is_no_folder_is_refused_before_any_work(tmp_path, monkeypatch, capsys):
    (tmp_path / "file").touch()
    monkeypatch.setattr("sys.argv", ["course", "--out", str(tmp_path / "file")])
    with pytest.raises(SystemExit):
        course.main()
    assert "can't be a folder (File exists): give another" in capsys.readouterr().err


def test_links_within_the_zips_lead_somewhere(zips):
    checked = 0
    for path in [*(zips / "nibkit-students").rglob("*.ipynb"), *(zips / "nibkit-teachers").rglob("*.ipynb")]:
        text = "\n".join(c.source for c in nbformat.read(path, as_version=4).cells if c.cell_type == "markdown")
        for target in re.findall(r"\]\((?!http)([^)#]+)\)", text):
            assert (path.parent / target).is_file(), f"{path.relative_to(zips)} links to {target}"
            checked += 1
    for path in [*zips.glob("nibkit-*/README.md"), zips / "nibkit-teachers/docs/teaching.md"]:
        for target in re.findall(r"\]\((?!http)([^)#]+)[)#]", path.read_text()):
            assert (path.parent / target).is_file(), f"{path.relative_to(zips)} links to {target}"
    assert checked > 30


@pytest.mark.slow
def test_the_first_notebook_runs_from_the_students_zip(zips):
    """Without the clone: all but the checks of what the student has yet to write."""
    path = zips / "nibkit-students/notebooks" / PATHS[0].name
    notebook = nbformat.read(path, as_version=4)
    notebook.cells.append(CODE("print(nk.__file__)"))
    nbformat.write(notebook, path.with_name("try.ipynb"))
    done = run(zips, "-m", "nbconvert", "--to", "notebook", "--execute", "--allow-errors", "--inplace", "notebooks/try.ipynb")
    assert done.returncode == 0, done.stderr
    cells = nbformat.read(path.with_name("try.ipynb"), as_version=4).cells
    path.with_name("try.ipynb").unlink()
    assert Path(cells[-1].outputs[0].text.strip()).is_relative_to(zips / "site")
    for cell in cells:
        errors = [output.ename for output in cell.get("outputs", []) if output.output_type == "error"]
        name = cell.metadata.get("nbgrader", {}).get("grade_id", "")
        assert errors == ["NotImplementedError"] * name.endswith("-check"), cell.source


def test_the_check_of_the_set_up_says_what_is_missing(zips):
    done = run(zips, "check_setup.py")
    assert done.returncode == 0 and done.stdout.count("ok: ") == 4, done.stdout + done.stderr
    assert "All is there" in done.stdout
    broken = run(zips, "check_setup.py", NIBKIT_DATA="nowhere")
    assert broken.returncode == 1 and "NOT READY: NIBKIT_DATA" in broken.stdout, broken.stdout
    bare = run(zips, "-S", "check_setup.py", PYTHONPATH="")
    assert bare.returncode == 1 and "NOT READY: nibkit is not installed for" in bare.stdout, bare.stdout


def test_the_check_of_the_set_up_knows_one_package_that_is_missing(monkeypatch):
    check = runpy.run_path(str(ROOT / "tools/handout/check_setup.py"))
    needs = ["numpy>=2", "nowhere>=1; extra == 'notebooks'", "elsewhere; extra == 'lint'"]
    monkeypatch.setattr("importlib.metadata.requires", lambda name: needs)
    with pytest.raises(RuntimeError, match="not installed: nowhere: install the wheel"):
        check["check_packages"]()


def test_the_six_weeks_hold_every_notebook_with_its_minutes():
    """And the README gives the same: what stands in front of the exercises' minutes is for reading, optional parts included."""
    minutes = {}
    for path in PATHS:
        (line,) = re.findall(r"\*\*Time\*\* (.+?) ·", nbformat.read(path, as_version=4).cells[0].source)
        *reading, exercises = map(int, re.findall(r"(\d+)(?: minutes| more)", line))
        assert exercises == sum(exercise.minutes for exercise in course.exercises(nbformat.read(path, as_version=4)))
        minutes[path.name] = (sum(reading), exercises)
    weeks = re.findall(r"^\| (\d) \| (.+) \| (\d+) \| (\d+) \|$", TEACHING, re.M)
    assert [week for week, *_ in weeks] == list("123456")
    named = [re.findall(r"\(\.\./notebooks/(\S+?)\)", links) for _, links, *_ in weeks]
    assert sorted(name for names in named for name in names) == sorted(minutes)
    for names, (_, _, *stated) in zip(named, weeks):
        assert [sum(parts) for parts in zip(*(minutes[name] for name in names))] == list(map(int, stated)), names
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| \[.+?\]\(notebooks/(\S+)\) \| .+ \| (\d+) \+ (\d+) \|$", readme, re.M)
    assert {name: (int(reading), int(exercises)) for name, reading, exercises in rows} == minutes


def test_the_teaching_page_names_claims_of_the_ledger_and_its_code_runs(capsys):
    named = re.findall(r"\[(\S+?)\]\(claims\.md#(\S+?)\)", TEACHING)
    assert named and all(shown == claim and claim in read_ledger() for shown, claim in named)
    (code,) = re.findall(r"^```python\n(.*?)^```$", TEACHING, re.M | re.S)
    assert "emoji(30, seed=1)" in code
    exec(compile(code.replace("emoji(30,", "emoji(8,"), "docs/teaching.md", "exec"), {})  # eight pairs do here
    printed = capsys.readouterr().out
    assert all(word in printed for word in ("nib", "legrad", "random", "image_projection", "text"))
