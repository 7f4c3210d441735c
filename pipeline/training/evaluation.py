"""How good a network is after an epoch: on validation people, and on un-augmented train people beside them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from models.backbone import Network
from models.task import Task
from pipeline.prediction.engines import logits_of
from pipeline.runtime import machine
from pipeline.runtime.machine import Plan
from pipeline.scoring.metrics import macro_f1
from pipeline.training.data import TrainingData


def quick(plan: Plan, width: int) -> Plan:
    """A plan for a look at the network while it trains on photos of a width: on processors in bfloat16 where they can.

    That takes three fifths of the time.
    """
    helps = plan.device == "cpu" and machine.has_bfloat16() and width >= machine.NARROWEST
    return replace(plan, precision="bfloat16") if helps else plan


def evaluate(
    task: Task, network: Network, data: TrainingData, plan: Plan
) -> tuple[dict[str, float], NDArray[np.float32]]:
    """Loss, accuracy and macro-F1 of the validation photos, and by how much train people's macro-F1 is higher (gap).

    Beside them the logits of the validation photos (N, num_logits + learned), all in the plan's precision.
    """
    metrics: dict[str, float] = {}
    of_validation = logits_of(network, data.pixels, data.validation, plan)
    of_train = logits_of(network, data.pixels, data.check, plan)
    for name, rows, logits in (("validation", data.validation, of_validation), ("train", data.check, of_train)):
        targets = torch.from_numpy(data.targets[rows])
        predictions = task.predict(logits).numpy()
        truth, classes = task.true_class(targets.numpy()), task.predicted_class(predictions)
        prefix = "" if name == "validation" else "train_"
        if name == "validation":
            loss = task.loss(logits, targets, torch.ones(len(targets)))
            metrics["validation_loss"] = loss.item()
            metrics |= task.metrics(predictions, targets.numpy())
            metrics["accuracy"] = float((truth == classes).mean())
        metrics[f"{prefix}macro_f1"] = macro_f1(truth, classes)
    metrics["gap"] = metrics["train_macro_f1"] - metrics["macro_f1"]
    return metrics, of_validation.numpy()
