"""Result files: cut, flipped, changed by SQL, foreign, made under other settings; read, and gone on with."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd

import nibkit as nk

from .cases import Case, Fault, World
from .pictures import damage

METHODS = {"nib": ("nib", {"num_steps": 1}), "saliency": "saliency"}
MEASURED = ["seconds", "fps", "peak_memory"]
SQL = ["DROP TABLE settings", "DROP TABLE results", "DELETE FROM pairs", "DELETE FROM settings", "DELETE FROM methods",
       "DELETE FROM results", "ALTER TABLE results RENAME COLUMN image_drop TO other",
       "ALTER TABLE results DROP COLUMN text_drop", "ALTER TABLE results ADD COLUMN x TEXT", "ALTER TABLE pairs ADD COLUMN x",
       "UPDATE results SET image_drop = 'many'", "UPDATE results SET image_drop = NULL", "UPDATE results SET method = 'x'",
       "UPDATE results SET pair = x'00ff' WHERE rowid = 1", "UPDATE results SET image_drop = 1e999",
       "UPDATE pairs SET caption = 'x'", "UPDATE pairs SET picture = 'x'", "UPDATE pairs SET position = 'x'",
       "UPDATE pairs SET pair = 7 WHERE rowid = 1", "UPDATE settings SET value = 'x'", "UPDATE methods SET options = 'x'",
       "PRAGMA application_id = 7", "PRAGMA user_version = 99", "PRAGMA user_version = 1", "CREATE TABLE more (x)",
       "CREATE TRIGGER t AFTER INSERT ON results BEGIN DELETE FROM results; END",
       "DROP TABLE results; CREATE VIEW results AS SELECT * FROM pairs",
       "INSERT INTO skipped VALUES ('scene 0', '', 'why not')", "INSERT OR REPLACE INTO skipped VALUES ('scene 0', 'nib', x'ff')",
       "PRAGMA journal_mode = WAL", "INSERT INTO results (pair, method) VALUES ('scene 0', 'x')",
       "UPDATE results SET image_drop = 12.5 WHERE rowid = 1", "VACUUM"]  # fmt: skip


def pairs_of(world: World) -> list[Any]:
    scenes = nk.shapes.sample(3, seed=5)
    return [SimpleNamespace(id=f"scene {i}", image=s.image, caption=s.caption, masks=None) for i, s in enumerate(scenes)]


def explain(case: Case, out: Path | None, pairs: list[Any], **how: Any) -> pd.DataFrame:
    return nk.evaluate(case.world.clip, pairs, METHODS, out, **{"batch_size": 2, "progress": False} | how)


def whole_table(world: World, case: Case) -> tuple[bytes, pd.DataFrame]:
    """A whole file's bytes and its rows; made once."""
    if not hasattr(world, "results"):
        out = world.folder / "whole.sqlite"
        table = explain(case, out, pairs_of(world))
        world.results = out.read_bytes(), table
    return world.results


def check_rows(table: pd.DataFrame, whole: pd.DataFrame) -> None:
    """Fault if a row says something else than it should."""
    shared = whole.drop(columns=MEASURED).set_index(["pair", "method"])
    ours = table.drop(columns=MEASURED, errors="ignore").set_index(["pair", "method"])
    for key, row in ours.iterrows():
        if key not in shared.index:
            raise Fault(f"a row of {key}, which nobody explained")
        right = shared.loc[key].reindex(row.index)
        wrong = row[~((row - right).abs() <= 1e-4 * (1 + right.abs())) & ~(row.isna() & right.isna())]
        if len(wrong):
            raise Fault(f"a row of {key} has {dict(wrong)} in place of {dict(right[wrong.index])}")


def a_result_file(case: Case) -> str:
    """Damage a file, or begin one; read it, go on with it: right rows, or a refusal that leaves it as it is."""
    pairs, (data, whole) = pairs_of(case.world), whole_table(case.world, case)
    out = case.folder / "r.sqlite"
    out.write_bytes(data)
    kind = case.one("bytes", "bytes", "bytes", "sql", "sql", "foreign", "settings", "beside", "part")
    how: dict[str, Any] = {}
    if kind == "bytes":
        changed = bytearray(data)
        for _ in range(case.whole(1, 3)):
            damage(case, changed)
        out.write_bytes(changed)
    elif kind == "sql":
        with contextlib.closing(sqlite3.connect(out, isolation_level=None)) as file:
            for statement in case.some(SQL, 1, 2):
                with contextlib.suppress(sqlite3.Error):
                    file.executescript(statement)
    elif kind == "foreign":
        out.write_bytes(case.one(b"", b"\0", b"SQLite format 3\0", b"SQLite format 3\0" + bytes(4080), b"x,y\n1,2\n",
                                 case.rng.bytes(5000)))  # fmt: skip
        if case.chance(0.4):
            out.unlink()
            with contextlib.closing(sqlite3.connect(out)) as file, file:
                file.execute("CREATE TABLE precious (x)")
    elif kind == "settings":
        how = case.one({"seed": 1}, {"batch_size": 3}, {"protocol": "eos"}, {"timing": 2}, {"curve_steps": 2},
                       {"retry_skipped": True})  # fmt: skip
    elif kind == "beside":
        (case.folder / case.one("r.sqlite-journal", "r.sqlite-wal", "r.sqlite-shm")).write_bytes(
            case.one(b"", case.rng.bytes(3000), b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7" + case.rng.bytes(600))
        )
    else:
        out.unlink()
        explain(case, out, pairs[: case.whole(1, 2)])
    before = out.read_bytes()
    table, error = case.ask(lambda: nk.read_results(out), refused=kind not in ("settings", "part"))
    if error is None:
        check_rows(table, whole)
    read = "read" if error is None else "not read"
    if out.read_bytes() != before and kind != "beside":  # a journal beside it is rolled back, which is SQLite's to do
        raise Fault("reading has changed the file")
    table, error = case.ask(lambda: explain(case, out, pairs, **how), refused=kind != "part")
    if error is not None:
        if out.read_bytes() != before and kind != "beside":
            raise Fault(f"refused, but changed: {error}") from error
        return f"{kind}: {read}, refused"
    if how.get("protocol") != "eos":
        check_rows(table, whole)
    skipped = {(row["pair"], label) for row in table.attrs["skipped"] for label in METHODS if row["method"] in ("", label)}
    if len(table) + len(skipped) < len(whole):
        raise Fault(f"{len(table)} rows of {len(whole)}")
    return f"{kind}: {read}, gone on"
