"""One network's training: order, schedule, averaging, resuming, memory, and honest figures."""

import itertools
import math
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models import backbone, specialist
from models.errors import UserError
from models.presets import PRESETS
from pipeline import checkpoints, scoring, store, training
from pipeline.engines import outputs_of
from pipeline.machine import Plan
from pipeline.stopping import StoppedError
from pipeline.training import Part, Trainer, batches, learning_rate, steps_an_epoch, undersampled

ROOT = Path(__file__).parents[2]
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
    "mask": Plan("cpu", "float32", True, 1, 0),
    "gender": Plan("cpu", "float32", False, 1, 0),
    "age": Plan("cpu", "float32", False, 1, 0),
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
    tiny = {"backbone": name, "backbone_options": options, "height": SIZE[0], "width": SIZE[1], "batch": 7, "epochs": 2}
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
    return Part(PIXELS, targets, train, np.sort(rows[PHOTOS:-2]), train[::3])


def trainer_of(task, folder, *, plan=None, seed=0, often=training.CHECKPOINTS, **given):
    made = settings_of(task, **given)
    one = specialist.build(task, made)
    torch.manual_seed(seed)
    network = backbone.build(made, one.outputs)
    return Trainer(one, network, part_of(task), made, plan or PLANS[task], folder, f"{task} fold 0", often)


def last_step(folder):
    return checkpoints.load(folder, torch.device("cpu"), print)["step"]


def weights_of(trainer):
    return {name: value.clone() for name, value in trainer.averaged.state_dict().items()}


def same(one, other):
    assert one.keys() == other.keys()
    return all(torch.equal(value, other[name]) for name, value in one.items())


# -------------------------------------------------------------------------------------------------- order and rate


@given(st.integers(1, 90), st.integers(1, 40), st.integers(1, 4), st.integers(0, 5))
@settings(deadline=None)
def test_every_epoch_is_whole_batches_of_different_photos(count, batch, epochs, seed):
    batch = min(batch, count)  # as the trainer does
    rows = np.arange(100, 100 + count)
    made = list(batches(lambda _: rows, batch, epochs, seed))
    assert steps_an_epoch(count, batch) == count // batch
    assert len(made) == epochs * (count // batch)
    assert {len(step) for step in made} == {batch}
    for epoch in range(epochs):
        steps = made[epoch * (count // batch) : (epoch + 1) * (count // batch)]
        of_epoch = [key for step in steps for key in step]
        assert {e for e, _ in of_epoch} == {epoch}
        assert len({row for _, row in of_epoch}) == len(of_epoch)
        assert {row for _, row in of_epoch} <= set(rows.tolist())


@given(st.integers(1, 60), st.integers(1, 9), st.integers(1, 4), st.data())
@settings(deadline=None)
def test_starting_later_skips_exactly_the_first_steps(count, batch, epochs, data):
    rows, batch = np.arange(count), min(batch, count)
    whole = list(batches(lambda _: rows, batch, epochs, 3))
    start = data.draw(st.integers(0, len(whole)))
    assert list(batches(lambda _: rows, batch, epochs, 3, start)) == whole[start:]


def test_the_order_follows_from_seed_and_epoch():
    rows = np.arange(40)
    one = list(batches(lambda _: rows, 8, 3, seed=1))
    assert one == list(batches(lambda _: rows, 8, 3, seed=1)) == list(batches(lambda _: rows, 8, 5, seed=1))[:15]
    assert one != list(batches(lambda _: rows, 8, 3, seed=2))
    orders = [tuple(row for step in one[e * 5 : e * 5 + 5] for _, row in step) for e in range(3)]
    assert len(set(orders)) == 3
    # Over epochs each photo is left over about as often: 3 of 43 photos each time.
    seen = Counter(row for step in batches(lambda _: np.arange(43), 8, 300, 0) for _, row in step)
    assert min(seen.values()) > 255


def test_undersampled_photos_take_turns():
    rows = np.arange(100, 170)
    classes = np.repeat([0, 1, 2], [50, 13, 7])
    epochs = [undersampled(rows, classes, 2.0, epoch, seed=4) for epoch in range(25)]
    for chosen in epochs:
        assert np.bincount(classes[chosen - 100]).tolist() == [14, 13, 7]
        assert len(set(chosen)) == len(chosen)
    seen = Counter(np.concatenate(epochs).tolist())
    assert {seen[row] for row in range(150, 170)} == {25}
    assert {seen[row] for row in range(100, 150)} == {7}  # 25 epochs x 14 photos over 50
    assert undersampled(rows, classes, 0, 3, seed=4) is rows


@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_the_slices_of_processes_partition_each_batch(ranks):
    whole = list(batches(lambda _: np.arange(30), 7, 2, 0))
    slices = [list(batches(lambda _: np.arange(30), 7, 2, 0, 0, rank, ranks)) for rank in range(ranks)]
    for step, parts in zip(whole, zip(*slices, strict=True), strict=True):
        assert sorted(step) == sorted(itertools.chain(*parts))
        assert max(map(len, parts)) - min(map(len, parts)) <= 1


@pytest.mark.parametrize(("steps", "warmup"), [(100, 0.1), (37, 0.25), (10, 0.0), (2, 0.1), (1, 0.1), (50, 1.0)])
def test_the_rate_rises_in_a_line_and_falls_in_half_a_cosine(steps, warmup):
    rates = [learning_rate(step, steps, warmup) for step in range(steps)]
    rising = max(1, round(steps * warmup))
    np.testing.assert_allclose(rates[:rising], np.arange(1, rising + 1) / rising)
    falling = [0.5 * (1 + math.cos(math.pi * i / (steps - rising))) for i in range(steps - rising)]
    np.testing.assert_allclose(rates[rising:], falling)
    assert max(rates) == 1
    assert (np.diff(rates[rising:]) < 0).all()
    if steps == 100:
        assert rates[9:11] == [1, 1]
        assert 0 < rates[-1] < 1e-3


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


def test_muon_steps_are_orthogonal(tmp_path):
    """The step of a matrix has singular values near 1, times the rate and 0.2 sqrt(its longer side)."""
    trainer = trainer_of("gender", tmp_path, optimizer="muon", weight_decay=0.0)
    weight = trainer.network.get_parameter("backbone.layers.2.blocks.0.mlp.fc1.weight")
    before = weight.detach().clone()
    for group in trainer.optimizer.param_groups:
        group["lr"] = 0.01
    for p in trainer.network.parameters():
        p.grad = torch.randn_like(p)
    trainer.optimizer.step()
    sizes = torch.linalg.svdvals((before - weight).detach()) / (0.01 * 0.2 * max(weight.shape) ** 0.5)
    assert len(sizes) > 50
    assert sizes.min() > 0.6
    assert sizes.max() < 1.3


# ------------------------------------------------------------------------------------------------- averaged weights


def test_the_averaged_weights_are_a_recursion_in_float64(tmp_path):
    trainer = trainer_of("mask", tmp_path, epochs=4)
    mine, update = {}, trainer.average.update_parameters
    decay = 0.5 ** (1 / max(1, 0.05 * trainer.steps))

    def follow(network):
        update(network)
        for name, value in network.state_dict().items():
            value = value.double()
            mine[name] = value.clone() if name not in mine else decay * mine[name] + (1 - decay) * value

    trainer.average.update_parameters = follow
    trainer.run()
    assert trainer.step == trainer.steps == 12
    averaged = trainer.averaged.state_dict()
    assert any(name.endswith("running_mean") for name in averaged)
    for name, value in averaged.items():
        if value.is_floating_point():
            torch.testing.assert_close(value.double(), mine[name], rtol=1e-4, atol=1e-6, msg=name)
    assert any(not torch.equal(value, averaged[name]) for name, value in trainer.network.state_dict().items())


def test_half_the_average_is_younger_than_a_twentieth_of_the_run(tmp_path):
    trainer = trainer_of("mask", tmp_path, epochs=100)
    assert trainer.steps == 300
    with torch.no_grad():
        for parameter in trainer.network.parameters():
            parameter.zero_()
        trainer.average.update_parameters(trainer.network)
        for parameter in trainer.network.parameters():
            parameter.fill_(1.0)
        for _ in range(15):
            trainer.average.update_parameters(trainer.network)
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
    train_step, calls = trainer._train_step, itertools.count()

    def stop(*given):
        if next(calls) == after:
            raise KeyboardInterrupt
        train_step(*given)

    trainer._train_step = stop
    with pytest.raises(KeyboardInterrupt):
        trainer.run()
    resumed = trainer_of(task, tmp_path, seed=99)  # the checkpoint's weights count, not these
    torch.manual_seed(1234)
    steps, resumed_step = [], resumed._train_step
    resumed._train_step = lambda *given: (steps.append(resumed.step), resumed_step(*given))
    log = resumed.run()
    assert steps == list(range(after, 6))
    assert same(weights_of(resumed), whole[task][1])
    pd.testing.assert_frame_equal(plain(log), plain(whole[task][2]), check_exact=True)
    written = [pd.read_csv(folder / "log.csv") for folder in (tmp_path, whole[task][3])]
    pd.testing.assert_frame_equal(plain(written[0]), plain(written[1]), check_exact=True)


def test_a_run_interrupted_after_its_last_step_trains_no_more(whole, capsys):
    _, weights, log, folder = whole["mask"]
    again = trainer_of("mask", folder, seed=5)
    again._train_step = lambda *_: pytest.fail("trained on")
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


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_after_the_step_with_a_checkpoint(whole, tmp_path, number):
    trainer = trainer_of("mask", tmp_path)
    train_step, calls = trainer._train_step, itertools.count()

    def ask(*given):
        if next(calls) == 1:
            os.kill(os.getpid(), number)  # in the middle of the second step
        train_step(*given)

    trainer._train_step = ask
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


def test_a_killed_loader_process_is_told(tmp_path):
    trainer = trainer_of("mask", tmp_path, plan=Plan("cpu", "float32", True, 1, 1), epochs=40, often=(1, 1e9))
    train_step, calls = trainer._train_step, itertools.count()
    before = set(multiprocessing.active_children())  # of other tests, not yet gone

    def kill(*given):
        if next(calls) == 4:
            (worker,) = set(multiprocessing.active_children()) - before
            os.kill(worker.pid, signal.SIGKILL)
        train_step(*given)

    trainer._train_step = kill
    with pytest.raises(UserError, match=r"mask fold 0: a loader process died, .* the same command goes on") as told:
        trainer.run()
    assert "\n" not in str(told.value)
    assert store.is_whole(checkpoints.found(tmp_path)[-1])


def test_an_interrupted_checkpoint_leaves_the_last_one(whole, tmp_path, monkeypatch):
    (path,) = checkpoints.found(whole["mask"][3])[-1:]
    shutil.copy(path, tmp_path)
    trainer = trainer_of("mask", tmp_path)

    def half(_, file):
        file.write(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(torch, "save", half)
    with pytest.raises(KeyboardInterrupt):
        trainer._save()
    assert os.listdir(tmp_path) == [path.name]
    assert (tmp_path / path.name).read_bytes() == path.read_bytes()


@pytest.mark.parametrize("workers", [1, 3])
def test_loader_workers_change_no_byte(whole, tmp_path, workers):
    trainer = trainer_of("mask", tmp_path, plan=Plan("cpu", "float32", True, 1, workers))
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
    trainer.settings["seed"] = 1
    trainer.run()
    assert not same(weights_of(trainer), whole["mask"][1])


# -------------------------------------------------------------------------------------------------- what is logged


@pytest.mark.parametrize("task", NETWORKS)
def test_the_log_judges_the_averaged_weights_on_exactly_the_held_out_photos(whole, task):
    trainer, _, log, folder = whole[task]
    part, one = part_of(task), trainer.specialist
    assert log["epoch"].tolist() == [1, 2]
    last = log.iloc[-1]
    figures = {}
    for name, rows in (("validation", part.validation), ("check", part.check)):
        outputs = outputs_of(trainer.averaged, PIXELS, rows, PLANS[task])
        assert len(outputs) == len(rows)
        targets = torch.from_numpy(part.targets[rows])
        answers = one.answer(outputs).numpy()
        truth, classes = one.classes_of(targets.numpy()), one.classify(answers)
        figures[name] = scoring.macro_f1(truth, classes)
        if name == "validation":
            assert last["accuracy"] == pytest.approx((truth == classes).mean())
            assert last["validation_loss"] == pytest.approx(one.loss(outputs, targets, torch.ones(len(rows))).item())
            if task == "age":
                assert last["mean_absolute_error"] == pytest.approx(np.abs(answers[:, 0] - targets.numpy()).mean())
    assert last["macro_f1"] == pytest.approx(figures["validation"])
    assert last["train_macro_f1"] == pytest.approx(figures["check"])
    assert last["gap"] == pytest.approx(figures["check"] - figures["validation"])
    assert ("mean_absolute_error" in log) == (task == "age")
    columns = {"epoch", "train_loss", "validation_loss", "accuracy", "macro_f1", "train_macro_f1", "gap", "seconds"}
    assert set(log.columns) - {"mean_absolute_error"} == columns
    pd.testing.assert_frame_equal(pd.read_csv(folder / "log.csv"), log, rtol=1e-8, check_dtype=False)


def test_judging_sees_photos_as_they_are_and_only_those_of_its_rows(tmp_path, monkeypatch):
    trainer, part, seen = trainer_of("mask", tmp_path), part_of("mask"), []
    monkeypatch.setattr(
        training,
        "outputs_of",
        lambda network, pixels, rows, plan: (
            seen.append((network, pixels, rows)),
            outputs_of(network, pixels, rows, plan),
        )[1],
    )
    trainer._judge()
    assert all(network is trainer.averaged for network, _, _ in seen)
    assert [rows.tolist() for _, _, rows in seen] == [part.validation.tolist(), part.check.tolist()]
    assert all(pixels is trainer.part.pixels for _, pixels, _ in seen)
    assert not set(part.validation) & set(part.train)
    assert set(part.check) <= set(part.train)


def test_training_sees_the_train_photos_alone_altered(tmp_path):
    trainer, part, seen = trainer_of("mask", tmp_path), part_of("mask"), []
    train_step = trainer._train_step
    trainer._train_step = lambda pixels, rows: (
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
    gradients = trainer._gradients
    trainer._gradients = lambda *given: (each.append(gradients(*given)), each[-1])[1]
    log = trainer.run()
    means = torch.stack(each).double().reshape(2, 3).mean(1)
    np.testing.assert_allclose(log["train_loss"], means, rtol=1e-5)


def test_rare_classes_weigh_more_in_the_loss(tmp_path):
    trainer = trainer_of("mask", tmp_path, class_balance=1.0)
    part = part_of("mask")
    assert trainer.weights[part.train].mean().item() == pytest.approx(1, abs=1e-6)
    expected = trainer.specialist.weights(torch.from_numpy(part.targets[part.train]))
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
    rows = torch.from_numpy(trainer.part.train[: trainer.batch])
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
        trainer._train_step(*one_batch(trainer))
        gradients.append((kept, trainer.loss_sum.item(), trainer.micro))
    (whole_, loss, micro), (split, split_loss, split_micro) = gradients
    assert (micro, split_micro) == (7, 2)
    assert split_loss == pytest.approx(loss, rel=1e-5)
    for name, gradient in whole_.items():
        torch.testing.assert_close(split[name], gradient, rtol=1e-4, atol=1e-5 * max(1.0, gradient.abs().max().item()))
    told = capsys.readouterr().out.splitlines()
    assert [line for line in told if "memory" in line] == [
        f"age fold 0: the GPU's memory is full; now {n} photos at a time, same batch." for n in (4, 2)
    ]


def test_the_smaller_micro_batch_is_kept_on_resume(tmp_path):
    trainer = trainer_of("age", tmp_path, epochs=1)
    tight(trainer, 4)
    trainer.run()
    resumed = trainer_of("age", tmp_path, epochs=1)
    resumed.run()
    assert resumed.micro == trainer.micro == 4


def test_memory_for_not_even_one_photo(tmp_path):
    trainer = trainer_of("age", tmp_path)
    tight(trainer, 0)
    with pytest.raises(UserError, match=r"memory is full at 1 photos at a time; give a smaller --batch, photo size"):
        trainer._train_step(*one_batch(trainer))


@pytest.mark.parametrize("fault", ["loss", "gradient"])
def test_a_loss_that_is_not_finite_stops_and_leaves_the_last_checkpoint(tmp_path, fault):
    trainer = trainer_of("age", tmp_path)
    gradients, calls, kept = trainer._gradients, itertools.count(), []

    def fail(*given):
        loss = gradients(*given)
        if next(calls) == 5:  # the last step of the second epoch
            kept.append(checkpoints.found(tmp_path))
            if fault == "loss":
                return loss * float("nan")
            next(trainer.network.parameters()).grad[0] = float("inf")
        return loss

    trainer._gradients = fail
    with pytest.raises(UserError, match=r"age fold 0: the loss is no longer finite at step 6 of 6; .*--restart .*--lr"):
        trainer.run()
    assert checkpoints.found(tmp_path) == kept[0]
    assert last_step(tmp_path) == 3
    assert len(pd.read_csv(tmp_path / "log.csv")) == 1


def test_a_loss_that_is_not_finite_is_not_checkpointed_between_epochs(tmp_path):
    trainer = trainer_of("mask", tmp_path, batch=4, epochs=1, often=(0, -1.0))
    gradients, calls = trainer._gradients, itertools.count()
    trainer._gradients = lambda *given: gradients(*given) * (float("nan") if next(calls) == 2 else 1)
    with pytest.raises(UserError, match="no longer finite at step 3 of 6"):
        trainer.run()
    assert last_step(tmp_path) == 2


def test_fewer_photos_than_a_batch(tmp_path):
    trainer = trainer_of("mask", tmp_path, batch=500, epochs=3)
    assert (trainer.batch, trainer.steps) == (PHOTOS, 3)
    assert len(trainer.run()) == 3


def test_gradients_are_clipped(tmp_path):
    trainer, norms = trainer_of("age", tmp_path, clip=0.01, epochs=1), []
    step = trainer.optimizer.step
    trainer.optimizer.step = lambda: (
        norms.append(torch.stack([p.grad.norm() for p in trainer.network.parameters()]).norm().item()),
        step(),
    )
    trainer.run()
    np.testing.assert_allclose(norms, 0.01, rtol=1e-3)


def test_a_network_learns(tmp_path):
    """Dark and bright photos are told apart: the loop, the loss and the averaging pull the same way."""
    trainer = trainer_of("gender", tmp_path, epochs=12, lr=3e-3, batch=8)
    pixels = PIXELS // 4
    pixels[trainer.part.targets == 1] += 150
    trainer.part = Part(pixels, trainer.part.targets, trainer.part.train, trainer.part.validation, trainer.part.check)
    log = trainer.run()
    assert log["accuracy"].iloc[-1] == 1.0
    assert log["train_loss"].iloc[-1] < 0.6 * log["train_loss"].iloc[0]


# -------------------------------------------------------------------------------------------------- two processes

SCRIPT = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
import test_training as t
from pipeline import store
folder = Path(sys.argv[1])
trainer = t.trainer_of("age", folder, batch=6, lr=1e-3)
trainer.run()
if trainer.accelerator.is_main_process:
    store.write_weights(folder / "weights.safetensors", t.weights_of(trainer))
    store.write_json(folder / "ranks.json", trainer.accelerator.num_processes)
"""


@pytest.mark.slow
def test_two_processes_train_like_one(tmp_path):
    from safetensors.torch import load_file

    script = tmp_path / "two.py"
    script.write_text(SCRIPT.format(tests=str(Path(__file__).parent)))
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
    for ranks in (1, 2):
        launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}"]
        done = subprocess.run(
            [*launch, str(script), str(tmp_path / str(ranks))], env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr[-3000:]
        assert store.read_json(tmp_path / str(ranks) / "ranks.json") == ranks
        # Only the leader speaks and writes.
        assert done.stdout.count("epoch 2/2") == 1
    one, two = (load_file(tmp_path / ranks / "weights.safetensors") for ranks in "12")
    new = trainer_of("age", tmp_path / "new", batch=6).averaged.state_dict()
    moved = torch.cat([(one[name] - new[name]).flatten() for name in one]).norm()
    apart = torch.cat([(one[name] - two[name]).flatten() for name in one]).norm()
    assert apart < 0.02 * moved


MEMORY = """
import sys, os
sys.path[:0] = [{tests!r}]
from pathlib import Path
import torch
from test_training import trainer_of
torch.set_num_threads(1)

def used():
    pages = int(open("/proc/self/statm").read().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6, len(os.listdir("/proc/self/fd"))

trainer, seen = trainer_of("age", Path(sys.argv[1]), epochs=50, often=(1, 1e9)), {{}}
end = trainer._end_epoch
trainer._end_epoch = lambda *given: (end(*given), seen.__setitem__(trainer.step // trainer.an_epoch, used()))
trainer.run()
print(*seen[10], *seen[50])
"""


@pytest.mark.slow
def test_memory_and_descriptors_stay_flat(tmp_path):
    """With a checkpoint after every step: under 1 MB an epoch from epoch 10 to 50."""
    script = tmp_path / "memory.py"
    script.write_text(MEMORY.format(tests=str(Path(__file__).parent)))
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    told = subprocess.run([sys.executable, script, tmp_path], env=environment, capture_output=True, text=True)
    assert told.returncode == 0, told.stderr
    before, files_before, after, files_after = map(float, told.stdout.splitlines()[-1].split())
    assert (after - before) / 40 < 1
    assert files_after == files_before
