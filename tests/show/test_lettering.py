"""Real captions in figures: they stay inside, read in their own direction, use fonts that have their letters, and warn once."""

import warnings

import numpy as np
import pytest
import torch
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from matplotlib import font_manager
from matplotlib import pyplot as plt

import nibkit as nk
from nibkit.show import lettering, plots

SEVEN = " and ".join(f"a {color} heart" for color in ("red", "blue", "green", "yellow", "black", "white", "purple"))
CHINESE, HINDI, ARABIC = "红色的狗", "कुत्ता", "كلب أحمر"
PICTURE = np.zeros((50, 50, 3))


@pytest.fixture(autouse=True)
def own_figures():
    """No figure outlives its test, no style either; what is drawn is really drawn: a warning of a missing glyph is an error."""
    with plt.rc_context():
        yield
        for number in plt.get_fignums():
            plt.figure(number).canvas.draw()
        plt.close("all")


def told(caption: str) -> nk.Attribution:
    """The caption's words with values that grow."""
    words = tuple(caption.split())
    values = torch.linspace(-0.1, 0.2, len(words))[None]
    return nk.Attribution(torch.eye(2)[None], values, (words,), torch.zeros(1), words=(tuple(range(len(words))),))


def inside(figure) -> bool:
    """Does all that is written lie within the figure?"""
    figure.canvas.draw()
    title = [figure._suptitle] if figure._suptitle else []
    extents = [text.get_window_extent() for text in [*title, *(t for ax in figure.axes for t in (*ax.texts, ax.title))]]
    return all(e.x0 >= 0 and e.y0 >= -1 and e.x1 <= figure.bbox.x1 and e.y1 <= figure.bbox.y1 + 1 for e in extents)


# --- long captions ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("caption", ["a ring", SEVEN, "red " * 75, "x" * 300, "supercalifragilistic " * 12])
def test_a_caption_stays_in_the_figure(caption):
    figure = plots.explain(PICTURE, told(caption), title=f"“{caption}”")
    assert inside(figure) and "".join(figure.get_suptitle().split()) == "".join(f"“{caption}”".split())
    title, _, *lower = figure.axes
    assert figure._suptitle.get_window_extent().y0 >= title.title.get_window_extent().y1 - 2  # nor does it lie on anything
    assert figure.get_figheight() == pytest.approx(5.6) or "\n" in figure.get_suptitle()


def test_titles_of_pictures_stay_in_the_figure():
    assert inside(plots.show(PICTURE, title=SEVEN).figure) and inside(plots.show(PICTURE, title="a ring").figure)
    assert inside(plots.overlay(PICTURE, told(SEVEN), title=SEVEN).figure)
    three = nk.Attribution(torch.ones(3, 2, 2), torch.zeros(3, 1), (("x",),) * 3, torch.zeros(3))
    assert inside(plots.maps([PICTURE] * 3, three, [SEVEN, "a ring", "x" * 120], columns=3))


def test_a_line_that_is_given_stays_a_line():
    assert plots.show(PICTURE, title="one\ntwo").get_title() == "one\ntwo"
    assert plots.explain(PICTURE, told("x"), title="one\n" + SEVEN).get_suptitle().startswith("one\na red heart")


# --- scripts ------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def box_font(tmp_path):
    """A font that has the Chinese letters alone, each a box."""
    pen = TTGlyphPen(None)
    pen.moveTo((100, 0))
    for point in ((100, 800), (900, 800), (900, 0)):
        pen.lineTo(point)
    pen.closePath()
    names = [".notdef", *(f"uni{ord(letter):04X}" for letter in CHINESE)]
    font = FontBuilder(1000)
    font.setupGlyphOrder(names)
    font.setupCharacterMap({ord(letter): name for letter, name in zip(CHINESE, names[1:])})
    font.setupGlyf(dict.fromkeys(names, pen.glyph()))
    font.setupHorizontalMetrics(dict.fromkeys(names, (1000, 0)))
    font.setupHorizontalHeader(ascent=800, descent=-200)
    font.setupNameTable({"familyName": "Boxes for Nibkit", "styleName": "Regular"})
    font.setupOS2(usWeightClass=400)
    font.setupPost()
    font.save(tmp_path / "boxes.ttf")
    forget()
    font_manager.fontManager.addfont(tmp_path / "boxes.ttf")
    yield "Boxes for Nibkit"
    font_manager.fontManager.ttflist.pop()
    forget()


@pytest.fixture
def no_asian_fonts(monkeypatch):
    """Only the fonts that matplotlib brings along."""
    forget()
    monkeypatch.setattr(lettering, "installed_families", lambda: ("DejaVu Sans",))
    yield
    forget()


def forget() -> None:
    for known in (lettering.family_of, lettering.installed_families, lettering.files_of, lettering.file_of, lettering.codes_of):
        getattr(known, "cache_clear", lambda: None)()


def test_a_font_that_has_the_letters_is_taken(box_font):
    shown, style = lettering.letter(f"a {CHINESE[0]}")
    assert shown == f"a {CHINESE[0]}" and style["fontfamily"][-1] in lettering.installed_families()
    assert "fontfamily" not in lettering.letter("a café")[1]
    figure = plots.explain(PICTURE, told(f"a {CHINESE}"), title=CHINESE)
    assert figure.get_suptitle() == CHINESE and CHINESE in [text.get_text() for ax in figure.axes for text in ax.texts]


def test_what_no_font_can_draw_is_marked_and_told_once(no_asian_fonts):
    caption = f"{CHINESE} and {HINDI} cafe\u0301 {CHINESE}"
    with pytest.warns(UserWarning, match=f"no installed font can draw {CHINESE}, {HINDI}: .*words_html") as seen:
        figure = plots.explain(PICTURE, told(caption), title=f"“{caption}”")
    assert len(seen) == 1 and figure.get_suptitle() == "“▯ and ▯ caf\u00e9 ▯”"
    assert [text.get_text() for text in figure.axes[-1].texts[::2]] == ["▯", "and", "▯", "caf\u00e9", "▯"]
    assert CHINESE in plots.words_html(told(caption)).data and HINDI in plots.words_html(told(caption)).data
    with pytest.warns(UserWarning, match=CHINESE) as seen:
        two = nk.Attribution(torch.ones(2, 2, 2), torch.zeros(2, 1), (("x",),) * 2, torch.zeros(2))
        plots.maps([PICTURE] * 2, two, [CHINESE, caption], columns=2)
    assert len(seen) == 1
    for draw in (lambda: plots.words(told(CHINESE)), lambda: plots.show(PICTURE, title=CHINESE)):
        with pytest.warns(UserWarning, match=CHINESE) as seen:
            draw()
        assert len(seen) == 1


def test_signs_without_a_shape_are_left_out_in_silence(no_asian_fonts):
    assert lettering.letter("a\ufe0f\u2060b")[0].replace("\u2060", "").replace("\ufe0f", "") == "ab"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        lettering.tell_missing(["a\ufe0fb", "plain"])
    with pytest.warns(UserWarning, match=r"can draw '\\x00'"):
        lettering.tell_missing(["a\x00b"])


def test_what_is_marked_is_told_and_no_more(no_asian_fonts):
    """A mark that no font has is left out in silence, but for one at the very beginning, which has no letter to belong to."""
    mark = "\U0001e8d0"  # Mende Kikakui's
    for text in (f"a{mark}", f" {mark}", "A\u030a", "\u212b"):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            lettering.tell_missing([text])
        assert lettering.MISSING not in lettering.letter(text)[0]
    with pytest.warns(UserWarning, match=r"can draw '\\U0001e8d0':"):
        lettering.tell_missing([f"{mark}a"])
    assert lettering.letter(f"{mark}a")[0] == "▯a"


def test_of_many_missing_words_the_first_are_told(no_asian_fonts):
    words = [chr(0x4E00 + i) for i in range(60)]
    with pytest.warns(UserWarning, match=f"can draw {', '.join(words[:8])}, … and 52 more: "):
        lettering.tell_missing([" ".join(words)])


def test_another_style_has_other_fonts(box_font):
    with plt.rc_context({"font.family": ["sans-serif"], "font.sans-serif": ["DejaVu Sans"]}):
        assert lettering.letter(CHINESE[0])[1]["fontfamily"][0] == "sans-serif" and "fontfamily" not in lettering.letter("a")[1]
    with plt.rc_context({"font.family": ["sans-serif"], "font.sans-serif": [box_font]}):
        assert "fontfamily" not in lettering.letter(CHINESE[0])[1] and "fontfamily" in lettering.letter("a")[1]


def test_a_caption_from_right_to_left(no_asian_fonts):
    if not lettering.SHAPES:
        pytest.skip("this matplotlib joins no letters")
    ax = plots.words(told(ARABIC))
    first, second = (text.get_window_extent() for text in ax.texts[::2])
    assert [text.get_text() for text in ax.texts[::2]] == ARABIC.split() and first.x0 > second.x1
    assert first.x1 > 0.9 * ax.get_window_extent().x1
    left = [text.get_window_extent().x0 for text in plots.words(told(f"ring {ARABIC}")).texts[::2]]
    assert left == sorted(left) and 'dir="auto"' in plots.words_html(told(ARABIC)).data


def test_where_letters_are_not_joined_such_scripts_count_as_missing(no_asian_fonts, monkeypatch):
    monkeypatch.setattr(lettering, "SHAPES", False)
    assert [lettering.letter(text)[0] for text in (ARABIC, "caf\u00e9", "ж")] == ["▯ ▯", "caf\u00e9", "ж"]


def test_boxes_for_every_letter_are_no_font():
    assert not any("Resort" in name or name.startswith(("cm", "STIX")) for name in lettering.installed_families())


def test_control_characters_and_a_byte_order_mark_are_no_letters(tmp_path):
    shown, _ = lettering.letter("a\r\tred\x85heart\ufeff")
    assert shown == "a  red heart"
    figure = plt.figure()
    text, style = lettering.letter("\ufeffa heart")
    figure.suptitle(text, **style)
    figure.savefig(tmp_path / "a.pdf")
    plt.close(figure)
