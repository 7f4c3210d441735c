"""How good a network is after an epoch: on validation people, and on un-augmented train people beside them."""

from __future__ import annotations

import torch

from models.backbone import Network
from models.task import Task
from pipeline.prediction.engines import logits_of
from pipeline.runtime.machine import Plan
from pipeline.scoring.metrics import macro_f1
from pipeline.training.data import TrainingData


def evaluate(task: Task, network: Network, data: TrainingData, plan: Plan) -> dict[str, float]:
    """Loss, accuracy and macro-F1 of the validation photos, and by how much train people's macro-F1 is higher (gap)."""
    metrics: dict[str, float] = {}
    for name, rows in (("validation", data.validation), ("train", data.check)):
        logits = logits_of(network, data.pixels, rows, plan)
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
    return metrics
