"""What a combiner says of photos or faces, as people read it: labels in words beside the averaged predictions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pandas as pd

from models.labels import BANDS, GENDERS, MASKS, decode
from pipeline.prediction.label_tables import BAND_COLUMNS, LABEL_COLUMNS
from pipeline.prediction.tables import COLUMNS, FACE

if TYPE_CHECKING:
    from pipeline.combiner.combiners import Combiner
    from pipeline.combiner.label_combiner import LabelCombiner
    from pipeline.combiner.threshold_combiner import ThresholdCombiner

WORDS = {"mask": MASKS, "gender": GENDERS, "band": BANDS}


def labelled_photos(combiner: ThresholdCombiner | LabelCombiner, predictions: pd.DataFrame) -> pd.DataFrame:
    """A row a photo, in order of appearance: photo, label, mask, gender, band and the means over folds.

    predictions: one row per photo and fold, of whatever columns the system predicts.
    """
    found = combiner.predict(predictions)
    found = found.assign(**{name: [known[i] for i in found[name]] for name, known in WORDS.items()})
    columns = [name for name in (*COLUMNS, *BAND_COLUMNS, *LABEL_COLUMNS) if name in predictions]
    means = predictions.groupby("photo")[columns].mean().reindex(found["photo"]).reset_index(drop=True)
    return pd.concat([found[["photo", "label", *WORDS]], means], axis=1)


def label_table(combiner: Combiner, predictions: pd.DataFrame) -> pd.DataFrame:
    """What submit says of each photo: photo, label, words, and the predictions that it rests on.

    predictions: one row per photo and fold. Where predictions are pooled, gender and age are the person's.
    """
    found = combiner.predict(predictions)
    if not set(COLUMNS) <= set(found.columns):
        found = labelled_photos(combiner, predictions)
    else:
        found = found.assign(**{name: [known[i] for i in found[name]] for name, known in WORDS.items()})
    return found


def in_order(found: pd.DataFrame, labels: pd.Series, person: Sequence[str] | None) -> pd.DataFrame:
    """A table of labels in the order of photos that are asked for: (n,) labels by photo, and persons where pooled.

    A photo that could not be decoded has its label in words, and no prediction.
    """
    table = found.set_index("photo").reindex(labels.index).reset_index(names="photo")
    values = dict(zip(WORDS, decode(labels), strict=True))
    table = table.assign(label=labels.to_numpy(), **{name: [WORDS[name][i] for i in values[name]] for name in WORDS})
    if person is not None and any(person):
        table.insert(1, "person", person)
    return table


def labelled_faces(combiner: ThresholdCombiner | LabelCombiner, predictions: pd.DataFrame) -> pd.DataFrame:
    """A row a face: photo, face, its box and score, and what `labelled_photos` says of one.

    predictions: one row per photo, face and fold.
    """
    keys = ["photo", "face"]
    if predictions.empty:
        return pd.DataFrame(columns=[*keys, *FACE, "label", *WORDS])
    of_face = predictions.groupby(keys, sort=False).ngroup().astype(str)
    about = predictions[[*keys, *FACE]].drop_duplicates(keys).reset_index(drop=True)
    labels = labelled_photos(combiner, predictions.drop(columns=keys).assign(photo=of_face))
    return pd.concat([about, labels.drop(columns="photo")], axis=1)
