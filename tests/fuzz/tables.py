"""Tables of captions in any form: CSV, TSV, JSONL, data frames, lists of dicts, known data sets' layouts; damaged or hostile."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

import nibkit as nk

from .captions import draw_caption
from .cases import Case, Fault
from .pictures import damage

COUNT = 4  # pictures in a folder
BAD_LINES = ["", "null", "[]", "3", '"a"', "{}", "{", '{"image": "p0.png"}', '{"caption": "x"}',
             '{"image": null, "caption": null}', '{"image": ["p0.png"], "caption": "x"}',
             '{"image": "p0.png", "caption": {"a": 1}}', '{"image": "p0.png", "caption": 3}',
             '{"image": "p0.png", "caption": 1e999}', '{"image": "p0.png", "caption": "x", "caption": "y"}', "[" * 9999,
             '{"a":' * 9999, '{"image": "../p0.png", "caption": "x"}', '{"image": "/etc/hostname", "caption": "x"}',
             '{"image": "a\\u0000b", "caption": "x"}', '{"image": "p0.png", "caption": "\\ud83d"}',
             '{"image": "\\udce9.png", "caption": "x"}', '{"image": "", "caption": "x"}',
             '{"image": "' + "x" * 5000 + '", "caption": "x"}', '{"image": "p0.png", "caption": NaN}',
             '{"image": "p0.png", "caption": []}', '{"image": "p0.png", "caption": ["x", 3, null]}',
             '{"image": true, "caption": false}', "9" * 5000, '{"image": ".", "caption": "x"}',
             '{"image": "p0.png/", "caption": "x"}', '{"image": "sub", "caption": "x"}',
             '{"Image": "p0.png", "CAPTION": "x"}']  # fmt: skip
ROWS: list[Any] = [None, 3, "a", [], {}, {"image": None, "caption": "x"}, {"image": b"", "caption": "x"}, {"caption": "x"},
                   {"text": "x"}, {"image": "nowhere.png", "caption": "x"}, {"image": {"bytes": b"\x89PNG"}, "caption": "x"},
                   {"image": 3, "caption": "x"}, {"image": np.zeros((2, 2)), "caption": None},
                   {"image": np.zeros((9, 9)), "caption": 3}, {"image": np.zeros((9, 9), "O"), "caption": "x"},
                   {"image": np.zeros((9, 9)), "caption": float("nan")},
                   {"image": np.zeros((9, 9)), "caption": ["x", None, 3]}, {1: 2},
                   {"image": np.zeros((9, 9)), "caption": b"x"}, {"image": np.zeros((9, 9)), "caption": {"en": "x"}},
                   {"image": np.zeros((9, 9))}, {"image": {"bytes": None, "path": None}, "caption": "x"},
                   {"image": np.zeros((9, 9)), "caption": "\ud83d"}, {"image": [], "caption": "x"},
                   {"image": np.zeros((9, 9)), "caption": np.array(["x", "y"])},
                   {"image": np.zeros((9, 9)), "caption": pd.NA}]  # fmt: skip


def lay_pictures(case: Case, folder: Path) -> list[str]:
    """Pictures p0.png … in the folder, one of them perhaps damaged (not the first), and a link that points out."""
    (folder / "sub").mkdir(parents=True)
    names = [f"p{i}.{case.one('png', 'jpg')}" for i in range(COUNT)]
    for i, name in enumerate(names):
        Image.new("RGB", (case.whole(2, 30), 20), (40 * i, 9, 200)).save(folder / name)
    if case.chance(0.3):
        os.symlink("/etc/hostname", folder / "out.png")
    return names


def strange_cell(case: Case) -> str:
    return case.one("", " ", draw_caption(case)[:200], '"', 'a "quoted" word', "a,b", "a\tb", "a\nb", "=1+1", "9" * 400,
                    "../p0.png", "NULL", "nan", "x" * 140_000, "\x00", "\ufeff", "C:\\p0.png", "p0.PNG", "http://x/y.png",
                    "\r", "\x1a", "…")  # fmt: skip


def json_lines(case: Case, names: list[str]) -> tuple[str, set[str], bool]:
    """(text, captions of good rows, whether these must come through)."""
    good = [json.dumps({"image": name, "caption": f"good {i}"}, ensure_ascii=case.chance(0.5)) for i, name in enumerate(names)]
    lines = good + [case.one(*BAD_LINES) for _ in range(case.whole(0, 4))]
    lines = case.some(lines, len(lines))
    return case.one("\n", "\r\n").join(lines) + case.one("", "\n"), {f"good {i}" for i in range(len(good))}, True


def cells(case: Case, names: list[str], delimiter: str) -> tuple[str, set[str], bool]:
    """As ``json_lines``, a table with a header; what comes through is not known where cells are strange."""
    columns = case.one(
        ["image", "caption"], ["image", "caption", "note"], ["file_name", "text"], ["Image", "Caption", ""], ["caption", "image"]
    )
    place = next(i for i, name in enumerate(columns) if name.lower() in ("image", "file_name"))
    said = next(i for i, name in enumerate(columns) if name.lower() in ("caption", "text"))
    rows = []
    for i, name in enumerate(names):
        rows.append([name if k == place else f"good {i}" if k == said else "more" for k in range(len(columns))])
    for _ in range(case.whole(0, 3)):
        rows.append(case.one([], [""], ["nowhere.png"] * len(columns), ["a"] * (len(columns) + 3), [" "] * len(columns),
                             ["p0.png"]))  # fmt: skip
    rows = case.some(rows, len(rows))
    sure = case.chance(0.5)
    if not sure:
        for _ in range(case.whole(1, 4)):
            row = rows[case.whole(0, len(rows) - 1)]
            if row:
                row[case.whole(0, len(row) - 1)] = strange_cell(case)
        if case.chance(0.4):
            columns = case.one(["image", "caption", "caption"], ["a", "b"], [], [""], ["image"],
                               ["image", "Caption", "caption"], ["p0.png", "x"])  # fmt: skip
    file = io.StringIO()
    quoting = csv.QUOTE_MINIMAL if sure else case.one(csv.QUOTE_ALL, csv.QUOTE_MINIMAL, csv.QUOTE_NONE)
    writer = csv.writer(file, delimiter=delimiter, quoting=quoting, escapechar="\\", lineterminator=case.one("\n", "\r\n"))
    with contextlib.suppress(csv.Error):  # a writer that quotes nothing can't write an empty row
        writer.writerows([columns, *rows])
    return file.getvalue(), {f"good {i}" for i in range(len(names))}, sure


def check_pairs(case: Case, pairs: Any, folder: Path | None, good: set[str], checked: bool) -> None:
    """Fault if ids repeat, captions are empty, a picture can't be read or lies outside, or a good row is lost."""
    rows = list(pairs)
    ids = [pair.id for pair in rows]
    if len(set(ids)) < len(ids) or not all(isinstance(id, str) and id for id in ids):
        raise Fault(f"the ids are {ids}")
    for pair in rows:
        if not pair.caption.strip():
            raise Fault(f"an empty caption of {pair.id}")
        case.ask(lambda pair=pair: pair.image, refused=not checked)
        source = pair.source if isinstance(pair.source, (str, os.PathLike)) else None
        if (
            folder is not None
            and source is not None
            and not Path(os.path.realpath(source)).is_relative_to(os.path.realpath(folder))
        ):
            raise Fault(f"{source} lies outside")
    if lost := good - {pair.caption for pair in rows}:
        raise Fault(f"good rows are lost: {sorted(lost)}; skipped: {pairs.skipped}")
    for row in pairs.skipped:
        if not all(isinstance(part, str) for part in row) or ":" not in row.reason:
            raise Fault(f"a skipped row {row!r}")


def load(case: Case, call: Callable[[], Any], folder: Path | None, good: set[str], sure: bool, checked: bool = True) -> str:
    """Load it twice, the same way. checked: its pictures can all be read."""
    pairs, error = case.ask(call, refused=not sure)
    if error is not None:
        return "refused"
    check_pairs(case, pairs, folder, good if sure else set(), checked)
    again, _ = case.ask(call, refused=False)
    if [(pair.id, pair.caption) for pair in again] != [(pair.id, pair.caption) for pair in pairs]:
        raise Fault("other pairs at the second pass")
    return "loaded"


def options_of(case: Case) -> dict[str, Any]:
    """Options of a loader, good and bad."""
    drawn = {
        "limit": case.one(None, 1, 2, 10**9, np.int64(2)),
        "seed": case.one(None, 0, 7, np.int64(3)),
        "check": case.one(True, True, False),
    }
    if case.chance(0.1):
        drawn[case.one("limit", "seed")] = case.one(-1, 0, 2.5, "2", True, float("nan"), 2**70)
    return {name: drawn[name] for name in case.some(drawn)}


def a_table(case: Case) -> str:
    """A folder of pictures with a table; a data frame; a list of dicts; a known layout."""
    kind = case.one("jsonl", "jsonl", "csv", "csv", "tsv", "frame", "dicts", "dicts", "layout", "layout", "sidecars")
    folder = case.folder / "data"
    names = lay_pictures(case, folder)
    if kind == "layout":
        return a_layout(case, folder, names)
    options = options_of(case) if case.chance(0.3) else {}
    sure, checked = not options, options.get("check", True)
    if kind == "dicts":
        good = [{"image": folder / name, "caption": f"good {i}"} for i, name in enumerate(names)]
        rows = good + [case.one(*ROWS) for _ in range(case.whole(0, 4))]
        rows = case.some(rows, len(rows))
        captions = {row["caption"] for row in good}
        return f"dicts {load(case, lambda: nk.datasets.huggingface(rows, **options), None, captions, sure, checked)}"
    if kind == "sidecars":
        for i, name in enumerate(names):
            data = bytearray(f"good {i}".encode() if case.chance(0.6) else draw_caption(case).encode("utf-8", "surrogatepass"))
            if case.chance(0.1):
                damage(case, data)
            (folder / name).with_suffix(".txt").write_bytes(data)
        good, sure = set[str](), False
    elif kind == "frame":
        text, good, sure = cells(case, names, ",")
        try:
            table = pd.read_csv(io.StringIO(text), on_bad_lines="skip")
        except Exception:
            table = pd.DataFrame({"image": names, "caption": [case.one("x", None, 3, pd.NA, ["a", "b"], np.nan) for _ in names]})
        return f"frame {load(case, lambda: nk.datasets.folder(folder, table, **options), folder, good, False, checked)}"
    else:
        delimiter = {"tsv": "\t"}.get(kind) or case.one(",", ";", "|")
        text, good, sure = json_lines(case, names) if kind == "jsonl" else cells(case, names, delimiter)
        sure &= not options
        encoding = case.one("utf-8", "utf-8", "utf-8-sig", "utf-8", "utf-16", "latin-1", "cp1252")
        data = bytearray(text.encode(encoding, "surrogatepass" if encoding.startswith("utf") else "replace"))
        sure &= encoding.startswith("utf-8")
        if case.chance(0.2):
            damage(case, data)
            sure = False
        (folder / f"t.{kind}").write_bytes(data)
    with case.unchanged():
        return f"{kind} {load(case, lambda: nk.datasets.folder(folder, **options), folder, good, sure, checked)}"


def a_layout(case: Case, folder: Path, names: list[str]) -> str:
    """One of the known data sets' layouts, its table damaged or not."""
    kind = case.one("flickr8k", "conceptual_captions", "rsicd", "imagenet")
    inner = folder / {"flickr8k": "Images", "conceptual_captions": "images", "rsicd": "RSICD_images", "imagenet": "val"}[kind]
    inner.mkdir()
    for name in names:
        target = inner if kind != "imagenet" else inner / "n01440764"
        target.mkdir(exist_ok=True)
        (folder / name).rename(target / name)
    said = [
        f"good {i}" if case.chance(0.6) else case.one(draw_caption(case), strange_cell(case))[:3000] for i in range(len(names))
    ]
    if kind == "flickr8k":
        text = "image,caption\n" + "".join(f"{name},{caption}\n" for name, caption in zip(names, said))
        file = folder / "captions.txt"
    elif kind == "conceptual_captions":
        text = "".join(f"{caption}\thttp://x/{i}\t{name}\n" for i, (name, caption) in enumerate(zip(names, said)))
        file = folder / "t.tsv"
    elif kind == "rsicd":
        strange = [None, [], [{}], [3], "x", {"raw": "x"}]
        sentences = [[{"raw": caption}] if case.chance(0.8) else case.one(*strange) for caption in said]
        text = json.dumps({"images": [{"filename": n, "sentences": s, "split": "test"} for n, s in zip(names, sentences)]})
        file = folder / "dataset_rsicd.json"
    else:
        text = "n01440764 tench, Tinca tinca\n" + "".join(f"n{i} {caption}\n" for i, caption in enumerate(said))
        file = folder / "LOC_synset_mapping.txt"
    data = bytearray(text.encode("utf-8", "surrogatepass"))
    if case.chance(0.5):
        damage(case, data)
    file.write_bytes(data)
    options = options_of(case) if case.chance(0.3) else {}
    if kind in ("flickr8k", "rsicd") and case.chance(0.5):
        options["caption"] = case.one(0, 1, "all", "closest", 9, "best", None, 2.0)
        options["clip"] = case.world.clip if options["caption"] == "closest" else None
    checked = options.get("check", True)
    with case.unchanged():
        return f"{kind} {load(case, lambda: getattr(nk.datasets, kind)(folder, **options), folder, set(), False, checked)}"
