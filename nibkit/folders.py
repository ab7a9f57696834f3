"""Where the repository's data lie: the bundled model, the ledger, the paper's tables, stored measurements."""

from __future__ import annotations

import os
from pathlib import Path


def data_dir() -> Path:
    """The repository's ``data`` folder: ``NIBKIT_DATA`` where that is set, else the one beside the package.

    Raises FileNotFoundError if it is not there (the package was installed without the repository).
    """
    folder = Path(os.environ.get("NIBKIT_DATA") or Path(__file__).resolve().parents[1] / "data")
    if not folder.is_dir():
        raise FileNotFoundError(f"no data folder at {folder}: run from a clone, or set NIBKIT_DATA to the clone's data folder")
    return folder
