"""The tasks by name: the three specialists, and their single-network rivals."""

from __future__ import annotations

from models.age import Age
from models.gender import Gender
from models.joint import Joint
from models.mask import Mask
from models.multihead import Multihead
from models.settings import ModelSettings
from models.task import Task

_TASKS: dict[str, type[Task]] = {task.name: task for task in (Mask, Gender, Age, Joint, Multihead)}


def build_task(name: str, settings: ModelSettings) -> Task:
    """What a network is asked: a specialist (mask, gender, age) or a rival (joint, multihead), with its settings."""
    return _TASKS[name](settings)
