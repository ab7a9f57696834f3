"""README is short and true: its code runs and prints what it says, its links lead somewhere, its commands exist."""

import contextlib
import io
import re
import shlex
from pathlib import Path

import pytest

from nibkit.__main__ import COMMANDS, build_explain_parser
from nibkit.evaluation.arguments import build_parser as build_compare_parser

ROOT = Path(__file__).parents[2]
PAGES = ["README.md", "CONTRIBUTING.md", "docs/compare.md", "docs/gpu.md", "docs/teaching.md", "docs/index.md"]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.M | re.S)


def test_it_is_short():
    assert 5000 < len(README.encode()) < 8000


def test_its_python_prints_what_it_says(monkeypatch):
    monkeypatch.chdir(ROOT)
    blocks = BLOCK.findall(README)
    code = [(text, blocks[i + 1]) for i, (kind, text) in enumerate(blocks) if kind == "python"]
    assert code
    for source, (kind, expected) in code:
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(source, "README.md", "exec"), {})
        assert kind == "text" and printed.getvalue() == expected


@pytest.mark.parametrize("page", PAGES)
def test_its_commands_exist(page):
    """Every make target is one, every nibkit call is one that its parser takes."""
    text = (ROOT / page).read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    assert set(re.findall(r"(?:^|`)make ([a-z][a-z-]+)", text, re.M)) <= targets
    parsers = {"explain": build_explain_parser(), "compare": build_compare_parser()}
    assert parsers.keys() == COMMANDS.keys()
    for line in (line for kind, block in BLOCK.findall(text) if kind == "bash" for line in block.splitlines()):
        if re.match(r"(\S*/)?nibkit ", line):
            _, command, *arguments = shlex.split(line, comments=True)
            parsers[command].parse_args(arguments)


@pytest.mark.parametrize("page", PAGES)
def test_its_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)", (ROOT / page).read_text(encoding="utf-8")):
        assert target.startswith("http") or (ROOT / page).parent.joinpath(target).exists(), target


def test_it_lists_every_notebook_and_every_room():
    for path in [*(ROOT / "notebooks").glob("*.ipynb"), *(ROOT / "nibkit").glob("*/__init__.py")]:
        assert (f"notebooks/{path.name}" if path.suffix == ".ipynb" else f"`{path.parent.name}/`") in README
