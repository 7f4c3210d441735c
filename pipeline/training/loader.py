"""The photos of each step, augmented by a thread beside the network or by loader processes, whose end is told.

Each process has a pipe of its own to the training one, for a few words, and lays its photos into memory that both
share. Nothing is locked, so one that dies holds up nobody, and nothing lies in /dev/shm, which containers keep small.
torch's DataLoader does both: its clean-up waits on a lock that a dead process may hold.
"""

from __future__ import annotations

import atexit
import mmap
import multiprocessing
import os
import pickle
import signal
import tempfile
import traceback
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count, islice
from multiprocessing import connection, reduction
from typing import IO, Any, Self

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.images.augment import Augmenter
from pipeline.images.drawn_masks import DrawnMasks
from pipeline.images.joined import JoinedPixels
from pipeline.images.mapped import MappedPixels, by_path
from pipeline.runtime.machine import Plan

cv2.setNumThreads(1)  # a loader process is a core; and OpenCV's threads, once begun, would be waited for after a fork

AHEAD = 2
"""Batches that a loader process is asked for before they are needed."""
REASONS = {signal.SIGKILL: ", as when the machine's memory is full", signal.SIGBUS: ", as when a disk fails"}
TOLD = 3000
"""Letters of what a process raised, and as many of where, that are handed over. A pipe holds so much (on a Mac 8 KB)
even while nobody reads: a process that had to wait there, and the training one that asks it for more, would wait for
each other."""
GONE = 5.0
"""Seconds that a killed process is waited for; one that hangs in the kernel is left to it."""

Pixels = NDArray[np.uint8] | JoinedPixels
"""The pixels of photos, by row."""
Key = tuple[int, int]
"""Which photo, and how it is altered: (epoch, row)."""


class LoaderLostError(Exception):
    """Loader processes ended in the midst of their work, or could not begin it; the text says how."""


class TrainingPhotos:
    """Photos by (epoch, row), drawn on where there is a drawing, and augmented."""

    def __init__(self, pixels: Pixels, augmenter: Augmenter, drawing: DrawnMasks | None = None):
        self.pixels, self.augmenter, self.drawing = pixels, augmenter, drawing

    def __getstate__(self) -> tuple[Pixels | MappedPixels, Augmenter, DrawnMasks | None]:
        """As a loader process gets them that is not forked, Python 3.14's usual kind."""
        return by_path(self.pixels), self.augmenter, self.drawing  # joined ones see to it themselves

    def __setstate__(self, state: tuple[Pixels | MappedPixels, Augmenter, DrawnMasks | None]) -> None:
        pixels, self.augmenter, self.drawing = state
        self.pixels = pixels.open() if isinstance(pixels, MappedPixels) else pixels

    def write(self, keys: list[Key], pixels: NDArray[np.uint8]) -> None:
        """Lay the photos of so many keys into the first of pixels (B, H, W, 3)."""
        for place, (epoch, row) in enumerate(keys):
            photo = self.pixels[row]
            if self.drawing is not None:
                photo = self.drawing(photo, epoch, row)
            pixels[place] = self.augmenter(photo, epoch, row)


class SharedBatches:
    """Memory for batches, an array of some shape, that this process and those it begins share."""

    def __init__(self, shape: tuple[int, ...]):
        """Raises OSError where there is not so much memory."""
        with _memory_file() as file:
            size = int(np.prod(shape))
            if hasattr(os, "posix_fallocate"):  # what is missing shows now, and not as a process that dies
                os.posix_fallocate(file.fileno(), 0, size)
            file.truncate(size)
            self._map(file.fileno(), shape)

    def _map(self, descriptor: int, shape: tuple[int, ...]) -> None:
        self._descriptor = os.dup(descriptor)
        mapped = mmap.mmap(descriptor, int(np.prod(shape)))
        self.array = np.frombuffer(mapped, np.uint8).reshape(shape)

    def __getstate__(self) -> tuple[Any, tuple[int, ...]]:
        return reduction.DupFd(self._descriptor), self.array.shape

    def __setstate__(self, state: tuple[Any, tuple[int, ...]]) -> None:
        duplicate, shape = state
        descriptor = duplicate.detach()
        self._map(descriptor, shape)
        os.close(descriptor)

    def close(self) -> None:
        """The memory goes when nobody uses it any more."""
        os.close(self._descriptor)


def _memory_file() -> IO[bytes]:
    """A file without a name: in memory alone where the system has such, else in the folder for temporary files."""
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("face18 batches"), "rb+")
    return tempfile.TemporaryFile()


class Loader:
    """Batches of photos (B, H, W, 3) and their rows (B,), for lists of (epoch, row), the first as long as any.

    `with Loader(...) as loader:` read it once; after that no process of it is left. Reading raises LoaderLostError
    where a process ended or could not begin, and whatever a process raised, with its traceback as a note.
    """

    def __init__(
        self,
        pixels: Pixels,
        augmenter: Augmenter,
        keys: Iterable[list[Key]],
        plan: Plan,
        drawing: DrawnMasks | None = None,
    ):
        self.photos = TrainingPhotos(pixels, augmenter, drawing)
        self._keys, self._workers = keys, plan.workers
        self._pinned = plan.device == "cuda"
        self._beside = plan.threads > 1  # a single core would only be shared
        self._processes: list[multiprocessing.Process] = []
        self._pipes: list[connection.Connection] = []
        self._shared: SharedBatches | None = None

    def __enter__(self) -> Self:
        atexit.register(self.close)  # before multiprocessing's own end, which waits for what ignores SIGTERM
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        if self._workers:
            yield from self._loaded()
        elif self._beside:
            yield from self._ahead()
        else:
            yield from map(self._made, self._keys)

    def close(self) -> None:
        """End the loader processes, whatever they are at; they write nothing that could be left half."""
        for process in self._processes:
            process.kill()
        for pipe in self._pipes:
            pipe.close()
        for process in self._processes:
            process.join(GONE)
        if self._shared is not None:
            self._shared.close()
        self._processes, self._pipes, self._shared = [], [], None
        atexit.unregister(self.close)

    def _made(self, keys: list[Key]) -> tuple[Tensor, Tensor]:
        batch = self._empty(len(keys))
        self.photos.write(keys, batch.numpy())
        return batch, self._rows(keys)

    def _ahead(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Batches from a thread, which makes the next one while the last is learned from.

        It is one more than the network has: of several cores one is idle now and then, and augmenting leaves all but
        one idle.
        """
        rest = iter(self._keys)
        with ThreadPoolExecutor(1) as thread:
            asked = deque(thread.submit(self._made, keys) for keys in islice(rest, 1))
            while asked:
                batch = asked.popleft().result()
                asked.extend(thread.submit(self._made, keys) for keys in islice(rest, 1))
                yield batch

    def _loaded(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Batches from the processes: each makes every n-th, and all lie in turn in the places of the shared memory."""
        rest = iter(self._keys)
        asked = deque(islice(rest, AHEAD * self._workers))
        if not asked:
            return
        batches = self._begin(min(self._workers, len(asked)), len(asked[0]))
        for number, keys in enumerate(asked):
            self._ask(number, keys)
        for number in count():
            if not asked:
                return
            keys = asked.popleft()
            self._await(number % len(self._processes))
            batch = self._empty(len(keys)).copy_(torch.from_numpy(batches[number % len(batches)][: len(keys)]))
            for later in islice(rest, 1):
                self._ask(number + len(batches), later)
                asked.append(later)
            yield batch, self._rows(keys)

    def _begin(self, processes: int, photos: int) -> NDArray[np.uint8]:
        """Begin so many processes; returns the places for their batches of so many photos (N, B, H, W, 3)."""
        shape = (AHEAD * processes, photos, *self.photos.pixels.shape[1:])
        try:
            self._shared = SharedBatches(shape)
            for _ in range(processes):
                ours, theirs = multiprocessing.Pipe()
                self._pipes.append(ours)
                # Forked, a process holds the other ends too, and would never see the training process go.
                ends = self._pipes if multiprocessing.get_start_method() == "fork" else []
                process = multiprocessing.Process(
                    target=_work, args=(theirs, ends, self.photos, self._shared), daemon=True
                )
                process.start()
                self._processes.append(process)
                theirs.close()
        except (OSError, EOFError) as problem:  # EOFError: of what begins processes under forkserver
            if isinstance(problem, FileNotFoundError) and problem.filename is not None:
                raise  # the photos are gone
            size = np.prod(shape) / 1e6
            raise LoaderLostError(
                f"loader processes ({processes}, with {size:.0f} MB for their photos) could not be begun "
                f"({problem.strerror if isinstance(problem, OSError) else 'one ended'})"
            ) from None
        return self._shared.array

    def _ask(self, number: int, keys: list[Key]) -> None:
        """Have the process whose turn it is make a batch."""
        which = number % len(self._processes)
        try:
            self._pipes[which].send((number % (AHEAD * len(self._processes)), keys))
        except OSError:  # its end of the pipe is gone
            raise self._lost(self._processes[which]) from None

    def _await(self, which: int) -> None:
        """Wait until a process has made its next batch."""
        pipe = self._pipes[which]
        ready = connection.wait([pipe, *(process.sentinel for process in self._processes)])
        for process in self._processes:
            if process.sentinel in ready:
                raise self._lost(process)
        try:
            problem = pipe.recv()
        except (EOFError, OSError):
            raise self._lost(self._processes[which]) from None
        if problem is not None:
            raise problem

    def _lost(self, process: multiprocessing.Process) -> LoaderLostError:
        process.join(GONE)  # one that dies closes its pipe first
        status = process.exitcode
        if status is None:
            return LoaderLostError("a loader process fell silent")
        if status >= 0:
            return LoaderLostError(f"a loader process died (it ended with status {status})")
        return LoaderLostError(f"a loader process died of {_name_of(-status)}{REASONS.get(-status, '')}")

    def _empty(self, photos: int) -> Tensor:
        return torch.empty((photos, *self.photos.pixels.shape[1:]), dtype=torch.uint8, pin_memory=self._pinned)

    def _rows(self, keys: list[Key]) -> Tensor:
        rows = torch.tensor([row for _, row in keys])
        return rows.pin_memory() if self._pinned else rows


def _name_of(number: int) -> str:
    """A signal's name; those of real time have none."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _work(
    pipe: connection.Connection, inherited: list[connection.Connection], photos: TrainingPhotos, batches: SharedBatches
) -> None:
    """A loader process: (place, keys) come in; None goes out for each, or what was raised."""
    # A signal to all processes, as `timeout` or Ctrl-C sends, is the training's to answer.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    for end in inherited:
        end.close()
    while True:
        try:
            place, keys = pipe.recv()
        except (EOFError, OSError):  # the training process is gone
            return
        problem = None
        try:
            photos.write(keys, batches.array[place])
        except Exception as raised:  # of whatever kind: the training process raises it
            problem = _portable(raised)
        try:
            pipe.send(problem)
        except OSError:
            return


def _portable(raised: Exception) -> Exception:
    """What a loader process raised, as it can be handed over, with its traceback as a note."""
    where = "".join(traceback.format_exception(raised)).rstrip()
    try:
        packed = pickle.dumps(raised)
        portable = pickle.loads(packed)
        short = len(packed) <= TOLD
    except Exception:  # its own pickling may raise anything
        short = False
    if not short:
        portable = RuntimeError(f"{type(raised).__name__}: {raised}"[:TOLD])
    if len(where) > TOLD:
        where = f"{where[: TOLD // 2]} ... {where[-TOLD // 2 :]}"
    portable.add_note(f"in a loader process:\n{where}")
    return portable
