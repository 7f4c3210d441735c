"""What a network is trained with: as given, else as recorded, else as the recipe or the preset has it."""

from __future__ import annotations

from models.declared import declared
from models.errors import UserError, listed
from pipeline.run import presets, recipes
from pipeline.run.fold_records import BegunFold
from pipeline.run.folder import Run
from pipeline.run.given import Given
from pipeline.run.settings import SYSTEMS, RunSettings
from pipeline.run.train_settings import TrainingSettings


def defaults(run: RunSettings, task: str) -> TrainingSettings:
    """What a task trains with unless it is told otherwise: the preset's settings, and the recipe's over them."""
    preset = presets.settings_of(run.preset, task, run.weights)
    told = recipes.RECIPES[run.recipe].settings.get(task) if run.recipe else None
    return preset if told is None else preset | told


def tasks_of(run: Run) -> tuple[str, ...]:
    """The networks a run trains: those of its recipe's system, the three specialists without a recipe."""
    return SYSTEMS[run.usual_system]


def of_task(given: Given[TrainingSettings], task: str, run: Run) -> Given[TrainingSettings]:
    """The training settings that a user gave for a task.

    Raises UserError for one that the task does not know, and for a task that is not of the recipe.
    """
    if run.recipe and task not in tasks_of(run):
        theirs = tasks_of(run)
        raise UserError(
            f"the recipe {run.recipe} has no network {task}; it trains {listed(theirs)} "
            f"(make train-{theirs[0]} RECIPE={run.recipe})."
        )
    for name in given:
        one = declared(TrainingSettings)[name]
        if not one.known_by(task):
            others = presets.tasks_with(name)
            hint = f"train {listed(others)} {'has' if len(others) == 1 else 'have'} it"
            raise UserError(f"train {task} has no setting {one.option}; {hint}.")
    if "backbone_options" not in given and given.get("backbone", defaults(run, task).backbone) != (
        defaults(run, task).backbone
    ):
        return given | {"backbone_options": {}}  # the preset's belong to the preset's backbone
    return given


def resolved(
    run: Run, task: str, given: Given[TrainingSettings], recorded: BegunFold | None = None
) -> TrainingSettings:
    """What a fold trains with: what is given, else what was recorded, else the recipe or preset."""
    return (defaults(run, task) if recorded is None else recorded.settings) | given
