"""python -m pipeline STAGE: the stages, derived from their signatures.

A stage's one parameter is a dataclass of declared settings, which are its command line; its docstring heads the help.
Nothing heavy is imported before a stage runs.
"""

from __future__ import annotations

import atexit
import errno
import gc
import inspect
import multiprocessing
import os
import sys
import threading
from typing import NoReturn

from models.declared import declared
from models.errors import UserError, listed
from pipeline.arguments import STAGES, alike, parse, read, setting_of, stage_named
from pipeline.run.folder import open_run
from pipeline.run.given import settings_of
from pipeline.run.presets import tasks_with
from pipeline.run.settings import NETWORKS, RECORDED, SYSTEMS, TASKS, EvalStage, RunStage, SystemStage
from pipeline.run.train_settings import TrainingSettings
from pipeline.runtime import ranks
from pipeline.runtime.missing import missing_path
from pipeline.runtime.spoken import COMMAND, called, in_its_words
from pipeline.runtime.stopping import StoppedError
from pipeline.told_defaults import settings_table

REFUSALS = {
    **dict.fromkeys(
        (errno.ENOSPC, errno.EDQUOT, errno.EFBIG),
        "the disk is full; make room and give the same command again, nothing that was finished is lost",
    ),
    errno.ENAMETOOLONG: "the name is too long for this disk; give a shorter one",
    **dict.fromkeys(
        (errno.EIO, errno.ESTALE),
        "the disk reports an error; the same command goes on once it works, nothing that was finished is lost",
    ),
    **dict.fromkeys(
        (errno.EACCES, errno.EPERM, errno.EROFS),
        "it may not be written or read; change its permissions, or name another RUN=",
    ),
    **dict.fromkeys(
        (errno.ENOENT, errno.ENOTDIR),
        "it is not there any more; bring it back, or run the stage that writes it again",
    ),
}
"""What the system may refuse at any time, and the way out."""


SETUP = "make setup installs it, and .venv/bin/python then has it"
EXAMPLE = """\
A run of your photos; what was given once is remembered in its folder:

  face18 prepare --data photos --run runs/mine
  face18 train mask --run runs/mine
  face18 train gender --run runs/mine
  face18 train age --run runs/mine
  face18 predict --run runs/mine
  face18 calibrate --run runs/mine
  face18 submit --run runs/mine
  face18 score --run runs/mine
  face18 label photo.jpg --run runs/mine"""
GARBAGE = (50_000, 20, 100)
"""How seldom Python looks for garbage: imports make hundreds of thousands of objects and none."""


def overview() -> str:
    """The page that is read first."""
    program = called()
    lines = [
        f"usage: {program} STAGE [settings]",
        "",
        "From photos of people to 18 labels. The stages:",
        "",
    ]
    lines += [f"  {name:10} {inspect.getdoc(stage_named(name)[0]).splitlines()[0]}" for name in STAGES]
    lines += ["", f"{program} STAGE --help lists a stage's settings, {program} settings those of all."]
    if program != COMMAND:
        return "\n".join([*lines, "Plain make lists the targets."])
    return "\n".join([*lines, "", *EXAMPLE.splitlines()])


def check(words: list[str]) -> None:
    """`check GOAL ... -- SETTING ... -- ARG ...`: can every goal take the ARGS, and the settings that it knows?

    Make asks before it starts. Settings of the whole run among the ARGS are recorded at once, because make gives ARGS
    to the named goals alone, and stages before them must go by such settings too.
    """
    first = words.index("--")
    second = words.index("--", first + 1)
    goals, shared, args = words[:first], words[first + 1 : second], words[second + 1 :]
    given = {setting_of(word) for word in args if word.startswith("--") and word != "--help"}
    for goal in goals:
        name, _, task = goal.partition("-")
        if name not in STAGES:
            if args:
                raise UserError(f"make {goal} takes no ARGS; name the stage they are for, like make train-age ARGS=...")
            continue
        known = _known(name)
        for setting in given:
            if setting not in known or (
                task and setting in declared(TrainingSettings) and task not in tasks_with(setting)
            ):
                raise UserError(f"make {goal} has no setting --{setting.replace('_', '-')}; {_who_has(setting)}.")
        theirs = [
            word
            for pair in zip(shared[::2], shared[1::2], strict=True)
            if setting_of(pair[0]) in known
            for word in pair
        ]
        _, settings = parse(name, [*([task] if task else []), *theirs, *args])
        works = isinstance(settings, RunStage) and name not in ("score", "recipes")
        if works and given & set(RECORDED) and not (isinstance(settings, EvalStage) and settings.eval):
            open_run(settings)


def _known(name: str) -> set[str]:
    return set(settings_of(stage_named(name)[1]))


def _who_has(setting: str) -> str:
    """Which goals of make have a setting, or what may be meant by one that none has."""
    # What a training is told, commands passes on; it is no place to look for that.
    stages = [name for name in STAGES if name != "train" and (name != "commands" or setting not in _known("train"))]
    have = [name for name in stages if setting in _known(name)]
    tasks = tasks_with(setting)
    if not tasks and setting in _known("train"):
        tasks = NETWORKS
    if set(TASKS) <= set(tasks):
        have.append("train")
    have += [f"train-{task}" for task in tasks]
    if have:
        return f"{listed(have)} {'has' if len(have) == 1 else 'have'} it"
    return alike(setting, {name for stage in STAGES for name in _known(stage)}) or "no stage has it"


def goals(words: list[str]) -> str:
    """`goals SETTING ...`: the make targets that train the system of a run, the longest first. Make asks for them."""
    given = read(SystemStage, words, "train")
    # They stand from the cheapest to the dearest.
    return " ".join(f"train-{task}" for task in reversed(SYSTEMS[open_run(given).system(given)]))


def main(arguments: list[str]) -> int:
    """Run a stage; returns the exit status: 0, 2 for what the user can mend, 1 for faults of ours."""
    try:
        if not arguments or arguments[0] in ("-h", "--help"):
            print(overview())
        elif arguments[0] == "check":
            check(arguments[1:])
        elif arguments[0] == "settings":
            print(settings_table({name: stage_named(name)[1] for name in STAGES}))
        elif arguments[0] == "goals":
            print(goals(arguments[1:]))
        elif arguments[0] not in STAGES:
            raise UserError(f"there is no stage {arguments[0]}; the stages are {', '.join(STAGES)}.")
        else:
            function, settings = parse(arguments[0], arguments[1:])
            function(settings)
    except UserError as problem:
        _tell(in_its_words(str(problem)))
        return 2
    except BrokenPipeError:  # whoever read what is printed has gone, like head
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as problem:
        refused = problem.filename or problem.strerror
        if isinstance(problem, FileNotFoundError):
            refused = missing_path(problem)  # None where nobody but us can be at fault
        if problem.errno not in REFUSALS or refused is None:
            raise
        _tell(f"{refused}: {in_its_words(REFUSALS[problem.errno])}.")
        return 2
    except ModuleNotFoundError as missing:
        if missing.name is None or missing.name.split(".")[0] in ("models", "pipeline"):
            raise
        told = f"the package {missing.name} is not installed for {sys.executable}"
        way = "installing face18 again (pip install .) brings it" if called() == COMMAND else SETUP
        _tell(f"{told}; {way}.")
        return 2
    except ranks.LostError as lost:
        print(f"face18: {lost}.", file=sys.stderr)
        return 1
    except StoppedError as stop:
        _tell(f"{stop}.")
        return 128 + stop.number
    except KeyboardInterrupt:
        _tell("interrupted; the same command goes on from the last checkpoint.")
        return 130
    return 0


def _tell(problem: str) -> None:
    """Say what is wrong; several processes that train together say it once."""
    if ranks.tells(problem):
        print(f"face18: {problem}", file=sys.stderr, flush=True)


def leave(status: int) -> NoReturn:
    """End this process; where nothing else is at work in it, as soon as its libraries were told.

    Taking apart all that torch and timm made takes a second, and nobody is there to see it.
    """
    at_work = threading.active_count() > 1 or multiprocessing.active_children()
    if at_work or sys.getprofile() or sys.gettrace():
        sys.exit(status)
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError as problem:  # a reader that has gone, or a full disk under a log
            status = status or 1
            if stream is sys.stdout and not isinstance(problem, BrokenPipeError):
                print(f"face18: what was told could not be written: {problem.strerror}.", file=sys.stderr)
    os._exit(status)


def run_stages(commands: list[list[str]]) -> NoReturn:
    """Run stages in turn in this process and end it; with the first status that is not 0, if there is one."""
    sys.stdout.reconfigure(errors="backslashreplace")  # names that this terminal cannot show
    sys.stderr.reconfigure(errors="backslashreplace")
    gc.set_threshold(*GARBAGE)
    leave(next(filter(None, map(main, commands)), 0))


if __name__ == "__main__":
    run_stages([sys.argv[1:]])
