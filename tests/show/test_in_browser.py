"""The explorers of notebooks 07 and 12 in JupyterLab in a real browser. Slow: ``make test-browser``."""

import nbformat
import pytest
from in_jupyterlab import ROOT, Lab, start_browser, start_lab, with_what_it_needs

import nibkit as nk

pytestmark = pytest.mark.slow
SEVEN, TWELVE = ROOT / "notebooks/07_clip_attribution.ipynb", ROOT / "notebooks/12_interactions.ipynb"
browser = pytest.fixture(start_browser, scope="module", name="browser")


@pytest.fixture(scope="module")
def lab(browser, tmp_path_factory):
    yield from start_lab(tmp_path_factory.mktemp("lab"))


@pytest.fixture(scope="module")
def seven(browser, lab) -> Lab:
    """The explorer of notebook 07 with the cells that it needs."""
    return Lab(browser, lab, with_what_it_needs(SEVEN, "explorer"), "07.ipynb")


@pytest.fixture(autouse=True)
def nothing_wrong(request):
    """After each test: no error in the console, nothing asked of another machine."""
    opened = [request.getfixturevalue(name) for name in ("seven", "twelve") if name in request.fixturenames]
    yield
    for one in opened:
        assert one.trouble == [] and one.outside == []


def test_the_figure_fits_the_page_and_says_what_it_shows(seven):
    natural, shown, room = seven.figure.evaluate("e => [e.naturalWidth, e.width, e.closest('.jp-OutputArea-output').clientWidth]")
    assert 600 < natural <= 1000 and shown <= room
    assert seven.figure.get_attribute("alt").startswith("“") and seven.says() == ""
    tracks = seven.page.locator(".jupyter-widgets .noUi-target")
    assert tracks.count() == 3 and min(tracks.evaluate_all("all => all.map(e => e.clientWidth)")) > 90  # pixels, to move in


@pytest.mark.parametrize("name, choice", [("beside NIB", "legrad"), ("scene", 3), ("rule", "log-gauss"), ("paint over", 0)])
def test_a_choice_changes_the_figure(seven, name, choice):
    option = {"index": choice} if isinstance(choice, int) else {"label": choice}
    told = seven.changed(lambda: seven.control(name).select_option(**option))
    assert seven.says() == "" and ("legrad" in told) == (seven.control("beside NIB").input_value() == "legrad")


def test_a_caption_changes_the_figure_and_an_unknown_word_is_told(seven):
    def write(caption):
        seven.control("caption").fill(caption)
        seven.control("caption").press("Enter")

    assert seven.changed(lambda: write("a red ring")).startswith("“a red ring”: F = ") and seven.says() == ""
    assert seven.changed(lambda: write("a red wug")).startswith("“a red wug”") and "wug" in seven.says()
    write(" ")
    seven.figure.wait_for(state="detached")
    assert "caption 0 is empty" in seven.says()
    write("a red wug")
    seven.figure.wait_for()
    assert seven.says() == "caption 0: this model does not know 'wug'"
    assert seven.changed(lambda: write("a red ring")) and seven.says() == ""


def test_sliders_answer_to_the_keyboard_and_to_a_written_value(seven):
    def write(name, value):
        seven.slider(name).locator(".widget-readout").fill(value)
        seven.slider(name).locator(".widget-readout").press("Enter")

    assert "cut at layer 8)" in seven.changed(lambda: seven.slider("layer").get_by_role("slider").press("ArrowLeft"))
    assert "cut at layer 4)" in seven.changed(lambda: write("layer", "4"))
    assert seven.changed(lambda: write("steps", "3"))
    assert "up to λ = 0.1:" in seven.changed(lambda: write("λ", "0.1"))
    assert seven.says() == ""


def test_a_picture_of_ones_own_and_a_path_that_is_not_there(seven, tmp_path):
    def write(path):
        seven.control("own picture").fill(str(path))
        seven.control("own picture").press("Enter")

    nk.shapes.sample(1, seed=3)[0].image.save(tmp_path / "mine.png")
    assert "Painted over" not in seven.changed(lambda: write(tmp_path / "mine.png")) and seven.says() == ""
    write(tmp_path / "$$none$$.png")
    seven.figure.wait_for(state="detached")
    assert "own picture: there is no file" in seven.says() and "$$none$$.png" in seven.says()  # not taken for a formula
    with seven.page.expect_file_chooser() as chooser:
        seven.page.locator(".widget-upload").click()
    chooser.value.set_files(tmp_path / "mine.png")
    seven.figure.wait_for()
    assert seven.says() == "" and seven.control("own picture").input_value() == ""
    assert "Painted over" in seven.changed(lambda: seven.control("scene").select_option(index=1))


def test_another_model_brings_its_world(seven):
    before = seven.control("caption").input_value()
    assert "(emoji, cut at layer" in seven.changed(lambda: seven.control("model").select_option(label="emoji"))
    assert seven.control("caption").input_value() != before and seven.says() == ""


@pytest.fixture(scope="module")
def twelve(browser, lab) -> Lab:
    """The explorer of notebook 12 with the cells that it needs."""
    return Lab(browser, lab, with_what_it_needs(TWELVE, "word_explorer"), "12.ipynb")


def test_words_and_patches_can_be_chosen(twelve):
    natural, shown, room = twelve.figure.evaluate(
        "e => [e.naturalWidth, e.width, e.closest('.jp-OutputArea-output').clientWidth]"
    )
    assert 400 < natural <= 1000 and shown <= room
    assert twelve.changed(lambda: twelve.page.get_by_role("button", name="and", exact=True).click()).startswith(
        "The map of “and”"
    )
    assert "row 0, column" in twelve.changed(lambda: twelve.slider("patch: row").get_by_role("slider").press("Home"))
    assert "row 0, column 6:" in twelve.changed(lambda: twelve.slider("column").get_by_role("slider").press("End"))


def test_the_whole_of_07_runs_and_its_explorer_appears(browser, lab):
    whole = Lab(browser, lab, nbformat.read(SEVEN, as_version=4), "whole.ipynb")
    assert whole.figure.count() == 1 and whole.figure.get_attribute("alt").startswith("“")
    wrong = (f"[data-mime-type='application/vnd.jupyter.{kind}']" for kind in ("stderr", "error"))
    assert whole.page.locator(", ".join(wrong)).count() == 0
    assert whole.trouble == [] and whole.outside == []
    whole.page.evaluate("console.error('heard'); fetch('http://elsewhere.invalid/').catch(() => 0)")  # both would be noticed
    assert "heard" in whole.trouble and whole.outside == ["http://elsewhere.invalid/"]
