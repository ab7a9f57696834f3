"""A benchmark's file from outside: its tables, whether a file is one, and what is said where it is not."""

from __future__ import annotations

import contextlib
import hashlib
import os
import sqlite3
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path

import pandas as pd

from ..checks import one_line

APPLICATION, SCHEMA = 0x4E4942, 3  # "NIB": how we know a file as ours
EARLIER = {1: "the pictures that its rows are of", 2: "a digest of each row"}  # what was not noted: read, but not gone on with
TABLES = """
CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE methods (method TEXT PRIMARY KEY, options TEXT NOT NULL);
CREATE TABLE pairs (pair PRIMARY KEY, position INTEGER NOT NULL, caption TEXT NOT NULL, picture TEXT, masks TEXT);
CREATE TABLE results (pair NOT NULL, method TEXT NOT NULL, digest TEXT NOT NULL, PRIMARY KEY (pair, method));
CREATE TABLE skipped (pair NOT NULL, method TEXT NOT NULL, reason TEXT NOT NULL, PRIMARY KEY (pair, method));
"""
COLUMNS = {  # that each table begins with; ``results`` has more, one for each metric
    "settings": ["name", "value"],
    "methods": ["method", "options"],
    "pairs": ["pair", "position", "caption", "picture", "masks"],
    "results": ["pair", "method", "digest"],
    "skipped": ["pair", "method", "reason"],
}
ADDED = {1: ("picture", "masks", "digest"), 2: ("digest",)}  # the columns that an earlier schema has not
ORPHANS = "SELECT 1 FROM results WHERE pair NOT IN (SELECT pair FROM pairs) OR method NOT IN (SELECT method FROM methods)"


def check_path(path: Path) -> None:
    """ValueError or FileNotFoundError if no benchmark can lie there."""
    if "\0" in str(path):
        raise ValueError(f"out={os.fspath(path)!r} has a zero byte in it: no file can be called so")
    if path.is_dir():
        raise ValueError(f"out={os.fspath(path)!r} is a folder: give a file name in it, such as results.sqlite")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {os.fspath(path.parent)!r} for out: make it first")
    if path.exists() and not path.is_file():
        raise ValueError(f"out={os.fspath(path)!r} is a device, no file: give another name")
    if path.is_file() and path.stat().st_size:
        with path.open("rb") as file:
            if file.read(16) != b"SQLite format 3\0":
                raise ValueError(f"out={os.fspath(path)!r} is a file of another kind: it is left as it is, give another name")


def check_kind(connection: sqlite3.Connection, path: Path, reading: bool = False) -> None:
    """ValueError if the database is not ours, lacks a table or a column, or was begun by a nibkit that noted less.

    reading: the last is fine, too, and so is a column more. sqlite3.DatabaseError if its pages do not fit together.
    """
    kind = tuple(connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version"))
    if kind[0] != APPLICATION:
        raise ValueError(f"{os.fspath(path)!r} is another program's database: it is left as it is, give another name")
    if kind[1] not in (*EARLIER, SCHEMA):
        what = f"of schema {kind[1]}, this nibkit writes {SCHEMA}"
        raise ValueError(f"{os.fspath(path)!r} is {what}: it is left as it is, give another name")
    if kind[1] in EARLIER and not reading:
        raise ValueError(
            f"{os.fspath(path)!r} was begun by an earlier nibkit, which did not note {EARLIER[kind[1]]}: "
            "nk.read_results reads it, but new rows need another file"
        )
    for table, columns in COLUMNS.items():
        there = [name for _, name, *_ in connection.execute(f"PRAGMA table_info({table})")]
        wanted = [c for c in columns if c not in ADDED.get(kind[1], ())]
        if there[: len(wanted)] != wanted or not reading and table != "results" and there != wanted:
            what = "has other columns" if there else "is not there"
            raise ValueError(f"{os.fspath(path)!r} is damaged (its table {table} {what}): move it away, or give another file")
    if (verdict := connection.execute("PRAGMA integrity_check(1)").fetchone()[0]) != "ok":  # rows that are lost in silence, say
        raise sqlite3.DatabaseError(one_line(verdict))
    if connection.execute(ORPHANS).fetchone():
        raise ValueError(f"{os.fspath(path)!r} is damaged (rows of unknown pairs or methods): move it away, or give another file")
    check_rows(connection)


def check_rows(connection: sqlite3.Connection) -> None:
    """sqlite3.DatabaseError if a row is another than was written: SQLite does not see it when the bytes of a number change.

    A file that an earlier nibkit began has no digests.
    """
    rows = connection.execute("SELECT * FROM results")
    names = [name for name, *_ in rows.description]
    for values in rows if "digest" in names else ():
        row = dict(zip(names, values))
        try:
            same = row.pop("digest") == row_digest(row)
        except (ValueError, TypeError) as error:
            raise sqlite3.DatabaseError(f"a metric that is no number: {one_line(error)}") from error
        if not same:
            raise sqlite3.DatabaseError(f"the row of {row['pair']!r} by {row['method']!r} is not as it was written")


def row_digest(row: Mapping[str, object]) -> str:
    """Of a row's pair, method and numbers, by their columns' names; one that is NaN is none and -0.0 is 0.0, as SQLite has it.

    ValueError or TypeError if one is no number.
    """
    cells = {name: value for name, value in sorted(row.items()) if value is not None and name not in ("pair", "method")}
    numbers = {name: float(value) + 0.0 for name, value in cells.items() if value == value}  # type: ignore[arg-type]
    total = hashlib.blake2b(repr((row["pair"], row["method"], list(numbers))).encode("utf-8", "surrogatepass"), digest_size=8)
    total.update(struct.pack(f"<{len(numbers)}d", *numbers.values()))
    return total.hexdigest()


@contextlib.contextmanager
def in_one_line(path: Path) -> Iterator[None]:
    """SQLite's errors as Python's own, which say what to do: BlockingIOError, OSError or ValueError."""
    try:
        yield
    except (sqlite3.DatabaseError, pd.errors.DatabaseError) as error:
        text, name = str(error), os.fspath(path)
        if isinstance(error, sqlite3.ProgrammingError):  # the program's own fault
            raise
        if "locked" in text:
            raise busy(path) from error
        if "readonly" in text or "unable to open" in text:
            raise read_only(path, error) from error
        if "disk is full" in text or "I/O error" in text:
            raise OSError(f"{name!r} can't be written ({text}): what it holds is kept, make room and repeat the call") from error
        raise ValueError(f"{name} is damaged ({text}): move it away, or give another file") from error


def read_only(path: Path, error: Exception) -> PermissionError:
    """What is told where a file can't be written."""
    return PermissionError(f"{os.fspath(path)!r} can't be written ({error}): nk.read_results reads it, give another file")


def busy(path: Path) -> BlockingIOError:
    """What a second run on the same file is told."""
    return BlockingIOError(f"{os.fspath(path)!r} is being written by another run: wait until it ends, or give another file")
