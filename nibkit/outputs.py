"""Files that are written: never over what was given, refused before any work, whole or not at all. The standard streams."""

from __future__ import annotations

import argparse
import contextlib
import errno
import io
import os
import secrets
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FIGURES = ("png", "jpg", "jpeg", "pdf", "svg", "svgz", "eps", "ps", "tif", "tiff", "webp")  # no other program is needed for these
MAKER = "nibkit"  # what a PNG of ours names as its software


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
    """The figure written whole (see ``written_whole``); a PNG says that nibkit made it."""
    with written_whole(path, name) as file:
        figure.savefig(file, dpi=dpi, metadata={"Software": MAKER} if path.suffix.lower() == ".png" else None)


def is_our_figure(path: Path) -> bool:
    """Is it a PNG that ``save_figure`` wrote?"""
    from PIL import Image

    with contextlib.suppress(Exception), Image.open(path) as picture:  # PIL raises whatever a damaged file makes it do
        return picture.info.get("Software") == MAKER
    return False


def add_replace(parser: argparse._ActionsContainer) -> None:
    """The option by which any old file may be replaced."""
    parser.add_argument("--replace", action="store_true", help="the figure may replace a file that is no PNG figure of nibkit's")


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


class NoOutput(io.TextIOBase):
    """Standard output where it is closed: whoever prints is told."""

    def write(self, text: str) -> int:
        """OSError: there is nowhere to write to."""
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))


class Remarks:
    """Standard error, where it takes what is written; where it is full or closed nothing can be told, which is no failure."""

    def __init__(self, stream: IO[str] | None):
        self.stream = stream or io.StringIO()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def write(self, text: str) -> int:
        """The stream's own ``write``, without its errors."""
        with contextlib.suppress(OSError, ValueError):
            self.stream.write(text)
        return len(text)

    def flush(self) -> None:
        """The stream's own ``flush``, without its errors."""
        with contextlib.suppress(OSError, ValueError):
            self.stream.flush()


@contextlib.contextmanager
def standard_streams() -> Iterator[None]:
    """``sys.stdout`` and ``sys.stderr`` that can be printed to, also where a descriptor is closed or its file is full.

    What a stream did not take is given up at the end: Python would try again when it exits, and complain. The descriptors 0, 1, 2
    stay what they are: a file that is opened never gets one of them, and with it what libraries write there.
    """
    for _ in range(3):
        if (opened := os.open(os.devnull, os.O_RDWR)) > 2:
            os.close(opened)
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = sys.stdout or NoOutput(), Remarks(sys.stderr)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before
        for stream in filter(None, before):
            try:
                stream.flush()
            except (OSError, ValueError):
                with open(os.devnull, "wb") as nowhere, contextlib.suppress(OSError, ValueError):
                    os.dup2(nowhere.fileno(), stream.fileno())


class Parser(argparse.ArgumentParser):
    """An argument parser whose last line, where arguments do not fit, is ``error: …`` as that of every other failure."""

    def _print_message(self, message: str, file: Any = None) -> None:
        """As argparse's, but what can't be printed is an error, not a success."""
        if message:
            print(message, end="", file=file or sys.stderr)

    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(2, f"error: {message} ({self.prog} --help says more)\n")
