"""Files are whole or absent, fingerprints see every change, and a lock has one owner."""

import fcntl
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

from models.errors import UserError
from pipeline.runtime import store

ROOT = Path(__file__).parents[3]


def names(folder):
    return sorted(os.listdir(folder))


def test_replacing_puts_the_new_file_in_place(tmp_path):
    path = tmp_path / "new" / "deep" / "a.txt"
    with store.replacing(path) as part:
        assert part.parent == path.parent
        part.write_text("new")
        assert not path.exists()
    assert path.read_text() == "new"
    assert names(path.parent) == ["a.txt"]


@pytest.mark.parametrize("problem", [RuntimeError, KeyboardInterrupt])
def test_an_error_leaves_the_old_file_and_no_other(tmp_path, problem):
    path = tmp_path / "a.txt"
    path.write_text("old")

    with pytest.raises(problem), store.replacing(path) as part:  # noqa: PT012
        part.write_text("half")
        raise problem
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_a_value_that_is_not_json_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.json"
    store.write_json(path, {"a": 1})
    with pytest.raises(ValueError, match="JSON compliant"):
        store.write_json(path, {"a": float("nan")})
    with pytest.raises(TypeError):
        store.write_json(path, {"a": {1, 2}})
    assert store.read_json(path) == {"a": 1}
    assert names(tmp_path) == ["a.json"]


def test_readers_meet_the_old_file_or_the_new_one(tmp_path):
    path = tmp_path / "a.json"
    store.write_json(path, {"numbers": [0] * 5000})
    done = threading.Event()

    def write():
        for number in range(1, 40):
            store.write_json(path, {"numbers": [number] * 5000})
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    seen = set()
    while not done.is_set():
        numbers = store.read_json(path)["numbers"]
        assert len(numbers) == 5000
        assert len(set(numbers)) == 1
        seen.add(numbers[0])
    writer.join()
    assert len(seen) > 1


def test_files_have_the_users_usual_permissions(tmp_path):
    before = os.umask(0o027)
    try:
        store.write_text(tmp_path / "a.txt", "é")
    finally:
        os.umask(before)
    assert (tmp_path / "a.txt").stat().st_mode & 0o777 == 0o640
    assert (tmp_path / "a.txt").read_bytes() == "é".encode()


def test_json_round_trip(tmp_path):
    value = {"b": [1, 2.5, 1e-7, None, True, "ü\n"], "a": {"c": {}, "ten": {str(i): i for i in range(12)}}}
    store.write_json(tmp_path / "a.json", value)
    assert store.read_json(tmp_path / "a.json") == value
    written = json.loads((tmp_path / "a.json").read_text())
    assert written == value | {"fingerprint": store.fingerprint(value)}
    store.write_json(tmp_path / "a.json", {2: "two", 10: "ten"})
    assert store.read_json(tmp_path / "a.json") == {"2": "two", "10": "ten"}


@pytest.mark.parametrize(
    "damage",
    [b"", b'{"a": 1', b"\xff\xfe\x00", b"{'a': 1}", b"[]", b"null", b"7", b'{"a": 1}', b"[" * 100_000,
     b'{"a": 2, "fingerprint": "015abd7f5cc57a2d"}', b'{"a": 1, "fingerprint": [1]}'],
)  # fmt: skip
def test_damaged_json_is_named(tmp_path, damage):
    path = tmp_path / "run.json"
    path.write_bytes(damage)
    with pytest.raises(UserError, match=r"run\.json is damaged .*delete it"):
        store.read_json(path)


def test_every_flipped_bit_of_a_json_file_is_seen(tmp_path):
    path = tmp_path / "a.json"
    store.write_json(path, {"a": 1.25, "b": [True, "text"]})
    content, value = path.read_bytes(), store.read_json(path)
    for place in range(len(content)):
        for bit in range(8):
            path.write_bytes(content[:place] + bytes([content[place] ^ (1 << bit)]) + content[place + 1 :])
            try:
                assert store.read_json(path) == value  # white space may change
            except UserError:
                continue


def test_a_marked_file_is_known_by_its_name(tmp_path):
    with store.replacing(tmp_path / "a-1.pt", with_fingerprint=True) as part:
        part.write_bytes(b"content")
    (name,) = names(tmp_path)
    path = tmp_path / name
    assert name == f"a-1-{store.file_fingerprint(path)}.pt"
    assert store.is_whole(path)
    for damage in (b"", b"conten", b"Content", b"content\0"):
        path.write_bytes(damage)
        assert not store.is_whole(path)


def test_what_killed_processes_left_is_swept(tmp_path):
    code = (
        "import os, signal; from pathlib import Path; from pipeline.runtime import store\n"
        "with store.replacing(Path('a.txt')) as part: part.write_text('x'); os.kill(os.getpid(), signal.SIGKILL)"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, check=False)
    assert len(names(tmp_path)) == 1  # so there is something to sweep
    (tmp_path / "done").mkdir()
    (tmp_path / "done/.a.json.x.part").write_text("half")
    (tmp_path / "kept.txt").write_text("kept")
    (tmp_path / ".hidden").write_text("kept")
    store.sweep(tmp_path)
    assert names(tmp_path) == [".hidden", "done", "kept.txt"]
    assert names(tmp_path / "done") == []


def test_what_a_living_process_is_writing_is_not_swept(tmp_path):
    """As when one command records a setting of the run while another begins to predict."""
    code = (
        "import sys; from pathlib import Path; from pipeline.runtime import store\n"
        "with store.replacing(Path('a.txt')) as part: part.write_text('x'); print(flush=True); sys.stdin.read()"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, env=environment, **pipes) as writer:
        writer.stdout.readline()
        (name,) = names(tmp_path)
        store.sweep(tmp_path)
        assert names(tmp_path) == [name]
    assert writer.returncode == 0
    assert names(tmp_path) == ["a.txt"]


def test_a_file_that_is_swept_before_it_is_locked_is_begun_again(tmp_path, monkeypatch):
    lock, swept = fcntl.flock, []

    def late(file, how):
        if not swept:
            swept.extend(names(tmp_path))
            store.sweep(tmp_path)
        lock(file, how)

    monkeypatch.setattr(fcntl, "flock", late)
    store.write_text(tmp_path / "a.txt", "new")
    assert len(swept) == 1
    assert (tmp_path / "a.txt").read_text() == "new"
    assert names(tmp_path) == ["a.txt"]


def test_absent_json_is_no_damage(tmp_path):
    with pytest.raises(FileNotFoundError):
        store.read_json(tmp_path / "a.json")


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(max_size=5), plain, max_size=5))
def test_fingerprint_ignores_the_order_of_keys(value):
    mark = store.fingerprint(value)
    assert mark == store.fingerprint(dict(reversed(value.items())))
    assert len(mark) == 16
    assert set(mark) <= set("0123456789abcdef")


@given(plain, plain)
def test_fingerprint_differs_where_json_does(one, other):
    same = json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
    assert (store.fingerprint(one) == store.fingerprint(other)) == same


def test_fingerprint_sees_every_part_and_the_order_of_lists():
    value = {"a": [1, 2], "b": {"c": "x", "d": None}}
    others = [
        {"a": [2, 1], "b": {"c": "x", "d": None}},
        {"a": [1, 2], "b": {"c": "y", "d": None}},
        {"a": [1, 2], "b": {"c": "x", "d": False}},
        {"a": [1, 2], "b": {"c": "x"}},
        {"a": [1, 2, 3], "b": {"c": "x", "d": None}},
    ]
    marks = {store.fingerprint(v) for v in (value, *others)}
    assert len(marks) == 6


def test_fingerprint_is_the_same_in_another_process():
    code = "from pipeline.runtime import store; print(store.fingerprint({'b': {'x', }, 'a': 1.5}))"
    run = [
        subprocess.run(
            [sys.executable, "-c", code],
            cwd=ROOT,
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONHASHSEED": seed},
        )
        for seed in "12"
    ]
    assert run[0].stdout == run[1].stdout != ""


def test_file_fingerprint(tmp_path):
    path = tmp_path / "a"
    assert store.file_fingerprint(path) is None
    path.write_bytes(b"one")
    mark = store.file_fingerprint(path)
    path.write_bytes(b"two")
    assert store.file_fingerprint(path) not in (mark, None)
    path.write_bytes(b"one")
    assert store.file_fingerprint(path) == mark


def test_photo_fingerprint_is_of_names_and_sizes(tmp_path):
    for name, size in (("a.jpg", 10), ("b.jpg", 20)):
        (tmp_path / name).write_bytes(b"x" * size)
    mark = store.photo_fingerprint(tmp_path, ["a.jpg", "b.jpg"])
    (tmp_path / "a.jpg").write_bytes(b"y" * 10)
    os.utime(tmp_path / "b.jpg", (1, 1))
    assert store.photo_fingerprint(tmp_path, ["a.jpg", "b.jpg"]) == mark
    others = [store.photo_fingerprint(tmp_path, photos) for photos in (["a.jpg"], ["b.jpg", "a.jpg"], [])]
    (tmp_path / "a.jpg").write_bytes(b"y" * 11)
    others.append(store.photo_fingerprint(tmp_path, ["a.jpg", "b.jpg"]))
    (tmp_path / "a.jpg").unlink()
    others.append(store.photo_fingerprint(tmp_path, ["a.jpg", "b.jpg"]))
    assert len({mark, *others}) == 6


def test_photo_fingerprint_with_times_sees_a_change_that_keeps_the_size(tmp_path):
    (tmp_path / "a.bmp").write_bytes(b"x" * 10)
    mark = store.photo_fingerprint(tmp_path, ["a.bmp"], times=True)
    assert store.photo_fingerprint(tmp_path, ["a.bmp"], times=True) == mark
    (tmp_path / "a.bmp").write_bytes(b"y" * 10)
    os.utime(tmp_path / "a.bmp", (1, 1))
    assert store.photo_fingerprint(tmp_path, ["a.bmp"], times=True) != mark


def test_csv_keeps_every_float32(tmp_path):
    bits = np.random.default_rng(0).integers(0, 2**32, 20000, dtype=np.uint32).view(np.float32)
    values = np.concatenate([bits[np.isfinite(bits)], np.float32([0.1, 1 / 3, 1e-45, 3.4e38, 59.999996, 60])])
    store.write_csv(tmp_path / "a.csv", pd.DataFrame({"photo": "a,b", "x": values}))
    back = pd.read_csv(tmp_path / "a.csv")
    np.testing.assert_array_equal(back["x"].to_numpy().astype(np.float32), values)
    assert back["photo"].eq("a,b").all()
    assert b"\r" not in (tmp_path / "a.csv").read_bytes()


def test_csv_writes_blanks_for_what_is_missing(tmp_path):
    table = pd.DataFrame({"person": ["a", None], "mask": pd.array([1, None], "Int64"), "x": [np.nan, 0.5]})
    store.write_csv(tmp_path / "a.csv", table)
    assert (tmp_path / "a.csv").read_text() == "person,mask,x\na,1,\n,,0.5\n"


def test_weights_round_trip_in_any_memory_format(tmp_path):
    weights = {
        "a": torch.randn(4, 3, 2, 2).to(memory_format=torch.channels_last).requires_grad_(),
        "b": torch.randn(6)[::2],
        "c": torch.tensor(3),
    }
    store.write_weights(tmp_path / "w.safetensors", weights)
    back = load_file(tmp_path / "w.safetensors")
    assert set(back) == set(weights)
    assert all(torch.equal(back[name], weights[name]) for name in weights)
    assert names(tmp_path) == ["w.safetensors"]
