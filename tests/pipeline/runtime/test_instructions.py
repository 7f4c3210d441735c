"""What a processor can do is read from the flags it tells, and never more than the user lets oneDNN use."""

import platform

import pytest

from pipeline.runtime.instructions import HELD, KINDS, instructions

FLAGS = {
    "fpu avx2 avx512f avx512_bf16 amx_bf16 amx_tile": "amx",
    "fpu avx2 avx512f avx512_bf16": "avx512_bf16",
    "fpu avx2 avx512f avx512_bf16_of_another": "avx512",
    "fpu avx2 fma": "avx2",
    "fpu sse4_2": "other",
}


@pytest.fixture
def cpu(tmp_path, monkeypatch):
    [monkeypatch.delenv(name, raising=False) for name in HELD]
    file = tmp_path / "cpuinfo"

    def build(text):
        file.write_text(text)
        return file

    return build


@pytest.mark.parametrize(("flags", "kind"), FLAGS.items())
def test_the_widest_that_the_flags_name(cpu, flags, kind):
    assert instructions(cpu(f"processor\t: 0\nflags\t\t: {flags}\nprocessor\t: 1\nflags\t\t: {flags}\n")) == kind


def test_another_system_tells_nothing(tmp_path, monkeypatch):
    [monkeypatch.delenv(name, raising=False) for name in HELD]
    assert instructions(tmp_path / "none") == "other"


def test_arms_are_known_by_their_machine(cpu, monkeypatch):
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    assert instructions(cpu("Features\t: fp asimd bf16\n")) == "arm"


@pytest.mark.parametrize(
    ("held", "kind"),
    [("AVX2", "avx2"), ("avx512_core", "avx512"), ("AVX512_CORE_BF16", "avx512_bf16"), ("AVX512_CORE_AMX", "amx"),
     ("SSE41", "other"), ("nonsense", "amx")],
)  # fmt: skip
def test_a_processor_held_to_older_ones_counts_as_one(cpu, monkeypatch, held, kind):
    monkeypatch.setenv(HELD[1], held)
    assert instructions(cpu("flags: avx2 avx512f avx512_bf16 amx_bf16\n")) == kind


def test_nobody_is_held_to_what_he_lacks(cpu, monkeypatch):
    monkeypatch.setenv(HELD[0], "AVX512_CORE_BF16")
    assert instructions(cpu("flags: avx2\n")) == "avx2"
    assert KINDS.index("avx512_bf16") < KINDS.index("avx2")
