"""Photos decoded, cropped and resized once, into one memory-mapped file."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
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
    """The photos prepared in one view, as `prepare_all` does in several."""
    return prepare_all(photos, name, [view], jobs)[view]


def prepare_all(photos: Photos, name: str, views: Sequence[View], jobs: int) -> dict[View, Prepared]:
    """The prepared photos by view, from an earlier time where they are the same; the others of one decoding.

    A second process waits for the first. `name` is the data set's, for the folders' names. Raises UserError when the
    disk is too full for them, and for face boxes that lie outside their photos.
    """
    folders = _folders(photos, name, views)
    made, missing = {}, {}
    with ExitStack() as locks:
        # In one order, or two processes would wait for each other.
        for folder, view in sorted({folder: view for view, folder in folders.items()}.items()):
            with ExitStack() as own:
                lock = PREPARED / f".{folder.name}.lock"
                own.enter_context(store.locked(lock, f"preparing {name}", wait=True))
                store.sweep(folder)
                made[folder] = _standing(folder, photos, view)
                if made[folder] is None:  # what stands is let go for others at once
                    missing[folder] = view
                    locks.push(own.pop_all())
        if missing:
            check_boxes(photos, f"The face boxes of {show(name)}", jobs)
            if photos.faces is not None:
                known = find_faces(photos, name, photos.faces.detector, jobs, PREPARED).faces
                photos = replace(photos, faces=replace(photos.faces, known=known))
            _decode_into(missing, photos, jobs)
            made |= {folder: _open_prepared(folder, photos, view) for folder, view in missing.items()}
        return {view: made[folder] for view, folder in folders.items()}


def _folders(photos: Photos, name: str, views: Sequence[View]) -> dict[View, Path]:
    """Where photos are prepared in each view; where no faces are framed, views of one size are the same."""
    # "clipped": pixels from before boxes were clipped to their photos are others.
    boxed = photos.boxes is not None and bool((~np.isnan(photos.boxes).any(axis=1)).any())
    fingerprint = store.photo_fingerprint(photos.root, list(photos.names), times=True)
    folders = {}
    for view in views:
        boxes = ["clipped", view.margin, np.nan_to_num(photos.boxes, nan=-1).tolist()] if boxed else None
        framed = [photos.crop] if photos.faces is None else [photos.faces.framing.as_json(), view.margin]
        whole = store.fingerprint([fingerprint, *framed, boxes])
        folders[view] = PREPARED / f"{name[:40]}-{view.height}x{view.width}-{whole}"
    return folders


def _standing(folder: Path, photos: Photos, view: View) -> Prepared | None:
    """What was prepared before; None where it is to be prepared (anew)."""
    if not (folder / "bad.json").is_file():
        return None
    try:
        stands = _open_prepared(folder, photos, view)
        if not mended(photos.source, stands.bad):
            return stands
        print(f"prepare: photos that could not be decoded now can be; {folder} is prepared anew", flush=True)
    except Exception as damage:  # numpy's parser of headers raises whatever it meets in damaged files
        told = " ".join(str(damage).split()).rstrip(".") or type(damage).__name__
        print(f"prepare: {folder} is damaged ({told}) and is prepared anew", flush=True)
    return None


def _open_prepared(folder: Path, photos: Photos, view: View) -> Prepared:
    """What stands in a folder. Raises ValueError, or what numpy raises, where it is not these photos' pixels."""
    pixels = np.load(folder / "pixels.npy", mmap_mode="r", allow_pickle=False)
    record = store.read_json(folder / "bad.json")
    shape = (len(photos.names), *view.size, 3)
    whole = isinstance(pixels, np.memmap) and pixels.shape == shape and pixels.dtype == np.uint8
    if not (whole and pixels.flags.c_contiguous):
        raise ValueError("pixels.npy holds something else")
    return Prepared(pixels, record["bad"], record["digest"], tuple(record.get("cut_short", ())))


def _decode_into(views: Mapping[Path, View], photos: Photos, jobs: int) -> None:
    """Photos decoded once, and written into a folder for each view."""
    _make_room(views, len(photos.names))
    bad: dict[str, str] = {}
    cut_short: list[str] = []
    digests = {view: hashlib.sha256() for view in views.values()}
    with ExitStack() as opened:
        pixels = {view: opened.enter_context(_written(it, view, len(photos.names))) for it, view in views.items()}
        progress = opened.enter_context(Progress("prepare", len(photos.names), "photos"))
        for index, photo in enumerate(decode_all(photos, list(pixels), jobs)):
            if isinstance(photo, str):
                bad[photos.names[index]] = photo
            else:
                cut_short += [photos.names[index]] if photo.cut_short else []
            for view, place in pixels.items():
                if not isinstance(photo, str):
                    place[index] = photo[view]
                digests[view].update(place[index])
            progress.advance()
    for folder, view in views.items():
        record = {"bad": bad, "cut_short": cut_short, "digest": digests[view].hexdigest()[:16]}
        store.write_json(folder / "bad.json", record)  # last: the folder is whole once this stands


def _make_room(views: Mapping[Path, View], count: int) -> None:
    """Begin the folders of so many photos. Raises UserError where there is no room on the disk for all."""
    needed = {folder: count * view.height * view.width * 3 for folder, view in views.items()}
    for folder in views:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "bad.json").unlink(missing_ok=True)
    disk = os.statvfs(folder)
    if sum(needed.values()) > disk.f_bavail * disk.f_frsize:
        sizes = " and ".join(f"{view.height}x{view.width}" for view in views.values())
        raise UserError(
            f"preparing {count} photos at {sizes} needs {sum(needed.values()) / 1e9:.1f} GB, but only "
            f"{disk.f_bavail * disk.f_frsize / 1e9:.1f} GB are free in {folder.parent}; make room there."
        )
    for folder, view in views.items():
        megabytes = f"{needed[folder] / 1e6:.0f} MB"
        print(f"prepare: {count} photos at {view.height}x{view.width}, {megabytes} in {folder}")


@contextmanager
def _written(folder: Path, view: View, count: int) -> Iterator[NDArray[np.uint8]]:
    """The pixels of so many photos in a view, to be filled; on leaving they take their place in a folder."""
    with store.replacing(folder / "pixels.npy") as temporary:
        pixels = np.lib.format.open_memmap(temporary, "w+", np.uint8, (count, *view.size, 3))
        _reserve(temporary)
        yield pixels
        pixels.flush()


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
