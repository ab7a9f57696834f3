"""Where the bundled data lie: models, the ledger, the paper's tables, stored measurements."""

from __future__ import annotations

import importlib.metadata
import os
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pandas import DataFrame

MODELS = {  # bundled, each in data/NAME-clip with its card
    "shapes": "coloured shapes; patches taught by masks, class token reset in training: evidence is kept late",
    "shapes-no-reset": "coloured shapes; patches taught by masks, no reset",
    "shapes-captions-only": "coloured shapes; taught by captions alone",
    "emoji": "everyday things on photographs; taught by captions alone",
}


def data_dir() -> Path:
    """The folder with the bundled data: ``NIBKIT_DATA`` where that is set; else a clone's ``data``; else what the wheel holds.

    Raises FileNotFoundError if there is none: NIBKIT_DATA names no folder, or the installation is not whole.
    """
    package = Path(__file__).resolve().parent
    if named := os.environ.get("NIBKIT_DATA"):
        if not (folder := Path(named).expanduser()).is_dir():
            raise FileNotFoundError(f"NIBKIT_DATA names {named!r}, which is no folder: correct it, or leave it unset")
        return folder
    for folder in (package.parent / "data", package / "bundled"):
        if (folder / "claims.csv").is_file():
            return folder
    raise FileNotFoundError(f"nibkit in {package} came without its data: install it again, or set NIBKIT_DATA to a clone's data")


def version() -> str:
    """nibkit's own version: from its metadata, or from the clone's pyproject.toml where it is used without being installed."""
    try:
        return importlib.metadata.version("nibkit")
    except importlib.metadata.PackageNotFoundError:
        project = Path(__file__).resolve().parents[1] / "pyproject.toml"
        return tomllib.loads(project.read_text(encoding="utf-8"))["project"]["version"] if project.is_file() else "unknown"


def results(name: str) -> DataFrame:
    """A stored measurement, ``data/results/<name>.csv``: a row per pair and method (``method`` as text).

    Raises ValueError if there is none of that name; it lists those that there are.
    """
    folder = data_dir() / "results"
    file = folder / f"{name}.csv"
    if not file.is_file():
        there = ", ".join(sorted(path.stem for path in folder.glob("*.csv")))
        raise ValueError(f"no stored results {name!r}: there are {there}")
    import pandas as pd  # here: who asks for a version or a model does not wait for it

    return pd.read_csv(file, dtype={"method": str})
