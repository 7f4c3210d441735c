"""EXIF blocks by hand, whole and broken, and photos that carry them."""

import io
import struct

import numpy as np
from PIL import Image

BROKEN_TAGS = {
    "a resolution of -1/0": (0x11A, 10, 1, struct.pack("<ii", -1, 0)),
    "a resolution of 1/0": (0x11A, 5, 1, struct.pack("<II", 1, 0)),
    "a resolution without numbers": (0x11A, 5, 0, b""),
    "a resolution as text": (0x11A, 2, 9, b"72 inches"),
    "a rational of a type too short": (0x11A, 3, 1, b"\1\0"),
    "a type that is none": (0x11A, 99, 1, b"\1\0\0\0"),
    "a type of 0": (0x10F, 0, 1, b"\1\0\0\0"),
    "a negative width as text": (0x100, 2, 4, b"-99\0"),
    "a text that is no UTF-8": (0x10F, 2, 5, b"\xff\xfe\xb8\xc0\0"),
    "a text without end": (0x131, 2, 4, b"abcd"),
    "a count of four billion": (0x10E, 2, 0xFFFFFFFF, b"\0\0\0\0"),
    "a count of two billion rationals": (0x11B, 5, 0x7FFFFFFF, struct.pack("<II", 1, 1)),
    "a place far outside": (0x11A, 5, 1, None),
    "EXIF tags far outside": (0x8769, 4, 1, struct.pack("<I", 0xFFFFFF0)),
    "EXIF tags that are these tags": (0x8769, 4, 1, struct.pack("<I", 8)),
    "EXIF tags that are no number": (0x8769, 2, 4, b"abc\0"),
    "GPS tags of a wrong type": (0x8825, 5, 1, struct.pack("<II", 1, 0)),
    "interoperability that is none": (0xA005, 4, 1, b"\xff\xff\xff\xff"),
    "a maker's note that is none": (0x927C, 7, 70000, b"Nikon"),
    "not a number": (0x9999, 11, 1, struct.pack("<f", float("nan"))),
    "doubles that are infinite": (0x9998, 12, 1, struct.pack("<d", float("inf"))),
}
"""Little-endian: tag, type, count and value; None stands for a place outside the block."""


def block(tags, order="<", place=8, count=None, magic=42):
    """A TIFF header and a folder of tags: (tag, type, count, value) each, values in the given order."""
    entries, values = b"", b""
    behind = place + 2 + len(tags) * 12 + 4
    for tag, kind, number, value in tags:
        inline = struct.pack(f"{order}I", 0xFFFFFF) if value is None else value.ljust(4, b"\0")
        if value is not None and len(value) > 4:
            inline = struct.pack(f"{order}I", behind + len(values))
            values += value + b"\0" * (len(value) % 2)
        entries += struct.pack(f"{order}HHI", tag, kind, number) + inline[:4]
    head = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HI", magic, place)
    number = struct.pack(f"{order}H", len(tags) if count is None else count)
    return head.ljust(place, b"\0") + number + entries + bytes(4) + values


def turned_by(value, order="<", kind=3, count=1):
    """An entry of orientation."""
    form = {1: "B", 3: "H", 4: "I", 8: "h", 9: "i"}.get(kind, "H")
    return 0x112, kind, count, struct.pack(f"{order}{form}", value)


def with_exif(jpeg, exif, prefix=b"Exif\0\0"):
    """A JPEG with a block put in at its begin."""
    segment = prefix + exif
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + jpeg[2:]


def encoded(photo, kind="JPEG", **options):
    file = io.BytesIO()
    (Image.fromarray(photo) if isinstance(photo, np.ndarray) else photo).save(file, kind, **options)
    return file.getvalue()
