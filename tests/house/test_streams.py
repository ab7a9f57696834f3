"""Standard streams that are full or closed: the status says what happened, and nobody sees a traceback."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import nibkit as nk

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full, or no shell")
FAILED = "error: standard output was closed or is full ({}): send it elsewhere and call again\n"
FULL, CLOSED = FAILED.format("No space left on device"), FAILED.format("Bad file descriptor")


@pytest.fixture(autouse=True)
def picture(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    nk.shapes.sample(1, seed=3)[0].image.save("dog.png")


def nibkit(arguments: str, streams: str, unbuffered: bool = False) -> subprocess.CompletedProcess:
    """The command with its streams sent elsewhere by the shell: ``>/dev/full``, ``2>&-``."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    environment |= {"PYTHONPATH": str(ROOT), "NIBKIT_DEVICE": "cpu"} | ({"PYTHONUNBUFFERED": "1"} if unbuffered else {})
    command = f"{sys.executable} -m nibkit {arguments} {streams}"
    return subprocess.run(command, shell=True, capture_output=True, text=True, env=environment, stdin=subprocess.DEVNULL)


@pytest.mark.parametrize("unbuffered", [False, True])
@pytest.mark.parametrize("arguments", ["--version", "explain --help"])
@pytest.mark.parametrize("streams, told", [(">/dev/full", FULL), (">&-", CLOSED), (">&- 2>&-", ""), ("<&- >/dev/full 2>&-", "")])
def test_what_standard_output_does_not_take_is_no_success(arguments, streams, told, unbuffered):
    done = nibkit(arguments, streams, unbuffered)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", told)


@pytest.mark.parametrize("arguments", ["explain nowhere.png x", "nonsense", "compare --n 0"])
@pytest.mark.parametrize(
    "streams, unbuffered", [("2>/dev/full", False), ("2>/dev/full", True), ("2>&-", False), ("2>&- <&-", True)]
)
def test_an_error_that_nobody_can_read_keeps_its_status(arguments, streams, unbuffered):
    done = nibkit(arguments, streams, unbuffered)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", "")


def test_what_is_done_is_done_though_no_remark_can_be_read():
    done = nibkit("explain dog.png 'a zebra' --steps 1", "2>/dev/full")
    assert done.returncode == 0 and done.stdout.endswith("zebra\nfigure: dog-explained.png\n") and done.stderr == ""
    done = nibkit("compare --n 1 --methods nib:num_steps=1 --out r.sqlite", "2>&-")  # which has a progress bar
    assert done.returncode == 0 and "| nib:num_steps=1 |" in done.stdout and Path("r.sqlite").stat().st_size


def test_results_that_nobody_can_read_are_no_success_but_the_figure_is_there():
    done = nibkit("compare --n 1 --methods nib:num_steps=1 --figure s.png", ">&-")  # "explain" has its own in test_boundary.py
    assert (done.returncode, done.stdout) == (2, "") and done.stderr.endswith(CLOSED) and Path("s.png").is_file()
    assert "Traceback" not in done.stderr and "BrokenPipe" not in done.stderr


def test_no_file_gets_the_place_of_a_closed_stream():
    """Else what a library writes to standard error would stand in it."""
    script = (
        "import os; from nibkit.io.streams import standard_streams\n"
        "with standard_streams(), open('x', 'w') as file: assert file.fileno() > 2, file.fileno()"
    )
    done = subprocess.run(f'{sys.executable} -c "{script}" <&- >&- 2>&-', shell=True, env=os.environ | {"PYTHONPATH": str(ROOT)})
    assert done.returncode == 0
