"""Several processes train as one does: gradients, losses, and what they decide together."""

import os
import signal
from dataclasses import replace

import joblib
import pytest
import torch
from safetensors.torch import load_file
from test_checkpoints import launched
from test_trainer import TESTS, one_thread, run_until, settings_of, trainer_of  # noqa: F401

from models import backbone
from models.errors import UserError
from models.tasks import build_task
from pipeline.run.presets import PRESETS
from pipeline.run.train_settings import Train
from pipeline.runtime import ranks, store
from pipeline.runtime.machine import Plan
from pipeline.training import launch, plan, processes
from pipeline.training.data import check_batch_size

CONVNEXT = {"backbone": "test_convnext", "backbone_options": {}}
CASES = {
    "age": ("age", {"rare_ages": 1.0, "batch_size": 6}),
    "age, uneven": ("age", {"rare_ages": 1.0, "batch_size": 7}),
    "gender, uneven": ("gender", {"batch_size": 7}),
    "mask, uneven": ("mask", CONVNEXT | {"batch_size": 7, "class_balance": 1.0, "loss": "focal", "smoothing": 0.1}),
}
"""Networks with layer normalisation, and losses with weights; of seven photos one process has one more."""
STEPS = 5
SCRIPT = f"""
import sys
from pathlib import Path
sys.path[:0] = {TESTS!r}
import torch
import test_processes as t
torch.set_num_threads(1)
t.record_all(Path(sys.argv[1]))
torch.distributed.destroy_process_group()
"""


def trained(name, folder):
    """The first step's gradients and the losses of the first steps, of whole batches; one float32 vector each."""
    task, given = CASES[name]
    plain = {"optimizer": "adamw", "lr": 1e-3, "drop_path": 0.0, "dropout": 0.0}
    trainer, losses, first = trainer_of(task, folder, **(plain | given)), [], []
    clip, gradients = trainer.accelerator.clip_grad_norm_, trainer.gradients
    trainer.accelerator.clip_grad_norm_ = lambda parameters, most: (
        first.append([p.grad.flatten().clone() for p in trainer.network.parameters()]),
        clip(parameters, most),
    )[1]
    trainer.gradients = lambda *rows: (losses.append(gradients(*rows)), losses[-1])[1]
    run_until(trainer, STEPS)
    of_whole = trainer.accelerator.reduce(torch.stack(losses), "mean")
    return {"gradients": torch.cat(first[0]), "losses": of_whole}


def record_all(folder):
    for name in CASES:
        made = trained(name, folder / name)
        if ranks.rank() == 0:
            store.write_weights(folder / f"{name}.safetensors", made)


@pytest.fixture(scope="module")
def by_two(tmp_path_factory):
    """What two gloo processes make of all cases."""
    home = tmp_path_factory.mktemp("by two")
    (home / "two.py").write_text(SCRIPT)
    launched(home / "two.py", home)
    return {path.stem: load_file(path) for path in home.glob("*.safetensors")}


@pytest.mark.parametrize("name", CASES)
def test_two_processes_have_the_gradients_and_losses_of_one(by_two, tmp_path, name):
    one, two = trained(name, tmp_path), by_two[name]
    assert (one["gradients"] - two["gradients"]).norm() < 1e-6 * one["gradients"].norm()
    assert len(one["losses"]) == STEPS
    torch.testing.assert_close(two["losses"], one["losses"], rtol=1e-5, atol=0)


LOSSES = {
    "mask": [{"loss": "cross_entropy"}, {"loss": "focal"}],
    "age": [{"age_loss": kind} for kind in ("distribution", "l1", "mse")],
    "multihead": [{"head_balance": kind} for kind in ("sum", "uncertainty")],
}


@pytest.mark.parametrize(("task", "given"), [(task, given) for task, each in LOSSES.items() for given in each], ids=str)
def test_a_loss_is_the_mean_of_its_shares_by_their_photos(task, given):
    """All losses but soft_f1, with weights; the numbers that a network learns for its loss are the same in each."""
    one = build_task(task, PRESETS["small"][task] | given)
    stream = torch.Generator().manual_seed(0)
    logits = torch.randn(7, one.num_logits + one.learned, generator=stream).double()
    logits[:, one.num_logits :] = logits[:1, one.num_logits :]
    ages = torch.tensor([19.0, 25, 31, 44, 58, 60, 60])
    targets = {"mask": ages % 3, "age": ages, "multihead": torch.stack([ages % 3, ages % 2, ages], 1)}[task]
    weights = torch.rand(7, generator=stream) + 0.5
    shares = [one.loss(logits[some], targets[some], weights[some]) for some in (slice(4), slice(4, 7))]
    torch.testing.assert_close((4 * shares[0] + 3 * shares[1]) / 7, one.loss(logits, targets, weights))


# ------------------------------------------------------------------------------------------- one machine, shared out


def as_worker(monkeypatch, **given):
    """This process as one of those that torchrun begins."""
    for name, value in ({"RANK": 1, "LOCAL_RANK": 1, "WORLD_SIZE": 4, "LOCAL_WORLD_SIZE": 2} | given).items():
        monkeypatch.setenv(name, str(value))


def plan_for(**given):
    return plan.plan_of(Train.of(task="age", **given), settings_of("age"))


def test_processes_share_out_the_cores_and_threads_stand_above_that(monkeypatch):
    monkeypatch.setattr(joblib, "cpu_count", lambda: 16)
    assert (plan_for().threads, plan_for().processes) == (16, 1)
    assert (plan_for(processes=4).threads, plan_for(processes=4).processes) == (4, 4)
    assert plan_for(processes=4, share=3).threads == 1
    assert plan_for(processes=4, threads=7).threads == 7
    assert plan_for(processes=40).threads == 1
    as_worker(monkeypatch)
    assert (plan_for().threads, plan_for().processes) == (8, 4)  # two of four are here
    assert plan_for(processes=3).processes == 4
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert plan_for().workers == 7


def test_a_training_goes_on_by_other_processes_and_says_so():
    told, settings = [], Train.of(task="age", threads=3)
    begun = Plan("cpu", "bfloat16", True, 4, 1)
    here = Plan("cpu", "float32", False, 2, 0, processes=2)
    kept = plan.kept_plan("age fold 0", begun, here, Train.of(task="age"), told.append)
    assert kept == replace(begun, processes=2, threads=2, workers=0)
    assert told == [
        "age fold 0: was last trained by 1 process; it goes on by 2 processes, whose dropout, threads and, on "
        "processors, batch statistics are others"
    ]
    told.clear()
    plan.kept_plan("age fold 0", kept, replace(here, threads=3), settings, told.append)
    assert told == ["age fold 0: threads stays 2, as begun; to change it, --restart"]


def test_layers_stay_as_begun_and_are_named():
    told, begun = [], Plan("cpu", "float32", True, 1, 0, layers=("relu6", "silu"))
    kept = plan.kept_plan("f", begun, replace(begun, layers=()), Train.of(task="age", layers="timm"), told.append)
    assert kept == begun
    assert told == ["f: layers stay relu6, silu, as begun; to change it, --restart"]
    assert plan.kept_plan("f", begun, replace(begun, layers=()), Train.of(task="age"), told.append) == begun
    assert len(told) == 1


def test_layers_are_timms_where_that_is_asked(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    made = PRESETS["lite"]["mask"]
    usual, timms = (plan.plan_of(Train.of(task="mask", layers=layers), made) for layers in ("faster", "timm"))
    assert "relu6" in usual.layers
    assert timms == replace(usual, layers=())
    swin = PRESETS["base"]["gender"]
    assert "swin" in plan.plan_of(Train.of(task="gender", layers="faster"), swin).layers  # whatever the table says


def test_a_training_goes_on_by_what_was_tuned_when_it_began():
    told, here = [], Plan("cpu", "float32", True, 1, 0, layers=("relu6",))
    begun = replace(here, layers=(), channels_last=False, tuned="2026-11-28")
    assert plan.kept_plan("f", begun, here, Train.of(task="age"), told.append) == begun
    assert told == []


def test_a_plan_of_before_is_of_one_process():
    old = Plan("cpu", "float32", False, 2, 0).as_dict()
    del old["processes"]
    assert Plan(**old).processes == 1


def test_each_process_has_a_gpu_or_it_is_said(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    processes.check_gpus(64)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    processes.check_gpus(2)
    with pytest.raises(UserError, match=r"3 processes .* a GPU each, and it has 2; begin at most 2 here, .*NPROC=2 "):
        processes.check_gpus(3)


def test_a_batch_has_a_photo_for_each_process():
    check_batch_size("age fold 0", 4, 4)
    with pytest.raises(UserError, match="age fold 0: 4 photos a step cannot be shared by 5 processes; give fewer"):
        check_batch_size("age fold 0", 4, 5)


@pytest.mark.parametrize("restarts", [0, 3])
def test_restarts_want_a_new_place_to_meet(monkeypatch, restarts):
    as_worker(monkeypatch, TORCHELASTIC_MAX_RESTARTS=restarts, TORCHELASTIC_USE_AGENT_STORE=True)
    monkeypatch.setattr("accelerate.PartialState", lambda **_: "together")
    if not restarts:
        assert processes.together() == "together"
        return
    with pytest.raises(UserError, match="wants --rdzv-backend c10d and TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1"):
        processes.together()


def test_what_differs_is_told():
    normalised, plain = (backbone.build(settings_of(task), 3) for task in ("mask", "age"))
    usual, f1 = settings_of("mask"), settings_of("mask", loss="soft_f1")
    assert processes.differences(1, "cpu", normalised, f1) == ""
    assert processes.differences(2, "cpu", plain, usual) == "; 2 processes share each batch"
    assert processes.differences(2, "cuda", normalised, usual) == "; 2 processes share each batch"
    assert processes.differences(2, "cpu", normalised, usual) == (
        "; 2 processes share each batch: batch normalisation, which processors cannot share, is over each one's photos "
        "alone"
    )
    assert "cannot share, and the loss soft_f1 are over each" in processes.differences(2, "cpu", normalised, f1)


# ------------------------------------------------------------------------------------------------- who speaks, decides


def test_only_the_first_process_speaks(monkeypatch, capsys):
    for rank in range(3):
        as_worker(monkeypatch, RANK=rank)
        with ranks.first_speaks():
            print("rank", rank)
    print("afterwards")
    assert capsys.readouterr().out == "rank 0\nafterwards\n"


def test_a_mistake_that_all_make_before_they_meet_is_told_once_a_machine(monkeypatch):
    assert ranks.tells("no such setting")
    for local in range(2):
        as_worker(monkeypatch, LOCAL_RANK=local)
        assert ranks.tells("no such setting") is (local == 0)


def test_notes_outlast_the_processes_that_left_them(monkeypatch, tmp_path):
    ranks.note("age fold 0 anew")
    monkeypatch.setenv(ranks.NOTES, str(tmp_path))
    assert not ranks.is_noted("age fold 0 anew")
    ranks.note("age fold 0 anew")
    assert ranks.is_noted("age fold 0 anew")
    assert not ranks.is_noted("age fold 1 anew")


def test_what_torch_says_of_a_lost_process_is_a_sentence(monkeypatch):
    gone = RuntimeError("[gloo/transport/tcp/pair.cc:545] Read error [127.0.0.1]:1: Connection reset by peer")
    with pytest.raises(RuntimeError, match="Read error"), ranks.lost_told():
        raise gone
    as_worker(monkeypatch)
    with pytest.raises(ranks.LostError, match=r"process 1 has lost another one \(.*reset by peer\)"), ranks.lost_told():
        raise gone
    with pytest.raises(RuntimeError, match="shapes"), ranks.lost_told():
        raise RuntimeError("shapes differ")
    with pytest.raises(RuntimeError, match="Duplicate"), ranks.lost_told():
        raise RuntimeError("NCCL error: Duplicate GPU detected")


def test_a_number_without_others_is_the_first(monkeypatch):
    monkeypatch.setenv("RANK", "5")
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert ranks.rank() == 0


def test_signals_that_are_ignored_stay_so(monkeypatch):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert launch._heard() == ["SIGTERM", "SIGINT", "SIGQUIT"]
    finally:
        signal.signal(signal.SIGHUP, before)
    assert launch._heard() == ["SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT"]


def test_the_environment_stands_as_before_a_launch(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    before = dict(os.environ)
    with launch._restored():
        os.environ |= {"OMP_NUM_THREADS": "1", ranks.NOTES: "gone"}
    assert dict(os.environ) == before
