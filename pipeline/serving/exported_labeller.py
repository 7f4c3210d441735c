"""An exported folder in the place of a run: the same question, the same kind of reply."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import pandas as pd

from models.errors import UserError
from pipeline.runtime.progress import Progress
from pipeline.serving.exported import ExportedModel
from pipeline.serving.labelled import Labelled


@dataclass(frozen=True)
class ExportedLabeller:
    """A model that export wrote, as `Labeller` is a run."""

    model: ExportedModel
    boxed: bool = False
    kept: bool = True

    @classmethod
    def of_folder(cls, folder: Path, threads: int) -> Self:
        """Of a folder. Raises UserError where it is none that export wrote, or a file of it was changed."""
        try:
            return cls(ExportedModel(folder, threads))
        except ModuleNotFoundError as missing:
            raise UserError(f"--model {folder} needs the package {missing.name}; pip install {missing.name}.") from None
        except (ValueError, KeyError, OSError) as problem:
            raise UserError(f"--model {folder}: {problem}.") from None

    def told(self) -> str:
        """What bands go by."""
        low, high = self.model.about["thresholds"]
        return f"the thresholds {low:.1f} and {high:.1f}"

    def label(self, photos: Sequence[str], quiet: bool = False) -> Labelled:
        """Labels photos. photos: paths, each once; quiet: shows no progress."""
        rows, faces, bad = [], [], {}
        with Progress("label", len(photos), "photos", quiet=quiet) as progress:
            for row in self.model.label(list(map(Path, photos))):
                progress.advance()
                if "error" in row:
                    bad[row["photo"]] = "OpenCV cannot decode it"
                    continue
                faces += [{"photo": row["photo"]} | face for face in row.pop("faces", [])]
                rows.append(row)
        found = (
            None if self.model.detector is None else pd.DataFrame(faces, columns=None if faces else ["photo", "face"])
        )
        return Labelled(pd.DataFrame(rows), found, bad, [])
