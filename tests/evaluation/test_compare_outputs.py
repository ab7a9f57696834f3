"""``nibkit compare``: what was given is never overwritten, and whatever fails is one line."""

import functools
import io
import os
import sqlite3
import sys
from pathlib import Path

import pytest

import nibkit as nk
from nibkit.__main__ import main

DATA = ["--data", "folder", "--path", "data", "--methods", "nib:num_steps=1"]
ONE = ["--n", 1, "--methods", "nib:num_steps=1"]


@functools.cache
def pictures() -> list[bytes]:
    """Five of them, drawn once, as PNG."""
    files = [io.BytesIO() for _ in range(5)]
    for scene, file in zip(nk.shapes.sample(5, seed=1), files):
        scene.image.save(file, "PNG")
    return [file.getvalue() for file in files]


@pytest.fixture(scope="module")
def one_row(tmp_path_factory) -> bytes:
    """A file of results as ``compare`` writes it."""
    path = tmp_path_factory.mktemp("once") / "r.sqlite"
    assert main(["compare", *map(str, ONE), "--out", str(path), "--device", "cpu"]) == 0
    return path.read_bytes()


@pytest.fixture(autouse=True)
def data(monkeypatch, tmp_path) -> Path:
    """A folder of its own, and in it ``data``: four pictures, their table, and a picture that the table does not name."""
    monkeypatch.setenv("NIBKIT_DEVICE", "cpu")
    monkeypatch.chdir(tmp_path)
    Path("data").mkdir()
    for i, picture in enumerate(pictures()):
        Path(f"data/{i}.png").write_bytes(picture)
    Path("data/captions.csv").write_text("image,caption\n" + "".join(f"{i}.png,a ring\n" for i in range(4)))
    Path("data/empty.txt").touch()
    return tmp_path / "data"


def run(*arguments) -> int:
    return main(["compare", *map(str, arguments)])


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize(
    "option, path, message",
    [
        ("--out", "data/captions.csv", "is a file of another kind"),
        ("--out", "data/0.png", "is a file of another kind"),
        ("--out", "data/empty.txt", "lies among the data and may be one of them"),
        ("--figure", "data/0.png", "is an input, too"),
        ("--figure", "link.png", "is an input, too"),
        ("--figure", "twin.png", "is an input, too"),
        ("--figure", "data/4.png", "lies among the data and may be one of them"),
    ],
)
@pytest.mark.parametrize("limit", [[], ["--limit", 3]])
def test_no_file_of_the_data_is_overwritten(data, capfd, option, path, message, limit):
    """Not even one that is not drawn, by whatever link it is named."""
    Path("link.png").symlink_to("data/0.png")
    os.link("data/0.png", "twin.png")
    before = contents(data)
    status = run(*DATA, option, path, *limit)
    err = capfd.readouterr().err.splitlines()[-1]
    assert contents(data) == before
    assert status == 2 and err.startswith((f"error: {option}", "error: out=")) and message in err


def test_the_figure_is_not_the_file_of_the_rows(capfd):
    assert run(*DATA, "--out", "r.png", "--figure", "./r.png") == 2
    assert "--figure and --out are the same file, r.png: give each its own" in capfd.readouterr().err
    assert not Path("r.png").exists()


def test_our_own_figure_is_replaced_also_among_the_data(data, capfd):
    for _ in range(2):
        assert run(*DATA, "--out", "r.sqlite", "--figure", "data/summary.png") == 0
    assert "figure: data/summary.png" in capfd.readouterr().err


def test_a_file_that_is_no_figure_of_ours_is_replaced_only_where_that_is_allowed(capfd):
    nk.shapes.sample(1, seed=2)[0].image.save("holiday.png")
    before = Path("holiday.png").read_bytes()
    assert run(*DATA, "--out", "r.sqlite") == 0
    for command in ([*DATA], ["--out", "r.sqlite", "--read"]):
        capfd.readouterr()
        assert run(*command, "--figure", "holiday.png") == 2 and Path("holiday.png").read_bytes() == before
        message = "error: holiday.png is there already, and nibkit did not make it: say by --figure where"
        assert capfd.readouterr().err.splitlines()[-1].startswith(message)
    assert run("--out", "r.sqlite", "--read", "--figure", "holiday.png", "--replace") == 0
    assert Path("holiday.png").read_bytes() != before


def test_a_table_that_an_option_names_is_an_input(data, capfd):
    Path("table.png").write_bytes((data / "captions.csv").read_bytes())
    assert run(*DATA, "--data-options", "table=table.png", "--figure", "table.png") == 2
    assert "--figure table.png is an input, too" in capfd.readouterr().err


@pytest.mark.skipif(sys.platform != "linux", reason="/dev/full and /proc are Linux's")
@pytest.mark.parametrize("out", ["/proc/r.sqlite", "/dev/full"])
def test_where_no_rows_can_be_written_is_told_before_any_work(monkeypatch, capfd, out):
    monkeypatch.setattr("nibkit.model.loading.load_clip", lambda *_, **__: pytest.fail("the model was loaded"))
    for option in (["--out", out], ["--methods", "lime"], ["--methods", "nib:steps=3"], ["--figure", "x.pgf"], ["--timing", 0]):
        assert run(*option) == 2
        assert (err := capfd.readouterr().err).startswith("error: ") and err.count("\n") == 1


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(path.read_bytes()[:5000]),
        lambda path: path.write_bytes(path.read_bytes()[:100] + os.urandom(4000)),
        lambda path: execute(path, "DROP TABLE settings"),
        lambda path: execute(path, "DROP TABLE pairs"),
        lambda path: execute(path, "DROP TABLE skipped"),
        lambda path: execute(path, "ALTER TABLE results RENAME COLUMN method TO way"),
        lambda path: execute(path, "PRAGMA application_id = 0"),
    ],
    ids=["half", "noise", "settings", "pairs", "skipped", "a column", "another program's"],
)
@pytest.mark.parametrize("read", [[], ["--read"]])
def test_a_damaged_or_foreign_file_is_one_line_and_stays(one_row, capfd, damage, read):
    command = [*ONE, "--out", "r.sqlite"]
    Path("r.sqlite").write_bytes(one_row)
    damage(Path("r.sqlite"))
    before = Path("r.sqlite").read_bytes()
    status, err = run(*command, *read), capfd.readouterr().err
    assert status == 2 and err.splitlines()[-1].startswith("error: ") or status == 0 and read, err
    assert "Traceback" not in err and Path("r.sqlite").read_bytes() == before


def execute(path: Path, statement: str) -> None:
    connection = sqlite3.connect(path)
    connection.execute(statement)
    connection.commit()
    connection.close()


def test_a_disk_that_fills_up_is_one_line(monkeypatch, capfd):
    def full(*_):
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr("nibkit.evaluation.store.Store.add", full)
    assert run("--n", 1, "--methods", "nib:num_steps=1", "--out", "r.sqlite") == 2
    err = capfd.readouterr().err.splitlines()[-1]
    assert (
        err == "error: --out r.sqlite can't be written (database or disk is full): its rows so far are kept, mend that and go on"
    )
