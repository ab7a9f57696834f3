"""Files that say which picture has which caption: CSV, TSV, JSONL, text files beside the pictures."""

from __future__ import annotations

import csv
import json
import os
import unicodedata
from collections.abc import Iterator, Mapping
from pathlib import Path

from .pairs import Pair, Skipped, pair_of, shuffled

PICTURES = {".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".ppm", ".jp2"}


def lines(file: Path, encoding: str = "utf-8-sig") -> Iterator[tuple[int, str]]:
    """(number, line) of each line that is not blank. ValueError if the file is in another encoding."""
    with file.open(encoding=encoding) as text:
        try:
            for number, line in enumerate(text, 1):
                if line.strip():
                    yield number, line.rstrip("\n")
        except UnicodeError as error:
            raise ValueError(f"{file} is in another encoding than {encoding} ({error}): save it as UTF-8") from error


def read_jsonl(file: Path, encoding: str = "utf-8-sig") -> Iterator[tuple[str, Mapping | Skipped]]:
    """(where, row) of each line."""
    for number, line in lines(file, encoding):
        where = f"line {number}"
        try:
            row = json.loads(line)
            yield where, row if isinstance(row, dict) else Skipped(where, "damaged row: no JSON object")
        except json.JSONDecodeError as error:
            yield where, Skipped(where, f"damaged row: {error}")


def read_csv(file: Path, delimiter: str | None = None, encoding: str = "utf-8-sig") -> Iterator[tuple[str, Mapping | Skipped]]:
    """(where, row) of each row under the header. delimiter: None: "," ";" tab or "|", whichever the header has most of.

    Raises ValueError if the file is in another encoding or a quote is never closed: all that follows would be misread.
    """
    delimiter = delimiter or max(",;\t|", key=next(lines(file, encoding), (1, ""))[1].count)
    with file.open(encoding=encoding, newline="") as text:
        try:
            reader = csv.reader(text, delimiter=delimiter, strict=True)
            rows = (row for row in reader if len(row) > 1 or "".join(row).strip())  # blank lines are no rows
            header = [name.strip() for name in next(rows, [])]
            for row in rows:
                where = f"line {reader.line_num}"
                if len(row) > len(header):
                    counts = f"{len(row)} fields, the header has {len(header)}"
                    yield where, Skipped(where, f"damaged row: {counts} (a caption that holds {delimiter!r} must be quoted)")
                else:
                    yield where, dict(zip(header, row + [""] * (len(header) - len(row))))
        except csv.Error as error:
            raise ValueError(f"{file} is no well-formed table ({error}): look for a quote that is never closed") from error
        except UnicodeError as error:
            raise ValueError(f"{file} is in another encoding than {encoding} ({error}): save it as UTF-8") from error


def is_picture(name: str) -> bool:
    """By its name; hidden files are none."""
    return os.path.splitext(name)[1].lower() in PICTURES and not name.startswith(".")


def walk(root: Path) -> Iterator[Path]:
    """All files under a folder, sorted by name, folder by folder."""
    for folder, folders, names in os.walk(root):
        folders.sort()
        yield from (Path(folder, name) for name in sorted(names))


def sidecars(root: Path, seed: int | None = None) -> Iterator[Pair | Skipped]:
    """Every picture under a folder with its caption, in a.txt beside a.jpg, or in a.json under "caption" (img2dataset's way)."""
    pictures = (file for file in walk(root) if is_picture(file.name))
    for file in shuffled(pictures, seed):
        key = file.relative_to(root).as_posix()
        try:
            yield pair_of(key, file, _beside(file))
        except (OSError, ValueError, AttributeError) as error:
            yield Skipped(key, f"unreadable caption: {error}")


def _beside(file: Path) -> str | None:
    if (text := file.with_suffix(".txt")).is_file():
        return text.read_text(encoding="utf-8-sig")
    if (data := file.with_suffix(".json")).is_file():
        return json.loads(data.read_text(encoding="utf-8-sig")).get("caption")
    return None


def first_there(root: Path, *names: str) -> Path | None:
    """The first of these that is in the folder."""
    return next((root / name for name in names if (root / name).exists()), None)


def missing(name: str, path: str | os.PathLike, what: str, layout: str) -> FileNotFoundError:
    """What to download, from where, and where it must lie."""
    return FileNotFoundError(f"no {name} in {os.fspath(path)!r}: {what}.\n{layout}")


class Finder:
    """Files in a folder by the names that a table gives them.

    Where there is no file of exactly that name, one that differs in case alone (a.JPG for a.jpg), in how Unicode writes its
    accents, or in the folders' separator is taken: tables made on Windows or macOS do not tell these apart.
    """

    def __init__(self, root: str | os.PathLike):
        self.root = Path(root)
        self._folders: dict[str, dict[str, str]] = {}

    def __call__(self, name: str) -> Path | None:
        if not name or not os.path.basename(name):
            return None
        path = self.root / name
        if os.path.isfile(path):
            return path
        path = self.root / name.replace("\\", "/")
        folder = str(path.parent)
        if folder not in self._folders:
            listed = sorted(os.listdir(folder), reverse=True) if os.path.isdir(folder) else []
            self._folders[folder] = {_plain(there): there for there in listed}
        there = self._folders[folder].get(_plain(path.name))
        return path.parent / there if there and os.path.isfile(path.parent / there) else None


def _plain(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()
