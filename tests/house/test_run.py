"""``python -m tools.run``: notebooks run in fresh kernels, stored tidily or handed to the book; a failure names its cell."""

import nbformat
import pytest

from tools import run
from tools.book import first_picture

CLAIM = "import nibkit as nk\nnk.claim('IB.6', 0, 0)\n"
DRAW = "from matplotlib import pyplot as plt\nfig, ax = plt.subplots()\n" + CLAIM
BUTTON = "import ipywidgets\nipywidgets.Button()"


def store(path, *sources: str) -> None:
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)


@pytest.fixture
def tools_run(tmp_path, monkeypatch):
    """Run the command on notebooks of our own: (exit status, what the book was given)."""
    folder = tmp_path / "notebooks"
    folder.mkdir()
    store(folder / "00_first.ipynb", "%matplotlib inline\n" + DRAW, BUTTON)
    store(folder / "01_second.ipynb", CLAIM + CLAIM)
    store(folder / "02_third.ipynb", "print('well')", "# the second\n1 / 0")
    given = {}
    monkeypatch.setattr(run, "FOLDER", folder)
    monkeypatch.setattr(run, "build_book", lambda out, notebooks: given.update(notebooks) or out / "book" / "index.html")

    def call(*arguments: str):
        jobs = [] if "--jobs" in arguments else ["--jobs", "1"]
        monkeypatch.setattr("sys.argv", ["run", *arguments, *jobs, "--out", str(tmp_path / "build")])
        return run.main(), given

    return call


def test_the_book_gets_the_fresh_outputs_and_the_notebooks_stay(tools_run, tmp_path, capsys):
    before = {path.name: path.read_bytes() for path in run.FOLDER.iterdir()}
    status, given = tools_run("00", "01")
    out = capsys.readouterr().out
    assert status == 0 and list(given) == ["00_first.ipynb", "01_second.ipynb"]
    assert {path.name: path.read_bytes() for path in run.FOLDER.iterdir()} == before
    picture = tmp_path / "build" / "first-explanation.png"
    assert picture.read_bytes() == first_picture(given["00_first.ipynb"])
    assert out.index("the first explanation: ") < out.index("00_first  ") < out.index("look at: ")
    assert "1 claims\n01_second" in out and "2 notebooks" in out and "3 claims asserted" in out


def test_stored_outputs_are_the_same_from_run_to_run(tools_run):
    assert tools_run("00", "01", "--inplace") == (0, {})
    once = {path.name: path.read_bytes() for path in run.FOLDER.iterdir()}
    assert tools_run("00", "01", "--inplace") == (0, {})
    assert {path.name: path.read_bytes() for path in run.FOLDER.iterdir()} == once
    assert b"image/png" in once["00_first.ipynb"] and b"widget" not in once["00_first.ipynb"].split(b"ipywidgets.Button")[1]


def test_a_failure_names_the_notebook_and_the_cell(tools_run, capsys):
    assert tools_run("02") == (1, {})
    err = capsys.readouterr().err
    assert "02_third.ipynb failed in cell 1 (# the second)" in err and "ZeroDivisionError" in err and "\x1b" not in err


def test_a_name_that_no_notebook_has_is_refused(tools_run, capsys):
    assert tools_run("00", "97") == (1, {})
    assert capsys.readouterr().err == "no notebook of that name in notebooks/: 97\n"


def test_two_at_a_time_give_the_same_and_a_failure_is_told(tools_run, capsys):
    _, alone = tools_run("00", "01")
    once = dict(alone)
    status, together = tools_run("00", "01", "--jobs", "2")
    assert status == 0 and together == once and "2 notebooks" in capsys.readouterr().out
    assert tools_run("00", "02", "--jobs", "2")[0] == 1
    assert "02_third.ipynb failed in cell 1 (# the second)" in capsys.readouterr().err


def test_no_jobs_at_all_are_refused(tools_run, capsys):
    with pytest.raises(SystemExit, match="2"):
        tools_run("00", "--jobs", "0")
    assert "--jobs must be 1 or more; got 0" in capsys.readouterr().err
