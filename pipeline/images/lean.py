"""Photos without what only says something about them, for decoders that stumble over it; and two odd kinds."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from pipeline.images import jpeg

PNG_CHUNKS = frozenset({b"IHDR", b"PLTE", b"tRNS", b"eXIf", b"IDAT", b"IEND"})
"""What the pixels of a PNG, and which way up they are, depend on."""
AVIF_EXIF = re.compile(rb"(infe[\x02\x03]...(?:..|....)..)Exif", re.DOTALL)
SUB_FOLDERS = {0x8769: "EXIF", 0x8825: "GPS", 0xA005: "interoperability"}
"""Tags of a TIFF that lead to tags about the photo."""
DNG_VERSION, KIND_OF_PICTURE, SUB_PICTURES = 0xC612, 0xFE, 0x14A
ENTRY = 12


def png(content: bytes) -> bytes:
    """A PNG without texts, colour profiles and further frames."""
    kept, place = [content[:8]], 8
    while place + 8 <= len(content):
        length = int.from_bytes(content[place : place + 4])
        if content[place + 4 : place + 8] in PNG_CHUNKS:
            kept.append(content[place : place + 12 + length])
        if content[place + 4 : place + 8] == b"IEND":
            break
        place += 12 + length
    return b"".join(kept)


def tiff(content: bytes) -> bytes:
    """A TIFF whose first picture leads to no tags about it: the tags that do are given a number that means nothing."""
    order = "<" if content[:2] == b"II" else ">"
    changed = bytearray(content)
    if len(content) < 8 or content[2:4] not in (b"*\0", b"\0*"):
        return content
    (place,) = struct.unpack_from(f"{order}I", content, 4)
    if place + 2 > len(content):
        return content
    (count,) = struct.unpack_from(f"{order}H", content, place)
    for entry in range(place + 2, min(place + 2 + count * ENTRY, len(content) - ENTRY + 1), ENTRY):
        if struct.unpack_from(f"{order}H", content, entry)[0] in SUB_FOLDERS:
            struct.pack_into(f"{order}H", changed, entry, 0xFFFE)
    return bytes(changed)


def avif(content: bytes) -> bytes:
    """An AVIF whose EXIF is not found; which way up it is, the format says by itself."""
    return AVIF_EXIF.sub(rb"\1free", content, count=1)


BARE: Mapping[str, Callable[[bytes], bytes]] = {"JPEG": jpeg.lean, "PNG": png, "TIFF": tiff, "AVIF": avif}
"""By format."""


def is_raw(tags: Mapping[int, Any]) -> bool:
    """Whether the first picture of a TIFF is a camera's raw file's: DNG, or a thumbnail with others below it."""
    return DNG_VERSION in tags or (tags.get(KIND_OF_PICTURE) == 1 and SUB_PICTURES in tags)


@cache
def reads_heic() -> bool:
    """Whether pi-heif is there to read HEIC photos; Pillow then knows them."""
    try:
        import pi_heif

        pi_heif.register_heif_opener()
    except (ImportError, OSError):  # it is not there, or its library does not fit the machine
        return False
    return True
