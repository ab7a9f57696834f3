"""JupyterLab on a folder of its own, and a notebook opened in it in a real browser: for the tests of ``make test-browser``."""

import ast
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import nbformat
import pytest

ROOT = Path(__file__).parents[1]
CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
OPEN, WAIT = 240_000, 60_000  # milliseconds at most, on a busy machine: until a notebook has run, and for one thing after that


def start_browser() -> Iterator:
    """Yields playwright's browser, without a window; skips with a reason where playwright or Chromium is missing."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: make test-browser installs it")
    executable = next(filter(None, map(shutil.which, CHROMIUM)), None)
    if executable is None:
        pytest.skip(f"no browser on the PATH: none of {', '.join(CHROMIUM)}")
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        yield browser
        browser.close()


def start_lab(folder: Path) -> Iterator[tuple[str, Path]]:
    """Yields JupyterLab's address, NAME in a notebook's place, and its notebooks' folder; all its files lie in ``folder``."""
    notebooks, token = folder / "notebooks", "nib"
    notebooks.mkdir()
    quiet = folder / "settings/@jupyterlab/apputils-extension/notification.jupyterlab-settings"
    quiet.parent.mkdir(parents=True)
    quiet.write_text(json.dumps({"fetchNews": "false", "checkForUpdates": False}))
    places = {f"JUPYTER_{kind}_DIR": str(folder / kind.lower()) for kind in ("DATA", "CONFIG", "RUNTIME")}
    where = os.environ | places | {"JUPYTERLAB_SETTINGS_DIR": str(folder / "settings")}
    where |= {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    options = ["--no-browser", "--ip=127.0.0.1", "--port=0", f"--IdentityProvider.token={token}", "--allow-root"]
    command = [sys.executable, "-m", "jupyterlab", *options, f"--ServerApp.root_dir={notebooks}"]
    with (folder / "log").open("w") as log:
        server = subprocess.Popen(command, env=where, stdout=log, stderr=log)
    try:
        while not (found := list((folder / "runtime").glob("jpserver-*.json"))):
            assert server.poll() is None, (folder / "log").read_text()
            time.sleep(0.2)
        yield f"{json.loads(found[0].read_text())['url']}lab/tree/NAME?reset&token={token}", notebooks
    finally:
        server.terminate()
        server.wait(60)


def with_what_it_needs(path: Path, call: str) -> nbformat.NotebookNode:
    """The notebook with the one cell that calls ``call`` and, before it, those that bind the names that it needs."""
    notebook = nbformat.read(path, as_version=4)
    trees = [ast.parse(cell.source) if cell.cell_type == "code" else ast.Module([], []) for cell in notebook.cells]
    (last,) = (i for i, tree in enumerate(trees) if f"{call}(" in ast.unparse(tree) and "def " not in notebook.cells[i].source)
    chosen, todo = set(), [last]
    while todo:
        chosen.add(place := todo.pop())
        loaded = {node.id for node in ast.walk(trees[place]) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
        for name in loaded - bound(trees[place]) - {node.arg for node in ast.walk(trees[place]) if isinstance(node, ast.arg)}:
            before = [i for i in range(place) if name in bound(trees[i])]
            todo += [before[-1]] if before and before[-1] not in chosen else []
    notebook.cells = [notebook.cells[i] for i in sorted(chosen)]
    return notebook


def bound(tree: ast.Module) -> set[str]:
    """The names that a cell binds for the cells after it."""
    found = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    found |= {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    imports = [alias for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom) for alias in node.names]
    return found | {(alias.asname or alias.name).split(".")[0] for alias in imports}


class Lab:
    """A notebook in JupyterLab, all its cells run, and the explorer in it.

    trouble: the console's errors and exceptions. outside: what was asked of other machines (and not let through).
    """

    def __init__(self, browser, lab: tuple[str, Path], notebook: nbformat.NotebookNode, name: str):
        address, folder = lab
        for cell in notebook.cells:
            if cell.cell_type == "code":
                cell.outputs, cell.execution_count = [], None
        nbformat.write(notebook, folder / name)
        self.trouble, self.outside = [], []
        self.page = page = browser.new_page(viewport={"width": 1280, "height": 1100})
        page.set_default_timeout(OPEN)
        page.on("console", lambda message: message.type == "error" and self.trouble.append(message.text))
        page.on("pageerror", lambda error: self.trouble.append(str(error)))
        page.route(lambda address: urlsplit(address).hostname not in ("127.0.0.1", None), self._refuse)
        page.goto(address.replace("NAME", name))
        page.get_by_text("Python 3 (ipykernel) | Idle").wait_for()
        page.get_by_role("menuitem", name="Run", exact=True).click()
        page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
        self.figure = page.locator(".jp-OutputArea-output .jupyter-widgets img")
        self.figure.wait_for()
        page.set_default_timeout(WAIT)

    def _refuse(self, route) -> None:
        self.outside.append(route.request.url)
        route.abort()

    def control(self, name: str):
        """The control with this description."""
        return self.page.get_by_label(name, exact=True)

    def slider(self, name: str):
        """The slider with this description: its handle has the role, its readout can be written into."""
        return self.page.locator(".widget-inline-hbox").filter(has=self.page.get_by_text(name, exact=True))

    def says(self) -> str:
        """The message line."""
        return " ".join(self.page.get_by_role("alert").all_inner_texts())

    def changed(self, move) -> str:
        """Move a control, wait until another figure is there; returns its alternative text."""
        before = self.figure.get_attribute("src")
        move()
        self.page.wait_for_function(
            "before => { const now = document.querySelector('.jupyter-widgets img'); return now && now.src !== before }",
            arg=before,
        )
        return self.figure.get_attribute("alt")
