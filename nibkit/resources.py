"""Where the bundled data lie: models, the ledger, the paper's tables, stored measurements."""

from __future__ import annotations

import importlib.metadata
import os
from pathlib import Path

import pandas as pd


def data_dir() -> Path:
    """The repository's ``data`` folder: ``NIBKIT_DATA`` where that is set, else the one beside the package.

    Raises FileNotFoundError if it is not there (the package was installed without the repository).
    """
    folder = Path(os.environ.get("NIBKIT_DATA") or Path(__file__).resolve().parents[1] / "data")
    if not folder.is_dir():
        raise FileNotFoundError(f"no data folder at {folder}: run from a clone, or set NIBKIT_DATA to the clone's data folder")
    return folder


def version() -> str:
    """nibkit's own version, from its metadata; "0" where it is used without being installed."""
    try:
        return importlib.metadata.version("nibkit")
    except importlib.metadata.PackageNotFoundError:
        return "0"


def results(name: str) -> pd.DataFrame:
    """A stored measurement, ``data/results/<name>.csv``: a row per pair and method (``method`` as text).

    Raises ValueError if there is none of that name; it lists those that there are.
    """
    folder = data_dir() / "results"
    file = folder / f"{name}.csv"
    if not file.is_file():
        there = ", ".join(sorted(path.stem for path in folder.glob("*.csv")))
        raise ValueError(f"no stored results {name!r}: there are {there}")
    return pd.read_csv(file, dtype={"method": str})
