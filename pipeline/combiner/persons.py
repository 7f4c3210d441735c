"""Which eval photos are one person's."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from models.errors import UserError
from pipeline.dataset.contest import EVAL_IMAGES
from pipeline.dataset.photo_names import folder_of, shard_of

FOLDERS, IN_TARS = "folders", "folders in tars"
"""Whose photos are one person's: a folder's, or a folder's in a tar, of which each is nobody's."""


def persons_of(photos: pd.DataFrame, people: str) -> NDArray[np.int64] | None:
    """(n,) a number for each photo's person, from 0 in order of appearance; None where no two photos are one person's.

    photos: a row each with photo and, perhaps, person, where a blank means that a photo is nobody else's. people: auto
    goes by the persons that are named, FOLDERS and IN_TARS by the folders that photos lie in, off by nothing. Raises
    UserError where none of the photos lies in a folder of its own.
    """
    names = named_persons(photos, people)
    if names is None:
        return None
    keys = pd.MultiIndex.from_arrays([names == "", np.where(names == "", photos["photo"].astype(str), names)])
    person, known = pd.factorize(keys)
    return person.astype(np.int64) if len(known) < len(photos) else None


def named_persons(photos: pd.DataFrame, people: str) -> NDArray[np.object_] | None:
    """(n,) the name of each photo's person, nothing for nobody's; None where nobody is to be known. As `persons_of`."""
    if people == "off" or (people == "auto" and "person" not in photos):
        return None
    names = (
        folders_of(photos["photo"], people == IN_TARS)
        if people in (FOLDERS, IN_TARS)
        else photos["person"].astype(object).fillna("").astype(str).tolist()
    )
    return np.array(names, object)


def folders_of(photos: Sequence[str], in_tars: bool = False) -> list[str]:
    """The folder of each photo, nothing for one beside folders. Raises UserError where none lies in one of its own.

    A tar is no person's folder; folders of one name in two tars may be two persons', and count as such.
    """
    folders = ["." if in_tars and "/" not in shard_of(photo)[1] else folder_of(photo) for photo in photos]
    if not set(folders) - {".", EVAL_IMAGES}:
        where = "in no folder" if folders[0] == "." else f"in {folders[0]}"
        raise UserError(
            f"PEOPLE=folders (--people) takes a folder's photos for one person's, and all {len(folders)} eval photos "
            f"lie {where}; bring a folder for each person, or leave it out."
        )
    return ["" if folder == "." else folder for folder in folders]
