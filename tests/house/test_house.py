"""The house holds together: one list of dependencies, exact pins, nothing heavy, nothing of somebody's machine."""

import ast
import doctest
import importlib
import importlib.metadata
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
IMPORT_NAMES = {
    "pil": "pillow",
    "skimage": "scikit-image",
    "yaml": "pyyaml",
    "markdown-it": "markdown-it-py",
    "huggingface-hub": "huggingface-hub",
}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
DECLARED = {
    canonicalize_name(r.name): r
    for group in (PROJECT["dependencies"], *PROJECT["optional-dependencies"].values())
    for r in map(Requirement, group)
}


EXTRAS = ("requirements-course.txt", "requirements-browser.txt")


def pins(*names: str) -> dict[str, str]:
    text = "".join((ROOT / name).read_text() for name in names or ("requirements.txt", *EXTRAS))
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    found = [re.fullmatch(r"([A-Za-z0-9._-]+)==([0-9][^+\s;]*)", line) for line in lines]
    assert all(found), [line for line, match in zip(lines, found) if not match]
    return {canonicalize_name(match[1]): match[2] for match in found}


def tracked() -> list[Path]:
    """What git has or would add: also a file that is not committed yet is held to the rules."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).exists()]


def sources() -> list[tuple[str, str]]:
    """(name, Python source) of every module, test and notebook."""
    import nbformat

    found = [
        (str(p.relative_to(ROOT)), p.read_text())
        for folder in ("nibkit", "tests", "data/recipes", "tools", "benchmarks")
        for p in (ROOT / folder).rglob("*.py")
    ]
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        cells = nbformat.read(path, as_version=4).cells
        code = [c.source for c in cells if c.cell_type == "code" and not c.source.startswith("%%")]
        found.append((path.name, "\n".join(re.sub(r"^(\s*)[%!].*", r"\1pass", source, flags=re.M) for source in code)))
    return found


def test_every_declared_dependency_is_pinned_within_its_bound():
    pinned = pins()
    for name, requirement in DECLARED.items():
        assert name in pinned, f"{name} is in pyproject.toml but not pinned"
        assert requirement.specifier.contains(pinned[name]), f"{name}=={pinned[name]} is outside {requirement.specifier}"
    assert pinned["torch"] == "2.13.0"


def test_what_a_pin_needs_is_pinned_too():
    """The pins are the whole tree; only what a CUDA build of torch brings along is left to it."""
    pinned, everywhere = pins(), pins("requirements.txt")
    installed_here = {canonicalize_name(found.metadata["Name"]) for found in importlib.metadata.distributions()}
    for name, version in pinned.items():
        if name not in everywhere and name not in installed_here:
            continue  # an extra is installed by its own target alone
        installed = importlib.metadata.distribution(name)
        if installed.version.split("+")[0] != version:
            continue  # not the environment of the pins (gpu-check): says nothing about them
        for need in map(Requirement, installed.requires or []):
            if need.marker is None or need.marker.evaluate({"extra": ""}):
                child = canonicalize_name(need.name)
                assert child in pinned or re.match("nvidia|cuda|triton", child), f"{name} needs {need}, which is not pinned"


def test_every_import_is_declared():
    own = {"nibkit", "tests", "fuzz", "benchmarks", "tools"} | {
        p.stem for folder in ("tests", "data/recipes", "tools") for p in (ROOT / folder).rglob("*.py")
    }
    for where, source in sources():
        for node in ast.walk(ast.parse(source)):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) and not node.level else []
            for top in {name.split(".")[0] for name in names} - set(sys.stdlib_module_names) - own:
                name = canonicalize_name(IMPORT_NAMES.get(canonicalize_name(top), top))
                assert name in DECLARED, f"{where} imports {top}, which pyproject.toml does not declare"


@pytest.mark.parametrize("extra", EXTRAS)
def test_an_extra_adds_pins_and_changes_none(extra):
    assert not pins("requirements.txt").keys() & pins(extra).keys()


def test_torchvision_is_nowhere():
    assert "torchvision" not in pins() and "torchvision" not in DECLARED
    assert not any(re.search(r"^\s*(import|from) torchvision", source, re.M) for _, source in sources())


def test_conda_environment_is_the_same():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    assert environment["name"] == "nib"
    *conda, pip = environment["dependencies"]
    assert "python=3.11" in conda and PROJECT["requires-python"] == ">=3.11"
    assert pip["pip"] == ["-r requirements.txt", "-e ."]  # pip takes no other options in a list of requirements


def test_readme_names_only_targets_that_exist():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    named = set(re.findall(r"(?:^|`)make ([a-z-]+)", (ROOT / "README.md").read_text(), re.M))
    assert {"run", "test"} <= named <= targets


def test_nothing_heavy_and_nothing_generated():
    for path in tracked():
        assert path.stat().st_size < 10e6, f"{path} is over 10 MB"
        assert not {".venv", "build", "__pycache__"} & set(path.relative_to(ROOT).parts), path


def test_no_registry_host_and_no_path_of_a_machine():
    parts = [
        ("pypi", ".org"),
        ("python", "hosted"),
        ("registry.", "npmjs"),
        ("deb.", "debian"),
        ("/wo", "rk/"),
        ("/opt/", "wheels"),
        ("/ro", "ot/"),
    ]
    pattern = re.compile("|".join(re.escape(a + b) for a, b in parts))
    for path in tracked():
        if path.suffix in {".py", ".md", ".toml", ".txt", ".yml", ".ipynb", ".csv", ".json", ".cfg", ""}:
            match = pattern.search(path.read_text(encoding="utf-8"))
            assert not match, f"{path.relative_to(ROOT)} holds {match[0]!r}"


def test_examples_in_docstrings_are_true():
    """Every >>> line that is not marked to be skipped gives what it says."""
    tried = 0
    for path in sorted((ROOT / "nibkit").rglob("*.py")):
        if path.name != "__main__.py" and ">>> " in path.read_text():
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
            found = doctest.testmod(sys.modules.get(name) or importlib.import_module(name))
            assert not found.failed, name
            tried += found.attempted
    assert tried


def test_a_file_of_tests_is_short():
    """As the package's are: split it by subject; what the parts share goes to the room's conftest.py or beside it."""
    lengths = {path.name: len(path.read_text(encoding="utf-8").splitlines()) for path in (ROOT / "tests").rglob("*.py")}
    assert not {name: length for name, length in lengths.items() if length > 250}
