"""Answers of networks over many photos: each photo decoded once, each answer independent of its company."""

from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from tiny import begun_fold_of, network_of, settings_of

from models.errors import UserError
from models.tasks import build_task
from pipeline.images import photos
from pipeline.images.decode import decode, read_photo
from pipeline.images.framing import View, fit
from pipeline.images.photos import Photos
from pipeline.prediction import engines, ensemble, over_photos
from pipeline.prediction.engine import BATCH_SIZE, REFERENCE, Engine
from pipeline.prediction.openvino_models import OPENVINO_BATCH_SIZE
from pipeline.run.fold_records import BegunFold
from pipeline.runtime import store
from pipeline.runtime.machine import Plan
from pipeline.runtime.progress import Progress


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def trained(folder, task, fold, seed, size):
    """A fold's folder as train leaves it."""
    settings = settings_of(task, size=size)
    one = build_task(task, settings)
    network = network_of(settings.backbone, seed, one.num_logits, size)
    begun_fold_of(folder, task, fold, settings, channels_last=task == "mask")
    store.write_weights(folder / "weights.safetensors", network.state_dict())
    return network.eval()


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Mask has folds 0 and 2, gender fold 0, age fold 2; age sees larger photos."""
    root = tmp_path_factory.mktemp("run")
    folds = {("mask", 0): (64, 48), ("mask", 2): (64, 48), ("gender", 0): (64, 48), ("age", 2): (80, 60)}
    networks = {
        (task, fold): trained(root / task / f"fold{fold}", task, fold, seed, size)
        for seed, ((task, fold), size) in enumerate(folds.items())
    }
    return root, networks


def folders(root):
    return sorted(path.parent for path in root.glob("*/fold*/settings.json"))


@pytest.fixture(scope="module")
def album(tmp_path_factory):
    """More photos than a batch; names are out of order, two photos are bad."""
    root = tmp_path_factory.mktemp("album")
    noise = np.random.default_rng(0)
    names = [f"{(i * 37) % 70:02}.png" for i in range(70)]
    for name in names:
        colours = noise.integers(0, 256, (4, 3, 3), np.uint8)
        Image.fromarray(cv2.resize(colours, (90, 100), interpolation=cv2.INTER_CUBIC)).save(root / name)
    (root / names[1]).write_bytes(b"")
    (root / names[66]).write_bytes((root / names[66]).read_bytes()[:200])
    return Photos(root, names, None, 0.9)


def test_load_rebuilds_the_network(run, monkeypatch):
    root, networks = run
    built = []
    monkeypatch.setattr(engines, "build", lambda *given: built.append(given))
    for (task, fold), network in networks.items():
        member = ensemble.load(BegunFold.read(root / task / f"fold{fold}"), "cpu", 1)
        assert (member.task.name, member.fold) == (task, fold)
        assert member.view.size == ((80, 60) if task == "age" else (64, 48))
        engine, loaded, size, plan = built.pop()
        assert (engine, size) == (REFERENCE, member.view.size)
        assert plan == Plan("cpu", "float32", task == "mask", 1, 0)  # the reference precision
        state = loaded.state_dict()
        assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())


def test_every_photo_is_decoded_once_and_answered_by_every_fold(run, album, monkeypatch):
    root, networks = run
    decoded = Counter()
    real = decode

    def counting(path):
        decoded[path.name] += 1
        return real(path)

    monkeypatch.setattr(photos, "decode", counting)
    members = [ensemble.load(BegunFold.read(folder), "cpu", 1) for folder in folders(root)]
    with Progress("predict", len(album.names), "photos") as progress:
        table, bad, cut_short, faces = over_photos.predict(members, album, 2, progress)
    monkeypatch.undo()
    assert progress.done == 70
    assert cut_short == []
    assert faces.empty  # none are looked for
    assert decoded == Counter(album.names)
    # Bad photos are reported and have no row; the others have a row a fold, in the order asked for.
    assert list(bad) == [album.names[1], album.names[66]]
    assert all(bad.values())
    good = [name for name in album.names if name not in bad]
    assert table["photo"].tolist() == [name for name in good for _ in range(2)]
    assert table["fold"].tolist() == [0, 2] * len(good)
    columns = ["mask_worn", "mask_wrong", "mask_none", "gender_female", "age_years"]
    assert sorted(table.columns) == sorted(["photo", "fold", *columns])
    # Blank exactly where a specialist has no such fold.
    blank = table.groupby("fold")[columns].agg(lambda predictions: predictions.isna().mean())
    assert blank.loc[0].to_dict() == dict.fromkeys(columns[:4], 0.0) | {"age_years": 1.0}
    assert blank.loc[2].to_dict() == dict.fromkeys(columns, 0.0) | {"gender_female": 1.0}
    # The answers are those of the networks, called by hand.
    for (task, fold), network in networks.items():
        one = build_task(task, settings_of(task))
        size = (80, 60) if task == "age" else (64, 48)
        some = good[::9]
        pixels = np.stack([fit(read_photo(album.root / name), View(*size), None, 0.9) for name in some])
        with torch.no_grad():
            direct = one.predict(network(torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous())).numpy()
        mine = table[table["fold"] == fold].set_index("photo").loc[some, list(one.columns)].to_numpy()
        np.testing.assert_allclose(mine, direct, rtol=1e-3, atol=1e-4)


def test_flipped_answers_are_the_mean_over_the_mirror_image(run):
    root, _ = run
    plain, flipped = (
        ensemble.load(BegunFold.read(root / "mask" / "fold0"), "cpu", 1, Engine(flip=flip)) for flip in (False, True)
    )
    photos = np.random.default_rng(2).integers(0, 256, (3, 64, 48, 3), np.uint8)
    mirrored = np.stack([cv2.flip(photo, 1) for photo in photos])
    np.testing.assert_allclose(flipped.predict(photos), (plain.predict(photos) + plain.predict(mirrored)) / 2)
    assert not np.allclose(flipped.predict(photos), plain.predict(photos), atol=1e-6)


@pytest.mark.parametrize("engine", ["torch", "openvino"])
@pytest.mark.parametrize("task", ["mask", "gender", "age"])
def test_answers_a_chunk_at_a_time_are_those_about_all_at_once(run, task, engine, monkeypatch):
    assert ensemble.CHUNK % BATCH_SIZE == ensemble.CHUNK % OPENVINO_BATCH_SIZE == 0
    monkeypatch.setattr(ensemble, "CHUNK", BATCH_SIZE)
    root, _ = run
    member = ensemble.load(
        BegunFold.read(root / task / ("fold2" if task == "age" else "fold0")), "cpu", 1, Engine.of(engine)
    )
    photos = np.random.default_rng(3).integers(0, 256, (2 * BATCH_SIZE + 30, *member.view.size, 3), np.uint8)
    rows = np.random.default_rng(4).permutation(len(photos))[: 2 * BATCH_SIZE + 9]
    told = []
    predictions = ensemble.predict_rows(member, photos, rows, told.append)
    assert told == [BATCH_SIZE, BATCH_SIZE, 9]
    assert predictions.tobytes() == member.predict(photos[rows]).tobytes()


def test_openvino_works_on_the_processor_of_a_machine_with_a_gpu(run, monkeypatch):
    root, _ = run
    moved = []
    monkeypatch.setattr(torch.nn.Module, "to", lambda network, *given, **_: moved.extend(given) or network)
    member = ensemble.load(BegunFold.read(root / "gender" / "fold0"), "cuda", 1, Engine.of("openvino"))
    assert moved == ["cpu"]
    assert member.predict(np.zeros((3, 64, 48, 3), np.uint8)).shape == (3, 1)


def test_only_bad_photos(run, tmp_path):
    root, _ = run
    members = [ensemble.load(BegunFold.read(folder), "cpu", 1) for folder in folders(root)[:1]]
    photos = Photos(tmp_path, ["a.jpg", "b.jpg"])
    table, bad, *_ = over_photos.predict(members, photos, 1, Progress("predict", 2, "photos"))
    assert bad == dict.fromkeys(photos.names, "it does not exist")
    assert len(table) == 0
    assert {"photo", "fold", *members[0].task.columns} == set(table.columns)


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        ("short", r"is cut short: it holds [\d,]+ of [\d,]+ bytes"),
        ("noise", "is not in the safetensors format"),
        ("pointer", r"is a Git LFS pointer, not the weights; run git lfs pull in .*, or train it again"),
        ("page", "is an HTML page"),
        ("other", "is damaged or of another network"),
        ("gone", "is missing"),
    ],
)
def test_damaged_weights_are_named(run, tmp_path, damage, told):
    root, _ = run
    made = root / "mask" / "fold0"
    (tmp_path / "settings.json").write_bytes((made / "settings.json").read_bytes())
    whole = (made / "weights.safetensors").read_bytes()
    content = {
        "short": whole[:-100],
        "noise": b"no weights",
        "pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n",
        "page": b"<html>sign in</html>",
        "other": (root / "age" / "fold2" / "weights.safetensors").read_bytes(),
    }
    if damage != "gone":
        (tmp_path / "weights.safetensors").write_bytes(content[damage])
    with pytest.raises(UserError, match=rf"weights\.safetensors {told}.*--restart") as refused:
        ensemble.load(BegunFold.read(tmp_path), "cpu", 1)
    assert "\n" not in str(refused.value)


def test_damaged_settings_are_named(tmp_path):
    Path(tmp_path / "settings.json").write_text('{"task": "mask"')
    with pytest.raises(UserError, match=r"settings\.json is damaged"):
        ensemble.load(BegunFold.read(tmp_path), "cpu", 1)
