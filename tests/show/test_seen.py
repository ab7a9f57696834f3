"""The picture in a figure is what the model saw of it: in every function, in the explorer and on the command line."""

import dataclasses
import json
import shutil

import numpy as np
import pytest
import torch
from matplotlib import pyplot as plt
from PIL import Image

import nibkit as nk
from nibkit.__main__ import main
from nibkit.resources import data_dir
from nibkit.show import explorer, panels, plots

SQUARE = {"height": 224, "width": 224}
SETTINGS = {
    "centre": {},
    "squashed": dict(do_center_crop=False, size=SQUARE),
    "zoomed": dict(size={"shortest_edge": 448}),
    "not resized": dict(do_resize=False),
}


@pytest.fixture(autouse=True)
def own_figures():
    with plt.rc_context():
        yield
        plt.close("all")


@pytest.fixture(params=SETTINGS.values(), ids=list(SETTINGS))
def folder(request, tmp_path):
    """The bundled model with other settings of its image processor."""
    shutil.copytree(data_dir() / "shapes-clip", tmp_path / "model")
    path = tmp_path / "model" / "processor_config.json"
    config = json.loads(path.read_text())
    config["image_processor"] |= request.param
    path.write_text(json.dumps(config))
    return tmp_path / "model"


@pytest.fixture
def wide() -> Image.Image:
    left, right = nk.shapes.sample(2, seed=5)
    return Image.fromarray(np.hstack([np.asarray(left.image), np.asarray(right.image)]))


def undone(clip: nk.Clip, image) -> np.ndarray:
    """What the model is given, as bytes [h, w, 3]."""
    p, pixels = clip.image_processor, clip.prepare(image, "a red heart").pixel_values[0].permute(1, 2, 0).numpy()
    return np.rint((pixels * np.array(p.image_std) + np.array(p.image_mean)) * 255)


def drawn(ax) -> np.ndarray:
    return np.asarray(ax.images[0].get_array())


def test_figures(folder, wide):
    clip = nk.load_clip(folder, device="cpu")
    expected, inputs = undone(clip, wide), clip.prepare(wide, "a red heart")
    att = nk.nib(clip, inputs, num_steps=1)
    again = Image.fromarray(np.asarray(wide))  # the same picture, which no model was given
    assert np.array_equal(drawn(plots.show(wide)), expected)  # the last model that it was given to
    for view in (inputs.views[0], att.views[0], clip.view(again)):
        assert np.array_equal(drawn(plots.show(again, view=view)), expected)
    assert np.array_equal(drawn(plots.explain(again, att).axes[0]), expected)
    grey = nk.Attribution(torch.zeros(1, 7, 7), att.text, att.tokens, att.similarity, words=att.words, views=att.views)
    for ax in (plots.overlay(again, grey), plots.maps([again], grey).axes[0]):
        smooth = expected.mean(-1)  # a map of zeros paints nothing: the blurred picture in grey
        assert np.corrcoef(drawn(ax)[..., 0].ravel(), smooth.ravel())[0, 1] > 0.9


def test_the_explorer(folder, wide, monkeypatch):
    figures, draw = [], panels.draw
    monkeypatch.setattr(panels, "draw", lambda *given, **more: figures.append(draw(*given, **more)) or figures[-1])
    clip, scene = nk.load_clip(folder, device="cpu"), nk.shapes.sample(1, seed=5)[0]
    masks = np.pad(scene.masks, ((0, 0), (0, 0), (0, wide.width - 224)))
    explorer.explorer(clip, [dataclasses.replace(scene, image=wide, masks=masks, redraw=None)])
    (picture,) = [ax for ax in figures[0].axes if ax.get_title() == "the picture"]
    assert np.array_equal(drawn(picture), undone(clip, wide))


def test_the_command_line(folder, wide, tmp_path, monkeypatch, capsys):
    figures, explain = [], plots.explain
    monkeypatch.setattr(plots, "explain", lambda *given, **more: figures.append(explain(*given, **more)) or figures[-1])
    wide.save(tmp_path / "wide.png")
    out = tmp_path / "out.png"
    main(["explain", str(tmp_path / "wide.png"), "a red heart", "--clip", str(folder), "--out", str(out), "--device", "cpu"])
    assert out.exists(), capsys.readouterr()
    assert np.array_equal(drawn(figures[0].axes[0]), undone(nk.load_clip(folder, device="cpu"), wide))


# --- other kinds of pictures --------------------------------------------------------------------------------------------------


def saved(kind: str, path) -> None:
    """A picture of 40 × 24 pixels of that kind."""
    ramp = np.linspace(0, 255, 40 * 24).reshape(24, 40)
    picture = Image.fromarray(np.stack([ramp, ramp[::-1], np.full_like(ramp, 90)], -1).astype(np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6
    if kind == "rotated":
        picture.save(path, exif=exif)
    elif kind == "alpha":
        picture.putalpha(Image.fromarray(ramp.astype(np.uint8)))
        picture.save(path)
    elif kind == "palette":
        picture.convert("P", palette=Image.Palette.ADAPTIVE).save(path, transparency=3)
    else:
        Image.fromarray((ramp * 257).astype(np.uint16)).save(path)


@pytest.mark.parametrize("kind", ["rotated", "alpha", "palette", "16 bits"])
def test_every_kind_of_picture(kind, tmp_path):
    clip, path = nk.load_clip("shapes", device="cpu"), tmp_path / "x.png"
    saved(kind, path)
    inputs = clip.prepare(path, "a red heart")
    assert inputs.views[0].size == ((40, 24) if kind == "rotated" else (24, 40))
    for image in (path, Image.open(path)):
        shown = drawn(plots.explain(image, nk.nib(clip, inputs, num_steps=1)).axes[0])
        assert np.array_equal(shown, undone(clip, path)) and len(np.unique(shown)) > 50


def test_where_nobody_knows_it_is_the_centre_square(wide):
    assert np.array_equal(drawn(plots.show(wide)), np.asarray(wide)[:, 112:336])
