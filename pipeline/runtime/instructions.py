"""Which instructions this processor has for the arithmetic of networks."""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path

KINDS = ("amx", "avx512_bf16", "avx512", "avx2", "arm", "other")
"""From the widest of x86 to the narrowest, then Arm's; `other` where nothing is known, such as a Mac's."""
BFLOAT16 = ("amx", "avx512_bf16")
"""Those with arithmetic in bfloat16."""
_FLAGS = {"amx": "amx_bf16", "avx512_bf16": "avx512_bf16", "avx512": "avx512f", "avx2": "avx2"}
HELD = ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA")
"""By these variables people hold oneDNN, torch's library of convolutions and products, to older instructions."""
_HELD_TO = {
    "SSE41": "other",
    "AVX": "other",
    "AVX2": "avx2",
    "AVX2_VNNI": "avx2",
    "AVX2_VNNI_2": "avx2",
    "AVX512_CORE": "avx512",
    "AVX512_CORE_VNNI": "avx512",
    "AVX512_CORE_BF16": "avx512_bf16",
    "AVX512_CORE_FP16": "avx512_bf16",
    "AVX10_1_512": "avx512_bf16",
}


def instructions(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """One of KINDS: what torch can use here."""
    try:
        told = cpuinfo.read_text()
    except OSError:  # another system
        told = ""
    flags = set(re.findall(r"\w+", " ".join(re.findall(r"^flags\s*:(.*)", told, re.MULTILINE)[:1])))
    found = next((kind for kind, flag in _FLAGS.items() if flag in flags), None)
    if found is None:
        return "arm" if platform.machine().lower() in ("aarch64", "arm64") and told else "other"
    held = [_HELD_TO.get(os.environ.get(name, "").upper(), found) for name in HELD]
    return max(found, *held, key=KINDS.index)
