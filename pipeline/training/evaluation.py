"""How good a network is after an epoch: on validation people, and on un-augmented train people beside them."""

from __future__ import annotations

import torch

from models.backbone import Network
from models.task import Specialist
from pipeline.prediction.engines import outputs_of
from pipeline.runtime.machine import Plan
from pipeline.scoring.metrics import macro_f1
from pipeline.training.data import Part


def evaluate(specialist: Specialist, network: Network, part: Part, plan: Plan) -> dict[str, float]:
    """Loss, accuracy and macro-F1 of the validation photos, and by how much train people's macro-F1 is higher (gap)."""
    figures: dict[str, float] = {}
    for name, rows in (("validation", part.validation), ("train", part.check)):
        outputs = outputs_of(network, part.pixels, rows, plan)
        targets = torch.from_numpy(part.targets[rows])
        answers = specialist.answer(outputs).numpy()
        truth, classes = specialist.classes_of(targets.numpy()), specialist.classify(answers)
        prefix = "" if name == "validation" else "train_"
        if name == "validation":
            loss = specialist.loss(outputs, targets, torch.ones(len(targets)))
            figures["validation_loss"] = loss.item()
            figures |= specialist.figures(answers, targets.numpy())
            figures["accuracy"] = float((truth == classes).mean())
        figures[f"{prefix}macro_f1"] = macro_f1(truth, classes)
    figures["gap"] = figures["train_macro_f1"] - figures["macro_f1"]
    return figures
