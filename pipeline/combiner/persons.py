"""Which eval photos are one person's."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from models.errors import UserError


def persons_of(photos: pd.DataFrame, people: str) -> NDArray[np.int64] | None:
    """(n,) a number for each photo's person, from 0 in order of appearance; None where no two photos are one person's.

    photos: a row each with photo and, perhaps, person, where a blank means that a photo is nobody else's. people: auto
    goes by the persons that are named, folders by the folders that photos lie in, off by nothing. Raises UserError for
    folders where all photos lie in one.
    """
    if people == "off":
        return None
    names = _folders(photos["photo"]) if people == "folders" else photos.get("person", pd.Series(dtype="object"))
    names = pd.Series(names, dtype="object").reset_index(drop=True).reindex(range(len(photos)))
    alone = names.isna() | (names == "")
    keys = pd.MultiIndex.from_arrays([alone, names.where(~alone, photos["photo"].reset_index(drop=True)).astype(str)])
    person, known = pd.factorize(keys)
    return person.astype(np.int64) if len(known) < len(photos) else None


def _folders(photos: Sequence[str]) -> list[str | None]:
    """The folder of each photo; None of one beside folders, which is nobody else's."""
    folders = [str(PurePosixPath(photo).parent) for photo in photos]
    if len(set(folders)) == 1:
        where = "in no folder" if folders[0] == "." else f"in {folders[0]}"
        raise UserError(
            f"PEOPLE=folders (--people) takes a folder's photos for one person's, and all {len(folders)} eval photos "
            f"lie {where}; bring a folder for each person, or leave it out."
        )
    return [None if folder == "." else folder for folder in folders]
