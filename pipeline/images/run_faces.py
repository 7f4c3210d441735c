"""Whether a run frames its photos by the faces found in them, decided once on its train photos: RUN/faces.json."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from models.labels import MASKS
from pipeline.run.folder import Run, has_begun
from pipeline.runtime import store
from pipeline.runtime.problems import show, some

if TYPE_CHECKING:
    import pandas as pd

    from pipeline.dataset.photos import DataSet
    from pipeline.faces.detect import Detector
    from pipeline.faces.face_framing import Framing
    from pipeline.faces.yunet import Face
    from pipeline.images.photos import Photos

FILE = "faces.json"
GATE = 0.98
"""The share of the photos of each mask state that must have a face. A detector that misses one state more often than
another would have the framing tell the state, in training and not on other photos."""
STATES = (*MASKS, "unknown")
STATE_WORDS = dict(
    zip(STATES, ("masks worn right", "masks worn wrong", "bare faces", "masks of unknown state"), strict=True)
)


@dataclass(frozen=True)
class RunFaces:
    """framing: None where the faces of photos are not looked for. told: what was found, in lines for the user."""

    framing: Framing | None = None
    told: tuple[str, ...] = ()


def run_faces(run: Run, data: DataSet) -> RunFaces:
    """How a run frames faces, as it was decided on its train photos; decides it where that was not.

    Once a training has begun, the decision stands, whatever becomes of the photos.

    Raises UserError where the detector that was named, or that is installed, cannot be used.
    """
    if run.faces != "auto" or data.train.empty:
        return RunFaces()
    inputs, path = _inputs(run, data), run.folder / FILE
    with store.locked(run.folder / "faces.lock", f"finding faces for {run.folder}", wait=True):
        kept = store.read_json(path) if path.is_file() else {}
        # before a training has begun, a detector may be installed
        if not kept or not (has_begun(run.folder) or (kept["inputs"] == inputs and kept["found"] is not None)):
            kept = {"inputs": inputs, **_decided(run, data)}
            store.write_json(path, kept)
    return _read(kept, path)


def _read(kept: Mapping[str, Any], path: object) -> RunFaces:
    from pipeline.faces.face_framing import Framing

    return RunFaces(Framing.from_json(kept["framing"], path), tuple(kept["told"]))


def _inputs(run: Run, data: DataSet) -> str:
    """The fingerprint of what the decision depends on, beside the detector that is installed."""
    from pipeline.dataset.run_data import box_fingerprint

    photos = store.photo_fingerprint(data.root, data.train["photo"].tolist())
    return store.fingerprint([photos, box_fingerprint(data.train), _states(data.train), str(run.face_model)])


def _states(rows: pd.DataFrame) -> list[str]:
    """The mask state of each row."""
    return [STATES[state] for state in rows["mask"].fillna(len(MASKS))]


def _decided(run: Run, data: DataSet) -> dict[str, Any]:
    """Finds the faces of the train photos and decides; as faces.json holds it.

    found: faces and photos by mask state; None where nothing can find any.
    """
    from pipeline.faces.detect import MODEL, PACKAGE, Detector
    from pipeline.images.run_photos import framed

    if str(run.face_model) == PACKAGE and not MODEL.is_installed:
        return {
            "framing": None,
            "found": None,
            "told": [
                f"faces are not looked for: the package {MODEL.name}, which brings a detector, is not installed (make "
                f"setup installs it)"
            ],
        }
    return _framing(Detector(run.face_model), framed(run, data, data.train), data.name, _states(data.train))


def _framing(detector: Detector, photos: Photos, name: str, states: list[str]) -> dict[str, Any]:
    """`_decided` by a detector, on photos of these mask states."""
    import joblib

    from pipeline.faces.face_framing import Framing, chosen_face
    from pipeline.images.found_faces import find_faces
    from pipeline.images.prepared import PREPARED

    every = find_faces(photos, name, detector, joblib.cpu_count(), PREPARED)
    found: dict[str, list[int]] = {}
    shown: list[tuple[Face, tuple[int, int], Any]] = []
    without, several = [], []
    for index, (photo, state) in enumerate(zip(photos.names, states, strict=True)):
        if photo not in every.sizes:  # it cannot be decoded
            continue
        box = photos.box(index)
        face = chosen_face(every.faces[photo], box)
        counted = found.setdefault(state, [0, 0])
        counted[0] += face is not None
        counted[1] += 1
        if face is None:
            without.append(show(photo))
        else:
            shown.append((face, every.sizes[photo], box))
        several += [show(photo)] if box is None and len(every.faces[photo]) > 1 else []
    found = {state: found[state] for state in STATES if state in found}
    framing, masks = None, [found[state] for state in MASKS if state in found]
    if found and all(faces >= GATE * of for faces, of in masks or found.values()):
        framing = Framing.of(detector, shown).as_json()
    return {"framing": framing, "found": found, "told": _told(found, framing is not None, without, several)}


def _told(found: Mapping[str, list[int]], framed: bool, without: list[str], several: list[str]) -> list[str]:
    """What was found, a sentence each."""
    if not found:
        return []
    shares = ", ".join(f"{faces:,} of {of:,} {STATE_WORDS[state]}" for state, (faces, of) in found.items())
    if not framed:
        return [
            f"faces found in photos: {shares}; framing by faces takes {GATE:.0%} of each, as it would tell the masks "
            f"apart otherwise, so photos are not framed by them"
        ]
    told = [f"faces found in photos, which are framed by their eyes: {shares}"]
    if without:
        told.append(f"photos without a face, framed as others usually are ({len(without):,}): {some(without)}")
    if several:
        told.append(f"photos with several faces, of which the largest counts ({len(several):,}): {some(several)}")
    return told
