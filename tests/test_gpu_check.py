"""The check for GPU machines, tried on the CPU: it carries all that is needed, tells what it finds, and can be stopped."""

import importlib.metadata
import sys
import time
from pathlib import Path

import gpu_agreement
import gpu_check
import gpu_report
import gpu_wheels
import nbformat
import pytest
import torch
from packaging.requirements import Requirement

BARE = {"python_version": "3.12", "python_full_version": "3.12.3", "sys_platform": "linux", "platform_system": "Linux"} | {
    "platform_machine": "x86_64",
    "os_name": "posix",
    "implementation_name": "cpython",
    "extra": "",
}


@pytest.mark.parametrize("name", gpu_wheels.CARRIED)
def test_what_a_carried_wheel_needs_is_carried_or_expected(name):
    assert name in gpu_wheels.pins() and name not in gpu_wheels.EXPECTED
    for need in map(Requirement, importlib.metadata.requires(name) or []):
        if need.marker is None or need.marker.evaluate(BARE):
            assert gpu_wheels.normal(need.name) in gpu_wheels.CARRIED + gpu_wheels.EXPECTED, f"{name} needs {need}"


def test_what_the_notebooks_import_is_carried_or_expected():
    """All that nibkit's metadata asks for, but for what only serving and grading notebooks, clusters, the book and lint take."""
    known = {"dask", "distributed", "datasets", "jupyterlab", "nbclient", "nbconvert", "nbgrader", "hatchling", "editables"}
    known |= {"docutils", "fonttools", "markdown-it-py", "myst-nb", "myst-parser", "pybtex"}
    known |= {"sphinx", "sphinx-book-theme", "sphinx-revealjs", "sphinxcontrib-bibtex", "playwright"}
    known |= {"mypy", "pandas-stubs", "ruff", "scipy-stubs", "types-tqdm"}
    known |= {"httpx", "pytest-xdist", "pyyaml", *gpu_wheels.CARRIED, *gpu_wheels.EXPECTED}
    needs = map(Requirement, importlib.metadata.requires("nibkit"))
    assert {gpu_wheels.normal(need.name) for need in needs} <= known


def test_a_wheel_is_found_by_its_package():
    folder = Path("wheels")
    names = ["ipython-9.0-py3-none-any.whl", "ipython_pygments_lexers-1.1.1-py3-none-any.whl", "notes.txt"]

    class Folder:
        def glob(self, pattern):
            return [folder / name for name in names if Path(name).match(pattern)]

    assert gpu_wheels.wheel_of("ipython-pygments-lexers", Folder()).name == names[1]
    assert gpu_wheels.wheel_of("ipython", Folder()).name == names[0] and gpu_wheels.wheel_of("jedi", Folder()) is None
    assert gpu_wheels.missing(["numpy", "no-such-package"]) == ["no-such-package"]


def test_the_report_keeps_the_steps_that_are_not_run_again(tmp_path):
    report = gpu_report.Report(tmp_path / "deep" / "report.md")
    for step, text in (("tests", "old"), ("nbval", "first\n\n## nothing\nof mine"), ("tests", "new")):
        report.write(step, text)
    told = report.path.read_text()
    assert told.index("## nbval") < told.index("## tests") and "new" in told and "old" not in told and "of mine" in told
    report.write("nbval", "again")
    assert report.path.read_text() == f"{gpu_report.TITLE}\n\n## nbval\n\nagain\n\n## tests\n\nnew\n"


@pytest.fixture
def here(monkeypatch, tmp_path):
    """The script on the CPU, with a folder of its own for notebooks and report."""
    monkeypatch.setattr(gpu_check, "NOTEBOOKS", tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(gpu_check.signal, "signal", lambda *_: None)
    report = tmp_path / "report.md"
    return lambda *words: gpu_check.main(["--device", "cpu", "--report", str(report), *words]), report


def notebook(path: Path, source: str, text: str) -> None:
    output = nbformat.v4.new_output("stream", text=text)
    cell = nbformat.v4.new_code_cell(source, outputs=[output], execution_count=1)
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}
    nbformat.write(nbformat.v4.new_notebook(cells=[cell], metadata=kernel), path)


def test_a_notebook_that_prints_other_text_is_told(here, tmp_path, capsys):
    main, report = here
    notebook(tmp_path / "01_same.ipynb", "import os; print(os.environ['NIBKIT_DEVICE'])", "cpu\n")
    notebook(tmp_path / "10_benchmark.ipynb", "print(2)", "1\n")
    assert main("--steps", "nbval", "--workers", "2") == 1
    told = report.read_text()
    assert (
        "| 01_same | 1 | 1 | 0 |" in told
        and "| 10_benchmark | 1 | 0 | 1 |" in told
        and "| **2 of 2** | **2** | **1** | **1** |" in told
    )
    assert "10_benchmark, exit status 1" in told and "commit" in told and "failed: nbval" in capsys.readouterr().out


def test_the_agreement_of_the_cpu_with_itself(here):
    main, report = here
    assert main("--steps", "agreement", "--agreement", "--pairs 2 --methods nib") == 0
    told = report.read_text()
    assert "| nib | float32 | text | 0.0e+00 | 1.0000 | 1.0000 | yes |" in told and "| nib | bfloat16 | image |" in told
    assert "so it is" in told and "## tests" not in told


def test_modes_are_put_back(monkeypatch):
    monkeypatch.delenv("NIBKIT_TF32", raising=False)
    before = torch.backends.cuda.matmul.fp32_precision
    with gpu_agreement.computing("TF32", "cpu"):
        assert gpu_agreement.os.environ["NIBKIT_TF32"] == "1" and torch.backends.cuda.matmul.fp32_precision == "tf32"
    assert "NIBKIT_TF32" not in gpu_agreement.os.environ and torch.backends.cuda.matmul.fp32_precision == before


def test_one_line_says_what_is_missing(here, monkeypatch, tmp_path, capsys):
    main, report = here
    monkeypatch.setattr(gpu_check, "missing", lambda names: ["nbval"] if "nbval" in names else [])
    assert main("--wheels", str(tmp_path)) == 2
    assert "error: nbval is neither installed" in (told := capsys.readouterr().out) and "`make wheels`" in told
    monkeypatch.setattr(gpu_check, "missing", lambda names: ["torch"] if "torch" in names else [])
    assert main() == 2 and "lacks torch" in capsys.readouterr().out
    assert not report.exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_without_a_device_nothing_is_written(capsys):
    assert gpu_check.main([]) == 2
    assert capsys.readouterr().out == "error: torch sees no CUDA device: run this on a machine that has one\n"


def test_what_takes_too_long_is_ended_with_all_that_it_started(tmp_path):
    args = gpu_check.parse(["--patience", "1.5"])
    check = gpu_check.Check(args, gpu_report.Report(tmp_path / "report.md"))
    sleeper = "import subprocess, sys; p = subprocess.Popen(['sleep', '60']); print(p.pid, flush=True); p.wait()"
    output, status = check.run([sys.executable, "-c", sleeper])
    assert status == 124 and "stopped after" in output and not check.running
    state = Path(f"/proc/{int(output.split()[0])}/stat")
    for _ in range(50):
        if not state.exists() or ") Z " in state.read_text():  # gone, or waiting to be collected
            return
        time.sleep(0.1)
    pytest.fail("the child's child lives on")
