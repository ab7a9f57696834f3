"""Figures of interactions: one scale, the right maps and numbers, a widget that answers and is a picture where none can be."""

import base64

import numpy as np
import pytest
from matplotlib import pyplot as plt

import nibkit as nk
from nibkit.show import interaction_plots as figures


def controls(widget) -> dict:
    """The widgets in a box that have a description, by it."""
    found, todo = {}, [widget]
    while todo:
        one = todo.pop()
        todo += getattr(one, "children", ())
        if getattr(one, "description", ""):
            found[one.description] = one
    return found


@pytest.fixture(scope="module")
def scene():
    return nk.shapes.sample(1, seed=3, captions="two", objects=3)[0]


@pytest.fixture(scope="module")
def found(scene):
    clip = nk.load_clip("shapes", device="cpu")
    return nk.interactions(clip, clip.prepare([scene.image] * 2, ["a red star", scene.caption]), num_steps=3)


@pytest.fixture(autouse=True)
def own_figures():
    """No figure outlives its test; what is drawn is really drawn, so that warnings come out."""
    plt.close("all")
    yield
    for number in plt.get_fignums():
        plt.figure(number).canvas.draw()
    plt.close("all")


def test_phrases_have_a_map_each_on_one_scale(found, scene):
    fig = figures.phrase_maps(scene.image, found, 1, scene.phrases)
    picture, *maps = [ax for ax in fig.axes if ax.images]
    assert picture.get_title() == "the picture" and [ax.get_title().replace("\n", " ") for ax in maps] == list(scene.phrases)
    values = found.phrases(1, scene.phrases).heatmap(224, normalize=None).numpy()
    limit = np.abs(values).max()
    for ax, own in zip(maps, values):
        assert np.allclose(ax.images[-1].get_array(), own) and ax.images[-1].get_clim() == pytest.approx((-limit, limit))
    assert fig.axes[-1].get_ylabel() == figures.UNIT


def test_every_word_by_default_and_titles_on_request(found, scene):
    fig = figures.phrase_maps(scene.image, found, 0)
    assert [ax.get_title() for ax in fig.axes if ax.images] == ["the picture", "a", "red", "star"]
    fig = figures.phrase_maps(scene.image, found, 0, [[1, 2], "star"])
    assert [ax.get_title() for ax in fig.axes if ax.images][1:] == ["a red", "star"]
    fig = figures.phrase_maps(scene.image, found, 0, ["star"], titles=["mine"])
    assert fig.axes[1].get_title() == "mine"
    with pytest.raises(ValueError, match="2 titles for 1 phrases"):
        figures.phrase_maps(scene.image, found, 0, ["star"], titles=["a", "b"])
    with pytest.raises(ValueError, match="stands not in caption 0"):
        figures.phrase_maps(scene.image, found, 0, ["circle"])


def test_a_table_of_phrases_and_objects(found, scene):
    names = [thing.phrase for thing in scene.objects]
    table = figures.phrase_table(found, 1, scene.phrases, scene.masks, names)
    assert list(table.index) == list(scene.phrases) and list(table.columns) == names
    values = found.phrases(1, scene.phrases).heatmap(224, normalize=None).numpy()
    assert table.iloc[1, 2] == pytest.approx(values[1][scene.masks[2]].mean(), rel=1e-5)
    with pytest.raises(ValueError, match=r"masks must be \[2, H, W\]"):
        figures.phrase_table(found, 1, scene.phrases, scene.masks, names[:2])
    with pytest.raises(TypeError, match="masks must be booleans"):
        figures.phrase_table(found, 1, scene.phrases, scene.masks.astype(float), names)


def test_the_matrix_shows_the_table(found, scene):
    table = figures.phrase_table(found, 1, scene.phrases, scene.masks, ["one", "a $2 coin", "three"])
    ax = figures.phrase_matrix(table)
    assert np.array_equal(ax.images[0].get_array(), table.to_numpy())
    limit = table.abs().max().max()
    assert ax.images[0].get_clim() == (-limit, limit) and figures.phrase_matrix(table, limit=1).images[0].get_clim() == (-1, 1)
    assert [text.get_text() for text in ax.texts] == [figures.signed(value) for value in table.to_numpy().ravel()]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["one", "a $2 coin", "three"]
    assert [label.get_text() for label in ax.get_yticklabels()] == list(scene.phrases)


@pytest.fixture
def explorer(found, scene, monkeypatch):
    """An explorer, and what it has drawn: (word, patch)."""
    drawn, chosen = [], figures.chosen
    monkeypatch.setattr(figures, "chosen", lambda *given: drawn.append(given[2:4]) or chosen(*given))
    return figures.word_explorer(scene.image, found, 1), drawn


def test_the_explorer_answers_to_words_and_patches(explorer, scene, found):
    widget, drawn = explorer
    parts = controls(widget)
    assert set(parts) == {"word", "patch: row", "column"}
    assert [label for label, _ in parts["word"].options] == scene.caption.split() and len(drawn) == 1
    word, (row, column) = drawn.pop()
    assert float(found.values[1, row, column, 1 + word].abs()) == float(found.values[1][..., 1:8].abs().max())
    shown = widget.children[-1]
    before = shown.png
    parts["word"].value = other = (word + 1) % 7
    parts["patch: row"].value = lower = (row + 1) % 7
    parts["column"].value = beside = (column + 1) % 7
    assert drawn == [(other, (row, column)), (other, (lower, column)), (other, (lower, beside))]
    assert shown.png.startswith(b"\x89PNG") and shown.png != before and plt.get_fignums() == []
    values = [
        f"{name} {figures.signed(float(found.values[1, lower, beside, 1 + i]))}" for i, name in enumerate(scene.caption.split())
    ]
    assert f"row {lower}, column {beside}: {', '.join(values)}." in shown.alt and f'alt="{shown.alt}"' in shown.value
    highest = np.unravel_index(int(found.values[1][..., 1 + other].argmax()), (7, 7))
    assert shown.alt.startswith(
        f"The map of “{scene.caption.split()[other]}”, highest at row {highest[0]}, column {highest[1]} (counted from 0)."
    )


def test_the_explorer_is_a_picture_where_no_widget_can_be(explorer, scene):
    bundle, metadata = explorer[0]._repr_mimebundle_()
    assert bundle["image/png"].startswith("iVBOR") and "application/vnd.jupyter.widget-view+json" in bundle
    width = int.from_bytes(base64.b64decode(bundle["image/png"])[16:20])  # pixels; seven words take two rows
    assert len(scene.caption.split()) == 7 and 8 < width / plt.rcParams["figure.dpi"] <= 12.5  # inches: 1000 at the series' 80
    words = ", ".join(scene.caption.split())
    assert metadata == {"image/png": {"alt": f"The picture and the map of each word: {words}"}}


def test_what_is_chosen_is_what_is_drawn(found, scene):
    """The word's map, the patch's frame in the picture, and the words' values at that patch."""
    split = found.phrases(1)
    fig = figures.chosen(scene.image, split, 2, (1, 5), 0.1)
    above, below = fig.axes
    assert above.get_title() == scene.caption.split()[2]
    assert np.allclose(above.images[-1].get_array(), split.heatmap(224, normalize=None)[2])
    (frame,) = above.patches
    assert frame.get_xy() == pytest.approx((5 * 32 - 0.5, 32 - 0.5)) and frame.get_width() == pytest.approx(32)
    values = [text.get_text() for text in below.texts[1::2]]
    assert values == [figures.signed(float(found.values[1, 1, 5, token])) for token in range(1, 8)]
