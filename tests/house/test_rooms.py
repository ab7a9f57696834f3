"""The house has floors: a module imports from lower floors or its own room, never upward, never in a circle."""

import ast
import re
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import nibkit as nk

PACKAGE = Path(nk.__file__).parent
FLOORS = {  # the floor plan
    "checks": 1,
    "resources": 1,
    "io": 2,
    "theory": 2,
    "model": 2,
    "course": 2,
    "methods": 3,
    "data": 3,
    "metrics": 4,
    "show": 4,
    "evaluation": 5,
    "__main__": 6,
}


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts)


MODULES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py")) if path.name != "__init__.py"}


def room_of(module: str) -> str:
    return module.split(".")[0]


def imports_of(module: str) -> set[str]:
    """The modules of nibkit that it imports, at its top or inside a function; "" is nibkit/__init__ itself."""
    imported = set()
    for node in ast.walk(ast.parse(MODULES[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            imported |= {alias.name.removeprefix("nibkit").lstrip(".") for alias in node.names if room_of(alias.name) == "nibkit"}
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                base = module.split(".")[: -node.level]
            elif node.module and room_of(node.module) == "nibkit":
                base, node.module = [], node.module.removeprefix("nibkit").lstrip(".")
            else:
                continue
            target = ".".join([*base, *filter(None, [node.module])])
            if target in MODULES:
                imported.add(target)
            else:  # names of a room: modules, or something that only its __init__ could hold
                imported |= {".".join(filter(None, [target, alias.name])) for alias in node.names}
    return imported


def test_the_floor_plan_names_every_room():
    assert {room_of(module) for module in MODULES} == set(FLOORS)


@pytest.mark.parametrize("module", MODULES)
def test_nothing_imports_upward(module):
    for target in imports_of(module):
        assert target in MODULES, f"{module} imports {target or 'nibkit itself'!r}, which is no module: import from where it lies"
        below = FLOORS[room_of(target)] < FLOORS[room_of(module)]
        assert below or room_of(target) == room_of(module), f"{module} imports {target}, which is not below it"


def test_no_module_is_reached_by_its_name_as_text():
    """What the tests above read are import statements: nobody goes round them, and no room holds another."""
    rooms = {PACKAGE / room for room in FLOORS if (PACKAGE / room).is_dir()}
    assert {path.parent for path in PACKAGE.rglob("__init__.py")} == {PACKAGE, *rooms}
    for module, path in MODULES.items():
        assert not re.search(r"import_module|__import__|modules\[.nibkit", path.read_text(encoding="utf-8")), module


def test_there_is_no_circle():
    assert list(TopologicalSorter({module: imports_of(module) for module in MODULES}).static_order())  # CycleError names it


@pytest.mark.parametrize("room", [path.parent.name for path in PACKAGE.glob("*/__init__.py")])
def test_a_rooms_init_says_what_it_may_import_and_holds_nothing(room):
    tree = ast.parse((PACKAGE / room / "__init__.py").read_text(encoding="utf-8"))
    floor, text = FLOORS[room], ast.get_docstring(tree)
    assert len(tree.body) == 1 and re.search(rf"Floor {floor}: imports floors? 1", text)


def test_dir_shows_the_public_names_and_each_is_there():
    assert dir(nk) == sorted([*nk.__all__, "__version__"])
    for name in dir(nk):
        assert getattr(nk, name) is not None
    with pytest.raises(AttributeError, match="has no attribute 'nip'; did you mean 'nib'"):
        nk.nip  # noqa: B018


def test_no_module_shadows_a_public_name():
    """Nothing but rooms lies beside nibkit/__init__ (the test below loads nibkit.methods.nib first: nk.nib is the function)."""
    beside = {path.stem for path in PACKAGE.glob("*.py")} | {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert not beside & set(nk.__all__)


@pytest.mark.parametrize(
    "code, unwanted",
    {
        "import nibkit": ["torch", "pandas", "matplotlib", "transformers"],
        "import nibkit as nk; nk.bottleneck, nk.quadrature, nk.claim, nk.paper.table(2)": ["transformers", "matplotlib"],
        "import nibkit.methods.nib, nibkit as nk; assert callable(nk.nib); nk.METHODS, nk.confidence, nk.plots": ["transformers"],
        "import nibkit as nk; nk.read_results, nk.summarise, nk.results('steps')": ["torch", "transformers"],
    }.items(),
)
def test_what_an_import_brings_along(code, unwanted):
    """The light names stay light: a theory notebook never loads a model's code."""
    asks = f"{code}; import sys; print([name for name in {unwanted} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", asks], capture_output=True, text=True, check=True).stdout.strip() == "[]"


def test_importing_sets_the_one_variable_that_the_docstring_names():
    code = (
        "import os; before = dict(os.environ); import nibkit; print({k: v for k, v in os.environ.items() if before.get(k) != v})"
    )
    environment = {"PATH": "", "PYTHONPATH": str(PACKAGE.parent)}
    output = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True).stdout
    assert output.strip() == "{'CUBLAS_WORKSPACE_CONFIG': ':4096:8'}" and "CUBLAS_WORKSPACE_CONFIG=:4096:8" in nk.__doc__


@pytest.mark.parametrize("path", [*MODULES.values(), PACKAGE / "__init__.py"], ids=lambda path: path.stem)
def test_a_file_is_short(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 250
