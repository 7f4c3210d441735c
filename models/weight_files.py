"""A file of weights looked at before it is read: what stands in its place is told, and never run."""

from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path

from models.file_kinds import FIRST_BYTES, ZIP, is_lfs_pointer, is_pickle, kind_of

LONGEST_HEADER = 100_000_000
"""Bytes; safetensors itself reads none that is longer."""
PICKLES = (".bin", ".pth", ".pt", ".ckpt", ".pkl", ".pth.tar")
PICKLE = "a pickle of torch, which can run code and is never loaded"
AGAIN = "fetch or copy the file once more"


def weights_fault(path: Path) -> tuple[str, str] | None:
    """What is wrong with a safetensors file as such, and what to do about it; None where nothing is.

    Its head alone is read. Raises OSError where the file cannot be read.
    """
    with path.open("rb") as file:
        first, size = file.read(FIRST_BYTES), os.fstat(file.fileno()).st_size
        length = int.from_bytes(first[:8], "little")
        if first[8:9] == b"{" and length <= LONGEST_HEADER:  # first of all: a length may begin like anything
            file.seek(8)
            return _header_fault(file.read(length), 8 + length, size)
    if is_lfs_pointer(first):
        where = path.parent
        return "is a Git LFS pointer, not the weights", f"run git lfs pull in {where}, or put the real file there"
    if is_pickle(first) or _is_torch_archive(path, first):
        return f"is {PICKLE}", "put weights in the safetensors format there"
    kind = kind_of(first)
    if kind is not None:
        return f"is {kind}, not weights in the safetensors format", "put such weights there"
    return "is not in the safetensors format", "put weights in that format there"


def _header_fault(header: bytes, begin: int, size: int) -> tuple[str, str] | None:
    """What is wrong by the header of a file that is so long and whose numbers begin there."""
    if size < begin:
        return f"is cut short within its header (it holds {size:,} bytes)", AGAIN
    try:
        tensors = json.loads(header)
        told = [tensor["data_offsets"][1] for name, tensor in tensors.items() if name != "__metadata__"]
        end = begin + max(map(int, told), default=0)
    except (ValueError, RecursionError, AttributeError, KeyError, TypeError, IndexError):
        return "has a damaged header", AGAIN
    if size < end:
        return f"is cut short: it holds {size:,} of {end:,} bytes", AGAIN
    return None


def _is_torch_archive(path: Path, first: bytes) -> bool:
    """Whether a file is the zip archive with a pickle in it that torch.save writes."""
    if kind_of(first) != ZIP:
        return False
    try:
        with zipfile.ZipFile(path) as archive:  # its list of names; nothing is unpacked
            return any(name.endswith("data.pkl") for name in archive.namelist())
    except (zipfile.BadZipFile, ValueError, NotImplementedError):
        return b"data.pkl" in first


def weights_beside(file: Path) -> str:
    """What lies in the place of a file of weights that is not there, for the end of a sentence; else nothing."""
    stem = file.name.removesuffix(file.suffix)
    pickles = [name for ending in PICKLES if (file.parent / (name := stem + ending)).is_file()]
    pickles += [name for name in ("pytorch_model.bin",) if (file.parent / name).is_file()]
    if (file.parent / "model.safetensors").is_file():
        return f" (rename model.safetensors in it, if that is {stem})"
    return f" ({pickles[0]} in it is {PICKLE})" if pickles else ""
