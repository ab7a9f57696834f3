"""The explorer: a change is computed once, what follows from it comes along, and what can't be read is told in one line."""

import datetime
import html
import io
import warnings

import ipywidgets
import numpy as np
import pytest
from matplotlib import pyplot as plt
from PIL import Image

import nibkit as nk
from nibkit.show import explanation, panels
from nibkit.show import explorer as widgets


@pytest.fixture
def calls(monkeypatch):
    """What has been computed: (method, its layer) of each explanation."""
    made = []
    one, other = explanation.explain_one, explanation.explain_otherwise

    def explain_one(clip, picture, caption, layer, *rest):
        made.append(("nib", layer))
        return one(clip, picture, caption, layer, *rest)

    def explain_otherwise(clip, inputs, method):
        made.append((method, None))
        return other(clip, inputs, method)

    monkeypatch.setattr(explanation, "explain_one", explain_one)
    monkeypatch.setattr(explanation, "explain_otherwise", explain_otherwise)
    return made


@pytest.fixture
def explorer(clip, scenes, calls, monkeypatch):
    """One over three scenes, with nothing beside NIB, nothing of it left open. Its figure is a line that says what is drawn."""

    def draw(found, title, lam, other, chosen):
        figure = plt.figure(figsize=(8, 0.4))
        figure.text(0, 0.3, f"{title[:40]} {found.attribution.image.sum():.6f} {lam} {other and other.method} {chosen}")
        return figure

    monkeypatch.setattr(panels, "draw", draw)
    plt.close("all")  # what other tests of this process left open is not the explorer's doing
    widget = widgets.explorer(clip, scenes)
    widget.second.value = None
    calls.clear()
    yield widget
    assert plt.get_fignums() == []


def shown(widget) -> bytes:
    return widget.picture.png


def test_begins_with_a_picture_that_a_page_without_a_kernel_shows(clip, scenes, calls):
    widget = widgets.explorer(clip, scenes)
    assert isinstance(widget, ipywidgets.Widget) and calls == [("nib", 9), ("m2ib", None)]
    bundle, metadata = widget._repr_mimebundle_()
    picture = Image.open(io.BytesIO(widget.picture.png))
    assert picture.width <= 1000 and bundle["image/png"].startswith("iVBOR")
    assert bundle["text/plain"] == f"Explorer('shapes', {scenes[0].caption!r})"
    assert "application/vnd.jupyter.widget-view+json" in bundle
    assert metadata == {"image/png": {"alt": widget.picture.alt}}
    assert f'alt="{widget.picture.alt}"' in html.unescape(widget.picture.value)


@pytest.mark.parametrize(
    "control, value, made",
    [
        ("layer", 4, [("nib", 4)]),
        ("steps", 3, [("nib", 9)]),
        ("rule", "midpoint", [("nib", 9)]),
        ("caption", "a red ring", [("nib", 9)]),
        ("scene", 2, [("nib", 9)]),
        ("model", "shapes-captions-only", [("nib", 9)]),
        ("second", "legrad", [("legrad", None)]),
        ("lam", 0.1, []),
        ("paint", None, []),
    ],
)
def test_a_change_computes_what_depends_on_it_once_and_draws_again(explorer, calls, control, value, made):
    before = shown(explorer)
    getattr(explorer, control).value = value
    assert calls == made and shown(explorer) != before and explorer.message.text == ""


def test_a_new_scene_brings_its_caption_and_its_objects(explorer, scenes):
    explorer.scene.value = 2
    assert explorer.caption.value == scenes[2].caption
    assert [name for name, _ in explorer.paint.options] == ["nothing", *(thing.phrase for thing in scenes[2].objects)]
    assert explorer.paint.value == scenes[2].named[0]


def test_a_model_of_another_world_brings_scenes_of_that_world(explorer, calls, scenes):
    explorer.caption.value = "a red ring"
    explorer.model.value = "shapes-no-reset"
    assert explorer.caption.value == "a red ring"  # the same world: the picture and the question stay
    calls.clear()
    explorer.model.value = "emoji"
    assert calls == [("nib", 9)] and explorer.message.text == ""
    assert explorer.caption.value == nk.emoji.sample(12, seed=77, captions="one", objects=3)[0].caption
    explorer.model.value = "shapes"
    assert explorer.caption.value == scenes[0].caption


def test_every_method_stands_beside_nib(explorer, monkeypatch):
    """RISE with fewer masks still, for this test."""
    monkeypatch.setitem(explanation.QUICK, "rise", {"num_masks": 20, "num_text_masks": 5})
    names = [value for _, value in explorer.second.options if value]
    assert names == [name for name in [*nk.METHODS, *nk.BEYOND] if name != "nib"]
    for name in names:
        before = shown(explorer)
        explorer.second.value = name
        assert shown(explorer) != before and explorer.message.text == ""


def test_a_picture_of_ones_own(explorer, scenes, calls, tmp_path):
    scenes[1].image.save(tmp_path / "mine.png")
    explorer.path.value = str(tmp_path / "mine.png")
    assert calls == [("nib", 9)] and explorer.scene.value is None and explorer.caption.value == scenes[0].caption
    assert explorer.explanation.removals == () and explorer.paint.value is None
    values, content = explorer.explanation.attribution.image, (tmp_path / "mine.png").read_bytes()
    explorer.model.value = "emoji"
    assert explorer.scene.value is None and explorer.own == str(tmp_path / "mine.png")
    explorer.model.value = "shapes"
    file = {"name": "mine.png", "type": "image/png", "size": len(content), "last_modified": datetime.datetime.now()}
    explorer.upload.value = (file | {"content": memoryview(content)},)
    assert explorer.path.value == "" and (explorer.explanation.attribution.image == values).all()
    explorer.scene.value = 1
    assert explorer.own is None and explorer.upload.value == () and len(explorer.explanation.removals) == len(scenes[1].objects)
    explorer.path.value = str(tmp_path / "mine.png")
    explorer.path.value = " "
    assert explorer.scene.value == 0 and explorer.caption.value == scenes[0].caption


def test_what_cannot_be_read_is_told_in_the_figures_place(explorer, tmp_path):
    explorer.caption.value = "  "
    assert "caption 0 is empty" in explorer.message.text and explorer.picture.value == ""
    assert explorer.explanation is None and "image/png" not in explorer._repr_mimebundle_()[0]
    explorer.caption.value = "a red ring"
    assert explorer.message.text == explorer.message.value == "" and explorer.picture.value != ""
    explorer.path.value = str(tmp_path / "none.png")
    assert "own picture: there is no file" in explorer.message.text and explorer.picture.value == ""


def test_warnings_stand_in_the_message_line_as_long_as_they_hold(explorer):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        explorer.caption.value = "a red wug"
        assert explorer.message.text == "caption 0: this model does not know 'wug'"
        explorer.lam.value = 0.5
        assert "'wug'" in explorer.message.text
        explorer.layer.value = 12
        assert "'wug'" in explorer.message.text and "cut explains nothing" in explorer.message.text
        explorer.layer.value, explorer.caption.value = 9, "a red ring"
        assert explorer.message.text == ""


def test_no_scenes_is_an_error(clip):
    with pytest.raises(ValueError, match="scenes is empty"):
        widgets.explorer(clip, [])


# --- what is computed ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", [rule for rule in nk.quadrature.RULES if rule != "adaptive"])
@pytest.mark.parametrize("model, world, layer", [("shapes", nk.shapes, 9), ("emoji", nk.emoji, 4)])
def test_the_way_along_lambda_ends_in_the_map_and_the_bill_balances(rule, model, world, layer):
    scene = world.sample(1, seed=8, captions="one", objects=2)[0]
    found = explanation.explain_one(nk.load_clip(model, "cpu"), scene.image, scene.caption, layer, 6, rule, scene)
    att = found.attribution
    np.testing.assert_allclose(found.up_to(1.0).image, att.image, atol=1e-5)
    np.testing.assert_allclose(found.running_sums()[-1], att.image.sum(), atol=1e-5)
    np.testing.assert_allclose(found.up_to(found.lam[2]).image.sum(), found.running_sums()[2], atol=1e-5)
    assert not found.up_to(found.lam[0] / 2).image.any()
    *parts, change = found.bill().values()
    assert len(parts) == 4 and sum(parts) == pytest.approx(change, abs=1e-5)
    assert found.scores[-1] == pytest.approx(float(att.similarity[0]), abs=1e-5)


@pytest.mark.parametrize("model, world", [("shapes", nk.shapes), ("emoji", nk.emoji)])
def test_an_object_painted_over_is_gone_and_f_is_measured_without_it(model, world):
    scene, clip = world.sample(1, seed=8, captions="one", objects=3)[0], nk.load_clip(model, "cpu")
    found = explanation.explain_one(clip, scene.image, scene.caption, 6, 10, "riemann", scene)
    before = np.asarray(scene.image, dtype=float)
    for i, removal in enumerate(found.removals):
        assert removal.phrase == scene.objects[i].phrase
        after = np.asarray(removal.painted, dtype=float)
        assert (
            np.array_equal(after, np.asarray(scene.without(i).image)) and (after != before).any(-1)[scene.masks[i]].mean() > 0.9
        )
        left = float(clip.similarity(clip.prepare(removal.painted, scene.caption)))
        assert removal.real == pytest.approx(float(found.attribution.similarity) - left, abs=1e-5)
        share = scene.masks[i].reshape(7, 32, 7, 32).mean((1, 3))
        assert removal.predicted == pytest.approx(float((share * found.attribution.image[0].numpy()).sum()), abs=1e-5)
    named = found.removals[scene.named[0]]
    assert named.real == max(removal.real for removal in found.removals) and named.real > 0.1


def test_each_panel_says_what_it_shows(clip, scenes, monkeypatch):
    """The words and numbers of the figure are those of the explanation."""
    figures, scene = [], scenes[0]
    monkeypatch.setattr(plt, "close", lambda figure=None: figures.append(figure))
    widget = widgets.explorer(clip, scenes)
    figure, found = figures[-1], widget.explanation
    texts = [text.get_text() for ax in figure.axes for text in [*ax.texts, ax.title, *ax.get_yticklabels()]]
    for name, value in found.bill().items():
        assert any(name in text for text in texts) and f"{round(value, 3) + 0.0:+.3f}".replace("-", "−") in texts
    assert "m2ib (paper)" in texts and f"without {found.removals[scene.named[0]].phrase}" in texts
    assert figure.get_suptitle().startswith(f"“{scene.caption}”: F = {found.scores[-1]:.2f}".replace("-", "−"))
    monkeypatch.undo()
    plt.close("all")
