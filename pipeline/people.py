"""Folds by person: the photos of a person, of one face, clothes and background, fall into one fold."""

import hashlib
from typing import TYPE_CHECKING

from models.errors import UserError
from models.labels import BANDS, band

if TYPE_CHECKING:
    import pandas as pd

FOLDS = 5


def fold_table(photos: "pd.DataFrame", split_seed: int = 0, folds: int = FOLDS) -> "pd.DataFrame":
    """The fold of every person: columns person and fold (0 to folds - 1), a row each, sorted by person.

    `photos` is a train photo table. People are stratified on gender x age band; those who lack either form
    one stratum. Each stratum, and the whole, is spread over the folds to within one person. The order of the
    photos does not matter: only who is there, their labels and `split_seed`.

    Raises UserError where there are fewer people than folds.
    """
    import numpy as np
    import pandas as pd

    if folds < 2:
        raise UserError(f"folds is {folds}, but a split by person needs at least 2.")
    # "first" is the first label that is not missing, so a person with some blank rows keeps the known label.
    people = photos.groupby("person", sort=True)[["gender", "age"]].first()
    if len(people) < folds:
        raise UserError(f"{folds} folds need {folds} train people or more, but there are {len(people)}.")
    known = people["gender"].notna().to_numpy() & people["age"].notna().to_numpy()
    strata = np.full(len(people), -1)
    some = people[known]
    strata[known] = some["gender"].to_numpy(np.int64) * len(BANDS) + band(some["age"].to_numpy(np.float64))
    # Dealing the people out like cards, one stratum after another, gives the counts of scikit-learn's
    # StratifiedKFold without its refusal of small strata; a hash shuffles them alike in every version.
    chance = [hashlib.sha256(f"{int(split_seed)}:{person}".encode()).digest() for person in people.index]
    dealt = sorted(range(len(people)), key=lambda i: (strata[i], chance[i]))
    fold = np.empty(len(people), np.int64)
    fold[dealt] = np.arange(len(people)) % folds
    return pd.DataFrame({"person": people.index.astype("string"), "fold": fold})
