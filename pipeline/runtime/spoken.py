"""How this program was called, and so what its messages call its stages and settings."""

from __future__ import annotations

import re
import sys
from pathlib import Path

COMMAND = "face18"
SETTINGS = "DATA|EVAL|EXTRA|FACES|FOLDS|NPROC|PEOPLE|PRESET|RECIPE|RUN|SYSTEM|THREADS|WEIGHTS"
"""Those that make takes by these names; each is an option of the same name, but for those of OPTIONS."""
OPTIONS = {"NPROC": "processes"}
STAGES = "calibrate|commands|compare|count|data|export|predict|prepare|recipes|report|score|serve|submit|tune"


def called() -> str:
    """What a user types before a stage's name."""
    return COMMAND if Path(sys.argv[0]).name == COMMAND else "python -m pipeline"


def in_its_words(message: str) -> str:
    """A message, which is written for make, in the words of the program that was called.

    Settings are named both ways where they are not make's alone, as in RUN=folder (--run).
    """
    if called() != COMMAND:
        return message
    message = message.replace("python -m pipeline", COMMAND)
    message = re.sub(rf"(?<![^\s(])({SETTINGS})=([^\s,;)]*) \(--[a-z]+\)", _option, message)
    message = re.sub(rf"(?<![^\s(])({SETTINGS})=([^\s,;)]*)", _option, message)
    message = re.sub(r"\bmake ((?:train-[a-z]+ ?)+)", _trainings, message)
    message = re.sub(rf"\bmake ({STAGES})\b", rf"{COMMAND} \1", message)
    return re.sub(r"\bmake setup\b", "pip install . in the checkout", message)


def _option(found: re.Match[str]) -> str:
    return f"--{OPTIONS.get(found[1], found[1].lower())} {found[2]}".rstrip()


def _trainings(found: re.Match[str]) -> str:
    """make train-mask train-age: as two commands."""
    networks = re.findall(r"train-([a-z]+)", found[1])
    end = " " if found[1].endswith(" ") else ""
    return " and ".join(f"{COMMAND} train {network}" for network in networks) + end
