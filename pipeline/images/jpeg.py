"""The segments of a JPEG file: what a decoder needs of them, and how much of a file that was cut short is there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import IO, NamedTuple

import numpy as np
from PIL import Image

START, END = b"\xff\xd8", b"\xff\xd9"
SOS, DHT, APP0, APP1, APP14 = 0xDA, 0xC4, 0xE0, 0xE1, 0xEE
HEAD = 2**26
"""Bytes of a file that its first scan begins in."""
FRAMES = frozenset(range(0xC0, 0xD0)) - {DHT, 0xC8, 0xCC}
"""Markers of a frame: its size, its components, and how they are coded."""
PROGRESSIVE = frozenset({0xC2, 0xC6, 0xCA, 0xCE})
ALONE = frozenset({0x01, *range(0xD0, 0xD8)})
"""Markers without a segment."""
MARKER = re.compile(rb"\xff[^\x00\xff]", re.DOTALL)
AFTER_SCAN = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]", re.DOTALL)
"""The last 0xFF of those that fill the place before a marker: to look for all of them takes time by their square."""


class Segment(NamedTuple):
    """A marker and its content, nothing where the file ends within it. `end` is behind it, of a scan behind its data.

    `whole`: whether it is all there; of a scan, whether another marker follows its data.
    """

    marker: int
    content: bytes
    start: int
    end: int
    whole: bool


@dataclass(frozen=True)
class Frame:
    """Of a JPEG: its size in pixels and, by the number of each component, its (horizontal, vertical) sampling."""

    marker: int
    width: int
    height: int
    sampling: dict[int, tuple[int, int]]

    @property
    def progressive(self) -> bool:
        return self.marker in PROGRESSIVE

    @property
    def row(self) -> int:
        """Lines of pixels in a row of blocks, as they lie in an interleaved scan."""
        return 8 * (max(down for _, down in self.sampling.values()) if len(self.sampling) > 1 else 1)

    @property
    def coefficients(self) -> int:
        """Bytes a decoder takes that has to keep all coefficients: of progressive photos, and of several scans."""
        across = max(across for across, _ in self.sampling.values())
        down = max(down for _, down in self.sampling.values())
        shares = (a * d / (across * down) for a, d in self.sampling.values())
        return round(2 * self.width * self.height * sum(shares))


def segments(content: bytes) -> Iterator[Segment]:
    """The segments of a file, found as libjpeg finds them: what stands between two is skipped."""
    place = len(START)
    while found := MARKER.search(content, place):
        marker, start = content[found.end() - 1], found.end() - 2
        if marker == END[1]:
            return
        if marker in ALONE:
            place = found.end()
            continue
        length = max(2, int.from_bytes(content[found.end() : found.end() + 2]))
        end = found.end() + length
        whole = end <= len(content) and found.end() + 2 <= len(content)
        inside = bytes(content[found.end() + 2 : end]) if whole else b""
        if marker == SOS and whole:
            follows = AFTER_SCAN.search(content, end)
            data = bytes(content[end : follows.start()]).rstrip(b"\xff") if follows else b""
            end, whole = (end + len(data), True) if follows else (len(content), False)
        yield Segment(marker, inside, start, min(end, len(content)), whole)
        place = end


def frame_of(content: bytes) -> Frame | None:
    """The frame of a JPEG; None where it has none that can be read."""
    for segment in segments(content):
        if segment.marker in FRAMES:
            return _frame(segment)
        if segment.marker == SOS:
            break
    return None


def _frame(segment: Segment) -> Frame | None:
    inside = segment.content
    if len(inside) < 6 or len(inside) < 6 + 3 * inside[5] or not inside[5]:
        return None
    rows = [inside[6 + 3 * i : 9 + 3 * i] for i in range(inside[5])]
    sampling = {row[0]: (row[1] >> 4, row[1] & 15) for row in rows}
    height, width = int.from_bytes(inside[1:3]), int.from_bytes(inside[3:5])
    if not (height and width and all(across and down for across, down in sampling.values())):
        return None
    return Frame(segment.marker, width, height, sampling)


def scans_at_once(content: bytes, frame: Frame) -> bool:
    """Whether the first scan holds all of the photo, so that a decoder keeps no coefficients."""
    first = next((segment for segment in segments(content) if segment.marker == SOS), None)
    return first is not None and not frame.progressive and first.content[:1] == bytes([len(frame.sampling)])


def exif_of(content: bytes) -> bytes:
    """The EXIF block of a JPEG, or nothing."""
    for segment in segments(content):
        if segment.marker == APP1 and segment.content.startswith(b"Exif\0\0"):
            return segment.content
        if segment.marker == SOS:
            break
    return b""


def lean(content: bytes) -> bytes:
    """The same photo without all that says something about it: what stands before its first scan decides nothing more.

    Of the applications' segments, only those are kept that say what its colours are.
    """
    kept = [START]
    for segment in segments(content):
        if segment.marker == SOS:
            return b"".join([*kept, content[segment.start :]])
        told = segment.content
        colours = (segment.marker == APP0 and told.startswith(b"JFIF\0") and len(told) >= 14) or (
            segment.marker == APP14 and told.startswith(b"Adobe") and len(told) >= 12
        )
        if colours or not (0xE0 <= segment.marker <= 0xEF or segment.marker == 0xFE):
            kept.append(content[segment.start : segment.end])
    return b"".join(kept)


def ended(content: bytes) -> bytes | None:
    """A JPEG that was cut short, ended where it was cut; None where too much of it is missing, or it was not cut.

    A photo of one scan may lack its last row of blocks. A progressive one may lack whatever refines it: all its
    components are there once, coarsely. What is missing is decoded to what stood before it, as OpenCV does.
    """
    frame, found = frame_of(content), list(segments(content))
    if frame is None or (found[-1].whole and content.find(END, found[-1].end) >= 0):
        return None
    within_scan = found[-1].marker == SOS and found[-1].content
    cut = content if found[-1].whole or within_scan else content[: found[-1].start]
    if scans_at_once(content, frame):
        rows = -(-frame.height // frame.row)
        return cut + END if _lines(cut, frame) >= max(1, rows - 1) * frame.row // 8 else None
    coarse = {one for scan in found if scan.marker == SOS and scan.whole for one in _begun(scan.content)}
    return cut + END if frame.progressive and coarse >= frame.sampling.keys() else None


def _begun(scan: bytes) -> tuple[int, ...]:
    """The components that a scan of a progressive photo begins: their means, as yet without anything before."""
    if not scan or len(scan) < 4 + 2 * scan[0]:
        return ()
    first, _, bits = scan[1 + 2 * scan[0] :][:3]
    return tuple(scan[1 : 1 + 2 * scan[0] : 2]) if first == 0 and bits >> 4 == 0 else ()


def _lines(content: bytes, frame: Frame) -> int:
    """How many lines of an eighth of the size can be decoded before the file ends; only whole rows of blocks count."""
    mode, raw = {1: ("L", "L"), 3: ("RGB", "RGB"), 4: ("CMYK", "CMYK;I")}.get(len(frame.sampling), ("", ""))
    if not mode:
        return 0
    decoded = []
    for shade in (0, 255):  # what is not decoded differs
        photo = Image.new(mode, (-(-frame.width // 8), -(-frame.height // 8)), (shade,) * len(mode))
        with suppress(ValueError):  # "not enough image data"
            photo.frombytes(content, "jpeg", raw, "", 8, 0)
        decoded.append(np.asarray(photo).reshape(photo.height, -1))
    missing = (decoded[0] != decoded[1]).any(axis=1)
    return int(missing.argmax()) if missing.any() else len(missing)


def memory_of(file: IO[bytes]) -> int:
    """Bytes that a decoder of this opened JPEG keeps for coefficients; none where it needs each row but once."""
    place = file.tell()
    file.seek(0)
    content = file.read(HEAD)
    file.seek(place)
    frame = frame_of(content)
    return 0 if frame is None or scans_at_once(content, frame) else frame.coefficients
