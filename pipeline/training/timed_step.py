"""The seconds of a training step on a batch that lies ready, by one way of using the machine."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import torch

from models import backbone
from models.tasks import build_task
from pipeline.run.train_settings import TrainingSettings
from pipeline.runtime import machine
from pipeline.runtime.machine import Plan
from pipeline.training.data import TrainingData
from pipeline.training.trainer import Trainer

TARGETS = {"mask": 3, "gender": 2, "age": 60}
"""How many targets the photos of a task are given, from 0."""


class TimedStep:
    """A training step of a task's network, at random, by a plan; `started` is the seconds of its first two.

    folder: for what a trainer may leave; compiled: by torch.compile.
    """

    def __init__(self, task: str, made: TrainingSettings, plan: Plan, folder: Path, compiled: bool = False):
        torch.manual_seed(0)
        one = build_task(task, made)
        network = backbone.build(made, one.num_logits)
        if compiled:
            network.compile()
        stream, batch = np.random.default_rng(0), np.arange(made.batch_size)
        pixels = stream.integers(0, 256, (len(batch), made.height, made.width, 3), np.uint8)
        targets = np.resize(np.arange(TARGETS[task], dtype=np.float32), 16 * len(batch))
        rows = np.arange(len(targets))  # an epoch has a batch also where most photos of common labels are left out
        self.trainer = Trainer(
            one, network, TrainingData(pixels, targets, rows, batch, batch), made, plan, folder, task
        )
        self.given = torch.from_numpy(pixels).to(self.trainer.accelerator.device), torch.from_numpy(batch)
        self.started = self.seconds() + self.seconds()

    def seconds(self) -> float:
        """Take a step."""
        machine.settle(self.trainer.plan)
        started = self._now()
        self.trainer.train_step(*self.given)
        return self._now() - started

    def _now(self) -> float:
        if self.trainer.plan.device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()
