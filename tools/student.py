"""Student versions: the notebooks with the exercises' solutions taken out and no outputs, for teachers to hand out.

python -m tools.student          # all, into build/student
python -m tools.student 03 05    # only those whose name begins so

What stands between ``### BEGIN SOLUTION`` and ``### END SOLUTION`` becomes one line to fill in; the check that follows each
exercise stays, so students see at once whether they are right. nbgrader reads the same marks (``nbgrader generate_assignment``).
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import nbformat

from nibkit.io.outputs import check_output, written_whole

from .book import BUILD, ROOT

FOLDER = ROOT / "notebooks"
HANDOUT = ROOT / "tools" / "handout"
SOLUTION = re.compile(r"^(?P<indent>[ \t]*)### BEGIN SOLUTION\n.*?^[ \t]*### END SOLUTION[ \t]*$", re.M | re.S)


def without_solutions(source: str) -> str:
    """A cell's source with each solution replaced by a line that asks for one, at the same indentation."""
    return SOLUTION.sub(lambda match: f"{match['indent']}raise NotImplementedError  # your code here", source)


def student_version(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """The notebook without solutions, outputs and execution counts; ValueError if a mark has lost its partner."""
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.source, cell.outputs, cell.execution_count = without_solutions(cell.source), [], None
            if "SOLUTION" in cell.source:
                raise ValueError(f"a solution's marks do not pair: {cell.source.splitlines()[0]!r}")
    return notebook


def chosen(names: list[str], folder: Path = FOLDER) -> list[Path]:
    """The notebooks whose names begin with one of ``names``, all if there are none; ValueError for a name that none has."""
    paths = sorted(folder.glob("*.ipynb"))
    unknown = [name for name in names if not any(path.name.startswith(name) for path in paths)]
    if unknown or not paths:
        raise ValueError(f"no notebook of that name in {folder.name}/: {' '.join(unknown) or '*.ipynb'}")
    return [path for path in paths if path.name.startswith(tuple(names or [""]))]


def make_folder(out: Path) -> None:
    """Make the folder that ``--out`` names, if it is not there; ValueError if that can't be."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"--out {out} can't be a folder ({error.strerror}): give another") from error


def main() -> None:
    """Write the student versions."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="beginnings of notebook names, for example 03; default: all")
    parser.add_argument("--out", type=Path, default=BUILD / "student", help="where they go")
    args = parser.parse_args()
    if args.out.resolve() == FOLDER:
        parser.error(f"--out {args.out} is where the notebooks lie, which would lose their solutions: give another folder")
    try:
        paths = chosen(args.names)
        make_folder(args.out)
        for path in paths:
            check_output("--out", args.out / path.name, [path])
            with written_whole(args.out / path.name, "--out") as file:
                nbformat.write(student_version(nbformat.read(path, as_version=4)), file)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    print(f"{len(paths)} notebooks for students: {args.out}")


if __name__ == "__main__":
    main()
