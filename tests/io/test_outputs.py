"""What is written: never over what was given, refused before any work, whole or not at all."""

import os
import shutil
import stat
import sys
from pathlib import Path

import pytest
from matplotlib.figure import Figure
from PIL import Image

from nibkit.io.outputs import FIGURES, check_figure_path, check_output, check_replaced, is_our_figure, save_figure, written_whole

linux = pytest.mark.skipif(sys.platform != "linux", reason="/dev/full and /proc are Linux's")


@pytest.fixture
def given(tmp_path) -> Path:
    """A file that was given as an input."""
    (tmp_path / "given.png").write_bytes(b"precious")
    return tmp_path / "given.png"


def by_another_path(given: Path) -> Path:
    (given.parent / "deep").mkdir()
    return given.parent / "deep" / ".." / given.name


def by_symlink(given: Path) -> Path:
    (given.parent / "link.png").symlink_to(given)
    return given.parent / "link.png"


def by_hard_link(given: Path) -> Path:
    os.link(given, given.parent / "twin.png")
    return given.parent / "twin.png"


def by_relative_path(given: Path) -> Path:
    return Path(os.path.relpath(given))


@pytest.mark.parametrize("name", [Path, by_another_path, by_symlink, by_hard_link, by_relative_path])
def test_an_input_is_no_output_by_whatever_name(given, name):
    with pytest.raises(
        ValueError, match=r"--out .* is an input, too \(.*given.png\), and would be overwritten: give another name"
    ):
        check_output("--out", name(given), ["nowhere.png", given])


def test_an_input_may_be_named_through_a_link(given):
    with pytest.raises(ValueError, match="is an input, too"):
        check_output("--out", given, [by_symlink(given)])


def test_a_loop_of_links_among_the_inputs_is_another_file(given, tmp_path):
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    check_output("--out", given, [tmp_path / "loop"])
    with pytest.raises(ValueError, match="is an input, too"):
        check_output("--out", given, [tmp_path / "loop", given])
    with pytest.raises(OSError, match="--out .*loop can't be written"):
        check_output("--out", tmp_path / "loop")


def test_another_file_of_that_content_is_no_input(given, tmp_path):
    shutil.copy(given, tmp_path / "copy.png")
    check_output("--out", tmp_path / "copy.png", [given])


@linux
@pytest.mark.parametrize(
    "path, error, message",
    [
        ("nowhere/x.png", FileNotFoundError, "there is no folder '.*nowhere' for --out: make it first"),
        ("given.png/x.png", FileNotFoundError, "there is no folder"),
        ("a\0b.png", ValueError, "has a zero byte in it: no file can be called so"),
        ("folder", ValueError, "is a folder: give a file name in it"),
        ("full.png", ValueError, "is a device or a pipe: give the name of a file"),
        ("pipe.png", ValueError, "is a device or a pipe"),
        ("locked.png", PermissionError, "is write-protected: give another name"),
        ("x" * 300 + ".png", OSError, r"can't be written \(File name too long\): choose a place"),
        ("/proc/x.png", OSError, r"--out /proc/x.png can't be written \(.*\): choose a place that you may write to"),
    ],
)
def test_where_nothing_can_be_written_is_told_and_nothing_is_left(given, tmp_path, path, error, message):
    (tmp_path / "folder").mkdir()
    (tmp_path / "full.png").symlink_to("/dev/full")
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "locked.png").touch(0o444)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(error, match=message):
        check_output("--out", tmp_path / path)
    assert sorted(tmp_path.iterdir()) == before and stat.S_ISCHR(os.stat("/dev/full").st_mode)


def test_a_check_leaves_all_as_it_is(given, tmp_path):
    check_output("--out", given)
    check_output("--out", tmp_path / "new.png")
    assert given.read_bytes() == b"precious" and list(tmp_path.iterdir()) == [given]


@linux
def test_a_full_disk_is_met_before_the_work(tmp_path, monkeypatch):
    monkeypatch.setattr("nibkit.io.outputs.tempfile.TemporaryFile", lambda dir: open("/dev/full", "wb", buffering=0))
    with pytest.raises(OSError, match=r"x.png can't be written \(No space left on device\): choose a place"):
        check_output("--out", tmp_path / "x.png")


# --- written whole ----------------------------------------------------------------------------------------------------


def test_a_failure_half_way_leaves_the_old_file(given, tmp_path):
    with pytest.raises(ZeroDivisionError), written_whole(given) as file:
        file.write_bytes(b"half")
        raise ZeroDivisionError
    assert given.read_bytes() == b"precious" and list(tmp_path.iterdir()) == [given]


def test_an_error_of_the_disk_names_the_option(given, tmp_path):
    with pytest.raises(OSError, match=r"--out .*given.png can't be written \(No space left on device\)"):
        with written_whole(given, "--out") as file:
            file.write_bytes(b"half")
            raise OSError(28, "No space left on device")
    assert given.read_bytes() == b"precious" and list(tmp_path.iterdir()) == [given]


def test_an_error_of_another_file_is_told_as_it_is(given, tmp_path):
    with pytest.raises(PermissionError) as raised, written_whole(given, "--out"):
        raise PermissionError(13, "Permission denied", "/fonts/a.ttf")
    assert raised.value.filename == "/fonts/a.ttf"
    with pytest.raises(OSError, match="^cannot write mode P as JPEG$"), written_whole(given, "--out"):  # as PIL says it
        raise OSError("cannot write mode P as JPEG")
    with pytest.raises(OSError, match=r"--out .*given.png can't be written \(Not a directory\)"):
        with written_whole(given, "--out") as file:
            raise NotADirectoryError(20, "Not a directory", str(file))
    with pytest.raises(OSError, match=r"--out .*new.png can't be written \(No such file or directory\)"):
        with written_whole(tmp_path / "new.png", "--out"):
            pass  # nothing is written, so nothing can take the name
    assert given.read_bytes() == b"precious" and list(tmp_path.iterdir()) == [given]


def test_the_new_file_takes_the_name_and_keeps_the_permissions(given, tmp_path):
    given.chmod(0o640)
    with written_whole(given) as file:
        assert file.parent == tmp_path and file.suffix == ".png"
        file.write_bytes(b"new")
    assert given.read_bytes() == b"new" and stat.S_IMODE(given.stat().st_mode) == 0o640
    assert list(tmp_path.iterdir()) == [given]


def test_a_link_stays_a_link(given, tmp_path):
    link = by_symlink(given)
    with written_whole(link) as file:
        file.write_bytes(b"new")
    assert link.is_symlink() and given.read_bytes() == b"new"


# --- figures ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", FIGURES)
def test_every_kind_of_figure_that_is_let_through_can_be_written(tmp_path, kind):
    path = tmp_path / f"x.{kind.upper()}"
    check_figure_path("--out", path)
    save_figure(Figure(), path, "--out", dpi=20)
    assert path.stat().st_size > 0 and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["x.pgf", "x.xyz", "x", ".png", "x.sqlite", "x.raw"])
def test_other_kinds_are_refused(tmp_path, name):
    with pytest.raises(ValueError, match="--out .* is no file name of a figure: give one such as map.png"):
        check_figure_path("--out", tmp_path / name)


@pytest.mark.parametrize("kind", FIGURES)
def test_our_figures_are_known_from_others_in_every_format(tmp_path, kind):
    """So that each may be replaced by the next one of its name, and nobody else's."""
    save_figure(Figure(), tmp_path / f"ours.{kind}", "--out", dpi=20)
    Figure().savefig(tmp_path / f"theirs.{kind}")
    (tmp_path / f"half.{kind}").write_bytes((tmp_path / f"ours.{kind}").read_bytes()[:20])
    assert is_our_figure(tmp_path / f"ours.{kind}")
    assert not any(is_our_figure(tmp_path / f"{name}.{kind}") for name in ("theirs", "half", "nowhere"))
    check_replaced("--out", tmp_path / f"ours.{kind}", allowed=False)
    with pytest.raises(ValueError, match=f"theirs.{kind} is there already, and nibkit did not make it"):
        check_replaced("--out", tmp_path / f"theirs.{kind}", allowed=False)


def test_our_figures_are_known_from_others(given, tmp_path):
    save_figure(Figure(), tmp_path / "ours.png", "--out", dpi=20)
    Image.new("RGB", (9, 9)).save(tmp_path / "theirs.png")
    assert is_our_figure(tmp_path / "ours.png")
    assert not any(map(is_our_figure, (tmp_path / "theirs.png", given, tmp_path / "nowhere.png", tmp_path)))
