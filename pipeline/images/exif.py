"""Which way up a photo is, from its EXIF block. The block is read here and never written."""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping
from typing import Any

ORIENTATION, SHORT = 0x0112, 3
PREFIXES = re.compile(rb"(?:Exif\0\0)*")
"""What some writers put before PNG's and WebP's block too, or twice."""
ENTRY = 12
"""Bytes of an entry: tag, type, count, and its value or where that stands."""
ORDERS = {b"II": "<", b"MM": ">"}


def orientation(block: bytes) -> int:
    """1 to 8 as EXIF counts them; 1, upright, where a block says nothing that can be believed.

    Only a SHORT that stands alone counts. No other tag is looked at, whatever it holds.
    """
    block = block[PREFIXES.match(block).end() :]
    order = ORDERS.get(block[:2])
    if order is None or len(block) < 8:
        return 1
    magic, place = struct.unpack_from(f"{order}HI", block, 2)
    if magic != 42 or place + 2 > len(block):
        return 1
    (count,) = struct.unpack_from(f"{order}H", block, place)
    first = place + 2
    whole = min(count, (len(block) - first) // ENTRY)  # of a block that is cut short, those that are there
    for entry in range(first, first + whole * ENTRY, ENTRY):
        tag, kind, values, value = struct.unpack_from(f"{order}HHIH", block, entry)
        if tag == ORIENTATION:
            return value if kind == SHORT and values == 1 and 1 <= value <= 8 else 1
    return 1


def block_of(info: Mapping[str, Any]) -> bytes:
    """The EXIF block that Pillow found in a photo, or nothing; ImageMagick writes it into PNG as a text of hex."""
    block = info.get("exif")
    if isinstance(block, bytes):
        return block
    text = info.get("Raw profile type exif")
    try:
        return bytes.fromhex("".join(text.split("\n")[3:])) if isinstance(text, str) else b""
    except ValueError:
        return b""
