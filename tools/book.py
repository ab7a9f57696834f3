"""The book: the notebooks, the pages of docs/ and the cards of data/ as HTML that reads without a network.

python -m tools.book     # from the outputs that the notebooks hold, in seconds, into build/book
"""

from __future__ import annotations

import argparse
import base64
import copy
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import nbformat

from nibkit.course.claims import LEDGER_PAGE

ROOT = Path(__file__).resolve().parents[1]
BUILD = ROOT / "build"
PARTS = ("docs/*.md", "docs/*.png", "notebooks/*.ipynb", "data/**/*.md", "data/**/*.png", "data/claims.csv", "data/**/OFL.txt")
PARTS += ("LICENSE",)
MARK = ".made-by-nibkit"  # in folders that may be deleted and built again
PICTURE = "docs/first-explanation.png"  # on the start page; the first picture of notebook 00


def build_book(out: Path = BUILD, executed: Mapping[str, nbformat.NotebookNode] | None = None) -> Path:
    """Build ``out``/book, by way of its sources in ``out``/book-source; returns the page to open.

    ``executed`` has notebooks, by file name, that take the place of the stored ones. Raises RuntimeError with Sphinx's own words
    if it has anything to say: every warning counts; and before any work where one of the two folders holds something else.
    """
    source, book = out / "book-source", out / "book"
    check_place(out)
    for folder in (source, book):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        (folder / MARK).touch()
    gather(source, executed or {})
    options = ["-b", "html", "-q", "-W", "--keep-going", "-j", "auto", "-c", ROOT / "docs", "-d", source / ".doctrees"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))}
    command = [sys.executable, "-m", "sphinx", *map(str, [*options, source, book])]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, encoding="utf-8")
    if done.returncode:
        raise RuntimeError(f"the book could not be built without a warning:\n{done.stderr.strip()}")
    return book / "index.html"


def check_place(out: Path) -> None:
    """RuntimeError where a book in ``out`` would take the place of something else."""
    for folder in (out / "book-source", out / "book"):
        if folder.exists() and out != BUILD and not (folder / MARK).is_file():
            raise RuntimeError(f"{folder} is there already and is no book of ours: give another folder by --out, or delete it")


def gather(folder: Path, executed: Mapping[str, nbformat.NotebookNode]) -> None:
    """Lay the book's sources into a folder as in the repository, so that every relative link leads to the same place."""
    for path in (path for pattern in PARTS for path in sorted(ROOT.glob(pattern))):
        target = folder / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    stored = {path.name: nbformat.read(path, as_version=4) for path in sorted((folder / "notebooks").glob("*.ipynb"))}
    for name, notebook in (stored | dict(executed)).items():
        nbformat.write(linked(notebook), folder / "notebooks" / name)
        if name.startswith("00_"):
            (folder / PICTURE).write_bytes(first_picture(notebook))


def linked(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """The notebook with its claims' links leading to the ledger's page in the book; Sphinx leaves HTML in outputs alone."""
    notebook = copy.deepcopy(notebook)
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if "text/html" in output.get("data", {}):
                output.data["text/html"] = output.data["text/html"].replace(LEDGER_PAGE, LEDGER_PAGE.replace(".md", ".html"))
    return notebook


def first_picture(notebook: nbformat.NotebookNode) -> bytes:
    """The first PNG among a notebook's outputs; ValueError if it has none."""
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if "image/png" in output.get("data", {}):
                return base64.b64decode(output["data"]["image/png"])
    raise ValueError("the notebook shows no picture: run it first")


def main() -> int:
    """Build the book from the stored outputs; the exit status is 1 if something in it is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=BUILD, help="where the book's folder goes (default: build)")
    args = parser.parse_args()
    try:
        page = build_book(args.out.resolve())
    except RuntimeError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"look at: {os.path.relpath(page)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
