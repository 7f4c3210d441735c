"""Photos of all who ask, labelled together: decoded side by side, and predicted with whatever waits beside them."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, Protocol, Self

from pipeline.dataset.reach import PhotoBytes
from pipeline.images.photos import FittedPhoto
from pipeline.serving.labelled import Labelled

Reply = dict[str, Any]
"""What is said of a photo, as plain values for JSON; of one that has no label, photo and error."""
PATIENCE = 0.1
"""Seconds that a photo may wait for others to be predicted with."""


class Labels(Protocol):
    """What labels photos in two steps. together: photos that cost the networks as much as one.

    look_at: a photo as they see it, or, as a string, why it has no label.
    """

    @property
    def together(self) -> int: ...

    def look_at(self, photo: PhotoBytes) -> FittedPhoto | str: ...

    def label_seen(self, names: Sequence[str], photos: Sequence[FittedPhoto]) -> Labelled: ...


class BusyError(Exception):
    """More photos wait than the server takes on."""


class _Asked:
    """A photo that somebody waits for; once nobody does, it is forgotten."""

    def __init__(self, photo: PhotoBytes):
        self.photo: PhotoBytes | None = photo
        self.name = photo.name
        self.since = time.monotonic()
        self.seen: FittedPhoto | None = None
        self.reply: Future[Reply] = Future()


class Batcher:
    """`with Batcher(...) as batcher:` replies to photos of any number of threads.

    threads: of decoding; most: photos that may wait or be at work; predicted: told the number of photos of each batch.
    A photo's reply does not depend on those beside it: networks predict in batches of one size, filled up.
    """

    def __init__(self, labels: Labels, threads: int, most: int, predicted: Callable[[int], None] = lambda number: None):
        self._labels, self._most, self._predicted = labels, most, predicted
        self._to_decode: queue.SimpleQueue[_Asked | None] = queue.SimpleQueue()
        self._to_predict: queue.Queue[_Asked | None] = queue.Queue(2 * labels.together)  # decoding waits beyond
        self._decoders = [threading.Thread(target=self._decode, daemon=True) for _ in range(threads)]
        self._predictor = threading.Thread(target=self._predict, daemon=True)
        self._count = threading.Lock()
        self._at_work: set[_Asked] = set()
        self._looking = 0

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *problem: object) -> None:
        self.close(threading.TIMEOUT_MAX)

    def start(self) -> None:
        for thread in (*self._decoders, self._predictor):
            thread.start()

    def close(self, seconds: float) -> None:
        """Ends when all that was asked has its reply, or after some seconds; then threads may be at work still."""
        until = time.monotonic() + seconds
        for _ in self._decoders:
            self._to_decode.put(None)
        for thread in self._decoders:
            thread.join(max(0, until - time.monotonic()))
        with suppress(queue.Full):
            self._to_predict.put(None, timeout=max(0, until - time.monotonic()))
            self._predictor.join(max(0, until - time.monotonic()))

    @property
    def waiting(self) -> int:
        """Photos without their reply."""
        return len(self._at_work)

    @property
    def longest_wait(self) -> float:
        """Seconds that the first of them has waited."""
        with self._count:
            first = min((one.since for one in self._at_work), default=None)
        return 0.0 if first is None else time.monotonic() - first

    def ask(self, photos: Sequence[PhotoBytes]) -> list[Future[Reply]]:
        """The reply to each photo, which comes later; one that is cancelled before its turn takes no more time.

        Raises BusyError, and takes none of them, where too many wait.
        """
        asked = [_Asked(photo) for photo in photos]
        with self._count:
            if len(self._at_work) + len(asked) > self._most:
                raise BusyError
            self._at_work.update(asked)
            self._looking += len(asked)
        for one in asked:
            one.reply.add_done_callback(lambda _, one=one: self._forget(one))
            self._to_decode.put(one)
        return [one.reply for one in asked]

    def _forget(self, one: _Asked) -> None:
        one.photo = one.seen = None
        with self._count:
            self._at_work.discard(one)

    def _decode(self) -> None:
        while (one := self._to_decode.get()) is not None:
            try:
                photo = one.photo
                seen = "" if photo is None else self._labels.look_at(photo)
            except BaseException as fault:  # whoever asked is told of it, and the thread goes on
                _fail(one, fault)
            else:
                if isinstance(seen, str):
                    _give(one, {"photo": one.name, "error": seen})
                else:
                    one.photo, one.seen = None, seen
                    self._to_predict.put(one)
            finally:
                photo = seen = None  # of one photo nothing stays while the next is waited for
                with self._count:
                    self._looking -= 1

    def _predict(self) -> None:
        """Labels whatever waits, as many as fill a batch, until all is done.

        A batch costs the same however few photos are in it, so those that are being decoded are waited for a little.
        """
        ending = False
        while not ending and (first := self._to_predict.get()) is not None:
            together, until = [first], time.monotonic() + PATIENCE
            while len(together) < self._labels.together and not ending:
                try:
                    another = self._to_predict.get(timeout=max(0, until - time.monotonic() if self._looking else 0))
                except queue.Empty:
                    break
                ending = another is None
                together += [another] if another is not None else []
            wanted = [(one, one.seen) for one in together if not one.reply.cancelled()]
            self._label([(one, seen) for one, seen in wanted if seen is not None])

    def _label(self, together: list[tuple[_Asked, FittedPhoto]]) -> None:
        if not together:
            return
        try:
            self._predicted(len(together))
            said = self._labels.label_seen([str(n) for n in range(len(together))], [seen for _, seen in together])
            cut_short = set(said.cut_short)
            for (one, seen), row in zip(together, said.replies(), strict=True):
                more = {"cut_short": True} if row["photo"] in cut_short else {}
                more |= {"faces_left_out": seen.left_out} if seen.left_out else {}
                _give(one, row | {"photo": one.name} | more)
        except BaseException as fault:
            for one, _ in together:
                _fail(one, fault)


def _give(one: _Asked, row: Reply) -> None:
    """A reply given, unless nobody waits for it any more."""
    if not one.reply.done() and one.reply.set_running_or_notify_cancel():
        one.reply.set_result(row)


def _fail(one: _Asked, fault: BaseException) -> None:
    if not one.reply.done() and one.reply.set_running_or_notify_cancel():
        one.reply.set_exception(fault)
