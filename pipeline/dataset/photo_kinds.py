"""What a file among photos is, by its first bytes and, where those cannot tell, its ending."""

from __future__ import annotations

import re
from dataclasses import dataclass

from models import file_kinds

READ = ("JPEG", "PNG", "WEBP", "AVIF", "BMP", "GIF", "TIFF", "JPEG2000", "PPM")
"""The formats of photos that are read, by Pillow's names."""
# fmt: off
ENDINGS = frozenset({
    "jpg", "jpeg", "jpe", "jfif", "jif", "pjpeg", "pjp", "png", "apng", "webp", "bmp", "dib", "gif", "tif", "tiff",
    "avif", "avifs", "jp2", "j2k", "j2c", "jpc", "jpf", "jpx", "ppm", "pgm", "pbm", "pnm",
})
"""Endings of such photos. A file that ends so is taken for one, unopened."""
HEIC_ENDINGS = frozenset({"heic", "heics", "heif", "heifs", "hif"})
RAW_ENDINGS = frozenset({
    "3fr", "arw", "cr2", "cr3", "crw", "dcr", "dng", "erf", "fff", "iiq", "k25", "kdc", "mef", "mos", "mrw", "nef",
    "nrw", "orf", "pef", "raf", "raw", "rw2", "rwl", "sr2", "srf", "srw", "x3f",
})
"""Endings of cameras' raw files; many begin like a TIFF, whose only picture may be a thumbnail."""
# fmt: on
HEIC, RAW, JXL = "a HEIC photo", "a camera's raw file", "a JPEG XL photo"
BEGINNINGS = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"II*\0\x10\0\0\0CR", RAW),  # Canon's
    (b"IIRO", RAW),  # Olympus's
    (b"IIRS", RAW),
    (b"MMOR", RAW),
    (b"IIU\0", RAW),  # Panasonic's
    (b"FUJIFILMCCD-RAW", RAW),
    (b"FOVb", RAW),  # Sigma's
    (b"\0MRM", RAW),  # Minolta's
    (b"II\x1a\0\0\0HEAPCCDR", RAW),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),
    (b"MM\0+", "TIFF"),
    (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG2000"),
    (b"\xff\x4f\xff\x51", "JPEG2000"),
    (b"\xff\x0a", JXL),
    (b"\0\0\0\x0cJXL \r\n\x87\n", JXL),
)
PPM = re.compile(rb"P[1-6]\s(?:\s|#[^\r\n]*[\r\n])*\d+\s")
"""What PPM, PGM and PBM begin with: two letters that a text may begin with too, comments, and the width."""
AVIF_BRANDS = frozenset({b"avif", b"avis"})
HEIC_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1"})
WAY_OUT = {
    HEIC: "pip install pi-heif lets it be read, or convert it to JPEG",
    RAW: "export it from the camera's program as JPEG",
    JXL: "convert it to JPEG or PNG",
    "a Git LFS pointer": "fetch the photo itself with git lfs pull",
}
"""What to do about what is no photo that can be read."""


@dataclass(frozen=True)
class Kind:
    """`name`: one of READ, or what it is with its article. `photo`: whether somebody took it for a photo of people."""

    name: str
    photo: bool

    @property
    def refusal(self) -> str:
        """Why it is not decoded, as the end of a sentence."""
        if self.name in READ:
            article = "an" if self.name == "AVIF" else "a"
            return f"it begins like {article} {self.name} but is damaged, or of a kind that this Pillow does not read"
        told = f"it is {self.name}" if self.photo else f"it is no photo but {self.name}"
        return f"{told}; {WAY_OUT[self.name]}" if self.name in WAY_OUT else told


def ending_of(name: str) -> str:
    """The ending of a file name in small letters, without its dot; nothing where it has none."""
    return name.rpartition(".")[2].lower() if "." in name else ""


def kind_of(first: bytes, name: str = "") -> Kind | None:
    """What a file is by its first bytes (FIRST_BYTES of them) and its name; None where they do not tell."""
    told = next((kind for begin, kind in BEGINNINGS if first.startswith(begin)), None)
    if told is None and first[4:8] == b"ftyp":
        return _of_container(first)
    if told is None and first[:4] == b"RIFF" and first[8:12] == b"WEBP":
        told = "WEBP"
    if told is None and first[:2] == b"BM" and first[6:10] == bytes(4):
        told = "BMP"
    if told is None and PPM.match(first):
        told = "PPM"
    if told == "TIFF" and ending_of(name) in RAW_ENDINGS:
        told = RAW
    if told is not None:
        return Kind(told, True)
    other = file_kinds.kind_of(first)
    return None if other is None else Kind(other, False)


def _of_container(first: bytes) -> Kind:
    """What a file of boxes is (ISO 14496-12), by its brand and those it says it is compatible with."""
    length = min(max(int.from_bytes(first[:4]), 16), len(first))
    major = first[8:12]
    brands = {major, *(first[place : place + 4] for place in range(16, length - 3, 4))}
    if brands & AVIF_BRANDS:
        return Kind("AVIF", True)
    if brands & HEIC_BRANDS:
        return Kind(HEIC, True)
    if major == b"crx ":
        return Kind(RAW, True)
    return Kind("a sound file" if major.startswith(b"M4A") else "a video", False)
