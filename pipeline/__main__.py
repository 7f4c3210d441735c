"""python -m pipeline STAGE: the stages, derived from their signatures.

A stage's one parameter is a dataclass of settings; its fields are the command line, its docstrings the help.
Nothing heavy is imported before a stage runs.
"""

from __future__ import annotations

import errno
import inspect
import os
import sys
from collections.abc import Callable
from dataclasses import fields
from importlib import import_module
from typing import Any, get_type_hints

from models import presets
from models.errors import UserError
from pipeline.stopping import StoppedError

STAGES = ("data", "prepare", "train", "predict", "calibrate", "submit", "score", "compare", "recipes")
REFUSALS = {
    **dict.fromkeys(
        (errno.ENOSPC, errno.EDQUOT, errno.EFBIG),
        "the disk is full; make room and give the same command again, nothing that was finished is lost",
    ),
    errno.ENAMETOOLONG: "the name is too long for this disk; give a shorter one",
    errno.EIO: "the disk reports an error; the same command goes on once it works, nothing that was finished is lost",
    **dict.fromkeys(
        (errno.EACCES, errno.EPERM, errno.EROFS),
        "it may not be written or read; change its permissions, or name another RUN=",
    ),
    **dict.fromkeys(
        (errno.ENOENT, errno.ENOTDIR, errno.ESTALE),
        "it is not there any more; bring it back, or run the stage that writes it again",
    ),
}
"""What the system may refuse at any time, and the way out."""


def stage_named(name: str) -> tuple[Callable[[Any], dict[str, Any]], type]:
    """A stage's function and the dataclass of its settings."""
    function = getattr(import_module(f"pipeline.stages.{name}"), name)
    (settings,) = get_type_hints(function, include_extras=True).keys() - {"return"}
    return function, get_type_hints(function)[settings]


def overview() -> str:
    lines = [
        "usage: python -m pipeline STAGE [settings]",
        "",
        "From photos of people to 18 labels. The stages:",
        "",
    ]
    lines += [f"  {name:10} {inspect.getdoc(stage_named(name)[0]).splitlines()[0]}" for name in STAGES]
    return "\n".join([*lines, "", "python -m pipeline STAGE --help lists a stage's settings; make lists the targets."])


def parse(name: str, arguments: list[str]) -> tuple[Callable[[Any], dict[str, Any]], Any]:
    """The stage's function and its settings; exits with status 2 on settings it does not know."""
    import tyro

    function, settings = stage_named(name)
    given = tyro.cli(
        settings, args=arguments, prog=f"python -m pipeline {name}", description=inspect.getdoc(function),
        config=(tyro.conf.FlagCreatePairsOff,), console_outputs=True,
    )  # fmt: skip
    return function, given


def check(arguments: list[str]) -> None:
    """`check GOAL ... -- SETTING ...`: are the settings ones that every goal knows? Make asks before it starts."""
    from pipeline import training_settings
    from pipeline.runs import given_settings

    split = arguments.index("--")
    goals, given = arguments[:split], arguments[split + 1 :]
    for goal in goals:
        name, _, task = goal.partition("-")
        if name not in STAGES:
            raise UserError(f"make {goal} takes no ARGS; name the stage they are for, like make train-age ARGS=...")
        known = {field.name for field in fields(stage_named(name)[1])}
        for argument in given:
            setting = argument.partition("=")[0].removeprefix("--").replace("-", "_")
            if not argument.startswith("--") or setting == "help":
                continue
            if setting not in known or (task and setting in _training() and task not in presets.tasks_with(setting)):
                knowing = _goals_with(setting)
                hint = (
                    f"{' and '.join(knowing)} {'has' if len(knowing) == 1 else 'have'} it"
                    if knowing
                    else "no stage has"
                )
                raise UserError(f"make {goal} has no setting {argument.partition('=')[0]}; {hint}.")
        _, settings = parse(name, [*([task] if task else []), *given])
        if name == "train":
            training_settings.check_values(given_settings(settings))


def _training() -> set[str]:
    return {setting for preset in presets.PRESETS.values() for task in preset.values() for setting in task}


def _goals_with(setting: str) -> list[str]:
    goals = [n for n in STAGES if n != "train" and setting in {f.name for f in fields(stage_named(n)[1])}]
    tasks = presets.tasks_with(setting)
    if not tasks and setting in {f.name for f in fields(stage_named("train")[1])}:
        tasks = presets.NETWORKS
    return goals + [f"train-{task}" for task in tasks]


def goals(arguments: list[str]) -> str:
    """`goals SETTING ...`: the make targets that train the system of a run. Make asks before it trains."""
    import tyro

    from pipeline.runs import SystemSettings, open_run

    given = tyro.cli(SystemSettings, args=arguments, prog="make train", config=(tyro.conf.FlagCreatePairsOff,))
    return " ".join(f"train-{task}" for task in presets.SYSTEMS[open_run(given).system(given)])


def main(arguments: list[str]) -> int:
    """Run a stage; returns the exit status: 0, 2 for what the user can mend, 1 for faults of ours."""
    try:
        if not arguments or arguments[0] in ("-h", "--help"):
            print(overview())
        elif arguments[0] == "check":
            check(arguments[1:])
        elif arguments[0] == "goals":
            print(goals(arguments[1:]))
        elif arguments[0] not in STAGES:
            raise UserError(f"there is no stage {arguments[0]}; the stages are {', '.join(STAGES)}.")
        else:
            function, settings = parse(arguments[0], arguments[1:])
            function(settings)
    except UserError as problem:
        print(f"face18: {problem}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # whoever read what is printed has gone, like head
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as problem:
        if problem.errno not in REFUSALS:
            raise
        print(f"face18: {problem.filename or problem.strerror}: {REFUSALS[problem.errno]}.", file=sys.stderr)
        return 2
    except StoppedError as stop:
        print(f"face18: {stop}.", file=sys.stderr)
        return 128 + stop.number
    except KeyboardInterrupt:
        print("face18: interrupted; the same command goes on from the last checkpoint.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.stdout.reconfigure(errors="backslashreplace")  # names that this terminal cannot show
    sys.stderr.reconfigure(errors="backslashreplace")
    sys.exit(main(sys.argv[1:]))
