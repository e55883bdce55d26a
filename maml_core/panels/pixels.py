"""The pixels of a panel's picture: its sheets of small pictures, its texts, and the PNG that they become."""

import functools
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backend_bases import RendererBase
from matplotlib.colors import to_hex
from matplotlib.font_manager import findfont
from matplotlib.image import AxesImage
from matplotlib.text import Text
from matplotlib.transforms import Affine2D
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

try:
    from isal import isal_zlib as zlib  # several times as fast: 1 ms for a picture instead of 6
except ImportError:
    import zlib  # type: ignore[no-redef]


def as_png(image: Image.Image) -> bytes:
    """A PNG of an RGB image.

    Pillow tries all of PNG's filters on every row, which takes twice as long as the compression and saves nothing on flat
    colours. Here rows are not filtered: each begins with a 0.
    """
    width, height = image.size
    rows = b"\0" + image.tobytes("raw", "RGB", 3 * width + 1)[:-1]  # Pillow pads each row with a 0 at its end
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)  # 8 bits of each of red, green and blue
    chunks = (b"IHDR", header), (b"IDAT", zlib.compress(rows, 1)), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )


def with_texts(rgba: memoryview, texts: Sequence[Text], dpi: float) -> Image.Image:
    """An RGB image of a canvas's pixels [H, W, 4], with one-line texts on top.

    Pillow writes them, since matplotlib takes 4 ms for the layout of a title, which is more than ten curves take.
    """
    height, width, _ = np.asarray(rgba).shape
    image = Image.frombytes("RGB", (width, height), rgba, "raw", "RGBX")
    pen = ImageDraw.Draw(image)
    for text in texts:
        x, y = text.get_transform().transform(text.get_unitless_position())
        font = _font(findfont(text.get_fontproperties()), text.get_fontproperties().get_size_in_points() * dpi / 72)
        anchor = text.get_horizontalalignment()[0].replace("c", "m") + _VERTICAL[text.get_verticalalignment()]
        pen.text((x, image.height - y), text.get_text(), to_hex(text.get_color()), font, anchor)
    return image


_VERTICAL = {"baseline": "s", "bottom": "d", "center": "m", "top": "a"}  # Pillow's anchors
_font = functools.cache(lambda path, size: ImageFont.truetype(path, size, layout_engine=ImageFont.Layout.BASIC))


def as_words(rgb: Tensor) -> Tensor:
    """Colours [..., 3], or greys [..., 1] (0..1), as one number each, int32 [...].

    Its bytes are red, green, blue and an opaque alpha. A sheet of whole numbers is laid out and enlarged in a fraction of
    the time that three floats for each pixel take.
    """
    levels = (255 * rgb).round().int()
    red, green, blue = levels.expand(*levels.shape[:-1], 3).unbind(-1)
    return red + (green << 8) + (blue << 16) + OPAQUE


OPAQUE, WHITE = -1 << 24, -1  # as int32: an alpha of 255, and all four bytes 255


class Sheet(AxesImage):
    """A picture that fills its axes; each of its pixels [H, W], as of `as_words`, becomes a block of the figure's.

    matplotlib's own image is resampled in floating point, which takes five times as long.
    """

    def __init__(self, ax: Axes, pixels: np.ndarray) -> None:
        super().__init__(ax, extent=(-0.5, pixels.shape[1] - 0.5, pixels.shape[0] - 0.5, -0.5))
        self.set_data(pixels)

    def make_image(self, renderer: RendererBase, *args: Any, **kwargs: Any) -> tuple[np.ndarray, float, float, Affine2D]:
        left, bottom, right, top = (round(edge) for edge in self.get_window_extent(renderer).extents)
        pixels = np.asarray(self.get_array())  # not as masked, whose indexing takes several times as long
        rows, columns = (np.arange(size) * count // size for size, count in zip((top - bottom, right - left), pixels.shape))
        return pixels[rows[::-1, None], columns].view(np.uint8).reshape(len(rows), -1, 4), left, bottom, Affine2D()
