"""Files that are written: never over what was given, refused before any work, whole or not at all."""

from __future__ import annotations

import argparse
import contextlib
import gzip
import os
import secrets
import shutil
import stat
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PICTURES = ("png", "jpg", "jpeg", "tif", "tiff", "webp")
DRAWINGS = ("pdf", "svg", "svgz", "eps", "ps")
FIGURES = (*PICTURES, *DRAWINGS)  # no other program is needed for these
MAKER, SOFTWARE = "nibkit", 0x131  # what a figure of ours names as its software; where EXIF data have that
MADE = (b"/Creator (nibkit)", b"%%Creator: nibkit\n", b"<dc:title>nibkit</dc:title>")  # and PDF, PostScript, SVG
ENDS = 1 << 16  # bytes at a file's begin and end that are searched for it


def check_output(name: str, path: Path, inputs: Iterable[str | os.PathLike] = ()) -> None:
    """Raise, before any work, if no file can be written there; ``name`` is the option's.

    inputs: files that were given. None of them may be the output, by whatever path or link it is named.

    Raises ValueError: a folder, a device, one of the inputs. FileNotFoundError: its folder is not there. PermissionError: the
    file is write-protected. OSError: a read-only or full disk, a name that is too long.
    """
    if "\0" in str(path):
        raise ValueError(f"{name} {str(path)!r} has a zero byte in it: no file can be called so")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {str(path.parent)!r} for {name}: make it first")
    try:
        old = _status(path)
        if old is None or stat.S_ISREG(old.st_mode):
            with tempfile.TemporaryFile(dir=os.path.dirname(os.path.realpath(path))) as trial:
                trial.write(bytes(4096))
                trial.flush()
    except OSError as error:
        raise _unwritable(name, path, error) from error
    if old is None:
        return
    if stat.S_ISDIR(old.st_mode):
        raise ValueError(f"{name} {path} is a folder: give a file name in it")
    for given in inputs:
        if _is_same(old, given):
            raise ValueError(f"{name} {path} is an input, too ({given}), and would be overwritten: give another name")
    if not stat.S_ISREG(old.st_mode):
        raise ValueError(f"{name} {path} is a device or a pipe: give the name of a file")
    if not old.st_mode & 0o222:
        raise PermissionError(f"{name} {path} is write-protected: give another name")


def check_figure_path(name: str, path: Path, inputs: Iterable[str | os.PathLike] = ()) -> None:
    """As ``check_output``; ValueError also where the name's ending is none of ``FIGURES``."""
    if path.suffix[1:].lower() not in FIGURES:
        raise ValueError(f"{name} {path} is no file name of a figure: give one such as map.png (or .{', .'.join(FIGURES[1:])})")
    check_output(name, path, inputs)


def check_replaced(name: str, path: Path, allowed: bool) -> None:
    """ValueError if a file with something in it lies there that ``save_figure`` did not write, unless that is allowed."""
    if not allowed and path.exists() and path.stat().st_size and not is_our_figure(path):
        raise ValueError(
            f"{path} is there already, and nibkit did not make it: say by {name} where the figure goes, or allow it by --replace"
        )


@contextlib.contextmanager
def written_whole(path: Path, name: str = "the file") -> Iterator[Path]:
    """A file beside ``path`` to be written in its place; it takes that name at the end, and on any error the old file stays.

    A link is followed, and an old file's permissions are kept. OSError, which names ``name`` and path, if it can't be written; an
    error of another file, such as a font that can't be read, is raised as it is.
    """
    target = Path(os.path.realpath(path))
    beside = target.with_name(f".{secrets.token_hex(4)}{path.suffix}")  # a link's own ending says what is written
    try:
        yield beside
        if target.exists():
            shutil.copymode(target, beside)
        beside.replace(target)
    except OSError as error:
        if error.errno is None or error.filename is not None and str(error.filename) not in (str(beside), str(target)):
            raise
        raise _unwritable(name, path, error) from error
    finally:
        beside.unlink(missing_ok=True)


def save_figure(figure: Figure, path: Path, name: str, dpi: int) -> None:
    """The figure written whole (see ``written_whole``); whatever its format, it says that nibkit made it."""
    from PIL import Image

    said: dict[str, Any] = {"metadata": {"Creator": MAKER}}
    if (kind := path.suffix[1:].lower()) in PICTURES:
        exif = Image.Exif()
        exif[SOFTWARE] = MAKER
        said = {"metadata": {"Software": MAKER}} if kind == "png" else {"pil_kwargs": {"exif": exif}}
    with written_whole(path, name) as file:
        figure.savefig(file, dpi=dpi, **said)


def is_our_figure(path: Path) -> bool:
    """Is it a figure that ``save_figure`` wrote?"""
    from PIL import Image

    with contextlib.suppress(Exception):  # PIL and gzip raise whatever a damaged file makes them do
        if path.suffix[1:].lower() in PICTURES:
            with Image.open(path) as picture:
                return MAKER in (picture.info.get("Software"), picture.getexif().get(SOFTWARE))
        with gzip.open(path) if path.suffix.lower() == ".svgz" else path.open("rb") as file:
            text = file.read(ENDS)
            file.seek(max(ENDS, path.stat().st_size - ENDS))
            return any(made in text + file.read(ENDS) for made in MADE)
    return False


def add_replace(parser: argparse._ActionsContainer) -> None:
    """The option by which any old file may be replaced."""
    parser.add_argument("--replace", action="store_true", help="the figure may replace a file that is no figure of nibkit's")


def _status(path: str | os.PathLike) -> os.stat_result | None:
    """What the system says of the file; None if there is none."""
    try:
        return os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None


def _is_same(old: os.stat_result, given: str | os.PathLike) -> bool:
    """Is the given file the old one? What can't be looked at, such as a loop of links, is another: the old one could be."""
    try:
        return os.path.samestat(old, os.stat(given))
    except OSError:
        return False


def _unwritable(name: str, path: Path, error: OSError) -> OSError:
    reason = error.strerror or error
    return OSError(f"{name} {path} can't be written ({reason}): choose a place that you may write to and that has room")
