"""A data set of drawn people, in the contest's layout and with the contest's traps.

It exists so that the whole pipeline can be run, timed and tested anywhere, without a photo of anybody. A
score on it says only that the pipeline works: nothing about real faces, and no ranking of networks carries
over.

What is on disk: `train/train.csv`, `train/images/<path>/{mask1..mask5,incorrect_mask,normal}.<ending>`,
`eval/info.csv`, `eval/images/`, `key.csv` (the truth of the eval photos), `landmarks.csv` (where the eyes,
nose, mouth and chin of every photo lie, in pixels) and a README.txt.

What it has in common with the contest: seven photos a person that share clothes, background and every lasting
trait; 45 / 40 / 15 % of the train people under 30, 30 to 59, 60 and over, but 40 / 25 / 35 % of the eval
people; ages clipped at 60; an id that stands for two people, ids with a suffix that are other people than
their base id, mixed endings, hidden files. Unlike the contest's, all its labels are right.
"""

import csv
import hashlib
import os
import re
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import cv2
import joblib
import numpy as np

from models import labels
from models.errors import UserError
from pipeline.synthetic.faces import Person
from pipeline.synthetic.shots import POINTS, backdrop, take

TRAIN_SHARES = (0.45, 0.40, 0.15)
EVAL_SHARES = (0.40, 0.25, 0.35)
"""The share of people in each age band."""
PHOTOS = ("mask1", "mask2", "mask3", "mask4", "mask5", "incorrect_mask", "normal")
FEWEST = 10
"""With fewer people in a part, a band may stand empty."""
HARDEST = 3.0

_FEMALE = 0.55
_WORTH_A_PROCESS = 20  # starting one takes as long as drawing some ten people
_OLDEST = 60  # ages are written clipped, as in the contest; people are drawn as old as they are
_MASK_OF = {"right": 0, "nose": 1, "chin": 1, "none": 2}
_APPLE_DOUBLE = b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X        "
_PLAN, _PERSON, _PHOTO = range(3)  # what a random stream is for; streams never depend on who draws
_README = """Drawn people in the layout of an 18-label face contest, made by face18.
Made with {people} train people, {eval_people} eval people, seed {seed}, difficulty {difficulty:g}.

Nobody is shown here. A score on these photos says only that the pipeline works.

key.csv: the truth of the eval photos; open it to score, never to train or calibrate.
landmarks.csv: points of each face in pixels; left and right as the viewer sees them.
"""


@dataclass(frozen=True)
class _Someone:
    index: int
    part: str  # train or eval
    id: str
    gender: int
    age: float  # as lived, which may be above the age written down

    @property
    def years(self) -> int:
        return min(int(self.age), _OLDEST)

    @property
    def path(self) -> str:
        return f"{self.id}_{labels.GENDERS[self.gender]}_Drawn_{self.years}"


def draw(
    folder: Path,
    *,
    people: int = 400,
    eval_people: int = 150,
    seed: int = 0,
    difficulty: float = 1.0,
    processes: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    ready: Callable[[dict[str, int]], None] | None = None,
) -> dict[str, int]:
    """Draw a data set into `folder`, which must not exist yet; it appears only when it is complete.

    people, eval_people: how many people each part shows, seven photos each. difficulty: from 0 (every cue of
    gender and age tells the truth) over 1 (cues overlap; no reader can be perfect) to 3. processes: how many
    draw side by side, by default one a core. progress: called as progress(people done, people in all).
    ready: called with the counts when all is drawn, right before the folder appears.

    The same numbers give the same bytes, whatever `processes` is. Returns the counts `people`, `photos`,
    `eval_people` and `eval_photos`. Raises UserError for settings that cannot be and for an existing folder.
    """
    folder = Path(folder)
    _check(folder, people, eval_people, seed, difficulty, processes)
    everyone = _plan(people, eval_people, seed)
    processes = max(1, min(processes or joblib.cpu_count(), len(everyone) // _WORTH_A_PROCESS))
    unfinished = folder.with_name(f".{folder.name}.{os.getpid()}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    try:
        for part in ("train", "eval"):
            (unfinished / part / "images").mkdir(parents=True)
    except OSError as error:
        raise UserError(f"{folder} cannot be written ({error.strerror}): name another folder") from error
    try:
        work = (joblib.delayed(_draw_person)(unfinished, one, seed, difficulty) for one in everyone)
        drawn = []
        for points in joblib.Parallel(processes, return_as="generator")(work):
            drawn.append(points)
            if progress:
                progress(len(drawn), len(everyone))
        _write_tables(unfinished, everyone, drawn, seed)
        settings = {"people": people, "eval_people": eval_people, "seed": seed, "difficulty": difficulty}
        (unfinished / "README.txt").write_text(_README.format(**settings), encoding="utf-8")
        counts = {
            "people": people,
            "photos": people * len(PHOTOS),
            "eval_people": eval_people,
            "eval_photos": eval_people * len(PHOTOS),
        }
        _refuse_existing(folder)  # somebody may have made one meanwhile
        if ready:
            ready(counts)
        unfinished.rename(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return counts


def sweep(folder: Path) -> None:
    """Remove what drawings into `folder` that were killed left beside it; for whoever holds the folder's lock."""
    unfinished = re.compile(rf"\.{re.escape(folder.name)}\.\d+\.unfinished")
    for left in folder.parent.iterdir():
        if unfinished.fullmatch(left.name):
            shutil.rmtree(left, ignore_errors=True)


def _refuse_existing(folder: Path) -> None:
    if folder.exists() or folder.is_symlink():
        raise UserError(f"{folder} exists already: name another folder to draw into, or remove this one first")


def _check(folder: Path, people: int, eval_people: int, seed: int, difficulty: float, processes) -> None:
    _refuse_existing(folder)
    for name, count in (("people", people), ("eval_people", eval_people)):
        if count < FEWEST:
            raise UserError(f"{name} is {count}: draw at least {FEWEST}, so that every age band has somebody")
    if seed < 0:
        raise UserError(f"seed is {seed}: give 0 or any larger whole number")
    if not 0 <= difficulty <= HARDEST:  # also refuses NaN
        raise UserError(f"difficulty is {difficulty:g}: give a number from 0 (easy) to {HARDEST:g}")
    if processes is not None and processes < 1:
        raise UserError(f"processes is {processes}: give 1 or more, or leave it out for one a core")


def _random(seed: int, purpose: int, index: int = 0, photo: int = 0) -> np.random.Generator:
    # Always four words: numpy pads with zeros, so (seed,) and (seed, 0) would be the same stream.
    return np.random.default_rng((seed, purpose, index, photo))


def _counts(total: int, shares: Iterable[float]) -> np.ndarray:
    """Whole numbers with the sum `total`, as near to the shares as can be (largest remainder)."""
    exact = total * np.asarray(list(shares))
    whole = np.floor(exact + 1e-9).astype(int)
    whole[np.argsort(whole - exact, kind="stable")[: total - whole.sum()]] += 1
    return whole


def _ages(rng: np.random.Generator, band: int, count: int) -> np.ndarray:
    """Ages as lived, in years: many students and many people in their fifties, as in the contest."""
    if band == 0:
        return 18 + 12 * rng.beta(0.9, 1.7, count)
    if band == 1:
        return 30 + 30 * rng.beta(1.8, 1.8, count)
    return 60 + 20 * rng.beta(1.3, 1.3, count)


def _plan(people: int, eval_people: int, seed: int) -> list[_Someone]:
    """Who is drawn: every person's part, id, gender and age."""
    rng = _random(seed, _PLAN)
    everyone: list[_Someone] = []
    for part, count, shares in (("train", people, TRAIN_SHARES), ("eval", eval_people, EVAL_SHARES)):
        crowd = []
        for band, size in enumerate(_counts(count, shares)):
            genders = np.arange(size) < _counts(size, (1 - _FEMALE, _FEMALE))[1]
            crowd += zip(genders.astype(int).tolist(), _ages(rng, band, size).tolist(), strict=True)
        for i in rng.permutation(count):
            number = len(everyone)
            everyone.append(_Someone(number, part, f"{number + 1:06d}", *crowd[i]))
    # The traps: somebody takes another person's id, and some take one with a suffix.
    takers = rng.permutation(people)
    first = everyone[takers[0]]
    other = next(one for i in takers[1:] if (one := everyone[i]).path[6:] != first.path[6:])
    everyone[other.index] = _Someone(other.index, "train", first.id, other.gender, other.age)
    free = [i for i in takers if i not in (first.index, other.index)]
    for i in range(max(1, round(people / 200))):
        one, base = everyone[free[2 * i]], everyone[free[2 * i + 1]]
        everyone[one.index] = _Someone(one.index, "train", f"{base.id}-1", one.gender, one.age)
    return everyone


def _draw_person(root: Path, one: _Someone, seed: int, difficulty: float) -> list[tuple[str, np.ndarray, int]]:
    """Draw and write one person's photos. Returns (photo, landmarks, mask) of each."""
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)  # people are drawn side by side already
    try:
        return _draw_photos(root, one, seed, difficulty)
    finally:
        cv2.setNumThreads(threads)


def _draw_photos(root: Path, one: _Someone, seed: int, difficulty: float) -> list[tuple[str, np.ndarray, int]]:
    rng = _random(seed, _PERSON, one.index)
    person, behind = Person(rng, one.gender, one.age, difficulty), backdrop(rng)
    if one.part == "train":
        (root / "train" / "images" / one.path).mkdir()
    done = []
    for i, name in enumerate(PHOTOS):
        rng = _random(seed, _PHOTO, one.index, i)
        worn = {"normal": "none", "incorrect_mask": str(rng.choice(["nose", "chin"]))}.get(name, "right")
        image, points = take(person, behind, rng, worn)
        quality = int(rng.integers(55, 96))
        if one.part == "train":
            odds = (0.85, 0.08, 0.07) if name == "normal" else (0.94, 0.03, 0.03)
            ending = str(rng.choice(["jpg", "jpeg", "png"], p=odds))
            if one.index == 0:  # so that even the smallest set mixes endings inside a folder
                ending = {"normal": "png", "mask2": "jpeg"}.get(name, "jpg")
            photo = f"train/images/{one.path}/{name}.{ending}"
        else:
            ending = "jpg"
            photo = f"eval/images/{hashlib.sha1(f'{seed}/{one.index}/{i}'.encode()).hexdigest()}.jpg"
        settings = [] if ending == "png" else [cv2.IMWRITE_JPEG_QUALITY, quality]
        coded = cv2.imencode(f".{ending}", image[..., ::-1], settings)[1]
        (root / photo).write_bytes(coded.tobytes())
        done.append((photo, points, _MASK_OF[worn]))
    if one.part == "train" and one.index % 40 == 0:
        (root / "train" / "images" / one.path / "._mask1.jpg").write_bytes(_APPLE_DOUBLE)
    return done


def _write_tables(root: Path, everyone: list[_Someone], drawn: list, seed: int) -> None:
    (root / "train" / "images" / ".DS_Store").write_bytes(b"\x00\x00\x00\x01Bud1" + bytes(24))
    train = sorted((one for one in everyone if one.part == "train"), key=lambda one: one.path)
    rows = [(one.id, labels.GENDERS[one.gender], "Drawn", one.years, one.path) for one in train]
    _write_csv(root / "train" / "train.csv", ("id", "gender", "race", "age", "path"), rows)

    key, landmarks = [], []
    for one, photos in zip(everyone, drawn, strict=True):
        for photo, points, mask in photos:
            landmarks.append((photo, *(f"{value:.1f}" for value in points.ravel())))
            if one.part == "eval":
                label = int(labels.encode(mask, one.gender, labels.band(one.years)))
                key.append((Path(photo).name, label, one.path, one.years))
    order = _random(seed, _PLAN, 1).permutation(len(key))
    key = [key[i] for i in order]
    _write_csv(root / "key.csv", ("ImageID", "ans", "person", "age"), key)
    _write_csv(root / "eval" / "info.csv", ("ImageID", "ans"), [(row[0], 0) for row in key])
    head = ("photo", *(f"{point}_{axis}" for point in POINTS for axis in "xy"))
    _write_csv(root / "landmarks.csv", head, sorted(landmarks))


def _write_csv(path: Path, head: Iterable[str], rows: Iterable) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(head)
        writer.writerows(rows)
