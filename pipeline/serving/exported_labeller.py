"""An exported folder in the place of a run: the same question, the same kind of reply."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import pandas as pd

from models.errors import UserError
from pipeline.combiner.label_table import WORDS
from pipeline.runtime.progress import Progress
from pipeline.serving.exported import ExportedModel
from pipeline.serving.labelled import Labelled


@dataclass(frozen=True)
class ExportedLabeller:
    """A model that export wrote, as `Labeller` is a run."""

    model: ExportedModel
    kept: bool = True

    @property
    def boxed(self) -> bool:
        """Whether the networks learned from photos cropped to face boxes, of which there are none here."""
        return self.model.about["boxed"]

    @classmethod
    def of_folder(cls, folder: Path, threads: int) -> Self:
        """Of a folder. Raises UserError where it is none that export wrote, or a file of it was changed."""
        try:
            return cls(ExportedModel(folder, threads))
        except ModuleNotFoundError as missing:
            raise UserError(f"--model {folder} needs the package {missing.name}; pip install {missing.name}.") from None
        except ValueError as problem:
            raise UserError(f"--model {folder}: {problem}.") from None

    def told(self) -> str:
        """What bands go by."""
        low, high = self.model.about["thresholds"]
        return f"the thresholds {low:.1f} and {high:.1f}"

    def label(self, photos: Sequence[str], quiet: bool = False) -> Labelled:
        """Labels photos. photos: paths, each once; quiet: shows no progress."""
        rows, faces, bad = [], [], {}
        with Progress("label", len(photos), "photos", quiet=quiet) as progress:
            for name, said in zip(photos, self.model.label(list(map(Path, photos))), strict=True):
                progress.advance()
                row = said | {"photo": name}  # as it was named
                if "error" in row:
                    bad[name] = "OpenCV cannot decode it"
                    continue
                faces += [{"photo": name} | face for face in row.pop("faces", [])]
                rows.append(row)
        found = pd.DataFrame(faces) if faces else pd.DataFrame(columns=["photo", "face"])
        whole = pd.DataFrame(rows) if rows else pd.DataFrame(columns=["photo", "label", *WORDS])
        return Labelled(whole, None if self.model.detector is None else found, bad, [])
