"""From a photo, on disk or in memory, to its pixels: `decode`, or `read_photo` for the pixels alone."""

from __future__ import annotations

import io
import os
import stat
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from models.file_kinds import FIRST_BYTES
from pipeline.dataset.photo_kinds import HEIC, RAW, READ, Kind, kind_of
from pipeline.dataset.reach import BadPhotoError, PhotoBytes
from pipeline.images import exif, jpeg, lean

MOST_PIXELS = 50_400_000
"""A photo of more pixels is refused by its header, before memory is taken. Cameras of 50 megapixels make 8192 x 6144;
and no decoder takes a gigabyte for so many (JPEG 2000 takes most, 19 bytes a pixel). A JPEG of more is decoded at a
half, a quarter or an eighth of its size."""
MOST_BYTES = 850_000_000
"""What decoding such a JPEG may take."""
A_PIXEL = 11
"""Bytes of a decoded pixel: Pillow's four, four more while a photo is turned upright, and three of the answer."""
LARGEST_FILE = 200_000_000
"""Bytes of a file that is read whole, where Pillow alone cannot decode it."""
STRIP = 2_000_000
"""Pixels that are converted at a time."""
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What turns a photo of each orientation upright."""
ON_THE_SIDE = (5, 6, 7, 8)
"""Orientations of photos whose width and height change places."""
TILE_WIDTH, TILE_LENGTH = 322, 323
"""Tags of a TIFF."""
TURNED_BY_THEMSELVES = ("TIFF", "HEIF")
"""Formats whose photos come upright from their decoders."""
Image.init()
FORMATS = [kind for kind in READ if kind in Image.OPEN]
"""What a photo may be, whatever its ending. Others Pillow hands to other programs (PostScript to Ghostscript)."""
Image.MAX_IMAGE_PIXELS = None  # `decode` has its own, stricter limit
warnings.filterwarnings("ignore", module=r"PIL\.")  # of damage that does not keep a photo from being decoded


@dataclass(frozen=True)
class Decoded:
    """The first frame of a photo, upright, on white: `pixels` (height, width, 3) RGB.

    `reduced`: how many pixels of the file, along a side, became one here. `cut_short`: whether the file ends too
    early, and what it lacks was filled.
    """

    pixels: NDArray[np.uint8]
    reduced: int = 1
    cut_short: bool = False

    @property
    def size(self) -> tuple[int, int]:
        """Width and height."""
        return self.pixels.shape[1], self.pixels.shape[0]


def read_photo(source: Path | PhotoBytes) -> NDArray[np.uint8]:
    """The pixels of a photo as `decode` gives them."""
    return decode(source).pixels


def decode(source: Path | PhotoBytes, most_pixels: float | None = None) -> Decoded:
    """The first frame of a photo, upright, on white.

    Raises BadPhotoError when it cannot be decoded, is larger than MOST_PIXELS and no JPEG, or larger than most_pixels.
    """
    try:
        if isinstance(source, Path):
            _check_is_file(source)
        try:
            with Image.open(_opened(source), formats=FORMATS) as photo:
                _refuse_raw(photo, source)
                return _decoded(photo, most_pixels)
        except (BadPhotoError, MemoryError):
            raise
        except Exception as damage:  # Pillow's decoders raise whatever they meet in damaged files
            if isinstance(damage, OSError) and damage.errno is not None:
                raise
            return _despite(damage, source, most_pixels)
    except BadPhotoError:
        raise
    except FileNotFoundError:
        raise BadPhotoError("it does not exist") from None
    except MemoryError:
        raise BadPhotoError("it takes more memory than there is") from None
    except Exception as damage:
        told = damage.strerror if isinstance(damage, OSError) and damage.strerror else str(damage)
        raise BadPhotoError(" ".join(told.split()).rstrip(".") or type(damage).__name__) from None


def _check_is_file(path: Path) -> None:
    """Raises BadPhotoError for what is there but no file."""
    mode = os.stat(path).st_mode
    if not stat.S_ISREG(mode):  # to read a pipe is to wait
        raise BadPhotoError("it is a folder" if stat.S_ISDIR(mode) else "it is not a file")


def _opened(source: Path | PhotoBytes) -> Path | io.BytesIO:
    """What Pillow opens."""
    return source if isinstance(source, Path) else io.BytesIO(source.content)


def whole_size(path: Path) -> tuple[int, int]:
    """Width and height of a photo, upright and before any reduction: by its header where that tells, else decoded.

    Raises BadPhotoError when it cannot be decoded.
    """
    try:
        with Image.open(path, formats=FORMATS) as photo:
            _refuse_raw(photo, path)
            block = exif.block_of(photo.info)
            if photo.format in TURNED_BY_THEMSELVES:
                return photo.size
            if block or photo.format != "PNG":  # whose EXIF may stand behind its pixels
                return photo.size[::-1] if exif.orientation(block) in ON_THE_SIDE else photo.size
    except Exception:  # Pillow's readers raise whatever they meet in damaged files; decoding may get past it
        pass
    decoded = decode(path)
    height, width = (side * decoded.reduced for side in decoded.pixels.shape[:2])
    return width, height


def stated_size(source: Path | PhotoBytes) -> tuple[int, int] | None:
    """Width and height as a photo's head states them, before it is turned upright; None where Pillow finds none."""
    try:
        with Image.open(_opened(source), formats=FORMATS) as photo:
            return photo.size
    except Exception:  # Pillow's readers raise whatever they meet in damaged files; decoding tells what it is
        return None


def _decoded(photo: Image.Image, most_pixels: float | None, block: bytes | None = None) -> Decoded:
    """An opened photo; `block` is its EXIF where the file was opened without."""
    reduced = 1
    if most_pixels is not None and photo.width * photo.height > most_pixels:
        raise BadPhotoError(
            f"{photo.width}x{photo.height} pixels are more than the {most_pixels / 1e6:g} million allowed"
        )
    if photo.format == "TIFF":
        _check_tiles(photo)
    if photo.width * photo.height > MOST_PIXELS:
        reduced = _reduce(photo)
    photo.load()
    if photo.format not in TURNED_BY_THEMSELVES:
        method = UPRIGHT.get(exif.orientation(exif.block_of(photo.info) if block is None else block))
        if method is not None:
            photo = photo.transpose(method)
    return Decoded(_to_rgb(photo), reduced)


def _check_tiles(photo: Image.Image) -> None:
    """Raises BadPhotoError for a TIFF of a few pixels in a tile of very many: memory is taken for the tile."""
    wide, high = photo.tag_v2.get(TILE_WIDTH), photo.tag_v2.get(TILE_LENGTH)
    if isinstance(wide, int) and isinstance(high, int) and wide * high > MOST_PIXELS:
        raise BadPhotoError(f"its tiles of {wide}x{high} pixels are too large")


def _reduce(photo: Image.Image) -> int:
    """Have a JPEG of too many pixels decoded at a half, a quarter or an eighth. Raises BadPhotoError for others."""
    full = f"{photo.width}x{photo.height} pixels are too many"
    if photo.format not in ("JPEG", "MPO"):
        raise BadPhotoError(full)
    kept = jpeg.memory_of(photo.fp)
    for reduced in (2, 4, 8):
        size = -(-photo.width // reduced), -(-photo.height // reduced)
        pixels = size[0] * size[1]
        if pixels <= MOST_PIXELS and kept + pixels * A_PIXEL <= MOST_BYTES:
            photo.draft(None, (photo.width // reduced, photo.height // reduced))
            return reduced
    raise BadPhotoError(full)


def _refuse_raw(photo: Image.Image, source: Path | PhotoBytes) -> None:
    """Raises BadPhotoError for a camera's raw file that Pillow takes for a TIFF, whose picture may be a thumbnail."""
    if photo.format == "TIFF" and (lean.is_raw(photo.tag_v2) or _kind(source) == Kind(RAW, True)):
        raise BadPhotoError(Kind(RAW, True).refusal)


def _kind(source: Path | PhotoBytes) -> Kind | None:
    if not isinstance(source, Path):
        return kind_of(source.content[:FIRST_BYTES], source.name)
    with source.open("rb") as file:
        return kind_of(file.read(FIRST_BYTES), source.name)


def _despite(damage: Exception, source: Path | PhotoBytes, most_pixels: float | None) -> Decoded:
    """A photo that Pillow does not decode as it is; raises BadPhotoError, or the damage, where nothing helps.

    Whatever only says something about it is left out; a JPEG that was cut short is ended where it was cut.
    """
    kind = _kind(source)
    if kind == Kind(HEIC, True) and lean.reads_heic():
        with Image.open(_opened(source), formats=["HEIF"]) as photo:
            return _decoded(photo, most_pixels)
    size = source.stat().st_size if isinstance(source, Path) else len(source.content)
    if kind is not None and kind.name in lean.BARE and size <= LARGEST_FILE:
        try:
            content = source.read_bytes() if isinstance(source, Path) else source.content
            return _bare(content, kind.name, most_pixels)
        except (BadPhotoError, MemoryError):
            raise
        except Exception as again:
            damage = again if isinstance(damage, UnidentifiedImageError) else damage
    if isinstance(damage, UnidentifiedImageError):
        raise BadPhotoError("it is no photo" if kind is None else kind.refusal) from None
    raise damage


def _bare(content: bytes, name: str, most_pixels: float | None) -> Decoded:
    """A photo of the format `name` without what only says something about it; raises whatever Pillow does."""
    block = jpeg.exif_of(content) if name == "JPEG" else None
    content = lean.BARE[name](content)
    try:
        with Image.open(io.BytesIO(content), formats=[name]) as photo:
            return _decoded(photo, most_pixels, block)
    except (BadPhotoError, MemoryError):
        raise
    except Exception:
        whole = jpeg.ended(content) if name == "JPEG" else None
        if whole is None:
            raise
    with Image.open(io.BytesIO(whole), formats=[name]) as photo:
        return replace(_decoded(photo, most_pixels, block), cut_short=True)


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
