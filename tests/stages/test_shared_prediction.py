"""Several processes at the same eval photos of a run, and what each does that comes too late, or otherwise."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import pytest

from models.errors import UserError
from pipeline.prediction import in_chunks, over_photos, work_order
from pipeline.prediction.work_order import WorkOrder
from pipeline.run import records
from pipeline.run.remembered import EngineSettings
from pipeline.runtime import helpers, store
from pipeline.stages.calibrate import Calibrate, calibrate
from pipeline.stages.predict import Predict, predict

ROOT = Path(__file__).parents[2]


@pytest.fixture
def unpredicted(copy, monkeypatch):
    """A trained run of many chunks without predictions, and the bytes that they should have."""
    monkeypatch.setattr(in_chunks, "PHOTOS_PER_CHUNK", 16)
    monkeypatch.setattr(in_chunks, "LOOK", 0.02)
    begin(copy)
    predict(Predict.of(run=copy.run, threads=1))
    copy.expected = (copy.run / "predictions.csv").read_bytes()
    begin(copy)
    return copy


def begin(copy):
    (copy.run / "predictions.csv").unlink(missing_ok=True)
    (copy.run / "done/predict.json").unlink(missing_ok=True)


def test_two_processes_give_the_bytes_of_one(unpredicted, monkeypatch, capfd):
    """This process predicts a chunk and then waits until the helping one has written another."""
    work, mine = over_photos.predict, []

    def waiting(*given):
        mine.append(1)
        until = time.monotonic() + 60
        while len(mine) == 2 and len(list(unpredicted.run.glob("chunks-*/*.json"))) < 2 and time.monotonic() < until:
            time.sleep(0.05)
        return work(*given)

    monkeypatch.setattr(over_photos, "predict", waiting)
    told = predict(Predict.of(run=unpredicted.run, threads=1, processes=2))
    assert len(mine) < 5
    assert (unpredicted.run / "predictions.csv").read_bytes() == unpredicted.expected
    assert told["photos"] == 70
    table = pd.read_csv(unpredicted.run / "predictions.csv")
    assert table["photo"].is_unique
    assert len(table) == 70
    out, err = capfd.readouterr()
    assert out.count("predict: 70 photos") == 1
    assert err == ""
    assert not list(unpredicted.run.glob("chunks-*"))
    assert not (unpredicted.run / work_order.FILE).exists()


def test_one_that_comes_later_helps_and_then_finds_them_standing(unpredicted, monkeypatch, capsys):
    work, counts, came = over_photos.predict, {}, threading.Event()

    def counted(*given):
        name = threading.current_thread().name
        if name == "first" and sum(counts.values()) == 1:
            came.wait(30)  # until the second has done something
        counts[name] = counts.get(name, 0) + 1
        if name == "second":
            came.set()
        return work(*given)

    def first():
        predict(Predict.of(run=unpredicted.run, threads=1))

    monkeypatch.setattr(over_photos, "predict", counted)
    one = threading.Thread(target=first, name="first")
    one.start()
    while not counts:
        came.wait(0.01)
    two = threading.Thread(target=first, name="second")
    two.start()
    one.join()
    two.join()
    assert sum(counts.values()) == 5
    assert counts.keys() == {"first", "second"}
    assert (unpredicted.run / "predictions.csv").read_bytes() == unpredicted.expected
    out = capsys.readouterr().out
    assert out.count("predict: helps other processes with 70 photos on cpu by torch") == 1
    assert out.count("predictions about 70 photos stand") == 1


def at_work(copy, how=None) -> WorkOrder:
    """An order as of others that are predicting."""
    order = WorkOrder("0" * 16, EngineSettings(**(how or {})).as_json(), "torch", "cpu", 16)
    order.write(copy.run)
    return order


def test_one_that_would_predict_otherwise_is_told(unpredicted):
    at_work(unpredicted, {"engine": "openvino"})
    with records.together(unpredicted.run) as others:
        others.share()
        for more, told in (({"engine": "torch"}, "engine openvino"), ({"engine": "openvino", "flip": True}, "flip no")):
            with pytest.raises(UserError, match=rf"another process is predicting in .* with --{told}; leave"):
                predict(Predict.of(run=unpredicted.run, threads=1, **more))
        with pytest.raises(UserError, match="by other networks, or other photos, than there are now"):
            predict(Predict.of(run=unpredicted.run, threads=1))
    assert not (unpredicted.run / "predictions.csv").exists()


def test_an_order_that_killed_processes_left_is_none(unpredicted):
    at_work(unpredicted, {"engine": "openvino"})
    predict(Predict.of(run=unpredicted.run, threads=1, engine="torch"))
    assert (unpredicted.run / "predictions.csv").read_bytes() == unpredicted.expected
    assert not (unpredicted.run / work_order.FILE).exists()


def test_an_order_that_others_left_meanwhile_is_none(unpredicted, monkeypatch):
    """Who comes finds others at work, who are gone when it has looked at what they do."""
    at_work(unpredicted, {"engine": "openvino"})
    held = records.together(unpredicted.run)
    held.__enter__().share()
    check = WorkOrder.check_same

    def leave(self, *given):
        held.__exit__(None, None, None)
        monkeypatch.setattr(WorkOrder, "check_same", check)
        check(self, *given)

    monkeypatch.setattr(WorkOrder, "check_same", leave)
    predict(Predict.of(run=unpredicted.run, threads=1, engine="torch"))
    assert (unpredicted.run / "predictions.csv").read_bytes() == unpredicted.expected


def test_who_finds_others_without_an_order_waits_for_one(unpredicted):
    """The first process was killed while it chose the engine, and others had come; one of them is the first now."""
    with records.together(unpredicted.run) as others:
        others.share()
        thread = threading.Thread(target=lambda: predict(Predict.of(run=unpredicted.run, threads=1)))
        thread.start()
        time.sleep(0.3)
        assert not (unpredicted.run / work_order.FILE).exists()
    thread.join(60)
    assert (unpredicted.run / "predictions.csv").read_bytes() == unpredicted.expected


def test_other_stages_wait_until_all_is_predicted(unpredicted, monkeypatch):
    """And go by what was predicted meanwhile."""
    made, waits = [], threading.Event()
    with records.together(unpredicted.run) as others:
        others.share()

        def calibrated():
            waits.set()
            calibrate(Calibrate.of(run=unpredicted.run, prior="0.4,0.3,0.3"))
            made.append(records.last(unpredicted.run, "calibrate").metrics["predictions"])

        thread = threading.Thread(target=calibrated)
        thread.start()
        assert waits.wait(20)
        time.sleep(0.3)
        assert made == []
        (unpredicted.run / "predictions.csv").write_bytes(unpredicted.expected)
    thread.join(60)
    assert made == [store.file_fingerprint(unpredicted.run / "predictions.csv")]


def test_two_folders_of_one_name_have_places_of_their_own_though_they_begin_together(unpredicted, monkeypatch):
    """The second looks for its place before the first has taken the name, and is let in after that."""
    folders = [Path("a/photos"), Path("b/photos")]
    for folder, first in zip(folders, (0, 5), strict=True):
        folder.mkdir(parents=True)
        for photo in sorted((unpredicted.data / "eval/images").iterdir())[first : first + 5]:
            shutil.copy(photo, folder)
    together, entered = records.together, []

    @contextmanager
    def late(place, *may):
        if not entered:
            entered.append(place)
            predict(Predict.of(run=unpredicted.run, threads=1, eval=folders[1]))
        with together(place, *may) as lock:
            yield lock

    monkeypatch.setattr(records, "together", late)
    predict(Predict.of(run=unpredicted.run, threads=1, eval=folders[0]))
    found = {
        store.read_json(place / "folder.json")["folder"]: set(pd.read_csv(place / "predictions.csv")["photo"])
        for place in unpredicted.run.glob("eval-photos*")
    }
    assert found == {str(folder.resolve()): {path.name for path in folder.iterdir()} for folder in folders}


@pytest.mark.parametrize(
    ("engine", "device", "told"),
    [
        ("torch", "cuda", "predict on cuda, and this machine would on cpu"),
        ("openvino-bfloat16", "cpu", "for which this processor has no instructions"),
    ],
)
def test_a_machine_of_another_kind_is_told(monkeypatch, engine, device, told):
    monkeypatch.setattr(work_order, "has_bfloat16", lambda: False)
    with pytest.raises(UserError, match=told):
        WorkOrder("", {}, engine, device, 16).check_machine("cpu")


def test_an_order_of_another_version_is_told(copy):
    store.write_json(copy.run / work_order.FILE, {"inputs": "", "more": 1})
    with pytest.raises(UserError, match=r"predicting\.json is of another version"):
        WorkOrder.read(copy.run)


def test_helping_processes_that_die_are_told_of_and_their_chunks_are_done(unpredicted, monkeypatch, capfd):
    monkeypatch.setattr("pipeline.stages.predict._help", die)
    predict(Predict.of(run=unpredicted.run, threads=1, processes=2))
    assert (unpredicted.run / "predictions.csv").read_bytes() == unpredicted.expected
    assert "1 of 1 helping processes ended early; the others did their work" in capfd.readouterr().err


def die(*_):
    os._exit(9)


def fail(*_):
    raise UserError("there is no room.")


def wait_forever(*_):
    threading.Event().wait()


def test_a_helping_process_tells_what_its_user_can_mend(capfd):
    with helpers.helped(1, fail):
        pass
    assert capfd.readouterr().err.startswith("face18: a helping process: there is no room.\n")


def test_helping_processes_end_with_a_failure(capfd):
    with pytest.raises(ZeroDivisionError), helpers.helped(1, wait_forever):
        _ = 1 / 0


HELPED = """
import sys, time
sys.path[:0] = {tests!r}
from pipeline.runtime.helpers import helped
from test_shared_prediction import note_and_wait

if __name__ == "__main__":
    with helped(2, note_and_wait, sys.argv[1]):
        print("begun", flush=True)
        time.sleep(60)
"""


def note_and_wait(folder):
    (Path(folder) / f"{os.getpid()}").write_text(os.environ.get(helpers.VISIBLE, ""))
    time.sleep(60)


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_helping_processes_end_with_theirs(tmp_path, sign):
    """Ctrl-C goes to all of them, as a terminal sends it; the others to the first alone."""
    script, seen = tmp_path / "helped.py", tmp_path / "seen"
    script.write_text(HELPED.format(tests=[str(ROOT), str(ROOT / "tests/stages")]))
    seen.mkdir()
    environment = os.environ | {helpers.VISIBLE: "4,6"}
    with subprocess.Popen(
        [sys.executable, script, seen], env=environment, start_new_session=True, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    ) as first:  # fmt: skip
        assert first.stdout.readline() == "begun\n"
        until = time.monotonic() + 60
        while len(list(seen.iterdir())) < 2 and time.monotonic() < until:
            time.sleep(0.05)
        (os.killpg if sign == signal.SIGINT else os.kill)(first.pid, sign)
        _, error = first.communicate(timeout=60)
    assert error.count("Traceback") == (sign == signal.SIGINT)  # Python's own, of the first process
    assert sorted(path.read_text() for path in seen.iterdir()) == ["4", "6"]
    for path in seen.iterdir():
        while is_alive(int(path.name)) and time.monotonic() < until:
            time.sleep(0.05)
        assert not is_alive(int(path.name))


def is_alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def test_each_helping_process_sees_one_gpu(monkeypatch):
    monkeypatch.setenv(helpers.VISIBLE, "3,5,7")
    assert helpers._gpus() == ["3", "5", "7"]
    monkeypatch.setenv(helpers.VISIBLE, "")
    assert helpers._gpus() == []


def test_the_plan_tells_of_the_processes(copy, capsys, monkeypatch):
    monkeypatch.setattr("joblib.cpu_count", lambda: 7)
    assert predict(Predict.of(run=copy.run, processes=3, plan=True))["threads"] == 2
    assert "2 threads in each of 3 processes" in capsys.readouterr().out
