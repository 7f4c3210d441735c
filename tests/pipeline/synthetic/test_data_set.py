"""The drawn data set: layout and traps, the same bytes for a seed, and labels that the pictures bear out."""

import csv
import re
from collections import Counter
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest

from models import labels
from models.errors import UserError
from pipeline.synthetic import data_set
from pipeline.synthetic.faces import MOUTH, NOSE, Person
from pipeline.synthetic.ink import FINE, ORIGIN, Layer, disc
from pipeline.synthetic.people import Traits
from pipeline.synthetic.shots import HEIGHT, POINTS, WIDTH, _mask, _shoot, backdrop, take

PEOPLE, EVAL_PEOPLE = 12, 10


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("drawn") / "deep" / "set"
    calls = []
    counts = data_set.draw(
        folder, people=PEOPLE, eval_people=EVAL_PEOPLE, processes=1, progress=lambda *call: calls.append(call)
    )
    assert counts == {"people": 12, "photos": 84, "eval_people": 10, "eval_photos": 70}
    assert calls == [(i + 1, 22) for i in range(22)]
    assert [path.name for path in folder.parent.iterdir()] == ["set"]
    return folder


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_layout_is_the_contests(folder):
    people = rows(folder / "train" / "train.csv")
    assert list(people[0]) == ["id", "gender", "race", "age", "path"]
    assert len(people) == PEOPLE
    for one in people:
        assert one["path"] == f"{one['id']}_{one['gender']}_Drawn_{one['age']}"
        assert one["gender"] in labels.GENDERS
        assert 18 <= int(one["age"]) <= 60
        photos = [p for p in (folder / "train" / "images" / one["path"]).iterdir() if p.name[0] != "."]
        assert sorted(p.stem for p in photos) == sorted(data_set.PHOTOS)
        assert {p.suffix for p in photos} <= {".jpg", ".jpeg", ".png"}
    assert {one["path"] for one in people} == {p.name for p in (folder / "train" / "images").iterdir() if p.is_dir()}
    assert "only that the pipeline works" in (folder / "README.txt").read_text()


def test_eval_part_hides_the_truth_and_the_key_tells_it(folder):
    info, key = rows(folder / "eval" / "info.csv"), rows(folder / "key.csv")
    assert [row["ImageID"] for row in info] == [row["ImageID"] for row in key]
    assert {row["ans"] for row in info} == {"0"}
    names = {p.name for p in (folder / "eval" / "images").iterdir()}
    assert {row["ImageID"] for row in info} == names
    assert len(names) == len(info) == EVAL_PEOPLE * 7
    assert all(re.fullmatch(r"[0-9a-f]{40}\.jpg", name) for name in names)
    of_person: dict[str, list[int]] = {}
    for row in key:
        mask, gender, band = labels.decode(int(row["ans"]))
        assert row["person"].endswith(f"_{labels.GENDERS[gender]}_Drawn_{row['age']}")
        assert band == labels.band(int(row["age"]))
        of_person.setdefault(row["person"], []).append(int(mask))
    assert len(of_person) == EVAL_PEOPLE
    assert all(sorted(masks) == [0, 0, 0, 0, 0, 1, 2] for masks in of_person.values())
    # Neither the order nor the names give away whose photos these are: in a shuffle 6 in 69 follow their own.
    for order in (key, sorted(key, key=lambda row: row["ImageID"])):
        assert sum(a["person"] == b["person"] for a, b in pairwise(order)) < 20
    assert not set(of_person) & {one["path"] for one in rows(folder / "train" / "train.csv")}


def test_photos_can_be_read_and_landmarks_lie_on_them(folder):
    marks = rows(folder / "landmarks.csv")
    assert list(marks[0]) == ["photo", *(f"{point}_{axis}" for point in POINTS for axis in "xy")]
    photos = (path for path in contents(folder) if path.endswith(("jpg", "jpeg", "png")))
    on_disk = {path for path in photos if "/._" not in path}
    assert {row["photo"] for row in marks} == on_disk
    for row in marks:
        assert cv2.imread(str(folder / row["photo"])).shape == (HEIGHT, WIDTH, 3)
        at = {name: float(value) for name, value in row.items() if name != "photo"}
        assert at["left_eye_x"] < at["right_eye_x"]
        assert at["left_eye_y"] < at["nose_y"] < at["mouth_left_y"] < at["chin_y"] < HEIGHT


def test_traps_are_planted(folder):
    people = rows(folder / "train" / "train.csv")
    ids = [one["id"] for one in people]
    assert sorted(Counter(ids).values()) == [*[1] * (PEOPLE - 2), 2]  # an id that stands for two people
    suffixed = [i for i in ids if i.endswith("-1")]
    assert len(suffixed) == 1
    assert suffixed[0][:-2] in ids
    files = contents(folder / "train" / "images")
    assert ".DS_Store" in files
    assert any(Path(name).name == "._mask1.jpg" for name in files)
    endings = [{Path(n).suffix for n in files if n.startswith(f"{one['path']}/m")} for one in people]
    assert max(map(len, endings)) > 1


def test_shares_of_the_age_bands_by_person():
    everyone = data_set._plan(400, 150, seed=3)
    for part, shares in (("train", data_set.TRAIN_SHARES), ("eval", data_set.EVAL_SHARES)):
        crowd = [one for one in everyone if one.part == part]
        bands = np.bincount(labels.band([one.years for one in crowd]), minlength=3)
        assert np.abs(bands - len(crowd) * np.array(shares)).max() < 1
        assert np.mean([one.gender for one in crowd]) == pytest.approx(0.55, abs=0.02)
    assert len({one.path for one in everyone}) == 550
    assert sum("-" in one.id for one in everyone) == 2


@pytest.mark.parametrize("total", [10, 11, 17, 150, 401])
def test_counts_add_up(total):
    counts = data_set._counts(total, data_set.EVAL_SHARES)
    assert counts.sum() == total
    assert np.abs(counts - total * np.array(data_set.EVAL_SHARES)).max() < 1


def test_same_bytes_for_any_number_of_processes_and_others_for_another_seed(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(data_set, "_WORTH_A_PROCESS", 5)
    again = tmp_path / "again"
    data_set.draw(again, people=PEOPLE, eval_people=EVAL_PEOPLE, processes=2)
    assert contents(again) == contents(folder)
    other = tmp_path / "other"
    data_set.draw(other, people=10, eval_people=10, seed=1, processes=1)
    assert not set(contents(other / "eval" / "images")) & set(contents(folder / "eval" / "images"))
    photos = [{data for name, data in contents(f).items() if name.endswith("jpg")} for f in (folder, other)]
    assert len(photos[0] & photos[1]) <= 1  # the hidden files


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"people": 9}, "people is 9"),
        ({"eval_people": -3}, "eval_people is -3"),
        ({"seed": -1}, "seed"),
        ({"difficulty": -0.1}, "difficulty"),
        ({"difficulty": 3.5}, "difficulty"),
        ({"difficulty": float("nan")}, "difficulty"),
        ({"processes": 0}, "processes"),
    ],
)
def test_settings_that_cannot_be_are_refused(tmp_path, settings, word):
    with pytest.raises(UserError, match=word):
        data_set.draw(tmp_path / "set", **settings)
    assert not list(tmp_path.iterdir())


def test_existing_folder_is_refused_and_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(UserError, match="exists already"):
        data_set.draw(tmp_path)
    with pytest.raises(UserError, match="cannot be written"):
        data_set.draw(tmp_path / "mine.txt" / "set")
    assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]


def test_interrupted_drawing_leaves_nothing(tmp_path):
    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        data_set.draw(tmp_path / "set", people=10, eval_people=10, processes=1, progress=stop)
    assert not list(tmp_path.iterdir())


def test_a_folder_made_meanwhile_is_left_alone(tmp_path):
    def make(done: int, total: int) -> None:
        (tmp_path / "set" / "mine").mkdir(parents=True, exist_ok=True)

    with pytest.raises(UserError, match="exists already"):
        data_set.draw(
            tmp_path / "set",
            people=10,
            eval_people=10,
            processes=1,
            progress=make,
            ready=lambda _: pytest.fail("told as drawn"),
        )
    assert [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")] == ["set", "set/mine"]


@pytest.mark.parametrize("difficulty", [0.0, 1.0, 3.0])
def test_a_mask_covers_what_its_label_says(difficulty):
    def covered(before: Layer, after: Layer, y: float) -> bool:
        row, column = ((np.array((y, 0.0)) + ORIGIN) * FINE).astype(int)
        return bool((before.image[row, column] != after.image[row, column]).any())

    who = Person(np.random.default_rng(4), 1, 30, difficulty)
    for i in range(25):
        for worn, nose, mouth in (("right", True, True), ("nose", False, True), ("chin", False, False)):
            layer = who.base.copy()
            _mask(layer, who, np.random.default_rng((5, i)), worn)
            assert covered(who.base, layer, NOSE) == nose
            assert covered(who.base, layer, MOUTH) == mouth
            assert covered(who.base, layer, who.chin - 4)


def test_landmarks_follow_pose_and_turn():
    point = np.array([[0.0, NOSE], [-20.0, 0.0], [10.0, 60.0]])
    behind = np.zeros((HEIGHT + 40, WIDTH + 40, 3), np.uint8)
    for i in range(10):
        for j in range(len(point)):
            layer = Layer()
            layer.fill(disc(*point[j], 4), (255, 255, 255))
            image, places = _shoot(layer, behind, point, np.random.default_rng(i), 0.0)
            light = np.clip(image.mean(2) - 100, 0, None)
            rows_, columns = np.indices(light.shape) + 0.5
            seen = np.array([(columns * light).sum(), (rows_ * light).sum()]) / light.sum()
            assert np.abs(seen - places[j]).max() < 0.7


def test_difficulty_blurs_the_cues():
    def told(difficulty: float) -> tuple[float, float]:
        rng = np.random.default_rng(0)
        ages, genders = rng.uniform(25, 70, 300), rng.integers(0, 2, 300)
        crowd = [Traits(rng, int(g), a, difficulty) for g, a in zip(genders, ages, strict=True)]
        wrinkles, brows = [one.forehead for one in crowd], [one.brow for one in crowd]
        return np.corrcoef(wrinkles, ages)[0, 1], np.corrcoef(brows, genders)[0, 1]

    easy, usual, hard = told(0), told(1), told(3)
    assert min(easy) > 0.99
    for cue in range(2):
        assert easy[cue] > usual[cue] > hard[cue]
        assert usual[cue] > 0.7
    assert max(hard) < 0.9


def test_a_person_keeps_the_face_and_no_photo_repeats():
    rng = np.random.default_rng(8)
    who, behind = Person(rng, 0, 45, 1.0), backdrop(rng)
    base = who.base.image.copy()
    photos = [take(who, behind, np.random.default_rng(i), "right")[0] for i in range(3)]
    assert (who.base.image == base).all()  # a photo paints on a copy
    assert not (photos[0] == photos[1]).all()
    assert (photos[0] == take(who, behind, np.random.default_rng(0), "right")[0]).all()


@pytest.mark.slow
def test_thumbnails_and_a_linear_model_do_not_solve_it(tmp_path):
    """Logistic and ridge regression on 24 x 18 pixels score at most 0.45, even at its best thresholds."""
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.metrics import f1_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    data_set.draw(tmp_path / "set")
    photos, truth = [], []
    for one in rows(tmp_path / "set" / "train" / "train.csv"):
        for photo in sorted((tmp_path / "set" / "train" / "images" / one["path"]).glob("[!.]*")):
            mask = {"normal": 2, "incorrect_mask": 1}.get(photo.stem, 0)
            photos.append(photo)
            truth.append((mask, labels.GENDERS.index(one["gender"]), int(one["age"])))
    train = len(photos)
    for row in rows(tmp_path / "set" / "key.csv"):
        photos.append(tmp_path / "set" / "eval" / "images" / row["ImageID"])
        truth.append((int(row["ans"]) // 6, int(row["ans"]) // 3 % 2, int(row["age"])))
    pixels = [cv2.resize(cv2.imread(str(p)), (18, 24), interpolation=cv2.INTER_AREA) for p in photos]
    pixels, (mask, gender, age) = np.stack(pixels).reshape(len(photos), -1) / 255, np.array(truth).T
    right = labels.encode(mask[train:], gender[train:], labels.band(age[train:]))

    years = Ridge(100.0).fit(pixels[:train], age[:train]).predict(pixels[train:])
    logistic = LogisticRegression(C=0.01, max_iter=300, class_weight="balanced")
    linear = make_pipeline(StandardScaler(), logistic)
    masks, genders = (linear.fit(pixels[:train], y[:train]).predict(pixels[train:]) for y in (mask, gender))
    scores = [
        f1_score(right, labels.encode(masks, genders, labels.band(years, (low, high))), average="macro")
        for low in range(24, 50, 2)
        for high in range(low + 2, 62, 2)
    ]
    assert max(scores) <= 0.45
    assert np.mean(masks == mask[train:]) < 0.9  # the labels are not random either
    assert max(scores) > 0.1
