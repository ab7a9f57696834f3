"""What lets the students' folder be launched without installing anything, on Binder or Colab.

Both read a public repository on GitHub, which a teacher makes of that folder. ``make course REPO=owner/name`` then writes links
that lead there; without it there are none. Binder reads ``environment.yml``; in Colab each notebook's first code cell installs
the wheel.
"""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import quote

import nbformat

from .student import HANDOUT

BRANCH = r"(?!.*\.\.)\w[\w.-]*(?:/\w[\w.-]*)*"
NAME = re.compile(rf"(?P<owner_and_name>\w[\w-]*/(?!\.+(?:@|$))[\w.-]+)(?:@(?P<branch>{BRANCH}))?", re.ASCII)
SECTION = "## Without installing anything"
SET_UP = "set-up"  # the cell's id
BADGES = {"Binder": "https://mybinder.org/badge_logo.svg", "Colab": "https://colab.research.google.com/assets/colab-badge.svg"}


class Repository:
    """A repository on GitHub that holds the students' folder. ValueError if ``name`` is not owner/name or owner/name@branch."""

    def __init__(self, name: str):
        if not (match := NAME.fullmatch(name)):
            raise ValueError(f"REPO {name!r} must be owner/name or owner/name@branch, for example REPO=owner/name@main")
        self.name, self.branch = match["owner_and_name"], match["branch"] or "main"

    def file(self, path: str) -> str:
        """The address at which a file can be fetched."""
        return f"https://github.com/{self.name}/raw/{self.branch}/{path}"

    def launches(self, notebook: str) -> dict[str, str]:
        """Service -> the address that opens a notebook there."""
        branch = quote(self.branch, safe="")  # feature/x: to both services a slash would end it
        return {
            "Binder": f"https://mybinder.org/v2/gh/{self.name}/{branch}?labpath=notebooks%2F{notebook}",
            "Colab": f"https://colab.research.google.com/github/{self.name}/blob/{branch}/notebooks/{notebook}",
        }


def make_launchable(folder: Path, wheel: str, repository: Repository | None = None, *, students: bool) -> None:
    """Put into a students' or teachers' folder what a launch needs; see above.

    The set-up cell goes into the students' notebooks and into nbgrader's source, after the title; the environment and the links
    go to students alone. wheel: its file name. What is there already is not put in again.
    """
    address = repository.file(wheel) if repository else ""
    source = (HANDOUT / "set_up.py").read_text(encoding="utf-8").replace("ADDRESS", address).replace("WHEEL", wheel).strip()
    paths = sorted((folder / "notebooks").glob("*.ipynb") if students else (folder / "nbgrader").rglob("*.ipynb"))
    for path in paths:
        notebook = nbformat.read(path, as_version=4)
        if all(cell.id != SET_UP for cell in notebook.cells):
            notebook.cells.insert(1, nbformat.v4.new_code_cell(source, id=SET_UP))
            nbformat.write(notebook, path)
    if students:
        environment = (HANDOUT / "environment.yml").read_text(encoding="utf-8").replace("WHEEL", wheel)
        (folder / "environment.yml").write_text(environment, encoding="utf-8")
        if repository and SECTION not in (folder / "README.md").read_text(encoding="utf-8"):
            with (folder / "README.md").open("a", encoding="utf-8") as readme:
                readme.write(launch_section(repository, [path.name for path in paths]))


def launch_section(repository: Repository, notebooks: list[str]) -> str:
    """The README's last section: badges that open the first notebook, and a row of links for each."""
    badges = [f"[![{name}]({BADGES[name]})]({link})" for name, link in repository.launches(notebooks[0]).items()]
    rows = [
        f"| {name} | " + " | ".join(f"[open]({link})" for link in repository.launches(name).values()) + " |" for name in notebooks
    ]
    return f"""
{SECTION}

{" ".join(badges)}

Binder takes many minutes the first time, and forgets your work when you leave: download your notebook before. In Colab run the
notebook's first code cell before all others: it installs what is missing.

| notebook | {" | ".join(BADGES)} |
|---|---|---|
{chr(10).join(rows)}
"""
