"""What the model sees of a picture is known from its image processor alone, whatever the settings; masks go the same way."""

import functools
import gc
import weakref

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import nibkit as nk
from nibkit.model.views import KEPT, View, last_view, seen_masks

CAPTION = "a red heart"
SQUARE = {"height": 224, "width": 224}
SETTINGS = {
    "as it is": {},
    "squashed": dict(do_center_crop=False, size=SQUARE),
    "squashed, then cropped": dict(size=SQUARE),
    "zoomed": dict(size={"shortest_edge": 300}),
    "too small for its crop": dict(size={"shortest_edge": 100}),
    "not resized": dict(do_resize=False),
    "padded": dict(do_center_crop=False, do_pad=True, size={"shortest_edge": 200, "longest_edge": 224}),
    "bytes": dict(do_rescale=False),
    "not normalised": dict(do_normalize=False),
    "nearest": dict(resample=0),
    "numbers for sizes": dict(size=250, crop_size=224),
}
SIZES = [(224, 224), (448, 224), (200, 300), (97, 101)]  # width, height


@functools.cache
def bundled() -> nk.Clip:
    return nk.load_clip("shapes", device="cpu")


def clip_with(**settings) -> nk.Clip:
    clip = bundled()
    processor = type(clip.image_processor)(**clip.image_processor.to_dict() | settings)
    return nk.Clip(clip.model, clip.tokenizer, processor, name=clip.name)


def noise(size=(448, 224)) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), np.uint8))


def undone(clip: nk.Clip, pixels: torch.Tensor) -> np.ndarray:
    """The model's input [3, h, w] as bytes [h, w, 3], but for rounding."""
    p, values = clip.image_processor, pixels.permute(1, 2, 0).double().numpy()
    values = values * p.image_std + p.image_mean if p.do_normalize else values
    return values / p.rescale_factor if p.do_rescale else values


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("settings", SETTINGS.values(), ids=list(SETTINGS))
def test_the_picture_is_the_models_own_input(settings, size):
    clip, image = clip_with(**settings), noise(size)
    inputs = clip.prepare(image, CAPTION)
    for view in (inputs.views[0], clip.view(image)):
        seen = np.asarray(view.picture(image)).astype(float)
        assert view.frame == seen.shape[:2] == (224, 224) and np.abs(seen - undone(clip, inputs.pixel_values[0])).max() <= 0.501


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("settings", SETTINGS.values(), ids=list(SETTINGS))
def test_a_mask_goes_where_its_picture_goes(settings, size):
    """A black and white picture that is resized by nearest neighbour is its own mask."""
    clip, mask = clip_with(**settings | {"resample": 0}), np.random.default_rng(1).random(size[::-1]) < 0.5
    image = Image.fromarray(mask).convert("RGB")
    seen = undone(clip, clip.prepare(image, CAPTION).pixel_values[0])[..., 0] > 200
    assert np.array_equal(clip.view(image).mask(mask), seen) and seen.any()


def test_where_the_crop_lies():
    rows, columns = clip_with().view(noise((448, 224))).rows_and_columns
    assert rows.tolist() == list(range(224)) and columns.tolist() == list(range(112, 336))
    rows, columns = clip_with(**SETTINGS["squashed"]).view(noise((448, 224))).rows_and_columns
    assert rows.tolist() == list(range(224)) and set(np.diff(columns)) == {2}
    rows, columns = clip_with(do_resize=False).view(noise((100, 300))).rows_and_columns
    assert rows.tolist() == list(range(38, 262)) and columns.tolist() == [-1] * 62 + list(range(100)) + [-1] * 62


@given(width=st.integers(1, 700), height=st.integers(8, 700))
def test_numbers_of_rows_grow_and_are_the_pictures(width, height):
    for numbers, count in zip(clip_with().view(Image.new("L", (width, height))).rows_and_columns, (height, width)):
        assert (np.diff(numbers) >= 0).all() and 0 <= numbers[0] and numbers[-1] < count


def test_rows_beyond_two_bytes_are_counted():
    rows, _ = View(clip_with(do_resize=False).image_processor, (140_000, 2)).rows_and_columns
    assert rows.tolist() == list(range(69_888, 70_112))


def test_a_mask_of_the_models_frame_is_taken_as_it_is_and_other_sizes_are_refused():
    view, frame = clip_with().view(noise((448, 224))), np.eye(224, dtype=bool)
    assert np.array_equal(view.mask(frame), frame) and np.array_equal(view.mask(torch.from_numpy(frame)), frame)
    with pytest.raises(ValueError, match="mask is 448 × 224, the picture is 224 × 448 and the model sees 224 × 224: give it"):
        view.mask(np.ones((448, 224), dtype=bool))
    with pytest.raises(TypeError, match="mask must be booleans"):
        view.mask(np.ones((224, 448)))
    with pytest.raises(ValueError, match="the mask of pair 1 is 7 × 7, the picture"):
        seen_masks([frame, frame[:7, :7]], (view, view), 2)


def test_where_both_sizes_are_the_same_the_mask_is_the_pictures():
    """Resized to 256 and cropped to 224, a picture of 224 × 224 is zoomed; so is its mask."""
    mask = np.zeros((224, 224), dtype=bool)
    mask[:12] = True
    assert not clip_with(size={"shortest_edge": 256}).view(noise((224, 224))).mask(mask).any()


def test_later_settings_change_no_view():
    clip, image = clip_with(), noise()
    view = clip.prepare(image, CAPTION).views[0]
    clip.image_processor.size, clip.image_processor.do_center_crop = SQUARE, False
    assert view.rows_and_columns[1][0] == 112 and clip.view(image).rows_and_columns[1][0] < 5


def test_padding_goes_by_the_model_not_by_the_batch():
    clip, images = clip_with(**SETTINGS["padded"]), [noise((448, 224)), noise((224, 448))]
    together = clip.prepare(images, [CAPTION] * 2)
    for i, image in enumerate(images):
        assert torch.equal(together.pixel_values[i], clip.prepare(image, CAPTION).pixel_values[0])


@pytest.mark.parametrize(
    "settings, told",
    [
        (dict(do_center_crop=False), "image 1 becomes 224 × 448 pixels"),
        (dict(crop_size={"height": 200, "width": 224}), "image 0 becomes 200 × 224 pixels"),
    ],
)
def test_a_processor_for_other_sizes_is_named(settings, told):
    with pytest.raises(ValueError, match=f"{told}, this model takes 224 × 224: set the image processor's size and crop_size so"):
        clip_with(**settings).prepare([noise((224, 224)), noise()], [CAPTION] * 2)


def test_views_go_with_their_pairs():
    clip, images = clip_with(), [noise(size) for size in SIZES]
    inputs = clip.prepare(images, [CAPTION] * 4)
    assert [view.size for view in inputs[[3, 1]].views] == [(101, 97), (224, 448)]
    assert inputs.to(dtype=torch.float64).views == inputs.crop(2).views == inputs.views
    att = nk.nib(clip, inputs, num_steps=1)
    assert att.views == att.cpu().views == inputs.views and att[2].views == inputs.views[2:3]
    assert nk.controls.ones_map(clip, inputs).views == inputs.views
    with pytest.raises(ValueError, match="1 views but 4 images"):
        nk.Inputs(inputs.pixel_values, inputs.input_ids, views=inputs.views[:1])


def test_a_picture_of_another_size_is_refused():
    with pytest.raises(ValueError, match=r"image is 9 × 7 pixels .*, the picture that was explained is 224 × 448"):
        clip_with().view(noise()).picture(noise((7, 9)))


def test_without_a_processor_nothing_is_seen():
    with pytest.raises(ValueError, match="tiny came without image processor"):
        nk.Clip(clip_with().model, name="tiny").view(noise())


# --- the last look at a picture -----------------------------------------------------------------------------------------------


def test_the_last_model_that_saw_a_picture_is_remembered(tmp_path):
    image, size = noise(), (224, 448)
    image.save(tmp_path / "x.png")
    array, path = np.asarray(image).copy(), tmp_path / "x.png"
    for clip in (clip_with(), clip_with(**SETTINGS["squashed"])):
        views = clip.prepare([image, array, path], [CAPTION] * 3).views
        assert all(last_view(one, size) is view for one, view in zip((image, array, str(path)), views))
    assert last_view(image.copy(), size) is None and last_view(image, (224, 224)) is None
    held = weakref.ref(array)
    del array
    gc.collect()
    assert held() is None  # it is not kept alive


def test_the_memory_is_short():
    clip, first = clip_with(), noise((9, 9))
    clip.prepare([first], [CAPTION])
    many = [first.copy() for _ in range(KEPT)]
    clip.prepare(many, [CAPTION] * KEPT)
    assert last_view(first, (9, 9)) is None and last_view(many[0], (9, 9)) is not None


@pytest.mark.parametrize(
    "settings, message",
    [
        (dict(image_std=[0, 0, 0]), r"makes NaN or infinity of image 0: correct its image_std \(\[0, 0, 0\]\)"),
        (dict(image_std=0), r"makes NaN or infinity of image 0: correct its image_std \(0\)"),
        (dict(image_mean=float("nan")), "makes NaN or infinity of image 0: .* image_mean .nan. and"),
        (dict(rescale_factor=float("inf")), "makes NaN or infinity of image 0: .* rescale_factor .inf.$"),
        (dict(do_rescale=False, do_normalize=False), "gives uint8, models take floats: set its do_rescale and do_normalize"),
        (dict(image_std="wide"), "fails .ValueError: std must have 3 elements"),
        (dict(rescale_factor="small"), "fails .*: correct its settings$"),
        (dict(size=None), "fails .ValueError: `size` and"),
    ],
)
def test_the_processor_is_blamed_not_the_picture(settings, message):
    clip = nk.load_clip("shapes", device="cpu")
    vars(clip.image_processor).update(settings)  # as a damaged file has them
    with pytest.raises(ValueError, match=f"the image processor {message}"):
        clip.prepare(noise(), CAPTION)
