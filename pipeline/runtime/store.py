"""Files that are whole or absent: atomic writes, fingerprints and locks.

Everything is written under a temporary name beside its place, flushed, and renamed, so a reader never meets
half a file. Nothing read back here can run code: JSON, CSV and safetensors only.
"""

from __future__ import annotations

import csv
import errno
import fcntl
import hashlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from models.errors import UserError
from pipeline.runtime import holder, ranks
from pipeline.runtime.progress import duration

if TYPE_CHECKING:
    import pandas as pd

_HELD: set[IO[Any]] = set()
# A loader process that outlives its owner for a moment would keep the lock from the next one.
os.register_at_fork(after_in_child=lambda: [file.close() for file in _HELD])

MOMENT, EVERY, LOOK = 1.0, 60.0, 0.02
"""Of a lock that another process holds, in seconds: when that is told, how often again, how often the lock is tried."""
FLOATS = "%.9g"
"""Nine digits keep every float32 exactly."""


@contextmanager
def replacing(path: Path, *, with_fingerprint: bool = False) -> Iterator[Path]:
    """A temporary path beside `path`; on leaving, what was written there takes the place of `path`.

    If the block raises, the temporary file goes and `path` stays as it was. with_fingerprint: the name is
    given that of what was written, by which `is_whole` knows it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    held, temporary = _begun(path)
    try:
        yield temporary
        with temporary.open("rb+") as written:
            os.fsync(written.fileno())
        temporary.chmod(0o666 & ~_umask())  # mkstemp's files are private to the user
        temporary.replace(path.with_stem(f"{path.stem}-{file_fingerprint(temporary)}") if with_fingerprint else path)
        flush_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)
        _HELD.discard(held)
        held.close()


def _begun(path: Path) -> tuple[IO[Any], Path]:
    """A new temporary file beside `path`, locked while it is open: so `sweep` sees that someone is at it."""
    while True:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
        held = os.fdopen(handle, "rb")
        fcntl.flock(held, fcntl.LOCK_EX)
        if os.path.exists(name):
            _HELD.add(held)
            return held, Path(name)
        held.close()  # swept before it was locked


def try_lock(file: IO[Any], *, together: bool = False) -> bool:
    """Whether this process has an open file's lock now: alone, or together with others that hold it so."""
    try:
        fcntl.flock(file, (fcntl.LOCK_SH if together else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except OSError as problem:
        if problem.errno == errno.EBADF:  # NFS locks no file that may only be read
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), file.name) from None
        if problem.errno not in (errno.EAGAIN, errno.EACCES):
            raise
        return False
    return True


def is_whole(path: Path) -> bool:
    """Whether a file with a fingerprint in its name holds what that says."""
    return path.stem.rpartition("-")[2] == file_fingerprint(path)


def sweep(folder: Path) -> None:
    """Remove what processes that were killed left unfinished here; what a living one is writing stays."""
    for temporary in (*folder.glob(".*.part"), *folder.glob("done/.*.part")):
        # One that is finished by now is none of these, and another user sees to his own.
        with suppress(FileNotFoundError, PermissionError), temporary.open("rb+") as file:
            if try_lock(file):
                temporary.unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def flush_folder(folder: Path) -> None:
    """Flush a folder's entries to disk, so that a rename survives a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_text(path: Path, text: str) -> None:
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Write a value and, under `fingerprint`, its own."""
    value = json.loads(json.dumps(value, allow_nan=False))  # as it will be read: keys are text
    write_text(path, json.dumps(value | {"fingerprint": fingerprint(value)}, indent=2) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """What `write_json` wrote. Raises UserError when the file is damaged or changed, FileNotFoundError without it."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        if value.pop("fingerprint") == fingerprint(value):
            return value
        damage = "its fingerprint does not fit"
    except (ValueError, RecursionError, AttributeError, TypeError, KeyError) as problem:  # whatever damage makes of it
        damage = str(problem) if isinstance(problem, ValueError) else "it is of another kind"
    raise UserError(f"{path} is damaged or was changed ({damage}); delete it and run the stage that writes it again.")


def write_csv(path: Path, table: pd.DataFrame) -> None:
    """Write a table without its index; the parser gives every text and every float32 back as it was."""
    # Python's csv quotes line feeds by itself, but a lone carriage return would end a row unseen.
    texts = table.select_dtypes(["object", "string"])
    has_returns = any(texts[name].astype("string").str.contains("\r", regex=False).any() for name in texts)
    quoting = csv.QUOTE_NONNUMERIC if has_returns else csv.QUOTE_MINIMAL
    with replacing(path) as temporary:
        table.to_csv(temporary, index=False, float_format=FLOATS, lineterminator="\n", quoting=quoting)


def read_csv(path: Path) -> pd.DataFrame:
    """What `write_csv` wrote; texts stay texts. Raises UserError when it is missing or damaged."""
    import pandas as pd

    names = ("photo", "person", "ImageID")  # someone may be called NA, a photo 000123
    try:
        blanks = {column: "" for column in pd.read_csv(path, nrows=0).columns if column not in names}
        return pd.read_csv(path, dtype=dict.fromkeys(names, "string"), keep_default_na=False, na_values=blanks)
    except FileNotFoundError:
        raise UserError(f"{path} is missing; run the stage that writes it again.") from None
    except (ValueError, UnicodeDecodeError) as damage:
        raise UserError(f"{path} is damaged ({damage}); delete it and run the stages again.") from None


def fingerprint(value: Any) -> str:
    """16 hexadecimal digits that depend on everything in a JSON-able value, not on the order of keys."""
    canonical = json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def fingerprint_of_all(values: Iterable[Any]) -> str:
    """`fingerprint` of a list of values, of which but some are held at a time."""
    digest, rest = hashlib.sha256(b"["), iter(values)
    before = ""
    while some := list(islice(rest, 1000)):
        canonical = json.dumps(some, sort_keys=True, separators=(",", ":"), default=str)
        digest.update((before + canonical[1:-1]).encode())
        before = ","
    digest.update(b"]")
    return digest.hexdigest()[:16]


def file_fingerprint(path: Path) -> str | None:
    """The same of a file's bytes; None when there is no such file."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()[:16]
    except FileNotFoundError:
        return None


def photo_fingerprint(root: Path, photos: list[str], *, times: bool = False) -> str:
    """The same of photos by name and size; a missing photo counts as such.

    `times`: and by when they last changed, which a copy of the data set does not keep, for what can be made anew.
    """

    def looked() -> Iterator[tuple]:
        for photo in photos:
            try:
                found = os.stat(root / photo)
                yield (photo, found.st_size, found.st_mtime_ns) if times else (photo, found.st_size)
            except OSError:
                yield photo, None

    return fingerprint_of_all(looked())


@contextmanager
def locked(path: Path, what: str, *, wait: bool = False) -> Iterator[None]:
    """Hold an advisory lock file; it dies with its owner, and a process forked off it does not hold it.

    When another process holds it: wait for it, and say so after a moment, or raise UserError; both name that process.
    """
    with opened_lock(path) as file:
        take(file, what, lambda: try_lock(file), wait)
        if file.writable():
            holder.write(file)
        yield


@contextmanager
def free_lock(path: Path) -> Iterator[bool]:
    """Hold an advisory lock file if nobody else does; whether that is so."""
    with opened_lock(path) as file:
        yield try_lock(file)


@contextmanager
def opened_lock(path: Path) -> Iterator[IO[bytes]]:
    """A lock file, open to be locked; what is held of it is let go at the end, and no process forked off has it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with _opened(path) as file:
        _HELD.add(file)
        try:
            yield file
        finally:
            _HELD.discard(file)
            if not file.closed and file.writable():  # it is closed in a process forked off
                holder.clear(file)


def _opened(path: Path) -> IO[bytes]:
    """A lock file; one that may only be read can be held too, without a note."""
    try:
        return path.open("a+b", buffering=0)
    except OSError as refusal:
        if refusal.errno not in (errno.EACCES, errno.EPERM, errno.EROFS) or not path.is_file():
            raise
    return path.open("rb", buffering=0)


def take(file: IO[bytes], what: str, attempt: Callable[[], bool], wait: bool) -> None:
    """Take an open file's lock, which `attempt` tries to, as `locked` does."""
    started = time.monotonic()
    tell_at = started + MOMENT
    while not attempt():
        now, who = time.monotonic(), holder.read(file)
        if not wait and (who or now > tell_at):  # who has just taken it may not have said so yet
            raise UserError(
                f"{what} is already being worked on by {who or holder.UNKNOWN}; wait for it or stop it first."
            )
        if wait and now > tell_at:
            tell_at = now + EVERY
            if ranks.rank() == 0:  # of several processes, the first one speaks
                told = f"{what} is already being worked on by {who or holder.UNKNOWN}"
                print(f"face18: {told}; waiting for it, {duration(now - started)} so far.", file=sys.stderr, flush=True)
        time.sleep(LOOK)


def write_weights(path: Path, weights: dict[str, Any]) -> None:
    """Tensors by name, as safetensors."""
    from safetensors.torch import save

    # Its own `save_file` hides a full disk behind an error of its own.
    content = save({name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()})
    with replacing(path) as temporary:
        temporary.write_bytes(content)
