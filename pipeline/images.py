"""From a photo on disk to the pixels a network sees, the same bytes in training and prediction.

`read` decodes, `fit` crops and resizes, `prepare` does both once for many photos into one memory-mapped file,
and `Augmenter` alters training photos.
"""

from __future__ import annotations

import errno
import hashlib
import os
import random
import stat
import warnings
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from models.errors import UserError
from models.specialist import Augmentation
from pipeline import store
from pipeline.progress import Progress

MOST_PIXELS = 50_400_000
"""A photo of more pixels is refused by its header, before memory is taken. Cameras of 50 megapixels make 8192 x 6144;
and no decoder takes a gigabyte for so many (JPEG 2000 takes most, 19 bytes a pixel)."""
STRIP = 2_000_000
"""Pixels that are converted at a time."""
Image.init()
FORMATS = [kind for kind in ("JPEG", "PNG", "WEBP", "AVIF", "BMP", "GIF", "TIFF", "JPEG2000") if kind in Image.OPEN]
"""What a photo may be, whatever its ending. Others Pillow hands to other programs (PostScript to Ghostscript)."""
MARGIN = 0.25
"""What is kept around a face box, as a share of the box."""
Box = tuple[float, float, float, float]

cv2.setNumThreads(1)  # photos are decoded side by side already
Image.MAX_IMAGE_PIXELS = None  # `read` has its own, stricter limit
warnings.filterwarnings("ignore", module=r"PIL\.")  # of damage that does not keep a photo from being decoded


class BadPhotoError(Exception):
    """A photo that cannot be decoded; the text says why."""


def read(path: Path) -> NDArray[np.uint8]:
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


def rectangle(
    width: int, height: int, aspect: float, box: Box | None = None, crop: float = 1.0
) -> tuple[int, int, int, int]:
    """What is kept of a photo: (left, top, right, bottom) in pixels, of the given aspect (width / height).

    With a face box: the smallest such rectangle around the box and its margin, moved into the photo, and no
    larger than the photo holds. Without: the largest centred one, times `crop`.
    """
    widest = min(width, height * aspect)
    if box is None:
        wide, middle_x, middle_y = widest * crop, width / 2, height / 2
    else:
        left, top, box_width, box_height = box
        wide = min(widest, max(box_width, box_height * aspect) * (1 + 2 * MARGIN))
        middle_x, middle_y = left + box_width / 2, top + box_height / 2
    high = wide / aspect
    middle_x = min(max(middle_x, wide / 2), width - wide / 2)
    middle_y = min(max(middle_y, high / 2), height - high / 2)
    left, top = min(round(middle_x - wide / 2), width - 1), min(round(middle_y - high / 2), height - 1)
    right, bottom = round(middle_x + wide / 2), round(middle_y + high / 2)
    return max(0, left), max(0, top), min(width, max(right, left + 1)), min(height, max(bottom, top + 1))


def fit(
    photo: NDArray[np.uint8], height: int, width: int, box: Box | None = None, crop: float = 1.0
) -> NDArray[np.uint8]:
    """Crop and resize a photo to (height, width, 3)."""
    left, top, right, bottom = rectangle(photo.shape[1], photo.shape[0], width / height, box, crop)
    kept = photo[top:bottom, left:right]
    if kept.shape[:2] == (height, width):
        return kept.copy()
    shrinks = kept.shape[0] >= height and kept.shape[1] >= width
    return cv2.resize(kept, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


@dataclass(frozen=True)
class Photos:
    """Where photos lie and how they are framed: `boxes` (N, 4) with NaN where there is none, or None."""

    root: Path
    names: Sequence[str]
    boxes: NDArray[np.float64] | None = None
    crop: float = 1.0

    def box(self, index: int) -> Box | None:
        if self.boxes is None or np.isnan(self.boxes[index]).any():
            return None
        left, top, width, height = self.boxes[index].tolist()
        return left, top, width, height


Size = tuple[int, int]
"""(height, width) in pixels."""


def decode(photos: Photos, index: int, sizes: Sequence[Size]) -> dict[Size, NDArray[np.uint8]] | str:
    """One photo, decoded once and fitted to each size; or, as a string, why it cannot be decoded."""
    try:
        photo = read(photos.root / photos.names[index])
    except BadPhotoError as problem:
        return str(problem)
    return {size: fit(photo, *size, photos.box(index), photos.crop) for size in sizes}


def decode_all(photos: Photos, sizes: Sequence[Size], jobs: int) -> Iterator[dict[Size, NDArray[np.uint8]] | str]:
    """`decode` of every photo, in order, `jobs` at a time and at most 16 x `jobs` ahead of the reader."""
    # Threads: Pillow and OpenCV let go of the interpreter while they work. (joblib's generator would run
    # ahead of a slow reader without end.)
    ahead: deque[Future] = deque()
    pool = ThreadPoolExecutor(jobs)
    try:
        for index in range(len(photos.names)):
            ahead.append(pool.submit(decode, photos, index, sizes))
            if len(ahead) == 16 * jobs:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


@dataclass(frozen=True)
class Prepared:
    """Photos decoded, cropped and resized once: `pixels` (N, height, width, 3), memory-mapped.

    `bad` maps the photos that could not be decoded to the reason; their pixels are zero. `digest` is of all pixels, or
    None of those prepared by an older version.
    """

    pixels: NDArray[np.uint8]
    bad: dict[str, str]
    digest: str | None


PREPARED = Path("data/prepared")


def prepare(photos: Photos, name: str, size: Size, jobs: int) -> Prepared:
    """The prepared photos, from an earlier time where they are the same; a second process waits for the first.

    `name` is the data set's, for the folder's name. Raises UserError when the disk is too full for them.
    """
    height, width = size
    boxes = None if photos.boxes is None else np.nan_to_num(photos.boxes, nan=-1).tolist()
    mark = store.photo_fingerprint(photos.root, list(photos.names), times=True)
    mark = store.fingerprint([mark, photos.crop, boxes])
    folder = PREPARED / f"{name[:40]}-{height}x{width}-{mark}"
    with store.locked(PREPARED / f".{folder.name}.lock", f"preparing {name}", wait=True):
        store.sweep(folder)
        if (folder / "bad.json").is_file():
            try:
                stands = _open_prepared(folder, photos, size)
                if not mended(photos.root, stands.bad):
                    return stands
                print(f"prepare: photos that could not be decoded now can be; {folder} is prepared anew", flush=True)
            except Exception as damage:  # numpy's parser of headers raises whatever it meets in damaged files
                told = " ".join(str(damage).split()).rstrip(".") or type(damage).__name__
                print(f"prepare: {folder} is damaged ({told}) and is prepared anew", flush=True)
        _decode_into(folder, photos, size, jobs)
        return _open_prepared(folder, photos, size)


def mended(root: Path, bad: Iterable[str]) -> bool:
    """Whether any of these photos can be decoded now: a permission or a disk may have been at fault."""

    def is_good(photo: str) -> bool:
        try:
            read(root / photo)
        except BadPhotoError:
            return False
        return True

    return any(map(is_good, bad))


def _open_prepared(folder: Path, photos: Photos, size: Size) -> Prepared:
    """What stands in a folder. Raises ValueError, or what numpy raises, where it is not these photos' pixels."""
    pixels = np.load(folder / "pixels.npy", mmap_mode="r", allow_pickle=False)
    record = store.read_json(folder / "bad.json")
    shape = (len(photos.names), *size, 3)
    whole = isinstance(pixels, np.memmap) and pixels.shape == shape and pixels.dtype == np.uint8
    if not (whole and pixels.flags.c_contiguous):
        raise ValueError("pixels.npy holds something else")
    return Prepared(pixels, record["bad"], record.get("digest"))


def _decode_into(folder: Path, photos: Photos, size: Size, jobs: int) -> None:
    needed = len(photos.names) * size[0] * size[1] * 3
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "bad.json").unlink(missing_ok=True)
    disk = os.statvfs(folder)
    if needed > disk.f_bavail * disk.f_frsize:
        raise UserError(
            f"preparing {len(photos.names)} photos at {size[0]}x{size[1]} needs {needed / 1e9:.1f} GB, but only "
            f"{disk.f_bavail * disk.f_frsize / 1e9:.1f} GB are free in {folder.parent}; make room there."
        )
    print(f"prepare: {len(photos.names)} photos at {size[0]}x{size[1]}, {needed / 1e6:.0f} MB in {folder}")
    bad, digest = {}, hashlib.sha256()
    with (
        store.replacing(folder / "pixels.npy") as part,
        Progress("prepare", len(photos.names), "photos") as progress,
    ):
        pixels = np.lib.format.open_memmap(part, "w+", np.uint8, (len(photos.names), *size, 3))
        _reserve(part)
        for index, photo in enumerate(decode_all(photos, [size], jobs)):
            if isinstance(photo, str):
                bad[photos.names[index]] = photo
            else:
                pixels[index] = photo[size]
            digest.update(pixels[index])
            progress.advance()
        pixels.flush()
    record = {"bad": bad, "digest": digest.hexdigest()[:16]}
    store.write_json(folder / "bad.json", record)  # last: the folder is whole once this stands


def _reserve(file: Path) -> None:
    """Give a sparse file its place on the disk. Raises OSError where there is too little.

    Where a mapped file finds none while it is written, the system kills the process without a word.
    """
    if not hasattr(os, "posix_fallocate"):
        return
    with file.open("rb+") as opened:
        try:
            os.posix_fallocate(opened.fileno(), 0, file.stat().st_size)
        except OSError as problem:
            if problem.errno not in (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS):
                raise OSError(problem.errno, problem.strerror, str(file)) from None


class Augmenter:
    """Alters training photos; what happens to a photo depends on (seed, epoch, photo) alone."""

    def __init__(self, strength: Augmentation, seed: int):
        os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # it would look for updates at import
        import albumentations as alb

        s = strength
        self.seed = seed
        self.compose = alb.Compose(
            [
                alb.HorizontalFlip(p=s.flip),
                alb.Affine(
                    translate_percent=(-s.shift, s.shift),
                    scale=(1 - s.scale, 1 + s.scale),
                    rotate=(-s.rotate, s.rotate),
                    border_mode=cv2.BORDER_REPLICATE,
                    p=s.move,
                ),
                alb.RandomBrightnessContrast(p=s.light),
                alb.HueSaturationValue(p=s.colour),
                alb.ToGray(p=s.grey),
                alb.GaussianBlur(blur_limit=(3, 5), p=s.blur),
                alb.GaussNoise(std_range=(0.02, 0.08), p=s.noise),
                alb.CoarseDropout(
                    num_holes_range=(1, 1),
                    hole_height_range=(0.1, 0.3),
                    hole_width_range=(0.1, 0.3),
                    p=s.erase,
                ),
            ]
        )

    def __call__(self, photo: NDArray[np.uint8], epoch: int, index: int) -> NDArray[np.uint8]:
        """photo (H, W, 3) -> altered (H, W, 3)."""
        # `set_random_seed` would give every transform the same stream; this gives them one in turn.
        stream = np.random.default_rng((self.seed, epoch, index))
        self.compose.set_random_state(stream, random.Random(int(stream.integers(2**63))))
        return self.compose(image=np.array(photo))["image"]
