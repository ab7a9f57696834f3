"""Shared by the tests of data sets: small pictures and tables, bad ones included, and what is expected of them."""

import io

import numpy as np
import pytest
from PIL import Image

from nibkit.data.pairs import Skipped

COLORS = {"red": (255, 0, 0), "green": (0, 128, 0), "blue": (0, 0, 255), "white": (255, 255, 255)}


def encoded(color="red", size=(20, 12), kind="JPEG", **options) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size, color).save(file, kind, **options)
    return file.getvalue()


def picture(path, color="red", size=(20, 12)):
    """A small JPEG or PNG file, its folders made on the way."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encoded(color, size, "PNG" if path.suffix.lower() == ".png" else "JPEG"))
    return path


def truncated(path):
    """A JPEG file whose second half is not there."""
    noise = np.random.RandomState(0).randint(0, 256, (40, 40, 3)).astype(np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(noise).save(path, "JPEG")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path


def write(path, text: str, encoding="utf-8"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode(encoding))
    return path


def listed(pairs) -> list[tuple[str, str]]:
    return [(pair.id, pair.caption) for pair in pairs]


def is_color(image, color, tolerance=4) -> bool:
    expected = COLORS.get(color, color)
    return image.mode == "RGB" and np.abs(np.asarray(image).astype(int) - expected).max() <= tolerance


def skipping(call, wrong: dict[str, str]):
    """Call it: it warns once, and skips exactly these, {id: beginning of the reason}; returns the data set."""
    with pytest.warns(UserWarning, match=rf"; {len(wrong)} of \d+ rows skipped .*all are in .skipped") as caught:
        pairs = call()
    assert len(caught) == 1 and caught[0].filename == call.__code__.co_filename
    assert all(isinstance(row, Skipped) for row in pairs.skipped)
    begun = [(id, reason[: len(wrong.get(id, reason))]) for id, reason in pairs.skipped]
    assert begun == list(wrong.items())
    return pairs
