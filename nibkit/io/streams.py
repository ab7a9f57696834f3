"""Standard output and standard error that can always be printed to, and a parser that says what is wrong there in one line."""

from __future__ import annotations

import argparse
import contextlib
import errno
import io
import os
import sys
from collections.abc import Iterator
from typing import IO, Any, NoReturn


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
