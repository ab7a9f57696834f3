"""A damaged, foreign, locked or read-only result file is told in one line, as Python's own error, and left as it is."""

import contextlib
import os
import re
import sqlite3
import struct
from pathlib import Path

import pandas as pd
import pytest
from evaluations import NIB, call, same_rows, some_pairs

from nibkit.__main__ import main
from nibkit.evaluation import store as storage
from nibkit.evaluation.schema import COLUMNS, in_one_line, row_digest
from nibkit.evaluation.store import read_results


@pytest.fixture(scope="module")
def pairs():
    return some_pairs(2)


@pytest.fixture
def out(clip, pairs, tmp_path):
    call(clip, pairs, NIB, tmp_path / "r.sqlite")
    return tmp_path / "r.sqlite"


def change(out: Path, *statements: str) -> None:
    with contextlib.closing(sqlite3.connect(out)) as file, file:
        for statement in statements:
            file.execute(statement)


DAMAGE = {f"no {table}": ([f"DROP TABLE {table}"], f"its table {table} is not there") for table in COLUMNS} | {
    "a column of pairs": (["ALTER TABLE pairs DROP COLUMN picture"], "its table pairs has other columns"),
    "one too many": (["ALTER TABLE settings RENAME COLUMN value TO worth"], "its table settings has other columns"),
    "a third one": (["ALTER TABLE settings ADD COLUMN more TEXT"], "its table settings has other columns"),
    "a sixth one": (["ALTER TABLE pairs ADD COLUMN more TEXT"], "its table pairs has other columns"),
    "a view": (["DROP TABLE skipped", "CREATE VIEW skipped AS SELECT 1 AS a"], "its table skipped has other columns"),
    "no methods": (["DELETE FROM methods"], "rows of unknown pairs or methods"),
    "no pairs": (["DELETE FROM pairs"], "rows of unknown pairs or methods"),
    "text for a number": (["UPDATE results SET image_drop = 'much'"], "a metric that is no number"),
    "another number": (
        ["UPDATE results SET image_drop = image_drop + 1 WHERE rowid = 2"],
        "the row of 'scene 1' by 'nib' is not as",
    ),
    "no number": (["UPDATE results SET text_drop = NULL"], "the row of 'scene 0' by 'nib' is not as it was written"),
    "another name": (["ALTER TABLE results RENAME COLUMN text_drop TO image_more"], "the row of 'scene 0' by 'nib' is not as"),
    "rows exchanged": (
        ["UPDATE results SET pair = 'x' || pair", "UPDATE pairs SET pair = 'x' || pair"],
        "the row of 'xscene 0' by 'nib' is not as it was written",
    ),
}


@pytest.mark.parametrize("statements, message", DAMAGE.values(), ids=DAMAGE)
def test_damage_is_a_value_error_that_says_where(clip, pairs, out, capsys, statements, message):
    change(out, *statements)
    before = out.read_bytes()
    with pytest.raises(ValueError, match=rf"r.sqlite'? is damaged \({message}.*\): move it away, or give another file"):
        call(clip, pairs, NIB, out)
    if "ADD COLUMN" not in statements[0]:  # which does not harm who reads
        with pytest.raises(ValueError, match=message):
            read_results(out)
        assert main(["compare", "--read", "--out", str(out)]) == 2
        assert re.fullmatch(rf"error: .*{message}.*\n", capsys.readouterr().err)
    assert out.read_bytes() == before


def test_bytes_overwritten_anywhere_are_never_sqlites_own_error(clip, pairs, out):
    """Either nothing is wrong with the rows, or it is one of three errors of one line."""
    whole, size = out.read_bytes(), out.stat().st_size
    for start in range(0, size, max(1, size // 40)):
        out.write_bytes(whole[:start] + b"\xa5" * 300 + whole[start + 300 :])
        for use in (lambda: call(clip, pairs, NIB, out), lambda: read_results(out)):
            try:
                use()
            except (ValueError, OSError) as error:
                assert "\n" not in str(error) and type(error).__module__ == "builtins"


def test_zeros_in_a_file_change_no_row_in_silence(out):
    """As a disk that failed leaves them: the rows are all there, to the last digit, or the file is damaged."""
    table, whole, size = read_results(out), out.read_bytes(), out.stat().st_size
    refused, number = 0, struct.pack(">d", table["image_before"][1])
    places = {start: (64, 512) for start in range(0, size, 512)} | {whole.index(number) + 2: (1, 4)}
    for start, lengths in places.items():
        for length in lengths:
            out.write_bytes(whole[:start] + bytes(length) + whole[start + length :])
            try:
                pd.testing.assert_frame_equal(read_results(out), table, check_exact=True, obj=f"zeros from {start}")
            except ValueError as error:
                refused += 1
                assert "r.sqlite" in str(error) and "\n" not in str(error)
    assert refused > 10


@pytest.mark.parametrize("content", [b"", b"SQLite format 3\0", b"SQLite format 3\0" + b"\0" * 5000, b"pair,method\n"])
def test_files_that_are_no_database(clip, pairs, tmp_path, content):
    out = tmp_path / "r.sqlite"
    out.write_bytes(content)
    with pytest.raises(ValueError, match="r.sqlite"):
        read_results(out)
    if content:
        with pytest.raises(ValueError, match="r.sqlite"):
            call(clip, pairs, NIB, out)
        assert out.read_bytes() == content
    else:  # an empty file, as mktemp makes it, is one to be begun
        assert len(call(clip, pairs, NIB, out)) == 2


def test_what_is_no_file_is_refused_at_once(clip, pairs, tmp_path):
    os.mkfifo(tmp_path / "pipe")  # which would wait for ever
    for path in (tmp_path / "pipe", Path("/dev/null")):
        with pytest.raises(ValueError, match="is a device, no file: give another name"):
            call(clip, pairs, NIB, path)
    with pytest.raises(ValueError, match="is a folder"):
        read_results(tmp_path)
    for use in (lambda: call(clip, pairs, NIB, "a\0b"), lambda: read_results("a\0b")):
        with pytest.raises(ValueError, match=r"out='a.x00b' has a zero byte in it: no file can be called so"):
            use()


def test_a_file_may_have_any_name(clip, pairs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in (":memory:", "file:a?mode=memory", "50% #1?.sqlite", "caf\udce9"):
        done = call(clip, pairs, NIB, name)
        assert Path(name).stat().st_size > 0
        same_rows(read_results(name), done)


def test_locked_by_another_program(clip, pairs, out, monkeypatch):
    monkeypatch.setattr(storage, "PATIENCE", 0.01)
    with contextlib.closing(sqlite3.connect(out, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        for use in (lambda: call(clip, pairs, NIB, out), lambda: read_results(out)):
            with pytest.raises(BlockingIOError, match="is being written by another run"):
                use()


def test_read_only(clip, pairs, out, monkeypatch):
    """Who runs the tests may be allowed everything, so the system's answer is put in its mouth."""

    def refuse(self, mode="r", *args, **how):
        if mode == "ab":
            raise PermissionError(13, "Permission denied", str(self))
        return opened(self, mode, *args, **how)

    opened = Path.open
    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(PermissionError, match="r.sqlite' can't be written .*: nk.read_results reads it, give another file"):
        call(clip, pairs, NIB, out)
    assert len(read_results(out)) == 2


@pytest.mark.parametrize(
    "error, kind, message",
    [
        (sqlite3.OperationalError("database or disk is full"), OSError, "what it holds is kept, make room and repeat"),
        (sqlite3.OperationalError("disk I/O error"), OSError, "what it holds is kept"),
        (sqlite3.OperationalError("attempt to write a readonly database"), PermissionError, "can't be written"),
        (sqlite3.OperationalError("unable to open database file"), PermissionError, "can't be written"),
        (sqlite3.OperationalError("database is locked"), BlockingIOError, "another run"),
        (sqlite3.DatabaseError("database disk image is malformed"), ValueError, "is damaged .*: move it away"),
        (sqlite3.ProgrammingError("type 'object' is not supported"), sqlite3.ProgrammingError, "not supported"),
    ],
)
def test_sqlites_errors_in_one_line(error, kind, message):
    with pytest.raises(kind, match=message) as raised, in_one_line(Path("r.sqlite")):
        raise error
    assert type(raised.value) is kind


def test_a_disk_that_fills_up_keeps_what_is_there(clip, pairs, out):
    """SQLite's own limit of pages stands for the disk's."""
    many = some_pairs(60)
    add = storage.Store.add

    def full(self, *batch):
        self._connection.execute("PRAGMA max_page_count = 1")  # no page more than there are
        add(self, *batch)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(OSError, match="can't be written .*: what it holds is kept"):
        patch.setattr(storage.Store, "add", full)
        call(clip, many, NIB, out)
    assert len(read_results(out)) >= 2
    assert len(call(clip, some_pairs(3), NIB, out)) == 3


def test_a_zero_with_a_sign_is_read_back_as_zero(out):
    """SQLite keeps no sign of a zero: the digest that is written is that of the number that is read."""
    with contextlib.closing(sqlite3.connect(out)) as file, file:
        rows = file.execute("SELECT * FROM results WHERE pair = 'scene 0'")
        row = dict(zip([name for name, *_ in rows.description], rows.fetchone())) | {"image_drop": -0.0}
        del row["digest"]
        file.execute("UPDATE results SET image_drop = ?, digest = ? WHERE pair = 'scene 0'", (-0.0, row_digest(row)))
    assert read_results(out).loc[0, "image_drop"] == 0.0
