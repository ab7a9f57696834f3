"""One SQLite file that holds a benchmark: rows are added a batch at a time, whole or not at all, by one run at a time.

Tables: ``results`` (a row per pair and method), ``skipped`` (what could not be explained, and why), ``pairs``, ``methods``,
``settings``. Any SQLite program can read them, also while a run is writing.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import pandas as pd

from ..metrics.names import COSTS

if sys.platform == "win32":  # SQLite's own lock is held instead, so nobody can read before the run ends
    fcntl = None
else:
    import fcntl
PATIENCE = 30.0  # seconds that a reader or writer waits for another to finish a batch
APPLICATION, SCHEMA = 0x4E4942, 1  # "NIB": how we know a file as ours
ALL = ""  # in ``skipped``: the pair can't be explained by any method
TABLES = """
CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE methods (method TEXT PRIMARY KEY, options TEXT NOT NULL);
CREATE TABLE pairs (pair PRIMARY KEY, position INTEGER NOT NULL, caption TEXT NOT NULL);
CREATE TABLE results (pair NOT NULL, method TEXT NOT NULL, PRIMARY KEY (pair, method));
CREATE TABLE skipped (pair NOT NULL, method TEXT NOT NULL, reason TEXT NOT NULL, PRIMARY KEY (pair, method));
"""


class Store:
    """A benchmark's file, locked and checked; a context manager.

    Args:
        out: where it lies; None: in memory.
        settings: what all rows have in common, by name.
        methods: each method's options, by its label, as text.
        free: names among ``settings`` that are noted but may differ when a run is resumed.

    Raises, before anything is written:
        ValueError: a folder, a file of something else, a damaged one, or one whose rows were made under other settings.
        FileNotFoundError: its folder is not there. BlockingIOError: another run is writing it.
    """

    def __init__(
        self,
        out: str | os.PathLike | None,
        settings: Mapping[str, str],
        methods: Mapping[str, str],
        free: Sequence[str] = (),
    ):
        self.path = None if out is None else Path(out)
        with contextlib.ExitStack() as stack:
            if self.path is not None:
                check_path(self.path)
                stack.enter_context(lock(self.path))  # let go after the connection: closing a file drops SQLite's locks on it
            connection = sqlite3.connect(self.path or ":memory:", isolation_level=None, timeout=PATIENCE)
            self._connection = stack.enter_context(contextlib.closing(connection))
            self._open(settings, methods, free)
            self.captions: dict[str | int, str] = dict(self._rows("SELECT pair, caption FROM pairs"))
            self.done = set(self._rows("SELECT pair, method FROM results UNION SELECT pair, method FROM skipped"))
            self._opened = stack.pop_all()

    def _open(self, settings: Mapping[str, str], methods: Mapping[str, str], free: Sequence[str]) -> None:
        try:
            if self.path is not None and fcntl is None:
                self._connection.execute("PRAGMA locking_mode = EXCLUSIVE")
            with self.transaction():
                if not next(self._rows("SELECT count(*) FROM sqlite_master"))[0]:
                    for statement in TABLES.split(";\n"):
                        self._connection.execute(statement)
                    self._connection.execute(f"PRAGMA application_id = {APPLICATION}")
                    self._connection.execute(f"PRAGMA user_version = {SCHEMA}")
                check_kind(self._connection, self.path or Path(":memory:"))
                if (verdict := next(self._rows("PRAGMA quick_check"))[0]) != "ok":
                    raise sqlite3.DatabaseError(verdict)
                self._agree("settings", settings, free)
                self._agree("methods", methods)
        except sqlite3.OperationalError as error:
            if self.path is not None and "locked" in str(error):
                raise busy(self.path) from error
            raise
        except sqlite3.DatabaseError as error:
            raise ValueError(f"{self.path} is damaged ({error}): move it away, or give another file") from error

    def _agree(self, table: str, wanted: Mapping[str, str], free: Sequence[str] = ()) -> None:
        """Note what is new; ValueError where the file says otherwise."""
        stored = dict(self._rows(f"SELECT * FROM {table}"))
        conflicts = [
            f"{name} {stored[name]} there, {value} here"
            for name, value in wanted.items()
            if name not in free and stored.get(name, value) != value
        ]
        if conflicts:
            raise ValueError(
                f"the rows in {self.path} were made under other {table} ({'; '.join(conflicts)}): "
                "call with the same ones to go on, or give another file"
            )
        for name, value in wanted.items():
            self._connection.execute(f"INSERT OR IGNORE INTO {table} VALUES (?, ?)", (name, value))

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """All of what is written inside, or nothing of it."""
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")

    def _rows(self, query: str) -> Iterator[tuple]:
        return iter(self._connection.execute(query).fetchall())

    def reopen_skipped(self) -> None:
        """What was skipped counts as not done; it is struck off the list when a row of it comes."""
        self.done = set(self._rows("SELECT pair, method FROM results"))

    def add(self, pairs: Iterable[tuple], rows: Sequence[Mapping], skipped: Iterable[tuple]) -> None:
        """Write one batch: pairs (pair, position, caption), rows of ``results`` by column, skipped (pair, method, reason)."""
        skipped = list(skipped)
        with self.transaction():
            self._connection.executemany("INSERT OR IGNORE INTO pairs VALUES (?, ?, ?)", pairs)
            columns = {name for _, name, *_ in self._rows("PRAGMA table_info(results)")}
            for column in dict.fromkeys(name for row in rows for name in row if name not in columns):
                self._connection.execute(f"ALTER TABLE results ADD COLUMN {quote(column)} REAL")
            for row in rows:
                names, marks = ", ".join(map(quote, row)), ", ".join("?" * len(row))
                self._connection.execute(f"INSERT INTO results ({names}) VALUES ({marks})", tuple(row.values()))
                self._connection.execute(
                    "DELETE FROM skipped WHERE pair = ? AND method IN (?, ?)", (row["pair"], row["method"], ALL)
                )
            self._connection.executemany("INSERT OR REPLACE INTO skipped VALUES (?, ?, ?)", skipped)
        self.done |= {(row["pair"], row["method"]) for row in rows} | {(pair, method) for pair, method, _ in skipped}

    def table(self) -> pd.DataFrame:
        """All rows; see ``read_results``."""
        return read_table(self._connection)


def read_results(out: str | os.PathLike) -> pd.DataFrame:
    """The rows that a benchmark's file has, as ``nk.evaluate`` returns them; also while a run is writing it.

    ``table.attrs["skipped"]`` lists what was skipped: dicts with pair, method (empty: all methods) and reason.
    Raises FileNotFoundError if there is none, ValueError if it is no benchmark's file, BlockingIOError if it stays locked.
    """
    if not Path(out).is_file():
        raise FileNotFoundError(f"there is no file {os.fspath(out)!r}")
    with contextlib.closing(
        sqlite3.connect(f"{Path(out).absolute().as_uri()}?mode=ro", uri=True, timeout=PATIENCE)
    ) as connection:
        try:
            check_kind(connection, Path(out))
            return read_table(connection)
        except sqlite3.DatabaseError as error:
            if "locked" in str(error):
                raise busy(Path(out)) from error
            raise ValueError(f"{os.fspath(out)!r} is no benchmark's file ({error})") from error


def read_table(connection: sqlite3.Connection) -> pd.DataFrame:
    """``results`` in the order of the pairs, then of the methods; numbers as floats, what is missing as NaN."""
    query = (
        "SELECT results.* FROM results JOIN pairs USING (pair) JOIN methods USING (method) "
        "ORDER BY pairs.position, pairs.rowid, methods.rowid"
    )
    table = pd.read_sql(query, connection)
    metrics = [name for name in table.columns if name not in ("pair", "method", *COSTS)]
    costs = [name for name in COSTS if name in table.columns]
    table = table[["pair", "method", *metrics, *costs]].astype(dict.fromkeys(metrics + costs, float))
    table.attrs["skipped"] = pd.read_sql("SELECT * FROM skipped ORDER BY rowid", connection).to_dict("records")
    return table


def check_path(path: Path) -> None:
    """ValueError or FileNotFoundError if no benchmark can lie there."""
    if path.is_dir():
        raise ValueError(f"out={os.fspath(path)!r} is a folder: give a file name in it, such as results.sqlite")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {os.fspath(path.parent)!r} for out: make it first")
    if path.is_file() and path.stat().st_size:
        with path.open("rb") as file:
            if file.read(16) != b"SQLite format 3\0":
                raise ValueError(f"out={os.fspath(path)!r} is a file of another kind: it is left as it is, give another name")


def check_kind(connection: sqlite3.Connection, path: Path) -> None:
    """ValueError if the database is not ours."""
    kind = tuple(connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version"))
    if kind != (APPLICATION, SCHEMA):
        what = "another program's database" if kind[0] != APPLICATION else f"of schema {kind[1]}, this nibkit writes {SCHEMA}"
        raise ValueError(f"{os.fspath(path)!r} is {what}: it is left as it is, give another name")


@contextlib.contextmanager
def lock(path: Path) -> Iterator[None]:
    """The file locked against other runs; the system unlocks it when the process ends, however it ends.

    Raises BlockingIOError if another run has it.
    """
    if fcntl is None:
        yield
        return
    with path.open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise busy(path) from error
        yield


def busy(path: Path) -> BlockingIOError:
    """What a second run on the same file is told."""
    return BlockingIOError(f"{os.fspath(path)!r} is being written by another run: wait until it ends, or give another file")


def quote(name: str) -> str:
    """A column's name as SQL has it."""
    return '"' + name.replace('"', '""') + '"'
