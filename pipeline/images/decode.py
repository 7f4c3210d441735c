"""From a photo on disk to its pixels: `read_photo`."""

from __future__ import annotations

import os
import stat
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

MOST_PIXELS = 50_400_000
"""A photo of more pixels is refused by its header, before memory is taken. Cameras of 50 megapixels make 8192 x 6144;
and no decoder takes a gigabyte for so many (JPEG 2000 takes most, 19 bytes a pixel)."""
STRIP = 2_000_000
"""Pixels that are converted at a time."""
Image.init()
FORMATS = [kind for kind in ("JPEG", "PNG", "WEBP", "AVIF", "BMP", "GIF", "TIFF", "JPEG2000") if kind in Image.OPEN]
"""What a photo may be, whatever its ending. Others Pillow hands to other programs (PostScript to Ghostscript)."""
Image.MAX_IMAGE_PIXELS = None  # `read_photo` has its own, stricter limit
warnings.filterwarnings("ignore", module=r"PIL\.")  # of damage that does not keep a photo from being decoded


class BadPhotoError(Exception):
    """A photo that cannot be decoded; the text says why."""


def read_photo(path: Path) -> NDArray[np.uint8]:
    """The first frame of a photo, upright, on white: (height, width, 3) RGB.

    Raises BadPhotoError when it cannot be decoded or is larger than MOST_PIXELS.
    """
    try:
        mode = os.stat(path).st_mode
        if not stat.S_ISREG(mode):  # to read a pipe is to wait
            raise BadPhotoError("it is a folder" if stat.S_ISDIR(mode) else "it is not a file")
        with Image.open(path, formats=FORMATS) as photo:
            if photo.width * photo.height > MOST_PIXELS:
                raise BadPhotoError(f"{photo.width}x{photo.height} pixels are too many")
            photo.load()
            ImageOps.exif_transpose(photo, in_place=True)
            return _to_rgb(photo)
    except BadPhotoError:
        raise
    except FileNotFoundError:
        raise BadPhotoError("it does not exist") from None
    except UnidentifiedImageError:
        raise BadPhotoError("it is no photo") from None
    except MemoryError:
        raise BadPhotoError("it takes more memory than there is") from None
    except Exception as damage:  # Pillow's decoders raise whatever they meet in damaged files
        told = damage.strerror if isinstance(damage, OSError) and damage.strerror else str(damage)
        raise BadPhotoError(" ".join(told.split()).rstrip(".") or type(damage).__name__) from None


def _to_rgb(photo: Image.Image) -> NDArray[np.uint8]:
    """(height, width, 3). In strips: whole, a large photo's copies would take several times its memory."""
    rgb = np.empty((photo.height, photo.width, 3), np.uint8)
    white = _white(photo)
    for top, strip in _strips(photo):
        rgb[top : top + strip.height] = np.asarray(_strip_to_rgb(strip, white))
    return rgb


def _strips(photo: Image.Image) -> Iterator[tuple[int, Image.Image]]:
    """The strips of a photo from above, and where each begins."""
    rows = max(1, STRIP // photo.width)
    for top in range(0, photo.height, rows):
        yield top, photo.crop((0, top, photo.width, min(top + rows, photo.height)))


def _white(photo: Image.Image) -> int:
    """What a photo of decimal numbers means by white: 1 where none of its numbers is larger, else 255."""
    if photo.mode != "F":
        return 255
    strips = (np.asarray(strip) for _, strip in _strips(photo))
    largest = max(strip.max(initial=0, where=np.isfinite(strip)) for strip in strips)
    return 1 if largest <= 1 else 255


def _strip_to_rgb(photo: Image.Image, white: int) -> Image.Image:
    if photo.mode.startswith("I"):  # 16 bit: its upper 8
        deep = np.asarray(photo).astype(np.int64)
        return Image.fromarray(np.clip(deep >> 8, 0, 255).astype(np.uint8)).convert("RGB")
    if photo.mode == "F":
        shades = np.clip(np.nan_to_num(np.asarray(photo)), 0, white)
        if white == 1:
            shades = np.rint(shades * 255)
        return Image.fromarray(shades.astype(np.uint8)).convert("RGB")
    if "A" in photo.getbands() or "transparency" in photo.info:
        clear = photo.convert("RGBA")
        white = Image.new("RGBA", clear.size, "white")
        return Image.alpha_composite(white, clear).convert("RGB")
    return photo.convert("RGB")
