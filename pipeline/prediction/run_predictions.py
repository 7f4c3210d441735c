"""The predictions that a run holds: of validation people, out of fold, and the networks that made them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from models.errors import UserError
from pipeline.prediction.engine import REFERENCE, Engine
from pipeline.run import records
from pipeline.run.fold_records import SETTINGS, VALIDATION, FinishedFold
from pipeline.run.folder import Run
from pipeline.run.records import Record
from pipeline.run.settings import SYSTEMS
from pipeline.runtime import store
from pipeline.scoring.caveats import CAVEAT_SENTENCES, UNSEEN, unseen_caveat

if TYPE_CHECKING:
    import pandas as pd

    from pipeline.faces.face_framing import Framing

Networks = Mapping[str, Sequence[FinishedFold]]
"""The finished folds of a system by task."""


def networks_of(run: Run, system: str) -> Networks:
    """A system's finished folds, as they are recorded. Raises UserError when a network has none."""
    found = {}
    for task in SYSTEMS[system]:
        found[task] = tuple(run.finished(task).values())
        if not found[task]:
            raise UserError(f"no fold of {task} is trained in {run.folder} yet; run make train-{task} first.")
    return found


def folds_in(networks: Networks) -> list[FinishedFold]:
    """All finished folds of a system, one task after the other."""
    return [fold for folds in networks.values() for fold in folds]


def framing_of(networks: Networks) -> Framing | None:
    """How all networks of a system had faces framed; None where none were looked for.

    Raises UserError where they learned from photos that were framed otherwise.
    """
    from pipeline.faces.face_framing import Framing

    first, *others = folds_in(networks)
    for fold in others:
        if fold.faces != first.faces:
            raise UserError(
                f"{first.folder} and {fold.folder} learned from photos that were framed otherwise; train one of them "
                f"again with --restart, which keeps the old folder."
            )
    return Framing.from_json(first.faces, first.folder / SETTINGS)


def out_of_fold(fold: FinishedFold) -> pd.DataFrame:
    """The predictions of a finished fold about the people it held out, as training wrote them."""
    fold.check(VALIDATION)
    return store.read_csv(fold.folder / VALIDATION)


def gather(networks: Networks, predictions_of: Callable[[FinishedFold], pd.DataFrame] = out_of_fold) -> pd.DataFrame:
    """The out-of-fold predictions of a system's networks side by side, one row per photo.

    Photos that some specialist did not predict out-of-fold have blanks there. Raises UserError when the networks
    learned from different labels or folds.
    """
    import pandas as pd

    from pipeline.prediction.tables import TRUTH

    keys = ["photo", "person", "fold", *TRUTH]
    whole: pd.DataFrame | None = None
    for folds in networks.values():
        table = pd.concat([predictions_of(fold) for fold in folds])
        whole = table if whole is None else whole.merge(table, on=keys, how="outer")
    if whole["photo"].duplicated().any():
        run = folds_in(networks)[0].folder.parents[1]
        raise UserError(
            f"the networks of {run} were trained on different labels or folds; train them again with --restart."
        )
    return whole


def validation_by(networks: Networks, place: Path, engine: Engine) -> pd.DataFrame:
    """The validation predictions that go with a place's eval predictions. Raises UserError when there are none."""
    if engine == REFERENCE:
        return gather(networks)
    path = place / VALIDATION
    if not has_validation_by(place, engine):
        raise UserError(f"{path} is missing, damaged or of another engine than {engine}; run predict again.")
    return store.read_csv(path)


def engine_of(predictions: pd.DataFrame) -> Engine:
    """The engine that made a table of eval predictions. Raises UserError where the table does not tell."""
    if "engine" not in predictions:
        raise UserError("the eval predictions lack the column engine: run predict again.")
    return Engine.of(str(predictions["engine"].iloc[0]))


def has_validation_by(place: Path, engine: Engine) -> bool:
    """Whether such validation predictions stand; they are not read."""
    if engine == REFERENCE:
        return True
    made = records.last(place, "engine")
    stands = made.wrote.get(VALIDATION) == store.file_fingerprint(place / VALIDATION)
    return made.metrics.get("engine") == str(engine) and stands


def caveats_of(networks: Networks) -> dict[str, str]:
    """The caveats of a system's validation scores: a word to set beside them, and a sentence each."""
    metrics = [fold.metrics for fold in folds_in(networks)]
    found = {word: told for word, told in CAVEAT_SENTENCES.items() if any(made.get(word) for made in metrics)}
    # What one fold of a network has seen, its mean over the folds can answer.
    unseen = [[set(fold.metrics.get(UNSEEN, ())) for fold in folds] for folds in networks.values()]
    return found | unseen_caveat(set().union(*(set.intersection(*of_task) for of_task in unseen if of_task)))


def network_fingerprints(networks: Networks) -> dict[str, list[str | None]]:
    """What a system predicts by: the fingerprints of its networks, by their folder in the run."""
    return {f"{fold.task}/{fold.folder.name}": fold.network_fingerprint for fold in folds_in(networks)}


def check_calibrated(networks: Networks, run: Run, place: Path) -> None:
    """Raises UserError where a place has no combiner, or one fitted to other networks or predictions than stand now."""
    calibrated = records.last(place, "calibrate")
    calibrated.check("combiner.json")
    if not (place / "combiner.json").is_file():
        raise UserError(f"{place} has no combiner.json yet; run make predict and make calibrate first.")
    weights = calibrated.metrics.get("weights", records.last(place, "predict").metrics.get("weights"))
    now = store.file_fingerprint(place / "predictions.csv")
    if weights != network_fingerprints(networks) or calibrated.metrics.get("predictions", now) != now:
        raise UserError(
            f"{place / 'combiner.json'} was fitted to other networks or predictions than {run.folder} has now; run "
            f"make predict and make calibrate."
        )


def check_networks(networks: Networks, run: Run, predicted: Record) -> None:
    """Raises UserError where a network was trained anew since it predicted eval photos."""
    now = network_fingerprints(networks)
    for folder, fingerprint in predicted.metrics.get("weights", {}).items():
        if now.get(folder) != fingerprint:
            raise UserError(
                f"{predicted.folder / 'predictions.csv'} was predicted by another network than {run.folder / folder} "
                f"holds now; run predict again."
            )
