"""Picture files of any kind, read with Pillow as 8-bit grey or colour."""

from typing import TYPE_CHECKING

import numpy as np

from .listing import File

if TYPE_CHECKING:
    from PIL.Image import Image

UNKNOWN = ("I", "F")  # modes without a known range of values, unless they are deep


def need_pillow() -> None:
    """ValueError where Pillow is not installed: it is not among the package's own dependencies."""
    try:
        import PIL.Image  # noqa: F401
    except ImportError as error:
        raise ValueError("Reading pictures needs Pillow: pip install pillow.") from error


def read_picture(file: File, mode: str, remedy: str) -> "Image":
    """One picture in mode "L" (grey) or "RGB", turned upright as its EXIF says, transparent pixels on white.

    16-bit grey is scaled to 8 bits. Raises ValueError with the remedy for a damaged file and for grey values whose range
    is unknown (floats and 32-bit integers), and ValueError where Pillow is missing.
    """
    need_pillow()
    from PIL import Image

    try:
        with file.open("rb") as opened, Image.open(opened) as image:
            image.load()
            deep = is_deep(image)
            if deep or image.mode not in UNKNOWN:
                return flat(_upright(image), deep, mode)
            unknown = image.mode
    except Exception as error:  # of some ten types: Pillow's, zipfile's and zlib's
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise ValueError(f"{file} is not a readable picture ({reason}): {remedy}.") from error
    raise ValueError(f"{file} has pixels of mode {unknown}, where black and white are unknown: save it with 8 bits.")


def is_deep(image: "Image") -> bool:
    """Whether it is grey with 16 bits; Pillow also reads such files as mode "I"."""
    return image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PNG", "PPM"))


def _upright(image: "Image") -> "Image":
    from PIL import ImageOps

    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # many photographs have damaged EXIF; the pixels are fine
        return image


def flat(image: "Image", deep: bool, mode: str) -> "Image":
    """The picture in another mode: 16 bits scaled to 8, palettes as their colours, transparent pixels on white."""
    from PIL import Image

    if deep:  # Pillow's own convert("L") would clip all above 255
        image = Image.fromarray((np.asarray(image) / 257).round().astype(np.uint8))
    elif image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    if image.mode not in ("1", "L", mode):
        image = image.convert("RGB")
    return image.convert(mode)
