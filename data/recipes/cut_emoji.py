"""Cut the emoji world's pictures: glyphs out of Noto Color Emoji, grounds out of photographs that scikit-image ships.

    python data/recipes/cut_emoji.py /usr/share/fonts/truetype/noto/NotoColorEmoji.ttf

Writes data/emoji/glyphs and data/emoji/grounds, which are committed: whoever uses the world needs neither the font nor FreeType,
so its scenes are the same on every machine. A glyph is the very PNG that the font holds (its table CBDT, 136 × 128 pixels, with
alpha). Debian has the font in the package fonts-noto-color-emoji. Needs fontTools and scikit-image. The licences, and whose work
it is, stand in data/emoji/README.md.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from fontTools.ttLib import TTFont
from PIL import Image
from skimage import data, util

from nibkit.data.emoji import CHARACTERS, GROUND

FOLDER = Path(__file__).resolve().parents[1] / "emoji"
# photographs and the upper left corner, in pixels, of the square that is cut: no person, no animal, none of the world's things
CROPS = {
    "brick": ("brick", (100, 100)),
    "coffee": ("coffee", (0, 0)),
    "grass": ("grass", (100, 100)),
    "gravel": ("gravel", (100, 100)),
    "sky": ("rocket", (0, 0)),
    "stars": ("hubble_deep_field", (300, 300)),
    "tissue": ("immunohistochemistry", (100, 100)),
}


def cut_glyphs(font: TTFont) -> None:
    """Each thing's PNG, as the font holds it."""
    characters, bitmaps = font.getBestCmap(), font["CBDT"].strikeData[0]
    for name, character in CHARACTERS.items():
        path = FOLDER / "glyphs" / f"{name.replace(' ', '-')}.png"
        path.write_bytes(bitmaps[characters[ord(character)]].imageData)


def cut_grounds() -> None:
    """A square of ``GROUND`` pixels of each photograph, in colour."""
    for name, (photograph, (top, left)) in CROPS.items():
        pixels = util.img_as_ubyte(getattr(data, photograph)())
        crop = pixels[top : top + GROUND, left : left + GROUND]
        Image.fromarray(crop).save(FOLDER / "grounds" / f"{name}.png", optimize=True)


def main() -> None:
    """Cut all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("font", type=Path, help="NotoColorEmoji.ttf, of the kind with bitmaps (CBDT)")
    for folder in ("glyphs", "grounds"):
        (FOLDER / folder).mkdir(parents=True, exist_ok=True)
    cut_glyphs(TTFont(parser.parse_args().font))
    cut_grounds()


if __name__ == "__main__":
    main()
