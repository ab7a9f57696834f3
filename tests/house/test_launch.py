"""A launch on Binder or Colab: links that a teacher asks for, an environment, a cell that installs what is missing."""

import ast
import importlib.util
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import nbformat
import pytest
import yaml

from tools import course
from tools.launch import SET_UP, Repository, make_launchable

ROOT = Path(__file__).parents[2]
WHEEL = "nibkit-0.1.0-py3-none-any.whl"
NO_REPOSITORY = ["name", "https://github.com/owner/name", "owner/name/", "owner/na me", "owner/name@", ""]
NO_REPOSITORY += ["öwner/name", "a/..", "a/..@b", "-/.", "a/b@-x", "a/b@x/", "a/b@x..y", "a/b@x//y", "a/b@x/.y"]
ADDRESS = f"https://github.com/owner/name/raw/main/{WHEEL}"


def new_folder(tmp_path: Path, *parts: str) -> Path:
    """A folder with a README and one notebook, as ``make_launchable`` is given it."""
    place = tmp_path.joinpath(*parts, "00_start.ipynb")
    place.parent.mkdir(parents=True)
    cells = [nbformat.v4.new_markdown_cell("# Start"), nbformat.v4.new_code_cell("import nibkit as nk")]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), place)
    (tmp_path / "README.md").write_text("# Course\n")
    return tmp_path


def set_up_cell(folder: Path) -> str:
    """The source of the cell after the title."""
    (path,) = folder.rglob("*.ipynb")
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    title, cell, rest = notebook.cells
    assert (title.source, cell.id, rest.source) == ("# Start", SET_UP, "import nibkit as nk")
    return cell.source


@pytest.mark.parametrize("given, branch", [("owner/name", "main"), ("owner/name@v1.2", "v1.2"), ("owner/name@new/x", "new/x")])
def test_links_lead_to_the_repository_that_was_named(tmp_path, given, branch):
    make_launchable(new_folder(tmp_path, "notebooks"), WHEEL, Repository(given), students=True)
    text = (tmp_path / "README.md").read_text()
    assert text.startswith("# Course\n\n## Without installing anything\n")
    quoted = branch.replace("/", "%2F")
    binder = f"https://mybinder.org/v2/gh/owner/name/{quoted}?labpath=notebooks%2F00_start.ipynb"
    colab = f"https://colab.research.google.com/github/owner/name/blob/{quoted}/notebooks/00_start.ipynb"
    assert f"[![Binder](https://mybinder.org/badge_logo.svg)]({binder})" in text and f".svg)]({colab})" in text
    assert f"| 00_start.ipynb | [open]({binder}) | [open]({colab}) |" in text
    assert f'"https://github.com/owner/name/raw/{branch}/{WHEEL}"' in set_up_cell(tmp_path)


def test_no_link_is_made_up(tmp_path):
    make_launchable(new_folder(tmp_path, "notebooks"), WHEEL, students=True)
    assert (tmp_path / "README.md").read_text() == "# Course\n"
    assert "http" not in set_up_cell(tmp_path) + (tmp_path / "environment.yml").read_text()


@pytest.mark.parametrize("name", NO_REPOSITORY)
def test_what_names_no_repository_is_refused(name, monkeypatch, capsys):
    with pytest.raises(ValueError, match="must be owner/name or owner/name@branch"):
        Repository(name)
    if name and name[0] != "-":  # to argparse, that is an option
        monkeypatch.setattr("sys.argv", ["course", "--repo", name])
        with pytest.raises(SystemExit):
            course.main()
        assert f"REPO {name!r} must be owner/name" in capsys.readouterr().err


def test_nbgraders_source_has_the_same_cell_and_teachers_get_no_links(tmp_path):
    students = new_folder(tmp_path / "students", "notebooks")
    teachers = new_folder(tmp_path / "teachers", "nbgrader", "source", "00_start")
    for folder in (students, teachers):
        make_launchable(folder, WHEEL, Repository("owner/name"), students=folder == students)
    read = (students / "README.md").read_text()
    make_launchable(students, WHEEL, Repository("owner/name"), students=True)  # a second time changes nothing
    assert (students / "README.md").read_text() == read
    assert set_up_cell(students) == set_up_cell(teachers)
    assert (teachers / "README.md").read_text() == "# Course\n" and not (teachers / "environment.yml").exists()


@pytest.mark.parametrize("where, expected", [(".", None), ("..", None), (None, ADDRESS)], ids=["beside", "above", "elsewhere"])
def test_the_cell_installs_the_wheel_where_nibkit_is_missing(tmp_path, monkeypatch, where, expected):
    make_launchable(new_folder(tmp_path, "notebooks"), WHEEL, Repository("owner/name"), students=True)
    code, asked = set_up_cell(tmp_path), []
    monkeypatch.chdir(tmp_path / "notebooks")
    monkeypatch.setattr(subprocess, "run", lambda command, check: asked.append(command))
    exec(code, {})
    assert asked == []  # nibkit is here
    if where:
        Path(where, WHEEL).touch()
        expected = str(Path(where, WHEEL).resolve())
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    exec(code, {})
    pip = [sys.executable, "-m", "pip", "install", "--quiet"]
    assert asked == [[*pip, expected, "captum", "scikit-image", "seaborn"]]


def test_without_a_wheel_the_cell_says_what_to_do(tmp_path, monkeypatch):
    make_launchable(new_folder(tmp_path, "notebooks"), WHEEL, students=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(FileNotFoundError, match=f"upload {WHEEL}, so that it lies beside this notebook"):
        exec(set_up_cell(tmp_path), {})


def test_what_the_cell_installs_is_what_the_notebooks_import(tmp_path):
    """Beside what the wheel brings along and what every notebook server has."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = {"pillow": "PIL", "scikit-image": "skimage"}
    has = {re.split("[<>=]", need)[0] for need in project["dependencies"]} | {"captum", "scikit-image", "seaborn"}
    has = {names.get(name, name) for name in has} | {"nibkit", "IPython"} | set(sys.stdlib_module_names)
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        cells = nbformat.read(path, as_version=4).cells
        assert all(cell.id != SET_UP and "pip" not in cell.source for cell in cells if cell.cell_type == "code")
        code = "\n".join(re.sub(r"^[%!].*", "", c.source, flags=re.M) for c in cells if c.cell_type == "code")
        for node in ast.walk(ast.parse(code)):
            modules = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            modules += [node.module] if isinstance(node, ast.ImportFrom) else []
            assert {module.split(".")[0] for module in modules} <= has, path.name


def test_the_environment_is_read_by_pip(tmp_path):
    """Its lines for pip, which conda gives on in this folder: the wheel is found with its extra, the pins are read."""
    folder = new_folder(tmp_path, "notebooks")
    make_launchable(folder, WHEEL, students=True)
    environment = yaml.safe_load((folder / "environment.yml").read_text())
    *conda, pip = environment["dependencies"]
    assert environment["name"] == "nib" and conda == ["python=3.11", "pip"]
    with zipfile.ZipFile(folder / WHEEL, "w") as archive:
        info = "nibkit-0.1.0.dist-info"
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: nibkit\nVersion: 0.1.0\nProvides-Extra: notebooks\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    (folder / "requirements.txt").write_text("numpy==2.4.6\n")
    (folder / "for-pip.txt").write_text("\n".join(pip["pip"]))
    command = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--dry-run",
        "--no-deps",
        "--no-index",
        "--ignore-installed",
        "-r",
        "for-pip.txt",
    ]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0 and "Would install nibkit-0.1.0" in done.stdout, done.stdout + done.stderr
