"""What the layouts on disk share: text files line by line, pictures by name, columns, and what to say where data are missing."""

from __future__ import annotations

import csv
import functools
import itertools
import json
import math
import os
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..checks import listed
from .pairs import Pair, Refuse, Skipped, pair_of, shuffled

PICTURES = {".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".ppm", ".jp2"}
IMAGE_COLUMNS = ("image", "file_name", "filename", "file", "path", "image_path", "image_file", "image_name", "img", "filepath")
CAPTION_COLUMNS = ("caption", "text", "captions", "sentence", "sentences", "description", "comment")


def first_there(root: Path, layout: str | None, *names: str) -> Path:
    """The first of these in the folder. FileNotFoundError if none is: it says where to get the data and how to lay them out."""
    path = next((root / name for name in names if (root / name).exists()), None)
    if path is None:
        raise FileNotFoundError(f"there is no {' or '.join(names)} in {str(root)!r}.\n{layout}")
    return path


def read_raw(file: Path, encoding: str = "utf-8-sig") -> Iterator[str]:
    """The lines of a text file, ends and blank ones included. ValueError if it is in another encoding."""
    with file.open(encoding=encoding, newline="") as text:
        try:
            yield from text
        except UnicodeError as error:
            raise ValueError(f"{file} is in another encoding than {encoding} ({error}): save it as UTF-8") from error


def read_lines(file: Path, encoding: str = "utf-8-sig") -> Iterator[tuple[int, str]]:
    """(number from 1, line) of each line that is not blank."""
    return ((number, line.rstrip("\r\n")) for number, line in enumerate(read_raw(file, encoding), 1) if line.strip())


def read_table(file: Path, delimiter: str | None, encoding: str) -> Iterator[tuple[str, Mapping | Skipped]]:
    """("line 7", row) of each row of a JSONL file, or under the header of a CSV or TSV file (see ``folder``).

    A damaged row costs itself alone and is listed by its line. (``datasets`` stops at it; ``pandas`` stops, or can't say which
    line it was, and shifts the columns where all rows are too long.) Raises ValueError if a quote is never closed: all that
    follows would be misread; or if the header has a name twice: one of the two columns would be lost.
    """
    if file.suffix.lower() == ".jsonl":
        for number, line in read_lines(file, encoding):
            where, row, reason = f"line {number}", None, "no JSON object"
            try:
                row = read_json(line)
            except ValueError as error:
                reason = str(error)
            yield where, row if isinstance(row, dict) else Skipped(where, f"damaged row: {reason}")
        return
    delimiter = delimiter or max(",;\t|", key=next(read_lines(file, encoding), (1, ""))[1].count)
    line, started = "", 0  # the latest line, and how many there were before the row

    def lines() -> Iterator[str]:
        nonlocal line
        for text in read_raw(file, encoding):
            line = text
            yield text

    reader = csv.reader(lines(), delimiter=delimiter, strict=True)
    header: list[str] = []
    while True:
        started = reader.line_num
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            where = f"line {reader.line_num}"
            if header and "limit" in str(error) and reader.line_num == started + 1 and line.count('"') % 2 == 0:
                yield (
                    where,
                    Skipped(where, f"damaged row: {error}"),
                )  # its quotes are closed: the next row begins on the next line
                continue
            raise ValueError(f"{file} is no well-formed table ({error}): look for a quote that is never closed") from error
        where = f"line {reader.line_num}"
        if not any(map(str.strip, cells)):
            continue
        if not header:
            header = [name.strip() for name in cells]
            check_names(header, file)
        elif len(cells) > len(header):
            counts = f"{len(cells)} fields, the header has {len(header)}"
            yield where, Skipped(where, f"damaged row: {counts} (a caption that holds {delimiter!r} must be quoted)")
        else:
            yield where, dict(itertools.zip_longest(header, cells, fillvalue=""))


def check_names(header: Sequence[object], file: object) -> None:
    """ValueError if a table has two columns of one name; blank ones, which spreadsheets leave at the end, don't count."""
    twice = [name for name, count in Counter(header).items() if count > 1 and name != ""]
    if twice:
        raise ValueError(f"{file} has the column {twice[0]!r} twice: give each column its own name")


def read_json(text: str) -> Any:
    """JSON as Python's own types. ValueError if it is none, nests too deeply, repeats a name, or has a number beyond a float."""

    def number(digits: str) -> float:
        if math.isinf(value := float(digits)):
            raise ValueError(f"the number {digits:.20} is too large")
        return value

    def whole(digits: str) -> int:
        number(digits)
        return int(digits)

    def unique(items: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(row := dict(items)) < len(items):
            twice = next(name for name, count in Counter(name for name, _ in items).items() if count > 1)
            raise ValueError(f"the name {twice!r} stands twice")
        return row

    try:
        return json.loads(text, parse_float=number, parse_int=whole, object_pairs_hook=unique)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


class NoColumn(ValueError):
    """A row lacks a column. short: which one; the message also names those that are there."""

    def __init__(self, short: str, message: str) -> None:
        super().__init__(message)
        self.short = short


def find_column(row: Mapping, name: str | None, usual: Sequence[str], what: str) -> str:
    """The column of that name; without a name the first of the usual ones, in any case. ValueError if there is none."""
    if name is None:
        written = [column for usually in usual for column in row if str(column).lower() == usually]
        name = written[0] if written else None
        if same := [column for column in written[1:] if str(column).lower() == str(name).lower()]:
            raise ValueError(f"{name!r} and {same[0]!r} differ in case alone: name the one that is meant, {what}={name!r}")
    if name is None or name not in row:
        asked = f"no column {name!r}" if name is not None else f"no column that looks like the {what}s"
        there = listed(map(repr, row))
        raise NoColumn(asked, f'{asked}; there are {there}: name it, for example {what}="{next(iter(row), what)}"')
    return name


def is_picture(path: Path) -> bool:
    """Is it a file with a picture's name? Hidden ones are none."""
    return path.suffix.lower() in PICTURES and not path.name.startswith(".") and path.is_file()


def sidecars(root: Path, seed: int | None, refuse: Refuse) -> Iterator[Pair | Skipped]:
    """Every picture under a folder, sorted by path, with its caption in a text file beside it: a.jpg, a.txt."""
    for file in shuffled(filter(is_picture, sorted(root.rglob("*"))), seed):
        id, text = file.relative_to(root).as_posix(), file.with_suffix(".txt")
        if reason := text.is_file() and refuse(text):
            yield Skipped(id, reason)
            continue
        try:
            yield pair_of(id, file, text.read_text(encoding="utf-8-sig") if text.is_file() else None)
        except (OSError, UnicodeError) as error:
            yield Skipped(id, f"unreadable caption: {error}")


def refuser(outside: bool, *roots: Path) -> Refuse:
    """A function that says why a file is refused, None if it is not: it lies in none of these folders, once its links and ".."
    are followed, and ``outside`` does not allow that. TypeError if ``outside`` is neither True nor False.
    """
    if not isinstance(outside, bool):
        raise TypeError(f"outside must be True or False; got {outside!r}")
    inside = [os.path.join(os.path.realpath(root), "") for root in roots]
    real = functools.cache(os.path.realpath)  # of many pictures in one folder, its links are followed once

    def refuse(file: str | os.PathLike) -> str | None:
        above, name = os.path.split(file)
        path = os.path.realpath(file) if os.path.islink(file) else os.path.join(real(above), name)
        return None if path.startswith(tuple(inside)) else f"outside the folder: {os.fspath(file)} (outside=True allows it)"

    return (lambda _: None) if outside else refuse


def finder(root: Path) -> Callable[[str], Path | None]:
    """A function that finds a file in a folder by the name that a table gives it; None if it is not there.

    Where there is no file of exactly that name, one that differs in case alone (a.JPG for a.jpg), in how Unicode writes its
    accents, or in the folders' separator is taken: tables made on Windows or macOS do not tell these apart.
    """

    def plain(name: str) -> str:
        return unicodedata.normalize("NFC", name).casefold()

    @functools.cache
    def entries(folder: Path) -> dict[str, str]:
        return {plain(name): name for name in sorted(os.listdir(folder), reverse=True)} if os.path.isdir(folder) else {}

    def find(name: str) -> Path | None:
        path = root / name.replace("\\", "/")
        if not name or os.path.isfile(root / name):
            return root / name if name else None
        match = path.parent / entries(path.parent).get(plain(path.name), "")
        return match if os.path.isfile(match) else None

    return find
