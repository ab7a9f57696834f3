"""What a model sees of a picture, and where in the picture that lies: asked of the image processor, whatever its settings."""

from __future__ import annotations

import contextlib
import copy
import functools
import os
import warnings
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image

from ..checks import check_masks, one_line, outside
from .pictures import to_rgb

KEPT = 256  # pictures that ``last_view`` can answer for
_latest: dict[Any, tuple[Any, View]] = {}  # a picture's key -> (the picture, held weakly, or its path; its view)


@dataclass(frozen=True, eq=False)
class View:
    """How one image processor sees pictures of one size. Figures, masks and metrics take a picture's geometry from here alone.

    No setting (resizing, squashing, cropping, padding) is worked out a second time: pictures, masks and pixel numbers go through
    the processor itself.

    Args:
        processor: the image processor, in a copy of its own, so that later changes to its settings change no view.
        size: (H, W), the picture's height and width in pixels, upright (as its EXIF says).
    """

    processor: Any
    size: tuple[int, int]

    def picture(self, image: Any) -> Image.Image:
        """What the model sees of ``image`` (anything that ``to_rgb`` takes): its own input, with the normalisation undone.

        Raises ValueError if the picture is of another size, and what ``to_rgb`` raises.
        """
        picture = to_rgb(image)
        if picture.size[::-1] != self.size:
            raise ValueError(
                f"image is {_by(picture.size[::-1])} pixels (height × width), "
                f"the picture that was explained is {_by(self.size)}: give that one"
            )
        settings = self.processor
        if not getattr(settings, "do_pad", None):  # bytes to bytes; padding is put on what is normalised, in its units
            pixels = settings(images=picture, do_rescale=False, do_normalize=False, return_tensors="pt")["pixel_values"][0]
            return Image.fromarray(pixels.permute(1, 2, 0).contiguous().numpy())
        values = settings(images=picture, return_tensors="pt")["pixel_values"][0]
        std, mean = (settings.image_std, settings.image_mean) if settings.do_normalize else (1.0, 0.0)
        white = 1 / settings.rescale_factor if settings.do_rescale else 1.0  # bytes to a unit of what is normalised
        std, mean = (torch.as_tensor(value, dtype=values.dtype).reshape(-1, 1, 1) * white for value in (std, mean))
        return Image.fromarray((values * std + mean).round_().clamp_(0, 255).byte().permute(1, 2, 0).numpy())

    @functools.cached_property
    def rows_and_columns(self) -> tuple[np.ndarray, np.ndarray]:
        """Which row [h] and column [w] of the picture each of the model's lies on (nearest neighbour); −1 where it was padded.

        They are found by sending two pictures through the processor whose pixels hold their own row's and column's number.
        """
        rows, columns = (np.stack([1 + (n >> 16), n >> 8 & 255, n & 255], -1).astype(np.uint8) for n in map(np.arange, self.size))
        probes = [Image.fromarray(np.ascontiguousarray(np.broadcast_to(p, (*self.size, 3)))) for p in (rows[:, None], columns)]
        plain = dict(resample=Image.Resampling.NEAREST, do_rescale=False, do_normalize=False, return_tensors="pt")
        high, middle, low = np.moveaxis(self.processor(images=probes, **plain)["pixel_values"].numpy().astype(int), 1, 0)
        found = np.where(high > 0, (high - 1 << 16) + (middle << 8) + low, -1)  # 0 is what processors pad with
        return found[0].max(1), found[1].max(0)

    @property
    def frame(self) -> tuple[int, int]:
        """(h, w): the height and width of what the model sees."""
        rows, columns = self.rows_and_columns
        return len(rows), len(columns)

    def mask(self, mask: np.ndarray | torch.Tensor, name: str = "mask") -> np.ndarray:
        """A mask of the picture as the model sees it, bool [h, w]: nearest neighbour, False where the picture was padded.

        Args:
            mask: bool [H, W] of the picture's own size, which is resized and cropped as the picture was; or bool [h, w], in the
                model's frame already, which is taken as it is. Where both sizes are the same it is the picture's own.
            name: how error messages call it.

        Raises ValueError or TypeError on a mask of another size or type.
        """
        array = check_masks(mask[None] if hasattr(mask, "shape") else [mask], 1, name=name, empty=True)[0]
        if array.shape == self.size:
            rows, columns = self.rows_and_columns
            return array[rows][:, columns] & (rows >= 0)[:, None] & (columns >= 0)
        if array.shape != self.frame:
            raise ValueError(
                f"{name} is {_by(array.shape)}, the picture is {_by(self.size)} and the model sees {_by(self.frame)}: "
                "give it at the size of one of these"
            )
        return array


Views = tuple[View, ...]  # one for each picture of a batch


def views_of(processor: Any, pictures: Sequence[Image.Image], image_size: int) -> Views:
    """How the processor sees each of these RGB pictures; image_size: the model's height and width, which it pads to."""
    processor = _settled(processor, image_size)
    views = {size: View(processor, size) for size in {picture.size[::-1] for picture in pictures}}
    return tuple(views[picture.size[::-1]] for picture in pictures)


def pixels_of(processor: Any, pictures: Sequence[Image.Image], image_size: int) -> torch.Tensor:
    """The pictures as the model takes them, normalised, float [B, 3, image_size, image_size].

    ValueError if the processor's settings are at fault: they can't be followed, make no finite floats of a picture, or bring one
    to another size.
    """
    try:
        with np.errstate(all="ignore"):  # a division by an image_std of 0, which is named below
            made = processor(images=list(pictures), return_tensors=None)["pixel_values"]
    except MemoryError:
        raise
    except Exception as error:  # strange settings: transformers raises whatever it stumbles over
        reason = one_line(error, named=True)
        raise ValueError(f"the image processor fails ({reason}): correct its settings") from error
    for i, values in enumerate(made):
        if values.dtype.kind != "f":
            raise ValueError(f"the image processor gives {values.dtype}, models take floats: set its do_rescale and do_normalize")
        if not np.isfinite(values).all():
            raise ValueError(
                f"the image processor makes NaN or infinity of image {i}: correct its image_std ({processor.image_std}), "
                f"image_mean ({processor.image_mean}) and rescale_factor ({processor.rescale_factor})"
            )
        if tuple(values.shape[-2:]) != (image_size, image_size):
            raise ValueError(
                f"image {i} becomes {_by(values.shape[-2:])} pixels, this model takes {_by((image_size, image_size))}: "
                "set the image processor's size and crop_size so"
            )
    return torch.as_tensor(np.stack(made))


def check_scale(processor: Any, whose: str) -> None:
    """Warn if pictures are normalised as numbers from 0 to 1 without being scaled to them; whose: "the model has", say."""
    deviation = np.ravel(processor.image_std)
    if processor.do_normalize and not processor.do_rescale and deviation.dtype.kind in "fiu" and (deviation <= 1).all():
        warnings.warn(
            f"{whose} an image processor with do_rescale false, which makes numbers some hundred times too large: correct it",
            stacklevel=outside(),
        )


def _settled(processor: Any, image_size: int) -> Any:
    """A copy of the processor whose result for a picture is its own: left alone, padding would go by the largest of the batch."""
    processor = copy.copy(processor)
    if getattr(processor, "do_pad", None) and not getattr(processor, "pad_size", None):
        processor.pad_size = {"height": image_size, "width": image_size}
    return processor


def seen_masks(
    masks: Sequence[np.ndarray] | np.ndarray | torch.Tensor,
    views: Views | None,
    count: int,
    size: tuple[int, int] | None = None,
    name: str = "masks",
    empty: bool = False,
) -> np.ndarray:
    """The masks of ``count`` pairs as the model sees them, bool [B, h, w]; see ``View.mask``, and ``check_masks`` for the rest.

    Without views (inputs that ``Clip.prepare`` did not make) they are taken as they are.
    """
    if views is not None and hasattr(masks, "__len__") and len(masks) == count:
        label = f"the {name.removesuffix('s')} of pair"
        masks = np.stack([view.mask(mask, f"{label} {i}") for i, (view, mask) in enumerate(zip(views, masks))])
    return check_masks(masks, count, size, name, empty)


def note_views(images: Sequence[Any], views: Views) -> None:
    """Remember, for ``last_view``, how these pictures were seen: the latest ``KEPT`` of them, none of which is kept alive."""
    for image, view in zip(images, views):
        with contextlib.suppress(TypeError):  # a list of numbers can't be held weakly
            held = os.fspath(image) if isinstance(image, (str, os.PathLike)) else weakref.ref(image)
            _latest.pop(_key(image), None)
            _latest[_key(image)] = held, view
    for key in list(_latest)[:-KEPT]:
        _latest.pop(key, None)


def last_view(image: Any, size: tuple[int, int]) -> View | None:
    """How the model saw this very picture (the same object or path, size (H, W)) that was last given it; None if none was."""
    held, view = _latest.get(_key(image), (None, None))
    same = held is not None and (isinstance(held, str) or held() is image)
    return view if same and view is not None and view.size == size else None


def _key(image: Any) -> str | int:
    return os.fspath(image) if isinstance(image, (str, os.PathLike)) else id(image)


def _by(size: Sequence[int]) -> str:
    return " × ".join(map(str, size))
