"""Pictures of one colour or of noise, and what a model sees of them."""

import numpy as np
import torch
from PIL import Image

CAPTION = "a red circle"


def pixels(clip, image) -> torch.Tensor:
    return clip.prepare(image, CAPTION).pixel_values[0]


def plain(color, size=(40, 30)) -> Image.Image:
    return Image.new("RGB", size, color)


def noise(size=(40, 30), channels=3, seed=0) -> np.ndarray:
    shape = (size[1], size[0], channels) if channels else (size[1], size[0])
    return np.random.RandomState(seed).randint(0, 256, shape).astype(np.uint8)


def close(image: Image.Image, color, tolerance: int = 1) -> bool:
    return image.mode == "RGB" and np.abs(np.asarray(image).astype(int) - color).max() <= tolerance
