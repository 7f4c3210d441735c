"""Nothing within a training step waits for a GPU."""

from types import SimpleNamespace

import pytest
import torch
from moves import Moves
from test_trainer import NETWORKS, PIXELS, trainer_of

from pipeline.training import tracker, trainer

META = torch.device("meta")
MADE = [*((task, {}) for task in NETWORKS), ("mask", {"loss": "soft_f1"})]


def on_meta(**_) -> SimpleNamespace:
    """An Accelerator whose device holds no values: looking at one is an error."""
    return SimpleNamespace(
        device=META, num_processes=1, process_index=0, is_main_process=True,
        prepare=lambda *given: given, backward=lambda loss: loss.backward(),
        clip_grad_norm_=torch.nn.utils.clip_grad_norm_,
    )  # fmt: skip


@pytest.fixture
def step(tmp_path, monkeypatch):
    monkeypatch.setattr(tracker, "Accelerator", on_meta)
    generator = torch.Generator
    # timm's average makes one on the device, for weights in bfloat16; the meta device has none.
    monkeypatch.setattr(torch, "Generator", lambda device="cpu": generator())
    pixels, rows = torch.from_numpy(PIXELS[:7]), torch.arange(7)

    def take(task, **settings):
        trainer = trainer_of(task, tmp_path, **settings)
        for _ in range(2):  # the first makes the optimizer's state
            with Moves() as moves:
                trainer.train_step(pixels.to(META, non_blocking=True), rows)
            trainer.step += 1
        return moves.seen

    return take


@pytest.mark.parametrize(("task", "settings"), MADE, ids=str)
def test_a_step_never_waits(step, task, settings):
    """With Muon: the meta device knows no fused AdamW."""
    assert step(task, optimizer="muon", layer_decay=0.9, **settings) == []


def test_a_look_at_the_loss_is_seen(step, monkeypatch):
    monkeypatch.setattr(trainer.Trainer, "gradients", lambda trainer, *_: trainer.loss_sum + trainer.loss_sum.item())
    with pytest.raises(RuntimeError, match="meta tensors"):
        step("mask", optimizer="muon")
