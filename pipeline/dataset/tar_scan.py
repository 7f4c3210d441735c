"""The members of one tar, by its headers: which are photos, where their bytes stand, and what else there is."""

from __future__ import annotations

import errno
import os
import posixpath
import tarfile
import zlib
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import IO, Any

from models.file_kinds import EMPTY, FIRST_BYTES
from pipeline.dataset.photo_files import ends_like_a_photo, is_raw, is_system
from pipeline.dataset.photo_kinds import kind_of
from pipeline.runtime.problems import FIRST, show

HIDDEN, OTHER, LINKS = "hidden files and folders", "not photos", "symbolic links in tars"
LOOSE = "hard links in tars to no photo before them"
STRANGE = "members of tars that are no plain files"
OUTSIDE = "members whose names lead out of their tar"
TWICE = "members whose name another one has further on in the tar"
RAWS = "cameras' raw files beside a photo of the same name"
KINDS = (HIDDEN, OTHER, LINKS, LOOSE, STRANGE, OUTSIDE, TWICE, RAWS)
"""What is left out of a tar, as notes begin."""
BLOCK = tarfile.BLOCKSIZE
ZEROS = bytes(2**20)
"""What may stand behind the end of an archive: tar fills its last record, of 10 kB by habit, with them."""
DISK_FAULTS = (errno.EIO, errno.ESTALE, errno.EREMOTEIO, errno.ETIMEDOUT)
"""Numbers of refusals that are of a file, or of a place in it, and not of what is done with it."""


class TarFaultError(Exception):
    """What is wrong with a tar, as the end of a sentence."""


@dataclass
class Told:
    """Members that are left out for one reason: how many, and the first ten, each as it is shown."""

    count: int = 0
    examples: list[tuple[str, str]] = field(default_factory=list)
    """Names, and what stands behind them: " (a video)", or nothing."""

    def add(self, name: str, behind: str = "") -> None:
        self.count += 1
        if len(self.examples) < FIRST:
            self.examples.append((name, behind))


@dataclass
class Scan:
    """What a tar holds: `photos`, sorted, where the bytes of each begin, how many there are, and the checksum of the
    header before them, by which they are known again."""

    photos: list[str] = field(default_factory=list)
    offsets: array[int] = field(default_factory=lambda: array("q"))
    sizes: array[int] = field(default_factory=lambda: array("q"))
    headers: array[int] = field(default_factory=lambda: array("q"))
    told: dict[str, Told] = field(default_factory=lambda: {kind: Told() for kind in KINDS})
    system: int = 0
    ends: bool = True
    """Whether it has the block that ends an archive: one that has none may be cut short between two members."""


def is_tar(first: bytes) -> bool:
    """Whether a file of these first bytes (FIRST_BYTES of them) is a plain tar, an empty one too."""
    try:
        tarfile.TarInfo.frombuf(first[:BLOCK], "utf-8", "surrogateescape")
    except tarfile.EOFHeaderError:
        return True
    except (tarfile.HeaderError, ValueError):
        return False
    return True


def header_checksum(block: bytes) -> int:
    """Of the block before a member's bytes: whatever other headers come first, that is the last one of its own."""
    return zlib.crc32(block)


def scan_tar(file: IO[bytes], advance: Callable[[int], None]) -> Scan:
    """Reads the headers of an open tar, and the first bytes of members whose ending tells nothing.

    `advance` is told how many bytes were gone through. Raises TarFaultError for a tar that is damaged, cut short or
    names photos in no way that a table could hold.
    """
    size = os.fstat(file.fileno()).st_size
    if not size:
        return Scan()
    scanner, done = _Scanner(file.fileno()), 0
    try:
        with tarfile.open(fileobj=file, mode="r:", encoding="utf-8", errors="surrogateescape") as tar:
            while (member := tar.next()) is not None:
                tar.members.clear()  # it keeps all of them, a kilobyte each
                if tar.offset <= done or member.size < 0:
                    raise TarFaultError(f"it is damaged near byte {done:,}")
                plain = member.isreg() and not member.issparse()
                if member.offset_data + (member.size if plain else 0) > size:
                    raise TarFaultError(f"it is cut short: {show(member.name)} reaches beyond its end")
                scanner.add(member)
                advance(tar.offset - done)
                done = tar.offset
            ends = _ends(file, tar.offset, size)
    except (TarFaultError, MemoryError):
        raise
    except OSError as problem:
        if problem.errno in DISK_FAULTS:
            raise TarFaultError(f"it cannot be read behind byte {done:,} ({problem.strerror})") from None
        if problem.errno != errno.EINVAL:  # which damaged numbers lead to, as in a seek before the beginning
            raise
        raise TarFaultError(f"it is damaged near byte {done:,}") from None
    except Exception as damage:  # tarfile raises whatever it meets in damaged headers
        raise TarFaultError(_told(damage, done)) from None
    scan = scanner.scan()
    scan.ends = ends
    return scan


def _told(damage: Exception, done: int) -> str:
    if not done:
        return "it is damaged, or no tar"
    if isinstance(damage, tarfile.ReadError):
        return f"it is cut short, or damaged, behind byte {done:,}"
    return f"it is damaged behind byte {done:,}"


def _ends(file: IO[bytes], offset: int, size: int) -> bool:
    """Whether a tar whose members end at `offset` ends there as tars do; TarFaultError where more members may follow.

    tarfile stops at a header that is damaged as if it were the end.
    """
    if offset >= size:
        return False
    block = os.pread(file.fileno(), BLOCK, offset)
    if len(block) < BLOCK:
        raise TarFaultError(f"it is cut short behind byte {offset:,}")
    if block.strip(b"\0"):
        raise TarFaultError(f"it is damaged at byte {offset:,}")
    at = offset
    while piece := os.pread(file.fileno(), len(ZEROS), at):
        if piece != ZEROS[: len(piece)]:
            at += len(piece) - len(piece.lstrip(b"\0"))
            raise TarFaultError(
                f"more follows at byte {at:,}, behind zeros that end it at byte {offset:,}; bring it anew where it is "
                f"damaged, and where tars were joined with cat, unpack it with tar --ignore-zeros and make it anew"
            )
        at += len(piece)
    return True


class _Scanner:
    """Sorts members into photos and what is left out, in the order in which they come."""

    def __init__(self, handle: int):
        self.handle, self.found = handle, Scan()
        self._rows: dict[str, int] = {}
        self._hidden: dict[str, tuple[int, int]] = {}

    def add(self, member: tarfile.TarInfo) -> None:
        """A member; of two of a name the last counts, whatever it is."""
        name = _plain(member.name)
        if member.isdir() or name in ("", "."):
            return
        at = self._bytes_of(member)
        reason = self._left_out(member, name)
        used = False
        if reason is not None:
            self.found.told[reason].add(name)
            if reason == HIDDEN and at is not None:
                self._hidden[name] = at
        elif _is_system(name):
            self.found.system += 1
        elif at is None:
            self.found.told[LOOSE].add(name)
        else:
            used = self._photo(name, *at)
        if not used and self._rows.pop(name, None) is not None:
            self.found.told[TWICE].add(name)

    def _bytes_of(self, member: tarfile.TarInfo) -> tuple[int, int] | None:
        """Where the bytes of a member begin, and how many there are: those of the one before that a hard link is of."""
        if not member.islnk():
            return None if not member.isreg() or member.issparse() else (member.offset_data, member.size)
        target = _plain(member.linkname)
        row = self._rows.get(target)
        return self._hidden.get(target) if row is None else (self.found.offsets[row], self.found.sizes[row])

    def _left_out(self, member: tarfile.TarInfo, name: str) -> str | None:
        """Why a member is left out whatever it holds."""
        if _is_system(name):
            return None
        if any(step.startswith(".") and step != ".." for step in name.split("/")):
            return HIDDEN
        if member.issym():
            return LINKS
        if not (member.isreg() or member.islnk()) or member.issparse():
            return STRANGE
        return OUTSIDE if name.startswith("../") or name == ".." else None

    def _photo(self, name: str, offset: int, size: int) -> bool:
        """Whether a member of plain bytes is a photo; keeps it if so."""
        last = posixpath.basename(name)
        if not ends_like_a_photo(last):
            kind = kind_of(os.pread(self.handle, min(FIRST_BYTES, size), offset), last)
            if kind is None or not kind.photo:
                behind = "" if kind is None or kind.name == EMPTY else f" ({kind.name})"
                self.found.told[OTHER].add(name, behind)
                return False
        if not _fits_a_table(name):
            raise TarFaultError(
                f"the name of its member {show(name)} is not UTF-8, so no table can hold it; make it anew with other "
                f"names"
            )
        found = self.found
        row = self._rows.setdefault(name, len(found.offsets))
        if row < len(found.offsets):
            found.told[TWICE].add(name)
        numbers = (offset, size, header_checksum(os.pread(self.handle, BLOCK, offset - BLOCK)))
        for column, number in zip((found.offsets, found.sizes, found.headers), numbers, strict=True):
            column[row : row + 1] = array("q", [number])
        return True

    def scan(self) -> Scan:
        """All of it, when the last member was added."""
        photos, found = sorted(self._without_raw()), self.found
        rows = array("q", (self._rows[name] for name in photos))
        columns = (found.offsets, found.sizes, found.headers)
        return Scan(
            photos, *(array("q", map(column.__getitem__, rows)) for column in columns), found.told, found.system
        )

    def _without_raw(self) -> Iterator[str]:
        """The photos without the raw files that lie beside a photo of the same name."""
        raw = {name for name in self._rows if is_raw(name)}
        others = {name.rpartition(".")[0] for name in self._rows if name not in raw} if raw else set()
        for name in self._rows:
            if name in raw and name.rpartition(".")[0] in others:
                self.found.told[RAWS].add(name)
            else:
                yield name


def _plain(name: str) -> str:
    """A member's name as if it were unpacked."""
    return posixpath.normpath(name).lstrip("/")


def _is_system(name: str) -> bool:
    """Whether a system left a member there, or a folder that it lies in."""
    *folders, last = name.split("/")
    return is_system(last, False) or any(is_system(folder, True) for folder in folders)


def _fits_a_table(name: str) -> bool:
    """Whether a name is text; bytes that are no UTF-8 reach Python as lone surrogates."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in name


def told_as_json(told: dict[str, Told]) -> dict[str, Any]:
    """What was left out, for JSON; names that are no UTF-8 spelled out."""
    return {
        kind: {"count": one.count, "examples": [[_text(name), behind] for name, behind in one.examples]}
        for kind, one in told.items()
        if one.count
    }


def _text(name: str) -> str:
    return name.encode("utf-8", "backslashreplace").decode("utf-8")
