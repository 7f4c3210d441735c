"""Photos decoded, cropped and resized once, into one memory-mapped file."""

from __future__ import annotations

import errno
import hashlib
import os
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.errors import UserError
from pipeline.images.boxes import check_boxes
from pipeline.images.found_faces import find_faces
from pipeline.images.framing import View
from pipeline.images.photos import Photos, decode_all, mended
from pipeline.runtime import store
from pipeline.runtime.problems import show
from pipeline.runtime.progress import Progress


@dataclass(frozen=True)
class Prepared:
    """Photos decoded, cropped and resized once: `pixels` (N, height, width, 3), memory-mapped.

    `bad` maps the photos that could not be decoded to the reason; their pixels are zero. `digest` is of all pixels.
    `cut_short` names those whose file ends too early, decoded as far as it goes.
    """

    pixels: NDArray[np.uint8]
    bad: dict[str, str]
    digest: str
    cut_short: tuple[str, ...] = ()


PREPARED = Path("data/prepared")


def prepare(photos: Photos, name: str, view: View, jobs: int) -> Prepared:
    """The prepared photos, from an earlier time where they are the same; a second process waits for the first.

    `name` is the data set's, for the folder's name. Raises UserError when the disk is too full for them, and for
    face boxes that lie outside their photos.
    """
    # "clipped": pixels from before boxes were clipped to their photos are others.
    boxed = photos.boxes is not None and bool((~np.isnan(photos.boxes).any(axis=1)).any())
    boxes = ["clipped", view.margin, np.nan_to_num(photos.boxes, nan=-1).tolist()] if boxed else None
    fingerprint = store.photo_fingerprint(photos.root, list(photos.names), times=True)
    framed = [photos.crop] if photos.faces is None else [photos.faces.framing.as_json(), view.margin]
    fingerprint = store.fingerprint([fingerprint, *framed, boxes])
    folder = PREPARED / f"{name[:40]}-{view.height}x{view.width}-{fingerprint}"
    with store.locked(PREPARED / f".{folder.name}.lock", f"preparing {name}", wait=True):
        store.sweep(folder)
        if (folder / "bad.json").is_file():
            try:
                stands = _open_prepared(folder, photos, view)
                if not mended(photos.source, stands.bad):
                    return stands
                print(f"prepare: photos that could not be decoded now can be; {folder} is prepared anew", flush=True)
            except Exception as damage:  # numpy's parser of headers raises whatever it meets in damaged files
                told = " ".join(str(damage).split()).rstrip(".") or type(damage).__name__
                print(f"prepare: {folder} is damaged ({told}) and is prepared anew", flush=True)
        check_boxes(photos, f"The face boxes of {show(name)}", jobs)
        if photos.faces is not None:
            known = find_faces(photos, name, photos.faces.detector, jobs, PREPARED).faces
            photos = replace(photos, faces=replace(photos.faces, known=known))
        _decode_into(folder, photos, view, jobs)
        return _open_prepared(folder, photos, view)


def _open_prepared(folder: Path, photos: Photos, view: View) -> Prepared:
    """What stands in a folder. Raises ValueError, or what numpy raises, where it is not these photos' pixels."""
    pixels = np.load(folder / "pixels.npy", mmap_mode="r", allow_pickle=False)
    record = store.read_json(folder / "bad.json")
    shape = (len(photos.names), *view.size, 3)
    whole = isinstance(pixels, np.memmap) and pixels.shape == shape and pixels.dtype == np.uint8
    if not (whole and pixels.flags.c_contiguous):
        raise ValueError("pixels.npy holds something else")
    return Prepared(pixels, record["bad"], record["digest"], tuple(record.get("cut_short", ())))


def _decode_into(folder: Path, photos: Photos, view: View, jobs: int) -> None:
    needed = len(photos.names) * view.height * view.width * 3
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "bad.json").unlink(missing_ok=True)
    disk = os.statvfs(folder)
    if needed > disk.f_bavail * disk.f_frsize:
        raise UserError(
            f"preparing {len(photos.names)} photos at {view.height}x{view.width} needs {needed / 1e9:.1f} GB, but only "
            f"{disk.f_bavail * disk.f_frsize / 1e9:.1f} GB are free in {folder.parent}; make room there."
        )
    print(f"prepare: {len(photos.names)} photos at {view.height}x{view.width}, {needed / 1e6:.0f} MB in {folder}")
    bad, cut_short, digest = {}, [], hashlib.sha256()
    with (
        store.replacing(folder / "pixels.npy") as temporary,
        Progress("prepare", len(photos.names), "photos") as progress,
    ):
        pixels = np.lib.format.open_memmap(temporary, "w+", np.uint8, (len(photos.names), *view.size, 3))
        _reserve(temporary)
        for index, photo in enumerate(decode_all(photos, [view], jobs)):
            if isinstance(photo, str):
                bad[photos.names[index]] = photo
            else:
                pixels[index] = photo[view]
                cut_short += [photos.names[index]] if photo.cut_short else []
            digest.update(pixels[index])
            progress.advance()
        pixels.flush()
    record = {"bad": bad, "cut_short": cut_short, "digest": digest.hexdigest()[:16]}
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
