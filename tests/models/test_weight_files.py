"""A file in the place of weights: named as what it is, with the way out, and never run."""

import gzip
import io
import json
import pickle
import struct
import zipfile

import pytest
import torch
from safetensors.torch import save

from models.errors import UserError
from models.pretrained import check_weights
from models.weight_files import weights_fault

WHOLE = save({"a.weight": torch.arange(12.0).reshape(3, 4), "b": torch.ones(5, dtype=torch.float16)})
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 21355344\n"
HEADER = int.from_bytes(WHOLE[:8], "little")


class Bomb:
    def __reduce__(self):
        return exec, ("raise SystemExit('the weights were run')",)


def torch_saved(**options) -> bytes:
    file = io.BytesIO()
    torch.save({"a": torch.ones(3), "b": Bomb()}, file, **options)
    return file.getvalue()


def zipped() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("model.safetensors", WHOLE)
    return file.getvalue()


def header(tensors: object) -> bytes:
    text = tensors if isinstance(tensors, bytes) else json.dumps(tensors).encode()
    return struct.pack("<Q", len(text)) + text


NOT_WEIGHTS = {
    "a pointer of Git LFS": (POINTER, "is a Git LFS pointer, not the weights; run git lfs pull in"),
    "a page": (b"<!DOCTYPE html>\n<html><body>404</body></html>", "is an HTML page, not weights"),
    "a page with blanks before it": (b"\xef\xbb\xbf\r\n  <HTML lang=en>", "is an HTML page, not weights"),
    "a page as XML": (b'<?xml version="1.0"?>\n<html xmlns="http://x">', "is an HTML page, not weights"),
    "nothing": (b"", "is an empty file, not weights"),
    "zeros, as after a power cut": (bytes(4096), "is a file of zeros, not weights"),
    "a zip": (zipped(), "is a zip archive, not weights"),
    "a gzip": (gzip.compress(WHOLE), "is a gzip file, not weights"),
    "torch's pickle": (torch_saved(), "is a pickle of torch, which can run code and is never loaded"),
    "torch's pickle of old": (torch_saved(_use_new_zipfile_serialization=False), "is a pickle of torch"),
    "half of torch's pickle": (torch_saved()[:300], "is a pickle of torch"),
    "a pickle": (pickle.dumps(Bomb(), 5), "is a pickle of torch"),
    "HDF5, of Keras": (b"\x89HDF\r\n\x1a\n" + bytes(99), "is an HDF5 file, not weights"),
    "text": (b"no weights at all", "is not in the safetensors format"),
    "noise": (bytes(range(200, 255)) * 9, "is not in the safetensors format"),
    "the tail cut off": (WHOLE[:-1], f"is cut short: it holds {len(WHOLE) - 1:,} of {len(WHOLE):,} bytes"),
    "the header alone": (WHOLE[: 8 + HEADER], f"is cut short: it holds {8 + HEADER:,} of {len(WHOLE):,} bytes"),
    "half a header": (WHOLE[: 8 + HEADER // 2], "is cut short within its header"),
    "a header that is no JSON": (header(b"{a}"), "has a damaged header"),
    "a header without places": (header({"a": {"dtype": "F32"}}), "has a damaged header"),
    "a header of another shape": (header({"a": [1, 2]}), "has a damaged header"),
    "a header nested without end": (header(b'{"a":' * 100_000), "has a damaged header"),
}


@pytest.mark.parametrize("kind", NOT_WEIGHTS)
def test_what_is_no_weights_is_named_with_the_way_out(tmp_path, kind):
    content, told = NOT_WEIGHTS[kind]
    file = tmp_path / "net.safetensors"
    file.write_bytes(content)
    with pytest.raises(UserError) as refused:
        check_weights(file, str(tmp_path))
    sentence = str(refused.value)
    assert sentence.startswith(f"--weights {tmp_path}: {file} {told}")
    assert sentence.endswith(", or use hub or none.")
    assert "\n" not in sentence
    assert ";" in sentence


@pytest.mark.parametrize("length", [0x0280, 0x5A4D, 0x8B1F, 0x4B50])
def test_a_header_may_be_of_any_length(tmp_path, length):
    """Its first bytes are a number, which may look like a pickle (80 02), a program, a gzip or a zip."""
    text = json.dumps({"__metadata__": {"a": "b"}, "t": {"dtype": "U8", "shape": [2], "data_offsets": [0, 2]}}).encode()
    (tmp_path / "a.safetensors").write_bytes(struct.pack("<Q", length) + text.ljust(length) + b"xy")
    assert weights_fault(tmp_path / "a.safetensors") is None


def test_whole_weights_have_no_fault(tmp_path):
    for name, content in (("a", WHOLE), ("no tensors", save({}))):
        (tmp_path / name).write_bytes(content)
        assert weights_fault(tmp_path / name) is None
    check_weights(tmp_path / "a", str(tmp_path))


@pytest.mark.parametrize(
    ("beside", "told"),
    [
        ("net.pth", "(net.pth in it is a pickle of torch, which can run code and is never loaded)"),
        ("net.pth.tar", "(net.pth.tar in it is a pickle"),
        ("pytorch_model.bin", "(pytorch_model.bin in it is a pickle"),
        ("model.safetensors", "(rename model.safetensors in it, if that is net)"),
        ("other.txt", "there is no net.safetensors in it; put it there"),
    ],
)
def test_weights_that_are_not_there(tmp_path, beside, told):
    (tmp_path / beside).touch()
    with pytest.raises(UserError, match="there is no net") as refused:
        check_weights(tmp_path / "net.safetensors", str(tmp_path))
    assert told in str(refused.value)


def test_a_folder_of_weights_that_is_none(tmp_path):
    with pytest.raises(
        UserError, match="there is no such folder; give auto, package, hub, none, a run's folder, or the folder"
    ):
        check_weights(tmp_path / "x/net.safetensors", str(tmp_path / "x"))
    (tmp_path / "x").touch()
    with pytest.raises(UserError, match="it is a file; give auto, package, hub, none, a run's folder, or the folder"):
        check_weights(tmp_path / "x/net.safetensors", str(tmp_path / "x"))


def test_weights_that_may_not_be_read(tmp_path, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied")

    (tmp_path / "net.safetensors").touch()
    monkeypatch.setattr("models.pretrained.weights_fault", refuse)
    with pytest.raises(
        UserError, match=r"net\.safetensors cannot be read \(Permission denied\); check its permissions"
    ):
        check_weights(tmp_path / "net.safetensors", str(tmp_path))
