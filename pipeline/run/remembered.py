"""What predict and calibrate go by for one set of eval photos, remembered in settings.json of their place in a run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from models.declared import Settings, declared, setting
from models.errors import UserError
from pipeline.runtime import store

S = TypeVar("S", bound=Settings)

FILE = "settings.json"
ENGINES = ("auto", "torch", "compiled", "openvino", "openvino-bfloat16")


@dataclass(frozen=True, kw_only=True)
class EngineSettings(Settings):
    """How eval photos are predicted."""

    engine: str = setting(
        "What runs the networks; auto: by machine and amount of work. It must agree with torch to be used.",
        "auto",
        choices=ENGINES,
    )
    flip: bool = setting("Predict the mean over each photo and its mirror image, in twice the time.", False)


@dataclass(frozen=True, kw_only=True)
class PriorSettings(Settings):
    """What the predictions about eval photos are calibrated for."""

    prior: str = setting("The age mix: auto, train, estimate, or shares like 0.42,0.28,0.30.", "auto")


@dataclass(frozen=True, kw_only=True)
class PeopleSettings(Settings):
    """Whose gender and age are decided: a photo's, or a person's from all photos of theirs."""

    people: str = setting(
        "Eval photos of one person are labelled with one gender and age band. auto: of a person that photos name; "
        "folders: a folder's photos are one person's; off: each photo for itself.",
        "auto",
        choices=("auto", "folders", "off"),
    )


def remembered(kind: type[S], *places: Path) -> S:
    """The settings of a kind from the first of the places that remembers them, else the usual ones.

    Raises UserError for a file that is damaged, or remembers what cannot be.
    """
    for place in places:
        path = place / FILE
        try:
            kept = store.read_json(path) if path.is_file() else {}
            if declared(kind).keys() <= kept.keys():
                return kind.from_json({name: kept[name] for name in declared(kind)}, path)
        except UserError as problem:
            raise UserError(
                f"{str(problem).rstrip('.')}. Remove that file, and give --engine, --flip, --prior and --people again "
                f"where they were not the usual ones."
            ) from None
    return kind()


def remember(place: Path, settings: Settings) -> None:
    """Keep settings in a place, beside those of other kinds."""
    path = place / FILE
    before = store.read_json(path) if path.is_file() else {}
    if before != (now := before | settings.as_json()):
        store.write_json(path, now)
