"""Checkpoints of a training by several processes: the first one sees to the files, and all go on from the same."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from test_trainer import TESTS, run_until, trainer_of

from pipeline.training import checkpoints

ROOT = Path(__file__).parents[3]
PATIENCE = 120
"""Seconds until processes count as waiting for one another."""
SCRIPT = f"""
import json, os, sys, time
from pathlib import Path
sys.path[:0] = {TESTS!r}
import torch
import test_trainer as t
from models.errors import UserError
from pipeline.training import checkpoints
torch.set_num_threads(1)

def hold_up(where, name):
    call = getattr(where, name)
    setattr(where, name, lambda *given, **named: (time.sleep(1.5), call(*given, **named))[1])

if os.environ["RANK"] == "1":  # it removes and reads after the first one, if at all
    hold_up(Path, "unlink")
    hold_up(torch, "load")
told = {{}}
for name in ("damaged", "finished", "hopeless"):
    trainer = t.trainer_of("age", Path(sys.argv[1]) / name, batch_size=6, often=(1, 1e9))
    steps, train_step = [], trainer.train_step
    trainer.train_step = lambda *given: (steps.append(trainer.step), train_step(*given))
    try:
        trainer.run()
        told[name] = [steps, sum(value.double().sum().item() for value in t.weights_of(trainer).values())]
        if trainer.accelerator.is_main_process:
            checkpoints.clear(trainer.folder)  # as when a fold is finished
    except UserError as problem:
        told[name] = str(problem)
print(json.dumps(told), flush=True)
torch.distributed.destroy_process_group()  # without, torch now and then aborts as it ends
"""


def damage(path):
    path.write_bytes(path.read_bytes()[:-1])


def launched(script, folder):
    """Two processes of one training, as torchrun starts them; fails with what one says that fails."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "ACCELERATE_USE_CPU": "true"}
    shared |= {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    processes = [
        subprocess.Popen(
            [sys.executable, str(script), str(folder)],
            env=os.environ | shared | {"RANK": rank, "LOCAL_RANK": rank},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for rank in "01"
    ]  # fmt: skip
    until = time.monotonic() + PATIENCE
    try:
        while any(process.poll() is None for process in processes):
            assert time.monotonic() < until, "the processes wait for one another"
            for process in processes:
                assert process.poll() in (None, 0), process.stderr.read()[-3000:]
            time.sleep(0.1)
        return [process.communicate()[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.communicate()


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("two")


@pytest.fixture(scope="module")
def told(home):
    """What two processes tell of three trainings: steps and weights, or a mistake; the second looks up later."""
    run_until(trainer_of("age", home / "damaged", batch_size=6, often=(1, 1e9)), 4)
    shutil.copytree(home / "damaged", home / "hopeless")
    trainer_of("age", home / "finished", batch_size=6).run()
    before, newest = checkpoints.found(home / "damaged")
    assert (before.name[:13], newest.name[:13]) == ("resume-000003", "resume-000004")
    for path in [newest, *checkpoints.found(home / "hopeless")]:
        damage(path)
    (home / "two.py").write_text(SCRIPT)
    return [out.splitlines() for out in launched(home / "two.py", home)]


def of(told, name):
    first, second = (json.loads(lines[-1])[name] for lines in told)
    return first, second


def test_one_process_removes_what_is_damaged_and_both_go_on_from_the_same(told):
    first, second = of(told, "damaged")
    assert first == second
    assert first[0] == list(range(3, 8))
    assert [sum("is damaged and is passed over" in line for line in lines) for lines in told] == [1, 0]


def test_a_finished_training_keeps_its_checkpoint_until_both_have_read_it(home, told):
    first, second = of(told, "finished")
    assert first == second
    assert first[0] == []
    assert checkpoints.found(home / "finished") == []


def test_both_say_that_every_checkpoint_is_damaged(told):
    first, second = of(told, "hopeless")
    assert first == second
    assert "is damaged and so is every checkpoint before it; start again with --restart" in first
