"""One network's training: order, schedule, averaging, resuming, memory, and honest figures."""

import copy
import io
import itertools
import multiprocessing
import os
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from timm.optim import muon as timms_muon

from models import backbone
from models.cpu import faster
from models.errors import UserError
from models.tasks import build_task
from pipeline.prediction.engines import logits_of
from pipeline.run.presets import PRESETS
from pipeline.runtime import store
from pipeline.runtime.machine import Plan
from pipeline.runtime.stopping import StoppedError
from pipeline.scoring.metrics import macro_f1
from pipeline.training import checkpoints, evaluation, fitted, muon
from pipeline.training import trainer as training
from pipeline.training.data import TrainingData
from pipeline.training.epoch_line import epoch_line
from pipeline.training.schedule import learning_rate
from pipeline.training.trainer import Trainer

ROOT = Path(__file__).parents[3]
TESTS = [str(folder) for folder in Path(__file__).parents[:2]]
SIZE = (64, 48)
NETWORKS = {
    "mask": ("test_efficientnet", {}),
    "gender": (
        "swin_tiny_patch4_window7_224",
        {"embed_dim": 32, "depths": [1, 1, 2, 1], "num_heads": [1, 2, 4, 8], "window_size": 4},
    ),
    "age": ("test_convnext", {}),
}
PLANS = {
    "mask": Plan("cpu", "float32", True, 1, 0, muon_precision="float32"),
    "gender": Plan("cpu", "float32", False, 1, 0, muon_precision="float32"),
    "age": Plan("cpu", "float32", False, 1, 0, muon_precision="float32"),
}
PHOTOS = 24
PIXELS = np.random.default_rng(0).integers(0, 256, (PHOTOS + 10, *SIZE, 3), np.uint8)


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def settings_of(task, **given):
    name, options = NETWORKS[task]
    tiny = {
        "backbone": name,
        "backbone_options": options,
        "height": SIZE[0],
        "width": SIZE[1],
        "batch_size": 7,
        "epochs": 2,
    }
    return PRESETS["small"][task] | tiny | given


def part_of(task):
    """24 train photos between 8 held out and 2 without a label."""
    stream = np.random.default_rng(1)
    targets = {
        "mask": stream.permutation(np.arange(PHOTOS + 10) % 3),
        "gender": stream.permutation(np.arange(PHOTOS + 10) % 2),
        "age": stream.integers(18, 80, PHOTOS + 10),
    }[task].astype(np.float32)
    rows = stream.permutation(PHOTOS + 10)
    targets[rows[-2:]] = np.nan
    train = np.sort(rows[:PHOTOS])
    return TrainingData(PIXELS, targets, train, np.sort(rows[PHOTOS:-2]), train[::3])


def trainer_of(task, folder, *, plan=None, seed=0, often=training.CHECKPOINTS, **given):
    made = settings_of(task, **given)
    one = build_task(task, made)
    torch.manual_seed(seed)
    network = backbone.build(made, one.num_logits)
    return Trainer(one, network, part_of(task), made, plan or PLANS[task], folder, f"{task} fold 0", often)


def last_step(folder):
    return checkpoints.load(checkpoints.newest(folder, print))["step"]


def weights_of(trainer):
    return {name: value.clone() for name, value in trainer.averaged.state_dict().items()}


def same(one, other):
    assert one.keys() == other.keys()
    return all(torch.equal(value, other[name]) for name, value in one.items())


# ------------------------------------------------------------------------------------------ rate, rows and optimizer


def test_the_rate_and_its_layers_reach_the_optimizer(tmp_path):
    trainer = trainer_of("gender", tmp_path, layer_decay=0.5, lr=0.01, epochs=3)
    used = []
    step = trainer.optimizer.step
    trainer.optimizer.step = lambda: (used.append([g["lr"] for g in trainer.optimizer.param_groups]), step())
    trainer.run()
    scales = [group["lr_scale"] for group in trainer.optimizer.param_groups]
    assert min(scales) < 0.5 < max(scales) == 1
    expected = [[0.01 * learning_rate(i, 9, 0.1) * scale for scale in scales] for i in range(9)]
    np.testing.assert_allclose(used, expected)


@pytest.mark.parametrize(
    ("given", "period"), [({"schedule": "step", "period": 1.0, "gamma": 0.5}, 3), ({"schedule": "constant"}, 0)]
)
def test_the_schedule_reaches_the_optimizer_with_its_period_in_epochs(tmp_path, given, period):
    trainer, used = trainer_of("age", tmp_path, lr=0.01, epochs=3, warmup=0.0, **given), []
    step = trainer.optimizer.step
    trainer.optimizer.step = lambda: (used.append(trainer.optimizer.param_groups[0]["lr"]), step())
    trainer.run()
    expected = [0.01 * learning_rate(i, 9, 0.0, given["schedule"], period, 0.5) for i in range(9)]
    np.testing.assert_allclose(used, expected)
    assert len(set(used)) == (3 if period else 1)


def seen_by(trainer):
    """The classes of the photos of each step, after a run."""
    steps, train_step = [], trainer.train_step
    targets = trainer.data.targets
    trainer.train_step = lambda pixels, rows: (steps.append(targets[rows.numpy()]), train_step(pixels, rows))
    trainer.run()
    return trainer.task.true_class(np.concatenate(steps)).reshape(len(steps), -1)


def test_balanced_epochs_hold_every_class_equally_often(tmp_path):
    part = part_of("age")
    counts = np.bincount(build_task("age", settings_of("age")).true_class(part.targets[part.train]))
    assert len(counts) == 3
    assert len(set(counts.tolist())) > 1
    classes = seen_by(trainer_of("age", tmp_path, sampling="balanced", batch_size=8))
    assert classes.shape == (6, 8)
    for epoch in (classes[:3], classes[3:]):
        assert np.bincount(epoch.ravel()).tolist() == [8, 8, 8]


def test_balanced_wins_over_undersampling(tmp_path):
    mask = trainer_of("mask", tmp_path, sampling="balanced", undersample=0.5, batch_size=8)
    assert len(mask.rows_of_epoch(0)) == PHOTOS
    assert len(trainer_of("mask", tmp_path, undersample=0.5, batch_size=8).rows_of_epoch(0)) < PHOTOS


@pytest.mark.parametrize("layer_decay", [1.0, 0.7])
@pytest.mark.parametrize("task", NETWORKS)
def test_norms_and_biases_do_not_decay(tmp_path, task, layer_decay):
    trainer = trainer_of(task, tmp_path, weight_decay=0.3, layer_decay=layer_decay)
    names = {id(p): name for name, p in trainer.network.named_parameters()}
    decays = {names[id(p)]: group["weight_decay"] for group in trainer.optimizer.param_groups for p in group["params"]}
    assert decays.keys() == {name for name, p in trainer.network.named_parameters() if p.requires_grad}
    for name, parameter in trainer.network.named_parameters():
        bare = parameter.ndim <= 1 or name.endswith("bias") or "relative_position_bias_table" in name
        assert decays[name] == (0 if bare else 0.3), name


@pytest.mark.parametrize("name", ["adamw", "adam", "radam"])
def test_the_optimizer_is_the_one_named(tmp_path, name):
    """One step on the same gradients as PyTorch's own."""
    trainer = trainer_of("age", tmp_path, optimizer=name, lr=0.01, weight_decay=0.0)
    own = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam, "radam": torch.optim.RAdam}[name]
    parameters = list(trainer.network.parameters())
    twins = [p.detach().clone().requires_grad_() for p in parameters]
    reference = own(twins, lr=0.01, weight_decay=0.0)
    assert all(bool(group.get("fused")) is (name != "radam") for group in trainer.optimizer.param_groups)
    for _ in range(2):
        for group in trainer.optimizer.param_groups:
            group["lr"] = 0.01
        for p, twin in zip(parameters, twins, strict=True):
            p.grad = torch.randn_like(p)
            twin.grad = p.grad.clone()
        trainer.optimizer.step()
        reference.step()
    for p, twin in zip(parameters, twins, strict=True):
        torch.testing.assert_close(p, twin)


def test_a_fused_step_of_channels_last_is_the_plain_one(tmp_path):
    """The gradients are those of a real step; fused, others than autograd's layout would be misread."""
    trainer = trainer_of("mask", tmp_path, optimizer="adamw", lr=0.01)
    twin = copy.deepcopy(trainer.network)
    reference = torch.optim.AdamW(twin.parameters(), lr=0.01, weight_decay=0.0)
    for group in trainer.optimizer.param_groups:
        group.update(lr=0.01, weight_decay=0.0)
    for _ in range(3):
        trainer.gradients(torch.from_numpy(PIXELS[:7]), torch.arange(7))
        for weights, other in zip(trainer.network.parameters(), twin.parameters(), strict=True):
            other.grad = weights.grad.clone()
        trainer.optimizer.step()
        reference.step()
        trainer.optimizer.zero_grad()
    assert any(p.ndim == 4 and not p.is_contiguous() for p in trainer.network.parameters())
    for weights, other in zip(trainer.network.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(weights, other)


def test_muon_steps_are_orthogonal(tmp_path):
    """The step of a matrix has singular values near 1, times the rate and 0.2 sqrt(its longer side)."""
    trainer = trainer_of("gender", tmp_path, optimizer="muon", weight_decay=0.0)
    weight = trainer.network.get_parameter("backbone.layers.2.blocks.0.mlp.fc1.weight")
    before = weight.detach().clone()
    for group in trainer.optimizer.param_groups:
        group["lr"] = 0.01
    for p in trainer.network.parameters():
        p.grad = torch.randn_like(p)
    with muon.products_in("float32"):
        trainer.optimizer.step()
    sizes = torch.linalg.svdvals((before - weight).detach()) / (0.01 * 0.2 * max(weight.shape) ** 0.5)
    assert len(sizes) > 50
    assert sizes.min() > 0.6
    assert sizes.max() < 1.3


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_muons_products_are_in_the_plans_precision(tmp_path, monkeypatch, precision):
    seen, usual = set(), timms_muon.zeropower_via_newtonschulz

    def spy(*given, dtype, **more):
        seen.add(dtype)
        return usual(*given, dtype=dtype, **more)

    monkeypatch.setattr(timms_muon, "zeropower_via_newtonschulz", spy)
    trainer_of(
        "mask", tmp_path, optimizer="muon", plan=replace(PLANS["mask"], muon_precision=precision), epochs=1
    ).run()
    assert seen == {getattr(torch, precision)}


# ------------------------------------------------------------------------------------------------- averaged weights


def test_the_averaged_weights_are_a_recursion_in_float64(tmp_path):
    trainer = trainer_of("mask", tmp_path, epochs=4)
    mine, update = {}, trainer.average.update
    decay = 0.5 ** (1 / max(1, 0.05 * trainer.steps))

    def follow(network, step):
        update(network, step)
        for name, value in network.state_dict().items():
            value = value.double()
            mine[name] = value.clone() if name not in mine else decay * mine[name] + (1 - decay) * value

    trainer.average.update = follow
    trainer.run()
    assert trainer.step == trainer.steps == 12
    averaged = trainer.averaged.state_dict()
    assert any(name.endswith("running_mean") for name in averaged)
    for name, value in averaged.items():
        if value.is_floating_point():
            torch.testing.assert_close(value.double(), mine[name], rtol=1e-4, atol=1e-6, msg=name)
    assert any(not torch.equal(value, averaged[name]) for name, value in trainer.network.state_dict().items())


def test_what_is_judged_is_what_is_saved(tmp_path):
    trainer = trainer_of("gender", tmp_path)
    trainer.run()
    fresh = trainer_of("gender", tmp_path / "fresh").averaged
    fresh.load_state_dict(weights_of(trainer))
    buffers = dict(fresh.named_buffers())
    assert any(name.endswith("relative_position_index") for name in buffers)
    for name, value in trainer.averaged.named_buffers():
        assert torch.equal(value, buffers[name]), name


def test_synchronised_normalisation_keeps_timms_activations():
    """As several GPUs train; in evaluation it runs on a CPU too."""
    network = backbone.build(settings_of("mask"), 3).eval()
    photos = torch.from_numpy(PIXELS[:4]).permute(0, 3, 1, 2)
    with torch.no_grad():
        expected = network(photos)
        converted = fitted.convert_sync_batchnorm(copy.deepcopy(network)).eval()
        assert any(isinstance(layer, torch.nn.SyncBatchNorm) for layer in converted.modules())
        torch.testing.assert_close(converted(photos), expected)


def test_half_the_average_is_younger_than_a_twentieth_of_the_run(tmp_path):
    trainer = trainer_of("mask", tmp_path, epochs=100)
    assert trainer.steps == 300
    with torch.no_grad():
        for parameter in trainer.network.parameters():
            parameter.zero_()
        trainer.average.update(trainer.network, 1)
        for parameter in trainer.network.parameters():
            parameter.fill_(1.0)
        for step in range(15):
            trainer.average.update(trainer.network, step + 2)
    for parameter in trainer.averaged.parameters():
        torch.testing.assert_close(parameter, torch.full_like(parameter, 0.5), rtol=1e-4, atol=0)


# -------------------------------------------------------------------------------------- the same bytes, interrupted


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """An uninterrupted run of each specialist."""
    made = {}
    for task in NETWORKS:
        folder = tmp_path_factory.mktemp(task)
        trainer = trainer_of(task, folder)
        log = trainer.run()
        made[task] = trainer, weights_of(trainer), log, folder
    return made


def plain(log):
    return log.drop(columns="seconds")


def test_training_does_something(whole):
    for task, (_, weights, _, folder) in whole.items():
        new = trainer_of(task, folder / "new").averaged.state_dict()
        assert not same(weights, new)


@pytest.mark.parametrize("after", [2, 5])
@pytest.mark.parametrize("task", NETWORKS)
def test_an_interrupted_run_ends_with_the_same_bytes(whole, tmp_path, task, after):
    """After 2 steps: within the first epoch of 3; after 5: within the second."""
    trainer = trainer_of(task, tmp_path, often=(0, -1.0))
    train_step, calls = trainer.train_step, itertools.count()

    def stop(*given):
        if next(calls) == after:
            raise KeyboardInterrupt
        train_step(*given)

    trainer.train_step = stop
    with pytest.raises(KeyboardInterrupt):
        trainer.run()
    resumed = trainer_of(task, tmp_path, seed=99)  # the checkpoint's weights count, not these
    torch.manual_seed(1234)
    steps, resumed_step = [], resumed.train_step
    resumed.train_step = lambda *given: (steps.append(resumed.step), resumed_step(*given))
    log = resumed.run()
    assert steps == list(range(after, 6))
    assert same(weights_of(resumed), whole[task][1])
    pd.testing.assert_frame_equal(plain(log), plain(whole[task][2]), check_exact=True)
    written = [pd.read_csv(folder / "log.csv") for folder in (tmp_path, whole[task][3])]
    pd.testing.assert_frame_equal(plain(written[0]), plain(written[1]), check_exact=True)


def test_with_dropped_paths_and_a_fused_optimizer_too(tmp_path):
    given = {"optimizer": "adamw", "lr": 1e-3, "drop_path": 0.5}
    through = trainer_of("gender", tmp_path / "through", **given)
    through.run()
    run_until(trainer_of("gender", tmp_path / "halted", often=(1, 1e9), **given), 4)
    resumed = trainer_of("gender", tmp_path / "halted", seed=99, **given)
    resumed.run()
    assert same(weights_of(resumed), weights_of(through))
    assert not same(weights_of(through), weights_of(trainer_of("gender", tmp_path / "new", **given)))


def test_a_run_interrupted_after_its_last_step_trains_no_more(whole, capsys):
    _, weights, log, folder = whole["mask"]
    again = trainer_of("mask", folder, seed=5)
    again.train_step = lambda *_: pytest.fail("trained on")
    pd.testing.assert_frame_equal(again.run(), log)
    assert same(weights_of(again), weights)
    assert "goes on at step 6 of 6" in capsys.readouterr().out


def test_a_run_killed_between_its_last_checkpoint_and_its_log_has_the_whole_log(whole, tmp_path, monkeypatch):
    trainer = trainer_of("mask", tmp_path)
    write, calls = store.write_csv, itertools.count()

    def stop(path, table):
        if next(calls) == 1:
            raise KeyboardInterrupt
        write(path, table)

    monkeypatch.setattr(store, "write_csv", stop)
    with pytest.raises(KeyboardInterrupt):
        trainer.run()
    assert len(pd.read_csv(tmp_path / "log.csv")) == 1
    trainer_of("mask", tmp_path).run()
    written = [plain(pd.read_csv(folder / "log.csv")) for folder in (tmp_path, whole["mask"][3])]
    pd.testing.assert_frame_equal(*written, check_exact=True)


def test_a_checkpoint_of_another_network_is_named(whole, tmp_path):
    *_, other = checkpoints.found(whole["age"][3])
    shutil.copy(other, tmp_path)
    with pytest.raises(UserError, match=r"the checkpoint in .* is of another network .*--restart"):
        trainer_of("mask", tmp_path).run()


def test_a_damaged_checkpoint_falls_back_to_the_one_before(whole, tmp_path, capsys):
    trainer = trainer_of("mask", tmp_path, often=(2, 1e9))
    trainer.run()
    before, newest = checkpoints.found(tmp_path)
    newest.write_bytes(newest.read_bytes()[:-1] + b"x")
    again = trainer_of("mask", tmp_path, seed=99)
    assert again.step == 0
    pd.testing.assert_frame_equal(plain(again.run()), plain(whole["mask"][2]), check_exact=True)
    assert same(weights_of(again), whole["mask"][1])
    told = capsys.readouterr().out
    assert f"{newest} is damaged and is passed over" in told
    assert "goes on at step 4 of 6" in told
    assert store.is_whole(checkpoints.found(tmp_path)[-1])
    before.unlink(missing_ok=True)
    for path in checkpoints.found(tmp_path):
        path.write_bytes(b"")
    with pytest.raises(UserError, match=r"is damaged and so is every checkpoint before it; start again with --restart"):
        trainer_of("mask", tmp_path).run()


def test_checkpoints_come_by_steps_and_by_time_and_two_are_kept(tmp_path, monkeypatch):
    kept, save = [], checkpoints.save

    def note(folder, step, state):
        save(folder, step, state)
        kept.append((step, checkpoints.found(folder)))

    monkeypatch.setattr(checkpoints, "save", note)
    trainer_of("mask", tmp_path / "a", often=(2, 1e9)).run()
    assert [step for step, _ in kept] == [2, 3, 4, 6]  # 3 and 6 end epochs
    assert [len(paths) for _, paths in kept] == [1, 2, 2, 2]
    assert [path.name.split("-")[1] for path in kept[-1][1]] == ["000004", "000006"]
    kept.clear()
    trainer_of("mask", tmp_path / "b", often=(0, -1.0)).run()
    assert [step for step, _ in kept] == [1, 2, 3, 4, 5, 6]
    kept.clear()
    trainer_of("mask", tmp_path / "c").run()
    assert [step for step, _ in kept] == [3, 6]


def test_the_seconds_of_an_epoch_outlast_an_interruption(tmp_path, monkeypatch):
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(training.time, "monotonic", lambda: clock.now)

    def run(seconds, stop):
        trainer = trainer_of("mask", tmp_path, often=(1, 1e9))
        train_step, calls = trainer.train_step, itertools.count()

        def step(*given):
            if next(calls) == stop:
                raise KeyboardInterrupt
            train_step(*given)
            clock.now += seconds

        trainer.train_step = step
        return trainer.run()

    with pytest.raises(KeyboardInterrupt):
        run(10.0, stop=4)  # in the second epoch of three steps
    clock.now += 1000
    assert run(1.0, stop=None)["seconds"].tolist() == [30.0, 10.0 + 1.0 + 1.0]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_after_the_step_with_a_checkpoint(whole, tmp_path, number):
    trainer = trainer_of("mask", tmp_path)
    train_step, calls = trainer.train_step, itertools.count()

    def ask(*given):
        if next(calls) == 1:
            os.kill(os.getpid(), number)  # in the middle of the second step
        train_step(*given)

    trainer.train_step = ask
    handlers = [signal.getsignal(s) for s in (signal.SIGTERM, signal.SIGINT)]
    with pytest.raises(
        StoppedError, match=rf"mask fold 0: stopped by {number.name} at step 2 of 6; the same command"
    ) as stop:
        trainer.run()
    assert stop.value.number == number
    assert [signal.getsignal(s) for s in (signal.SIGTERM, signal.SIGINT)] == handlers
    resumed = trainer_of("mask", tmp_path, seed=99)
    log = resumed.run()
    assert same(weights_of(resumed), whole["mask"][1])
    pd.testing.assert_frame_equal(plain(log), plain(whole["mask"][2]), check_exact=True)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_the_loaders_too_stops_with_a_checkpoint(tmp_path, number):
    """`timeout` and Ctrl-C signal every process of the group."""
    trainer = trainer_of("mask", tmp_path, plan=replace(PLANS["mask"], workers=2), epochs=40)
    train_step, calls = trainer.train_step, itertools.count()
    before = set(multiprocessing.active_children())

    def ask(*given):
        if next(calls) == 4:
            for process in set(multiprocessing.active_children()) - before:
                os.kill(process.pid, number)
            os.kill(os.getpid(), number)
        train_step(*given)

    trainer.train_step = ask
    with pytest.raises(StoppedError, match=f"stopped by {number.name} at step 5 of"):
        trainer.run()
    assert last_step(tmp_path) == 5


def test_after_a_restart_the_way_on_is_without_it(tmp_path):
    trainer = trainer_of("mask", tmp_path)
    trainer.again = "the same command without --restart"
    trainer.train_step = lambda *_: os.kill(os.getpid(), signal.SIGTERM)
    with pytest.raises(StoppedError, match="; the same command without --restart goes on there"):
        trainer.run()


def test_one_photo_cannot_be_normalised(tmp_path):
    trainer = trainer_of("mask", tmp_path, batch_size=1)

    trainer.train_step = lambda *_: torch.nn.BatchNorm2d(8)(torch.zeros(1, 8, 1, 1))  # what torch says then
    with pytest.raises(UserError, match=r"give a larger --batch-size"):
        trainer.run()


def test_a_large_seed(tmp_path):
    trainer = trainer_of("mask", tmp_path, epochs=1)
    trainer.settings = trainer.settings | {"seed": 10**15}
    assert len(trainer.run()) == 1


@pytest.mark.parametrize("fault", [OSError(28, "full"), RuntimeError("full")])
def test_what_goes_wrong_within_a_checkpoint_is_told_as_it_is(tmp_path, monkeypatch, fault):
    class File(io.FileIO):
        def write(self, content) -> int:
            if self.tell() > 1000:
                raise fault
            return super().write(content)

    monkeypatch.setattr(checkpoints.Path, "open", lambda path, mode: File(path, mode))
    with pytest.raises(type(fault), match="full"):
        checkpoints.save(tmp_path, 7, {"weights": torch.zeros(10_000)})
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_checkpoint_leaves_the_last_one(whole, tmp_path, monkeypatch):
    (path,) = checkpoints.found(whole["mask"][3])[-1:]
    shutil.copy(path, tmp_path)
    trainer = trainer_of("mask", tmp_path)

    def half(_, file):
        file.write(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(torch, "save", half)
    with pytest.raises(KeyboardInterrupt):
        trainer.save()
    assert os.listdir(tmp_path) == [path.name]
    assert (tmp_path / path.name).read_bytes() == path.read_bytes()


@pytest.mark.parametrize("workers", [1, 3])
def test_loader_workers_change_no_byte(whole, tmp_path, workers):
    trainer = trainer_of("mask", tmp_path, plan=replace(PLANS["mask"], workers=workers))
    log = trainer.run()
    assert same(weights_of(trainer), whole["mask"][1])
    pd.testing.assert_frame_equal(plain(log), plain(whole["mask"][2]), check_exact=True)


@pytest.fixture
def start_method(request):
    """How loader processes begin, for one test: fork, or as Python 3.14 has it."""
    before = multiprocessing.get_start_method(allow_none=True)
    multiprocessing.set_start_method(request.param, force=True)
    yield
    multiprocessing.set_start_method(before, force=True)


@pytest.mark.parametrize("start_method", ["fork", "forkserver"], indirect=True)
def test_however_loader_processes_begin_the_bytes_are_the_same(whole, tmp_path, start_method):
    trainer = trainer_of("mask", tmp_path, plan=replace(PLANS["mask"], workers=1))
    np.save(tmp_path / "pixels.npy", PIXELS)
    trainer.data = replace(trainer.data, pixels=np.load(tmp_path / "pixels.npy", mmap_mode="r"))
    log = trainer.run()
    assert same(weights_of(trainer), whole["mask"][1])
    pd.testing.assert_frame_equal(plain(log), plain(whole["mask"][2]), check_exact=True)


def test_dropout_follows_from_seed_and_step(tmp_path):
    made = [trainer_of("age", tmp_path / str(i), dropout=0.5, drop_path=0.2, epochs=1) for i in range(2)]
    for junk, trainer in enumerate(made):
        torch.manual_seed(junk)
        trainer.run()
    assert same(*(weights_of(trainer) for trainer in made))


def test_another_seed_trains_otherwise(whole, tmp_path):
    trainer = trainer_of("mask", tmp_path)
    trainer.settings |= {"seed": 1}
    trainer.run()
    assert not same(weights_of(trainer), whole["mask"][1])


# ------------------------------------------------------------------------------------------------ parts of an epoch


def run_until(trainer, after):
    """A run that is interrupted when so many steps are done."""
    train_step, calls = trainer.train_step, itertools.count()

    def stop(*given):
        if next(calls) == after:
            raise KeyboardInterrupt
        train_step(*given)

    trainer.train_step = stop
    with pytest.raises(KeyboardInterrupt):
        trainer.run()


def test_half_an_epoch_is_trained_and_judged_at_its_end(tmp_path, capsys):
    trainer, each = trainer_of("age", tmp_path, batch_size=6, epochs=1.5), []
    gradients = trainer.gradients
    trainer.gradients = lambda *given: (each.append(gradients(*given)), each[-1])[1]
    log = trainer.run()
    assert (trainer.steps_per_epoch, trainer.steps, trainer.step) == (4, 6, 6)
    assert log["epoch"].tolist() == [1, 1.5]
    means = [torch.stack(part).double().mean().item() for part in (each[:4], each[4:])]
    np.testing.assert_allclose(log["train_loss"], means, rtol=1e-5)
    assert "epoch 1.5/1.5  loss" in capsys.readouterr().out


@pytest.mark.parametrize("after", [3, 5])
def test_a_run_that_ends_within_an_epoch_may_be_interrupted(tmp_path, after):
    given = {"batch_size": 6, "epochs": 1.5, "often": (1, 1e9)}
    trainer = trainer_of("age", tmp_path / "whole", **given)
    log = trainer.run()
    run_until(trainer_of("age", tmp_path / "resumed", **given), after)
    resumed = trainer_of("age", tmp_path / "resumed", seed=9, **given)
    pd.testing.assert_frame_equal(plain(resumed.run()), plain(log), check_exact=True)
    assert same(weights_of(resumed), weights_of(trainer))


def test_whole_epochs_given_as_a_fraction_are_the_same_training(whole, tmp_path):
    trainer = trainer_of("mask", tmp_path, epochs=2.0)
    pd.testing.assert_frame_equal(plain(trainer.run()), plain(whole["mask"][2]), check_exact=True)
    assert same(weights_of(trainer), whole["mask"][1])
    written = [plain(pd.read_csv(folder / "log.csv")) for folder in (tmp_path, whole["mask"][3])]
    pd.testing.assert_frame_equal(*written, check_exact=True)


# --------------------------------------------------------------------------------------------------- early stopping

SCORES = [0.3, 0.5, 0.4, 0.5, 0.9, 0.9]
"""By epoch: the second is the best, and after two more without a better one patience 2 runs out."""


def impatient(folder, seed=0, **given):
    """A training whose validation scores are SCORES; and the averaged weights at the end of each epoch."""
    trainer = trainer_of("mask", folder, epochs=6, patience=2, seed=seed, often=(0, -1.0), **given)
    judge, ends = trainer.evaluate, {}

    def judged():
        epoch = trainer.step // trainer.steps_per_epoch
        ends[epoch] = weights_of(trainer)
        return judge() | {"macro_f1": SCORES[epoch - 1]}

    trainer.evaluate = judged
    return trainer, ends


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stopped")
    trainer, ends = impatient(folder)
    return SimpleNamespace(trainer=trainer, ends=ends, folder=folder, log=trainer.run())


def test_patience_ends_a_run_and_the_best_epoch_is_the_model(stopped):
    trainer = stopped.trainer
    assert trainer.step == 4 * trainer.steps_per_epoch < trainer.steps
    assert stopped.log["macro_f1"].tolist() == SCORES[:4]
    assert trainer.row["epoch"] == 2
    assert same(weights_of(trainer), stopped.ends[2])
    assert not same(weights_of(trainer), stopped.ends[4])
    assert stopped.log["optimistic"].tolist() == [True] * 4
    assert pd.read_csv(stopped.folder / "log.csv")["optimistic"].tolist() == [True] * 4


def test_what_early_stopping_prints_is_marked(tmp_path, capsys):
    impatient(tmp_path)[0].run()
    told = capsys.readouterr().out.splitlines()
    scores = [line for line in told if "macro-F1 0." in line]
    assert len(scores) == 4
    assert all("(optimistic: it chose the epoch)" in line for line in scores)
    assert "mask fold 0: stops early: no better macro-F1 in 2 epochs" in told
    assert told[-1] == "mask fold 0: the weights of epoch 2 are the model (optimistic: it chose the epoch)"


@pytest.mark.parametrize("after", [4, 5, 8, 11])
def test_a_run_that_stops_early_may_be_interrupted_anywhere(stopped, tmp_path, after):
    """Before the best epoch's end, and one and two epochs after it: the checkpoint carries that epoch's weights."""
    run_until(impatient(tmp_path)[0], after)
    resumed, _ = impatient(tmp_path, seed=99)
    log = resumed.run()
    assert same(weights_of(resumed), weights_of(stopped.trainer))
    assert resumed.row["epoch"] == 2
    pd.testing.assert_frame_equal(plain(log), plain(stopped.log), check_exact=True)
    written = [plain(pd.read_csv(folder / "log.csv")) for folder in (tmp_path, stopped.folder)]
    pd.testing.assert_frame_equal(*written, check_exact=True)


def test_a_run_that_stopped_early_trains_no_more(stopped):
    again, _ = impatient(stopped.folder, seed=5)
    again.train_step = lambda *_: pytest.fail("trained on")
    pd.testing.assert_frame_equal(again.run(), stopped.log)
    assert same(weights_of(again), stopped.ends[2])
    assert again.row["epoch"] == 2


def test_patience_that_never_runs_out_still_keeps_the_best_epoch(tmp_path):
    trainer, ends = impatient(tmp_path)
    trainer.early.patience = 4
    trainer.run()
    assert trainer.step == trainer.steps
    assert trainer.row["epoch"] == 5  # the first of two that are as good
    assert same(weights_of(trainer), ends[5])


def test_without_patience_nothing_is_marked_and_the_last_epoch_is_the_model(whole):
    trainer, _, log, _ = whole["mask"]
    assert "optimistic" not in log
    assert trainer.row == trainer.log[-1]
    assert trainer.early.best is None


def test_patience_changes_nothing_until_it_runs_out(whole, tmp_path):
    trainer = trainer_of("mask", tmp_path, patience=5)
    log = trainer.run()
    pd.testing.assert_frame_equal(plain(log).drop(columns="optimistic"), plain(whole["mask"][2]), check_exact=True)


# -------------------------------------------------------------------------------------------------- what is logged


@pytest.mark.parametrize("task", NETWORKS)
def test_the_log_judges_the_averaged_weights_on_exactly_the_held_out_photos(whole, task):
    trainer, _, log, folder = whole[task]
    part, one = part_of(task), trainer.task
    assert log["epoch"].tolist() == [1, 2]
    last = log.iloc[-1]
    metrics = {}
    for name, rows in (("validation", part.validation), ("check", part.check)):
        logits = logits_of(trainer.averaged, PIXELS, rows, PLANS[task])
        assert len(logits) == len(rows)
        targets = torch.from_numpy(part.targets[rows])
        predictions = one.predict(logits).numpy()
        truth, classes = one.true_class(targets.numpy()), one.predicted_class(predictions)
        metrics[name] = macro_f1(truth, classes)
        if name == "validation":
            assert last["accuracy"] == pytest.approx((truth == classes).mean())
            assert last["validation_loss"] == pytest.approx(one.loss(logits, targets, torch.ones(len(rows))).item())
            if task == "age":
                assert last["mean_absolute_error"] == pytest.approx(np.abs(predictions[:, 0] - targets.numpy()).mean())
    assert last["macro_f1"] == pytest.approx(metrics["validation"])
    assert last["train_macro_f1"] == pytest.approx(metrics["check"])
    assert last["gap"] == pytest.approx(metrics["check"] - metrics["validation"])
    assert ("mean_absolute_error" in log) == (task == "age")
    columns = {"epoch", "train_loss", "validation_loss", "accuracy", "macro_f1", "train_macro_f1", "gap", "seconds"}
    assert set(log.columns) - {"mean_absolute_error"} == columns
    pd.testing.assert_frame_equal(pd.read_csv(folder / "log.csv"), log, rtol=1e-8, check_dtype=False)


def test_marks_stand_in_the_lines_and_the_log(whole, tmp_path, capsys):
    made = settings_of("mask")
    one = build_task("mask", made)
    torch.manual_seed(0)
    network = backbone.build(made, one.num_logits)
    capsys.readouterr()
    trainer = Trainer(one, network, part_of("mask"), made, PLANS["mask"], tmp_path, "mask fold 0", caveats=("leaky",))
    log = trainer.run()
    lines = [line for line in capsys.readouterr().out.splitlines() if "macro-F1" in line]
    assert len(lines) == 2
    assert all(re.search(r"macro-F1 \d\.\d{3} \(leaky\)  gap", line) for line in lines)
    assert log["leaky"].tolist() == [True, True]
    assert pd.read_csv(tmp_path / "log.csv")["leaky"].tolist() == [True, True]
    # Nothing else changes, and where there are no marks no word of them appears.
    pd.testing.assert_frame_equal(plain(log).drop(columns="leaky"), plain(whole["mask"][2]), check_exact=True)
    assert "leaky" not in epoch_line(whole["mask"][2].iloc[-1].to_dict(), 2)


def test_judging_sees_photos_as_they_are_and_only_those_of_its_rows(tmp_path, monkeypatch):
    trainer, part, seen = trainer_of("mask", tmp_path), part_of("mask"), []
    monkeypatch.setattr(
        evaluation,
        "logits_of",
        lambda network, pixels, rows, plan: (
            seen.append((network, pixels, rows)),
            logits_of(network, pixels, rows, plan),
        )[1],
    )
    trainer.evaluate()
    assert all(network is trainer.averaged for network, _, _ in seen)
    assert [rows.tolist() for _, _, rows in seen] == [part.validation.tolist(), part.check.tolist()]
    assert all(pixels is trainer.data.pixels for _, pixels, _ in seen)
    assert not set(part.validation) & set(part.train)
    assert set(part.check) <= set(part.train)


def test_a_network_trains_with_the_layers_of_its_plan_alone(tmp_path):
    for layers in ((), ("squeeze-excite",)):
        trainer = trainer_of("mask", tmp_path / str(layers), plan=replace(PLANS["mask"], layers=layers))
        kinds = {type(layer) for layer in trainer.network.modules()}
        assert {name for name, pairs in faster.LAYERS.items() if kinds & {kind for kind, _ in pairs}} == set(layers)


def test_the_last_look_is_the_references_and_those_before_are_quick(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(evaluation.machine, "has_bfloat16", lambda: True)
    monkeypatch.setattr(evaluation.machine, "NARROWEST", 48)
    monkeypatch.setattr(
        evaluation,
        "logits_of",
        lambda network, pixels, rows, plan: (seen.append(plan.precision), logits_of(network, pixels, rows, plan))[1],
    )
    trainer = trainer_of("mask", tmp_path)
    trainer.run()
    assert seen == ["bfloat16", "bfloat16", "float32", "float32"]
    reference = logits_of(trainer.averaged, PIXELS, part_of("mask").validation, trainer.plan)
    assert np.array_equal(trainer.validation_logits, reference.numpy())
    assert evaluation.quick(replace(trainer.plan, device="cuda"), 48).precision == "float32"
    monkeypatch.setattr(evaluation.machine, "NARROWEST", 49)
    assert evaluation.quick(trainer.plan, 48) == trainer.plan
    seen.clear()
    trainer_of("mask", tmp_path / "patient", patience=2).run()
    assert set(seen) == {"float32"}  # epochs are compared


def test_whoever_stops_early_keeps_no_logits_of_another_epoch(stopped):
    assert stopped.trainer.validation_logits is None


def test_training_sees_the_train_photos_alone_altered(tmp_path):
    trainer, part, seen = trainer_of("mask", tmp_path), part_of("mask"), []
    train_step = trainer.train_step
    trainer.train_step = lambda pixels, rows: (
        seen.append((pixels.numpy().copy(), rows.tolist())),
        train_step(pixels, rows),
    )
    trainer.run()
    assert [len(rows) for _, rows in seen] == [7] * 6
    assert {row for _, rows in seen for row in rows} <= set(part.train.tolist())
    altered = [(pixels[i] != PIXELS[row]).any() for pixels, rows in seen for i, row in enumerate(rows)]
    assert np.mean(altered) > 0.8


def test_the_train_loss_is_the_mean_over_the_epochs_steps(tmp_path):
    trainer, each = trainer_of("mask", tmp_path), []
    gradients = trainer.gradients
    trainer.gradients = lambda *given: (each.append(gradients(*given)), each[-1])[1]
    log = trainer.run()
    means = torch.stack(each).double().reshape(2, 3).mean(1)
    np.testing.assert_allclose(log["train_loss"], means, rtol=1e-5)


def test_rare_classes_weigh_more_in_the_loss(tmp_path):
    trainer = trainer_of("mask", tmp_path, class_balance=1.0)
    part = part_of("mask")
    assert trainer.weights[part.train].mean().item() == pytest.approx(1, abs=1e-6)
    targets = torch.from_numpy(part.targets)
    expected = trainer.task.weights(targets[part.train], targets[trainer.rows_of_epoch(0)])
    torch.testing.assert_close(trainer.weights[part.train], expected)


# ------------------------------------------------------------ what can go wrong on the way


def tight(trainer, most):
    """A make-believe GPU whose memory holds `most` photos."""
    forward = trainer.model.forward

    def full(photos):
        if len(photos) > most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(photos)

    trainer.model.forward = full


def one_batch(trainer):
    rows = torch.from_numpy(trainer.data.train[: trainer.batch_size])
    return torch.from_numpy(PIXELS[rows.numpy()]), rows


def test_out_of_memory_halves_the_micro_batch_and_keeps_the_gradient(tmp_path, capsys):
    gradients = []
    for most in (100, 2):
        trainer = trainer_of("age", tmp_path)  # no batch norm, so the split changes nothing
        tight(trainer, most)
        step = trainer.optimizer.step
        kept = {}
        trainer.accelerator.clip_grad_norm_ = lambda *_, kept=kept, trainer=trainer: (
            kept.update({name: p.grad.clone() for name, p in trainer.network.named_parameters()}),
            torch.ones(()),
        )[1]
        trainer.optimizer.step = step
        trainer.train_step(*one_batch(trainer))
        gradients.append((kept, trainer.loss_sum.item(), trainer.micro_batch_size))
    (whole_, loss, micro_batch_size), (split, split_loss, split_micro) = gradients
    assert (micro_batch_size, split_micro) == (7, 2)
    assert split_loss == pytest.approx(loss, rel=1e-5)
    for name, gradient in whole_.items():
        torch.testing.assert_close(split[name], gradient, rtol=1e-4, atol=1e-5 * max(1.0, gradient.abs().max().item()))
    told = capsys.readouterr().out.splitlines()
    assert [line for line in told if "memory" in line] == [
        f"age fold 0: the GPU's memory is full; now {n} photos at a time, same batch size." for n in (4, 2)
    ]


def test_the_smaller_micro_batch_is_kept_on_resume(tmp_path):
    trainer = trainer_of("age", tmp_path, epochs=1)
    tight(trainer, 4)
    trainer.run()
    resumed = trainer_of("age", tmp_path, epochs=1)
    resumed.run()
    assert resumed.micro_batch_size == trainer.micro_batch_size == 4


def test_memory_for_not_even_one_photo(tmp_path):
    trainer = trainer_of("age", tmp_path)
    tight(trainer, 0)
    with pytest.raises(
        UserError, match=r"memory is full at 1 photos at a time; give a smaller --batch-size, photo size"
    ):
        trainer.train_step(*one_batch(trainer))


@pytest.mark.parametrize("fault", ["loss", "gradient"])
def test_a_loss_that_is_not_finite_stops_and_leaves_the_last_checkpoint(tmp_path, fault):
    trainer = trainer_of("age", tmp_path)
    gradients, calls, kept = trainer.gradients, itertools.count(), []

    def fail(*given):
        loss = gradients(*given)
        if next(calls) == 5:  # the last step of the second epoch
            kept.append(checkpoints.found(tmp_path))
            if fault == "loss":
                return loss * float("nan")
            next(trainer.network.parameters()).grad[0] = float("inf")
        return loss

    trainer.gradients = fail
    with pytest.raises(UserError, match=r"age fold 0: the loss is no longer finite at step 6 of 6; .*--restart .*--lr"):
        trainer.run()
    assert checkpoints.found(tmp_path) == kept[0]
    assert last_step(tmp_path) == 3
    assert len(pd.read_csv(tmp_path / "log.csv")) == 1


def test_a_loss_that_is_not_finite_is_not_checkpointed_between_epochs(tmp_path):
    trainer = trainer_of("mask", tmp_path, batch_size=4, epochs=1, often=(0, -1.0))
    gradients, calls = trainer.gradients, itertools.count()
    trainer.gradients = lambda *given: gradients(*given) * (float("nan") if next(calls) == 2 else 1)
    with pytest.raises(UserError, match="no longer finite at step 3 of 6"):
        trainer.run()
    assert last_step(tmp_path) == 2


def test_fewer_photos_than_a_batch(tmp_path):
    trainer = trainer_of("mask", tmp_path, batch_size=500, epochs=3)
    assert (trainer.batch_size, trainer.steps) == (PHOTOS, 3)
    assert len(trainer.run()) == 3


def test_gradients_are_clipped(tmp_path):
    trainer, norms = trainer_of("age", tmp_path, max_grad_norm=0.01, epochs=1), []
    step = trainer.optimizer.step
    trainer.optimizer.step = lambda: (
        norms.append(torch.stack([p.grad.norm() for p in trainer.network.parameters()]).norm().item()),
        step(),
    )
    trainer.run()
    np.testing.assert_allclose(norms, 0.01, rtol=1e-3)


def test_a_network_learns(tmp_path):
    """Dark and bright photos are told apart: the loop, the loss and the averaging pull the same way."""
    trainer = trainer_of("gender", tmp_path, epochs=8, lr=3e-3, batch_size=8)
    pixels = PIXELS // 4
    pixels[trainer.data.targets == 1] += 150
    trainer.data = TrainingData(
        pixels, trainer.data.targets, trainer.data.train, trainer.data.validation, trainer.data.check
    )
    log = trainer.run()
    assert log["accuracy"].iloc[-1] == 1.0
    assert log["train_loss"].iloc[-1] < 0.6 * log["train_loss"].iloc[0]


# -------------------------------------------------------------------------------------------------- two processes

SCRIPT = """
import sys
from pathlib import Path
sys.path[:0] = {tests!r}
import test_trainer as t
from pipeline.runtime import store
from pipeline.training.processes import leave_others
folder = Path(sys.argv[1])
trainer = t.trainer_of({task!r}, folder, batch_size=6, lr=1e-3, optimizer={optimizer!r}, drop_path=0.0)
t.hold_normalisation(trainer.network)
trainer.run()
if trainer.accelerator.is_main_process:
    store.write_weights(folder / "weights.safetensors", t.weights_of(trainer))
    store.write_json(folder / "ranks.json", {{"ranks": trainer.accelerator.num_processes}})
leave_others()
"""


AGAIN = """
import sys
from pathlib import Path
sys.path[:0] = {tests!r}
import test_trainer as t
from pipeline.runtime import store
from pipeline.training.processes import leave_others
for name in ("whole", "interrupted"):
    folder = Path(sys.argv[1]) / name
    if name == "interrupted":
        t.run_until(t.trainer_of("age", folder, batch_size=6, often=(1, 1e9)), 3)
    trainer = t.trainer_of("age", folder, batch_size=6, often=(1, 1e9))
    trainer.run()
    if trainer.accelerator.is_main_process:
        store.write_weights(folder / "weights.safetensors", t.weights_of(trainer))
leave_others()
"""


@pytest.mark.slow
def test_two_processes_go_on_to_the_same_bytes(tmp_path):
    script = tmp_path / "again.py"
    script.write_text(AGAIN.format(tests=TESTS))
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run([*launch, str(script), str(tmp_path)], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "goes on at step 3" in done.stdout
    whole, interrupted = (tmp_path / name / "weights.safetensors" for name in ("whole", "interrupted"))
    assert whole.read_bytes() == interrupted.read_bytes()


def hold_normalisation(network: torch.nn.Module) -> None:
    """Batch normalisation by its buffers: each process would else normalise by its own part of the batch."""
    for layer in network.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.eval().train = lambda mode=True, layer=layer: layer


@pytest.mark.slow
@pytest.mark.parametrize(("task", "optimizer"), [("mask", "adamw"), ("gender", "adamw"), ("age", "muon")])
def test_two_processes_train_like_one(tmp_path, task, optimizer):
    from safetensors.torch import load_file

    script = tmp_path / "two.py"
    script.write_text(SCRIPT.format(tests=TESTS, task=task, optimizer=optimizer))
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
    for ranks in (1, 2):
        launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}"]
        done = subprocess.run(
            [*launch, str(script), str(tmp_path / str(ranks))], env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr[-3000:]
        assert store.read_json(tmp_path / str(ranks) / "ranks.json")["ranks"] == ranks
        # Only the leader speaks and writes.
        assert done.stdout.count("epoch 2/2") == 1
    one, two = (load_file(tmp_path / ranks / "weights.safetensors") for ranks in "12")
    new = trainer_of(task, tmp_path / "new", batch_size=6).averaged.state_dict()
    moved = torch.cat([(one[name] - new[name]).flatten() for name in one]).norm()
    apart = torch.cat([(one[name] - two[name]).flatten() for name in one]).norm()
    assert apart < 0.02 * moved


MEMORY = """
import sys, os
sys.path[:0] = {tests!r}
from pathlib import Path
import torch
from test_trainer import trainer_of
torch.set_num_threads(1)

def used():
    pages = int(open("/proc/self/statm").read().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6, len(os.listdir("/proc/self/fd"))

trainer, seen = trainer_of({task!r}, Path(sys.argv[1]), epochs=50, often=(1, 1e9)), {{}}
end = trainer.end_epoch
trainer.end_epoch = lambda *given: (end(*given), seen.__setitem__(trainer.step // trainer.steps_per_epoch, used()))
trainer.run()
print(*seen[10], *seen[50])
"""


@pytest.mark.slow
@pytest.mark.parametrize("task", NETWORKS)
def test_memory_and_descriptors_stay_flat(tmp_path, task):
    """With a checkpoint after every step: under 1 MB an epoch from epoch 10 to 50."""
    script = tmp_path / "memory.py"
    script.write_text(MEMORY.format(tests=TESTS, task=task))
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    told = subprocess.run([sys.executable, script, tmp_path], env=environment, capture_output=True, text=True)
    assert told.returncode == 0, told.stderr
    before, files_before, after, files_after = map(float, told.stdout.splitlines()[-1].split())
    assert (after - before) / 40 < 1
    assert files_after == files_before
