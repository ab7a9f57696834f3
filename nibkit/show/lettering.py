"""Captions in figures: in fonts that have their letters, wrapped to fit; what no font can draw is marked, and told once."""

from __future__ import annotations

import functools
import re
import textwrap
import unicodedata
import warnings
from collections.abc import Iterable, Mapping
from typing import Any

import matplotlib
import numpy as np
from matplotlib import ft2font
from matplotlib.axes import Axes
from matplotlib.font_manager import FontProperties, findfont, fontManager, get_font
from matplotlib.text import Text

from ..checks import listed, outside

BYTE_ORDER_MARK = "\ufeff"  # no letter; matplotlib's vector formats stumble over it
CONTROL = re.compile(r"[\t\v\f\r\x1c-\x1f\x85]")  # spaces that fonts have no letter for
MISSING = "▯"  # stands for a run of letters that can't be drawn
GENERIC = {name: f"font.{name}" for name in ("serif", "sans-serif", "cursive", "fantasy", "monospace")}  # a setting each
GENERIC |= dict.fromkeys(("sans", "sans serif"), "font.sans-serif")
SHAPES = hasattr(ft2font, "__libraqm_version__")  # matplotlib 3.11: letters are joined, and run right to left where they should
SHAPED = re.compile("[\u0590-\u109f\u1780-\u18af\u1900-\u1cff\ua800-\uabff\ufb1d-\ufdff\ufe70-\ufefc\U00010800-\U0001107f]")


def letter(text: str) -> tuple[str, dict[str, Any]]:
    """(the text as a figure can show it, how matplotlib must be told to draw it: its fonts, and that $ is no formula).

    Composed letters stand for a letter and its accents; a run of letters that no installed font can draw becomes one ``MISSING``.
    """
    shown, families, own = "", [], own_fonts()
    text = CONTROL.sub(" ", unicodedata.normalize("NFC", text)).replace(BYTE_ORDER_MARK, "")
    for character in text:
        family = family_of(character, own)
        if family is None and is_mark(character) and shown:
            continue  # a selector or joiner that says how its neighbours would be drawn
        if family is None:
            shown += "" if shown.endswith(MISSING) else MISSING
        else:
            shown += character
            families += [family] if family else []
    style = {"fontfamily": [*matplotlib.rcParams["font.family"], *dict.fromkeys(families)]} if families else {}
    return shown, style | {"parse_math": False}


def tell_missing(texts: Iterable[str]) -> None:
    """One warning that lists what of these texts no installed font can draw: all for which ``letter`` has a ``MISSING``."""
    runs: dict[str, None] = {}
    own = own_fonts()
    for text in texts:
        missing = "".join(c if family_of(c, own) is None else " " for c in unicodedata.normalize("NFC", text))
        first = 0 if missing[:1].strip() else None  # a mark at the very beginning has no neighbour to be left out with
        runs |= dict.fromkeys(run for k, run in enumerate(missing.split()) if k == first or not all(map(is_mark, run)))
    if runs:
        shown = (run if run.isprintable() and not is_mark(run[0]) else ascii(run) for run in runs)
        warnings.warn(
            f"no installed font can draw {listed(shown)}: the figure has {MISSING} there; "
            "nk.plots.words_html shows every word, and so do figures once a font that has it is installed (such as Noto Sans)",
            stacklevel=outside(),
        )


@functools.cache
def family_of(character: str, own: tuple[str, ...]) -> str | None:
    """An installed font family that can draw it: "" where the style's own fonts can; None where there is none.

    own: these fonts' files, see ``own_fonts``.
    """
    code = ord(character)
    if character.isspace() or character == BYTE_ORDER_MARK:
        return ""
    if SHAPED.match(character) and not SHAPES:
        return None
    if any(code in codes_of(file) for file in own):
        return ""
    return next((family for family in installed_families() if code in codes_of(file_of(family))), None)


def is_mark(character: str) -> bool:
    """Has it no shape of its own: an accent, a joiner, a variation selector?"""
    return unicodedata.category(character) in ("Mn", "Me", "Cf")


@functools.cache
def installed_families() -> tuple[str, ...]:
    """The upright fonts of normal weight that matplotlib can use, those without serifs first.

    Left out are its fonts of formulas, and the one that has a box for every letter.
    """
    fonts = (font for font in fontManager.ttflist if font.style == "normal" and font.weight == 400)
    names = {font.name for font in fonts if not re.match("last ?resort|cm|stix", font.name.lower())}
    return tuple(sorted(names, key=lambda name: ("Sans" not in name, name)))


def own_fonts() -> tuple[str, ...]:
    """The files of the fonts that the style's families stand for at present: "sans-serif" is what ``font.sans-serif`` says."""
    style: Mapping[Any, Any] = matplotlib.rcParams
    families = tuple(style["font.family"])
    return files_of(families, tuple(tuple(style[GENERIC[name]]) for name in map(str.lower, families) if name in GENERIC))


@functools.cache
def files_of(families: tuple[str, ...], meant: tuple[tuple[str, ...], ...]) -> tuple[str, ...]:
    """The families' files at present; meant: what the generic ones among them stand for, so that one look-up does."""
    return tuple(findfont(FontProperties(family=[family])) for family in families)


@functools.cache
def file_of(family: str) -> str:
    """The file of an installed family's upright font."""
    return findfont(FontProperties(family=[family]))


@functools.cache
def codes_of(file: str) -> frozenset[int]:
    """The code points that a font has letters for."""
    return frozenset(get_font(file).get_charmap())


def write_title(ax: Axes, text: str) -> None:
    """The axes' title: wrapped at their width, and set smaller where it would leave the figure. Never read as a formula."""
    shown, style = letter(text)
    title, figure, room = ax.set_title(shown, **style), ax.figure, room_of(ax)
    largest = float(title.get_fontsize())
    if len(shown) * largest * figure.dpi / 72 <= room and "\n" not in shown:
        return  # no letter is wider than the size: measuring would take longer than all else here
    highest = figure.bbox.y1 + (0 if figure.get_layout_engine() is None else figure.bbox.height / 3)  # an engine makes room
    for size in (largest, 10.0, 8.0, 6.5, 5.0):
        title.set(text=shown, fontsize=size)
        wrap(title, room)
        if title.get_window_extent().y1 <= highest:
            return


def room_of(ax: Axes) -> float:
    """How wide the axes are, in pixels; where a layout engine has yet to place them, about how wide they will be."""
    place = ax.get_subplotspec()
    if place is None or ax.figure.get_layout_engine() is None:
        return ax.get_window_extent().width
    shares = np.asarray(place.get_gridspec().get_width_ratios(), dtype=float)
    return 0.85 * ax.figure.bbox.width * float(shares[place.colspan.start : place.colspan.stop].sum() / shares.sum())


def wrap(text: Text, width: float) -> None:
    """Break its lines, at spaces where there are any, so that none is wider than ``width`` pixels."""
    lines = text.get_text().splitlines()
    columns, extent = max(map(len, lines), default=0), text.get_window_extent().width
    while extent > width and columns > 1:
        columns = max(1, int(columns * width / extent))
        text.set_text("\n".join(part for line in lines for part in textwrap.wrap(line, columns)))
        extent = text.get_window_extent().width


def is_right_to_left(text: str) -> bool:
    """Does the first letter that has a direction run from right to left?"""
    directions = (unicodedata.bidirectional(character) for character in text)
    return next((direction for direction in directions if direction in ("L", "R", "AL")), "L") != "L"
