"""Nothing is lost in silence: every eval photo without a prediction of its own is told, counted last, and listed."""

import io
import zlib

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from models.errors import UserError
from pipeline.images import lean
from pipeline.run.settings import EvalStage, RunStage
from pipeline.runtime import store
from pipeline.stages.calibrate import Calibrate, calibrate
from pipeline.stages.predict import Predict, predict
from pipeline.stages.prepare import prepare
from pipeline.stages.submit import submit

NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (96, 72, 3), np.uint8))


def encoded(kind, **options):
    file = io.BytesIO()
    NOISE.save(file, kind, **options)
    return file.getvalue()


def large():
    """A PNG of 400 million pixels by its header."""
    small = encoded("PNG")
    head = b"IHDR" + (20_000).to_bytes(4) * 2 + small[24:29]
    return small[:12] + head + zlib.crc32(head).to_bytes(4) + small[33:]


BAD = {
    "IMG_1.HEIC": (
        b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(99),
        "it is a HEIC photo; pip install pi-heif lets it",
    ),
    "b.CR2": (b"II*\0\x10\0\0\0CR\2\0" + bytes(99), "it is a camera's raw file; export it"),
    "c.jpg": (b"<html>404</html>", "it is no photo but an HTML page"),
    "d.png": (large(), "20000x20000 pixels are too many"),
    "e.jpg": (encoded("JPEG")[:900], "image file is truncated"),
    "f.gif": (b"", "it is no photo but an empty file"),
}
GOOD = {"g.jfif": encoded("JPEG"), "h": encoded("PNG"), "i.txt": encoded("WEBP"), "j.gif": encoded("GIF")}
CUT = {"k.jpg": encoded("JPEG", quality=95)[:-2], "l.jpg": encoded("JPEG", progressive=True)[:-20]}


def test_a_folder_of_odd_files(copy, capsys, monkeypatch):
    monkeypatch.setattr(lean, "reads_heic", lambda: False)
    folder = copy.run.parent.parent / "holiday"
    folder.mkdir()
    others = {
        ".DS_Store": b"",
        "Thumbs.db": b"",
        "._g.jfif": b"x",
        "notes.txt": b"a",
        "film.mov": b"\0\0\0\x14ftypqt  ",
    }
    for name, content in {**{k: v for k, (v, _) in BAD.items()}, **GOOD, **CUT, **others}.items():
        (folder / name).write_bytes(content)
    place = copy.run / "eval-holiday"
    metrics = predict(Predict.of(run=copy.run, eval=folder))
    assert (metrics["photos"], metrics["bad"], metrics["cut_short"]) == (12, 6, 2)
    told = capsys.readouterr().out.splitlines()
    line = f"6 of 12 eval photos have no prediction of their own and get the most common label; {place}/bad_photos.csv "
    assert told[-1] == f"predict: {line}says why"
    assert "predict: system files (.DS_Store, Thumbs.db, ._* and the like), not used: 3" in told
    assert "predict: not photos, not used (2): 'film.mov' (a video), 'notes.txt'" in told
    assert "predict: 2 photos are cut short, decoded as far as they go: 'k.jpg', 'l.jpg'" in told
    bad = store.read_csv(place / "bad_photos.csv").set_index("photo")["reason"]
    assert set(bad.index) == set(BAD)
    for name, (_, reason) in BAD.items():
        assert bad[name].startswith(reason), name
    predict(Predict.of(run=copy.run, eval=folder))  # it stands, and is told again
    assert capsys.readouterr().out.splitlines()[-1] == f"predict: {line}says why"
    calibrate(Calibrate.of(run=copy.run, eval=folder))
    submit(EvalStage.of(run=copy.run, eval=folder))
    assert capsys.readouterr().out.splitlines()[-1] == f"submit: {line}says why"
    table = pd.read_csv(place / "submission.csv")
    assert set(table["photo"]) == {*BAD, *GOOD, *CUT}


def test_a_photo_that_came_after_predict_is_not_guessed(copy):
    folder = copy.run.parent.parent / "holiday"
    folder.mkdir()
    for name, content in GOOD.items():
        (folder / name).write_bytes(content)
    predict(Predict.of(run=copy.run, eval=folder))
    calibrate(Calibrate.of(run=copy.run, eval=folder))
    (folder / "late.jpg").write_bytes(encoded("JPEG"))
    with pytest.raises(UserError, match=r"^1 eval photos came after predict \('late\.jpg'\): run predict again\.$"):
        submit(EvalStage.of(run=copy.run, eval=folder))


def test_a_train_photo_that_is_cut_short_is_used_and_told(copy, capsys):
    one, two = sorted((copy.data / "train/images").glob("*/mask2.*"))[:2]
    one.write_bytes(encoded("JPEG")[:-2])
    assert prepare(RunStage.of(run=copy.run.parent / "two", data=copy.data, faces="given"))["bad"] == 0
    name = one.relative_to(copy.data)
    told = capsys.readouterr().out
    assert f"prepare: 1 photos are cut short, decoded as far as they go: '{name}'" in told
    two.write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    with pytest.raises(UserError, match=r"1 train photos of .* cannot be decoded(.|\n)*mask2(.|\n)*it is a HEIC photo"):
        prepare(RunStage.of(run=copy.run.parent / "two", data=copy.data, faces="given"))
