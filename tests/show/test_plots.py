"""Figures hold what they should: colours centred on 0, every word, text that can't become markup; and no warnings."""

import html

import numpy as np
import pytest
import torch
from matplotlib import pyplot as plt
from matplotlib.colors import to_rgb as rgb

import nibkit as nk
from nibkit.show import plots


@pytest.fixture(scope="module")
def scenes():
    return nk.shapes.sample(5, seed=3, objects=3)


@pytest.fixture(scope="module")
def attribution(clip, scenes):
    return nk.nib(clip, clip.prepare([s.image for s in scenes], [s.caption for s in scenes]))


@pytest.fixture(autouse=True)
def own_figures():
    """No figure outlives its test, no style either; what is drawn is really drawn, so that warnings come out."""
    with plt.rc_context():
        yield
        try:
            for number in plt.get_fignums():
                plt.figure(number).canvas.draw()
        finally:
            plt.close("all")


def told(values: list[float], names: list[str] | None = None) -> nk.Attribution:
    """A caption of words with these values."""
    names = names or [f"word{i}" for i in range(len(values))]
    return nk.Attribution(
        torch.zeros(1, 2, 2), torch.tensor([values]), (tuple(names),), torch.zeros(1), words=(tuple(range(len(names))),)
    )


def drawn(ax) -> list[str]:
    return [text.get_text() for text in ax.texts]


# --- maps -------------------------------------------------------------------------------------------------------------


def test_overlay_is_centred_on_0(attribution, scenes):
    ax = plots.overlay(scenes[1].image, attribution, 1, title="a title")
    low, high = ax.images[-1].get_clim()
    values = attribution.heatmap(224, normalize=None)[1]
    assert low == -high and high == pytest.approx(float(values.abs().max()))
    assert np.allclose(ax.images[-1].get_array(), values) and ax.get_title() == "a title"
    assert len(ax.get_xticks()) == len(ax.get_yticks()) == 0


def test_overlay_colours_follow_the_sign():
    """Above 0 red, below 0 blue; what is 0 shows the picture in grey, whatever its colours."""
    image = torch.tensor([[[1.0, 0.0], [0.0, -1.0]]])
    att = nk.Attribution(image, torch.zeros(1, 1), (("x",),), torch.zeros(1))
    shown = plots.overlay(np.full((50, 50, 3), (1.0, 0.5, 0.0)), att).images[0].get_array()
    red, blue, grey = shown[2, 2], shown[-3, -3], shown[112, 112]
    assert red[0] > red[2] + 0.2 and blue[2] > blue[0] + 0.2 and np.ptp(grey) < 0.05
    assert shown.min() >= 0 and shown.max() <= 1


def test_overlay_takes_a_limit_an_axes_and_a_constant_map(scenes):
    att = nk.Attribution(torch.zeros(1, 7, 7), torch.zeros(1, 1), (("x",),), torch.zeros(1))
    fig, ax = plt.subplots()
    assert plots.overlay(scenes[0].image, att, 0, ax) is ax
    assert plots.overlay(scenes[0].image, att, 0, ax, limit=0.25).images[-1].get_clim() == (-0.25, 0.25)
    assert plt.get_fignums() == [fig.number]


def test_overlay_takes_what_prepare_takes(attribution, scenes, tmp_path):
    scenes[0].image.save(tmp_path / "x.png")
    for image in (
        tmp_path / "x.png",
        str(tmp_path / "x.png"),
        np.asarray(scenes[0].image),
        scenes[0].image.convert("RGBA"),
    ):
        assert plots.overlay(image, attribution).images[0].get_array().shape == (224, 224, 3)
    with pytest.raises(ValueError, match="image is 100 × 224 pixels .*, the picture that was explained is 224 × 224"):
        plots.overlay(np.asarray(scenes[0].image)[60:160], attribution)


def test_a_map_with_nan_is_not_drawn(scenes):
    att = nk.Attribution(torch.full((1, 7, 7), float("nan")), torch.zeros(1, 1), (("x",),), torch.zeros(1))
    with pytest.raises(ValueError, match="NaN"):
        plots.overlay(scenes[0].image, att)


def test_colour_bar_has_the_unit_and_the_overlays_scale(attribution, scenes):
    fig, ax = plt.subplots()
    plots.overlay(scenes[0].image, attribution, 0, ax)
    plots.color_bar(fig, ax)
    bar = fig.axes[-1]
    assert bar.get_ylabel() == "importance (cosine similarity)"
    assert bar.get_ylim() == pytest.approx(ax.images[-1].get_clim())


def test_maps_shows_every_pair_on_its_own_scale(attribution, scenes):
    fig = plots.maps([s.image for s in scenes], attribution, [s.caption for s in scenes], columns=3)
    full = [ax for ax in fig.axes if ax.images]
    assert len(full) == 5 and len(fig.axes) == 6
    assert [ax.get_title().replace("\n", " ") for ax in full] == [s.caption for s in scenes]
    assert len({ax.images[-1].get_clim() for ax in full}) == 5


def test_maps_can_share_a_scale(attribution, scenes):
    fig = plots.maps([s.image for s in scenes], attribution, shared=True)
    ((low, high),) = {ax.images[-1].get_clim() for ax in fig.axes if len(ax.images) > 1}
    assert low == -high and high == pytest.approx(float(attribution.heatmap(224, None).abs().max()))
    assert "importance (cosine similarity)" in [ax.get_ylabel() for ax in fig.axes]


def test_columns_are_a_whole_number(attribution, scenes):
    images = [s.image for s in scenes]
    assert len(plots.maps(images, attribution, columns=np.int64(5)).axes) == 5
    for bad in (0, 1.5, True):
        with pytest.raises(ValueError, match="columns must be a whole number, 1 or more"):
            plots.maps(images, attribution, columns=bad)


def test_show(scenes):
    ax = plots.show(scenes[0].image, title="x")
    assert np.array_equal(ax.images[0].get_array(), np.asarray(scenes[0].image)) and ax.get_title() == "x"


# --- words ------------------------------------------------------------------------------------------------------------


def test_every_word_is_drawn_with_its_value(attribution):
    ax = plots.words(attribution, 2)
    for word, value in attribution.words_of(2):
        assert word in drawn(ax) and f"{value:+.3f}".replace("-", "−") in drawn(ax)
    assert len(ax.texts) == 2 * len(attribution.words_of(2)) and not ax.axison


def test_words_take_a_limit_and_a_part_of_a_figure():
    fig = plt.figure(figsize=(8, 2))
    ax = plots.words(told([0.5]), ax=fig.subfigures(1, 2)[0].subplots(), limit=1.0)
    full = plots.words(told([0.5]), ax=fig.subfigures(1, 2)[1].subplots())
    pale, strong = (one.texts[0].get_bbox_patch().get_facecolor() for one in (ax, full))
    assert pale[2] > strong[2] + 0.2  # half the limit is half the colour


def test_word_colours_follow_the_sign():
    ax = plots.words(told([1.0, -1.0, 0.0, 0.5]))
    faces = [text.get_bbox_patch().get_facecolor()[:3] for text in ax.texts[::2]]
    assert faces[0][0] > faces[0][2] and faces[1][2] > faces[1][0] and np.ptp(faces[2]) < 0.05 and faces[3][0] > faces[3][2]
    for text, face in zip(ax.texts[::2], faces):  # readable: light on dark, dark on light
        assert abs(np.dot(rgb(text.get_color()), (0.299, 0.587, 0.114)) - np.dot(face, (0.299, 0.587, 0.114))) > 0.35


def test_values_do_not_touch():
    """Short words with long values: the values set the distance."""
    ax = plots.words(told([-0.004, -0.009, 0.0, -0.0001], ["a", "a", "I", "a"]))
    renderer = ax.figure.canvas.get_renderer()
    assert drawn(ax)[1::2] == ["−0.004", "−0.009", "+0.000", "+0.000"]
    boxes = [text.get_window_extent(renderer) for text in ax.texts[1::2]]
    assert all(a.x1 + 5 < b.x0 for a, b in zip(boxes, boxes[1:]))
    assert all(box.x0 >= ax.get_window_extent().x0 for box in boxes)


def test_words_wrap_and_do_not_overlap():
    ax = plots.words(told(list(np.linspace(-1, 1, 14))))
    renderer = ax.figure.canvas.get_renderer()
    boxes = [text.get_window_extent(renderer) for text in ax.texts[::2]]
    assert len({round(box.y0) for box in boxes}) >= 2
    assert all(box.x1 <= ax.get_window_extent().x1 + 1 for box in boxes)
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])


def test_a_long_caption_stays_within_its_axes():
    """75 words, the longest that the model reads: all of them on the figure."""
    fig = plots.explain(np.zeros((50, 50, 3)), told([0.1] * 75, ["circle"] * 75))
    renderer = fig.canvas.get_renderer()
    assert min(text.get_window_extent(renderer).y0 for ax in fig.axes for text in ax.texts) >= 0


def test_words_of_nothing():
    assert drawn(plots.words(told([0.0, 0.0]))) == ["word0", "+0.000", "word1", "+0.000"]


def test_dollars_are_no_formula():
    """matplotlib reads $…$ as mathematics; a caption may say it."""
    try:
        plots.explain(np.zeros((50, 50, 3)), told([0.1, 0.2], ["$\\foo$", "ring"]), title="“a $\\foo$ ring”").canvas.draw()
    finally:
        plt.close("all")


def test_words_html_is_escaped():
    evil = "<script>alert('x')</script>"
    page = plots.words_html(told([0.5, -0.25], [evil, 'a"b&c'])).data
    assert "<script" not in page and html.escape(evil) in page and html.escape('a"b&c') in page


def test_words_html_from_a_caption_is_escaped(clip, scenes):
    with pytest.warns(UserWarning, match="does not know 'script', 'script'"):
        inputs = clip.prepare(scenes[0].image, "<script>ring</script> & a red ring")
    page = plots.words_html(nk.nib(clip, inputs, num_steps=1)).data
    assert "<script" not in page and "&lt;" in page and "&amp;" in page and ">red<" in page


def test_words_html_shows_sign_and_strength():
    page = plots.words_html(told([0.5, -0.25, -0.0002])).data
    assert page.count("<span") == 3 and "rgba(178,24,43,1.0)" in page and "rgba(33,102,172,0.5)" in page and ",0.0)" in page
    assert all(f'title="{value}"' in page for value in ("+0.500", "−0.250", "+0.000"))


# --- together ---------------------------------------------------------------------------------------------------------


def test_explain_puts_picture_map_and_words_together(attribution, scenes):
    fig = plots.explain(scenes[2].image, attribution, 2)
    picture, overlay, *_ = fig.axes
    assert np.array_equal(picture.images[0].get_array(), np.asarray(scenes[2].image))
    low, high = overlay.images[-1].get_clim()
    assert low == -high and high == pytest.approx(float(attribution.heatmap(224, None)[2].abs().max()))
    texts = [text for ax in fig.axes for text in drawn(ax)]
    assert all(word in texts for word, _ in attribution.words_of(2))
    assert fig.get_suptitle() == f"similarity of picture and caption: {float(attribution.similarity[2]):.2f}"
    assert plots.explain(scenes[0].image, attribution, title="mine").get_suptitle() == "mine"
    assert len(plt.get_fignums()) == 2


def test_explain_can_be_saved(attribution, scenes, tmp_path):
    plots.use_style()
    plots.explain(scenes[0].image, attribution).savefig(tmp_path / "x.png")
    assert (tmp_path / "x.png").stat().st_size > 10_000


def test_figures_of_half_precision(clip, scenes):
    half = nk.load_clip("shapes", device="cpu", dtype=torch.bfloat16)
    att = nk.nib(half, half.prepare(scenes[0].image, scenes[0].caption), num_steps=2)
    assert plots.explain(scenes[0].image, att).axes
