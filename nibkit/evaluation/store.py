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
from typing import NamedTuple

import pandas as pd

from ..metrics.names import COSTS
from .schema import APPLICATION, SCHEMA, TABLES, busy, check_kind, check_path, in_one_line, read_only, row_digest

if sys.platform == "win32":  # SQLite's own lock is held instead, so nobody can read before the run ends
    fcntl = None
else:
    import fcntl
PATIENCE = 30.0  # seconds that a reader or writer waits for another to finish a batch
REMEMBER = """INSERT INTO pairs VALUES (?, ?, ?, ?, ?) ON CONFLICT (pair) DO UPDATE SET
caption = excluded.caption, picture = coalesce(excluded.picture, picture), masks = coalesce(excluded.masks, masks)"""
ALL = ""  # in ``skipped``: the pair can't be explained by any method

Id = str | int


class Seen(NamedTuple):
    """What the file says of a pair, or a run says of it now; None: not known, since the picture could not be read."""

    id: Id
    position: int
    caption: str
    picture: str | None = None  # digests, see ``digests``
    masks: str | None = None

    def differs(self, other: Seen) -> str:
        """What makes the other one another pair, "" if nothing known does."""
        caption = f"{self.caption!r} there, {other.caption!r} here" if self.caption != other.caption else ""
        picture = "another picture" if None not in (self.picture, other.picture) and self.picture != other.picture else ""
        masks = "other masks" if None not in (self.masks, other.masks) and self.masks != other.masks else ""
        return "; ".join(filter(None, [caption, picture, masks]))


class Store:
    """A benchmark's file, locked and checked; a context manager.

    Args:
        out: where it lies; None: in memory.
        settings: what all rows have in common, by name.
        methods: each method's options, by its label, as text.
        free: names among ``settings`` that are noted but may differ when a run is resumed.

    Raises, before anything is written:
        ValueError: a folder, a file of something else, a damaged one, one that an earlier nibkit began, or one whose rows were
            made under other settings.
        FileNotFoundError: its folder is not there. BlockingIOError: another run is writing it. PermissionError: it is read-only.
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
            with in_one_line(self.path or Path(":memory:")):
                where = ":memory:" if self.path is None else self.path.absolute()  # a file may be called ":memory:", too
                connection = sqlite3.connect(where, isolation_level=None, timeout=PATIENCE)
                self._connection = stack.enter_context(contextlib.closing(connection))
                self._open(settings, methods, free)
                self.pairs = {row[0]: Seen(*row) for row in self._rows("SELECT * FROM pairs")}
                self.explained = {pair for (pair,) in self._rows("SELECT DISTINCT pair FROM results")}
                self.done = set(self._rows("SELECT pair, method FROM results UNION SELECT pair, method FROM skipped"))
            self._opened = stack.pop_all()

    def _open(self, settings: Mapping[str, str], methods: Mapping[str, str], free: Sequence[str]) -> None:
        if self.path is not None and fcntl is None:
            self._connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        with self.transaction():
            if not next(self._rows("SELECT count(*) FROM sqlite_master"))[0]:
                for statement in TABLES.split(";\n"):
                    self._connection.execute(statement)
                self._connection.execute(f"PRAGMA application_id = {APPLICATION}")
                self._connection.execute(f"PRAGMA user_version = {SCHEMA}")
            check_kind(self._connection, self.path or Path(":memory:"))
            self._agree("settings", settings, free, whole=True)
            self._agree("methods", methods)
            # what could not be met as a pair (it has no row in ``pairs``) is met again now, or listed again
            self._connection.execute("DELETE FROM skipped WHERE pair NOT IN (SELECT pair FROM pairs)")

    def _agree(self, table: str, wanted: Mapping[str, str], free: Sequence[str] = (), whole: bool = False) -> None:
        """Note what is new; ValueError where the file says otherwise. whole: nothing may be new once there are rows."""
        stored = dict(self._rows(f"SELECT * FROM {table}"))
        begun = whole and next(self._rows("SELECT EXISTS (SELECT 1 FROM results)"))[0]
        conflicts = []
        for name in dict.fromkeys([*wanted, *(stored if begun else ())]):
            here = wanted.get(name, "none")
            there = stored.get(name, "none" if begun else here)
            if name not in free and there != here:
                conflicts.append(f"{name} {there} there, {here} here")
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
            if self._connection.in_transaction:  # on a full disk SQLite has rolled back by itself
                self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")

    def _rows(self, query: str) -> Iterator[tuple]:
        return iter(self._connection.execute(query).fetchall())

    def check_pair(self, pair: Seen) -> None:
        """ValueError if there are rows of another pair under its id; what was skipped and has changed is to be done anew."""
        stored = self.pairs.get(pair.id)
        if stored is None or not (what := stored.differs(pair)):
            return
        if pair.id in self.explained:
            raise ValueError(
                f"{self.path} holds another pair of id {pair.id!r} ({what}): give the same data set, or another file"
            )
        self.done = {(id, method) for id, method in self.done if id != pair.id}

    def reopen_skipped(self) -> None:
        """What was skipped counts as not done; it is struck off the list when a row of it comes."""
        self.done = set(self._rows("SELECT pair, method FROM results"))

    def add(self, pairs: Iterable[Seen], rows: Sequence[Mapping], skipped: Iterable[tuple]) -> None:
        """Write one batch: pairs, rows of ``results`` by column, skipped (pair, method, reason). As ``check_pair`` raises."""
        pairs, skipped = list(pairs), list(skipped)
        for pair in pairs:
            self.check_pair(pair)
        with in_one_line(self.path or Path(":memory:")), self.transaction():
            self._connection.executemany(REMEMBER, pairs)
            columns = {name for _, name, *_ in self._rows("PRAGMA table_info(results)")}
            for column in dict.fromkeys(name for row in rows for name in row if name not in columns):
                self._connection.execute(f"ALTER TABLE results ADD COLUMN {quote(column)} REAL")
            for row in [{**row, "digest": row_digest(row)} for row in rows]:
                names, marks = ", ".join(map(quote, row)), ", ".join("?" * len(row))
                self._connection.execute(f"INSERT INTO results ({names}) VALUES ({marks})", tuple(row.values()))
                self._connection.execute(
                    "DELETE FROM skipped WHERE pair = ? AND method IN (?, ?)", (row["pair"], row["method"], ALL)
                )
            self._connection.executemany("INSERT OR REPLACE INTO skipped VALUES (?, ?, ?)", skipped)
        self.pairs |= {pair.id: pair for pair in pairs}
        self.explained |= {row["pair"] for row in rows}
        self.done |= {(row["pair"], row["method"]) for row in rows} | {(pair, method) for pair, method, _ in skipped}

    def table(self) -> pd.DataFrame:
        """All rows; see ``read_results``."""
        with in_one_line(self.path or Path(":memory:")):
            return read_table(self._connection)


def read_results(out: str | os.PathLike) -> pd.DataFrame:
    """The rows that a benchmark's file has, as ``nk.evaluate`` returns them; also while a run is writing it.

    ``table.attrs["skipped"]`` lists what was skipped: dicts with pair, method (empty: all methods) and reason.
    Raises FileNotFoundError if there is none, ValueError if it is no benchmark's file, or a damaged one, BlockingIOError if it
    stays locked. A file that an earlier nibkit began is read as well.
    """
    path = Path(out)
    check_path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {os.fspath(out)!r}")
    with in_one_line(path):
        opened = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=PATIENCE)
        with contextlib.closing(opened) as connection:
            check_kind(connection, path, reading=True)
            return read_table(connection)


def read_table(connection: sqlite3.Connection) -> pd.DataFrame:
    """``results`` in the order of the pairs, then of the methods; numbers as floats, what is missing as NaN."""
    query = (
        "SELECT results.* FROM results JOIN pairs USING (pair) JOIN methods USING (method) "
        "ORDER BY pairs.position, pairs.rowid, methods.rowid"
    )
    table = pd.read_sql(query, connection)
    metrics = [name for name in table.columns if name not in ("pair", "method", "digest", *COSTS)]
    costs = [name for name in COSTS if name in table.columns]
    try:
        table = table[["pair", "method", *metrics, *costs]].astype(dict.fromkeys(metrics + costs, float))
    except (ValueError, TypeError) as error:
        raise sqlite3.DatabaseError(f"a metric that is no number: {error}") from error
    table.attrs["skipped"] = pd.read_sql("SELECT * FROM skipped ORDER BY rowid", connection).to_dict("records")
    return table


@contextlib.contextmanager
def lock(path: Path) -> Iterator[None]:
    """The file locked against other runs; the system unlocks it when the process ends, however it ends.

    Raises BlockingIOError if another run has it, PermissionError if it can't be written.
    """
    if fcntl is None:
        yield
        return
    try:
        opened = path.open("ab")
    except PermissionError as error:
        raise read_only(path, error) from error
    with opened as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise busy(path) from error
        yield


def quote(name: str) -> str:
    """A column's name as SQL has it."""
    return '"' + name.replace('"', '""') + '"'
