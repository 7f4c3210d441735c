"""Folds by person: the photos of a person, of one face, clothes and background, fall into one fold.

A run may be split by photo instead, as the notes were: then the same faces stand on both sides of the split, and
the validation scores are shown as leaky.
"""

import hashlib
from collections.abc import Iterable
from typing import TYPE_CHECKING

from models.errors import UserError
from models.labels import MASKS, band, by_gender_first, class_of
from pipeline.runtime import store

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from pipeline.run.folder import Run

FOLDS = 5


def fold_table(photos: "pd.DataFrame", split_seed: int = 0, folds: int = FOLDS) -> "pd.DataFrame":
    """The fold of every person: columns person and fold (0 to folds - 1), a row each, sorted by person.

    `photos` is a train photo table. People are stratified on gender x age band; those who lack either form
    one stratum. Each stratum, and the whole, is spread over the folds to within one person. The order of the
    photos does not matter: only who is there, their labels and `split_seed`. Of a person at many ages the
    median counts.

    Raises UserError where there are fewer people than folds.
    """
    import pandas as pd

    people = _people(photos)
    fold = _dealt(_strata(people), people.index, split_seed, folds, "person", "people")
    return pd.DataFrame({"person": people.index.astype("string"), "fold": fold})


def photo_fold_table(photos: "pd.DataFrame", split_seed: int = 0, folds: int = FOLDS) -> "pd.DataFrame":
    """The fold of every photo: columns photo and fold (0 to folds - 1), a row each, sorted by photo.

    As `fold_table`, but photos are dealt out without regard to whose they are, stratified on mask x gender x age
    band of their person; photos without a mask label form strata of their own. Raises UserError where there are
    fewer photos than folds.
    """
    import numpy as np
    import pandas as pd

    rows = photos.sort_values("photo")
    people = _people(photos)
    of_person = dict(zip(people.index, _strata(people), strict=True))
    strata = rows["person"].map(of_person).to_numpy(np.int64) * (len(MASKS) + 1)
    strata += rows["mask"].fillna(len(MASKS)).to_numpy(np.int64)
    fold = _dealt(strata, rows["photo"], split_seed, folds, "photo", "photos")
    return pd.DataFrame({"photo": rows["photo"].astype("string").array, "fold": fold})


def folds_of(run: "Run", photos: "pd.DataFrame") -> "pd.DataFrame":
    """The fold table of a run's train photos, as the run splits them: a row per person, or per photo."""
    return {"person": fold_table, "photo": photo_fold_table}[run.split](photos, run.split_seed, run.folds)


def folds_fingerprint(folds: "pd.DataFrame") -> str:
    """What a fold table is known by."""
    return store.fingerprint(folds.astype(str).to_numpy().tolist())


def with_folds(rows: "pd.DataFrame", folds: "pd.DataFrame") -> "pd.DataFrame":
    """Rows of a photo table with their column fold, from a fold table by person or by photo."""
    return rows.merge(folds, on=folds.columns[0], how="left")


def _people(photos: "pd.DataFrame") -> "pd.DataFrame":
    """The gender and the median age of each person, sorted by person; photos of a person may be years apart."""
    # "first" is the first label that is not missing, so a person with some blank rows keeps the known label.
    return photos.groupby("person", sort=True).agg({"gender": "first", "age": "median"})


def _strata(people: "pd.DataFrame") -> "NDArray[np.int64]":
    """gender x age band of each person as a number, -1 where either is missing."""
    import numpy as np

    known = people["gender"].notna().to_numpy() & people["age"].notna().to_numpy()
    strata = np.full(len(people), -1)
    some = people[known]
    strata[known] = by_gender_first(class_of(some["gender"], band(some["age"].to_numpy(np.float64))))
    return strata


def _dealt(
    strata: "NDArray[np.int64]", names: Iterable[str], split_seed: int, folds: int, one: str, several: str
) -> "NDArray[np.int64]":
    """The fold of each name; `one`, `several`: what is split, for messages."""
    import numpy as np

    if folds < 2:
        raise UserError(f"folds is {folds}, but a split by {one} needs at least 2.")
    if len(strata) < folds:
        raise UserError(f"{folds} folds need {folds} train {several} or more, but there are {len(strata)}.")
    # A hash shuffles them alike in every version.
    digest = [hashlib.sha256(f"{int(split_seed)}:{name}".encode()).digest() for name in names]
    order = np.argsort(sorted(range(len(digest)), key=digest.__getitem__))
    return deal(strata, order, folds)


def deal(strata: "NDArray[np.int64]", order: "NDArray", folds: int, first: int = 0) -> "NDArray[np.int64]":
    """The fold (n,) of each of n: every stratum, and the whole, spread over the folds to within one.

    strata: (n,) numbers; order: (n,) what decides inside a stratum, where the chance comes from; first: the fold that
    is dealt first. Dealing out like cards, one stratum after another, gives the counts of scikit-learn's
    StratifiedKFold without its refusal of small strata.
    """
    import numpy as np

    fold = np.empty(len(strata), np.int64)
    fold[np.lexsort((order, strata))] = (np.arange(len(strata)) + first) % folds
    return fold
