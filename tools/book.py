"""The book: the notebooks, the pages of docs/ and the cards of data/ as HTML that reads without a network.

python -m tools.book     # from the outputs that the notebooks hold, in seconds, into build/book
"""

from __future__ import annotations

import argparse
import base64
import copy
import os
import re
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
LONG = 12  # lines: code that only draws, and is longer, is folded
BADGE = re.compile(f'<a href="{LEDGER_PAGE}#([^"]+)">')
MARK = ".made-by-nibkit"  # in folders that may be deleted and built again
LEDGER_FILE = "docs/claims.md"
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
    notebooks = gather(source, executed or {})
    options = ["-b", "html", "-q", "-W", "--keep-going", "-j", "auto", "-c", ROOT / "docs", "-d", source / ".doctrees"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))}
    command = [sys.executable, "-m", "sphinx", *map(str, [*options, source, book])]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, encoding="utf-8")
    if done.returncode:
        raise RuntimeError(f"the book could not be built without a warning:\n{done.stderr.strip()}")
    for name, notebook in notebooks.items():  # a page's download is the notebook as it is, not as it was changed for the book
        nbformat.write(notebook, book / "_sources" / "notebooks" / name)
    return book / "index.html"


def check_place(out: Path) -> None:
    """RuntimeError where a book in ``out`` would take the place of something else."""
    for folder in (out / "book-source", out / "book"):
        if folder.exists() and out != BUILD and not (folder / MARK).is_file():
            raise RuntimeError(f"{folder} is there already and is no book of ours: give another folder by --out, or delete it")


def gather(folder: Path, executed: Mapping[str, nbformat.NotebookNode]) -> dict[str, nbformat.NotebookNode]:
    """Lay the book's sources into a folder as in the repository, so that every relative link leads to the same place.

    Returns the notebooks as they are, by file name.
    """
    for path in (path for pattern in PARTS for path in sorted(ROOT.glob(pattern))):
        target = folder / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    notebooks = {path.name: nbformat.read(path, as_version=4) for path in sorted((folder / "notebooks").glob("*.ipynb"))}
    notebooks |= executed
    for name, notebook in notebooks.items():
        prepared, claims = prepare(notebook)
        nbformat.write(prepared, folder / "notebooks" / name)
        if (ledger := folder / LEDGER_FILE).exists():
            ledger.write_text(to_the_cells(ledger.read_text(encoding="utf-8"), name, claims), encoding="utf-8")
        if name.startswith("00_"):
            (folder / PICTURE).write_bytes(first_picture(notebook))
    return notebooks


def prepare(notebook: nbformat.NotebookNode) -> tuple[nbformat.NotebookNode, list[str]]:
    """The notebook for the book, and the claims whose badges can be linked to in it.

    A badge links to the ledger's page in the book and has an anchor, ``claim-T1.2``. Folded are solutions, and code that only
    draws: cells of more than ``LONG`` lines whose only output is pictures. Figures keep their alternative texts.
    """
    notebook, claims = copy.deepcopy(notebook), []

    def anchored(match: re.Match[str]) -> str:
        link = f'href="{LEDGER_PAGE.replace(".md", ".html")}#{match[1]}">'
        if match[1] in claims:
            return f"<a {link}"
        claims.append(match[1])
        return f'<a id="claim-{match[1]}" {link}'

    for cell in notebook.cells:
        outputs = cell.get("outputs", [])
        for output in outputs:
            if "text/html" in output.get("data", {}):
                output.data["text/html"] = BADGE.sub(anchored, output.data["text/html"])
        if alts := [
            output.metadata["image/png"]["alt"] for output in outputs if "alt" in output.get("metadata", {}).get("image/png", {})
        ]:
            cell.metadata["mystnb"] = {"image": {"alt": " ".join(alts)}}
        pictures = bool(outputs) and all("image/png" in output.get("data", {}) for output in outputs)
        if cell.cell_type == "code" and "### BEGIN SOLUTION" in cell.source:
            fold(cell, "a solution")
        elif pictures and cell.source.count("\n") >= LONG:
            fold(cell, "the code that draws this")
    return notebook, claims


def fold(cell: nbformat.NotebookNode, what: str) -> None:
    """Show a cell's code only when it is asked for."""
    cell.metadata["tags"] = [*cell.metadata.get("tags", []), "hide-input"]
    cell.metadata.setdefault("mystnb", {}).update(code_prompt_show=f"Show {what}", code_prompt_hide=f"Hide {what}")


def to_the_cells(ledger: str, notebook: str, claims: list[str]) -> str:
    """The ledger's page with its rows leading to the badges in one notebook, not only to the notebook."""
    for id in claims:
        row = f'<a id="{id}"></a>[{id}](../notebooks/{notebook}'
        ledger = ledger.replace(f"{row})", f"{row}#claim-{id})")
    return ledger


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
