"""A list of photos, and tars of them, are labelled as the folder is that they were made of."""

import os
import re
import shutil
import tarfile
from pathlib import Path
from types import SimpleNamespace

import pytest
from tiny_runs import contents

from models.errors import UserError
from pipeline.__main__ import main
from pipeline.dataset import duplicates, tar_index
from pipeline.images import photos
from pipeline.run.settings import EvalStage
from pipeline.runtime import store
from pipeline.stages.calibrate import Calibrate, calibrate
from pipeline.stages.count import Count, count
from pipeline.stages.predict import Predict, predict
from pipeline.stages.report import Report, report
from pipeline.stages.submit import submit

TABLES = ("predictions.csv", "bad_photos.csv", "submission.csv", "labels.csv")


def tar(path: Path, *folders: Path) -> None:
    """A tar of what some folders hold, each by its own name."""
    path.parent.mkdir(exist_ok=True)
    with tarfile.open(path, "w") as file:
        for folder in folders:
            file.add(folder, folder.name)


@pytest.fixture
def sources(copy):
    """The eval photos of a run in a folder of their person each, some of them no photos: so, listed, and in tars."""
    key = store.read_csv(copy.data / "key.csv")
    for name, person in zip(key["ImageID"], key["person"], strict=True):
        Path("party", str(person)).mkdir(parents=True, exist_ok=True)
        shutil.copy(copy.data / "eval/images" / name, Path("party", str(person)))
    people = sorted(Path("party").iterdir())
    whole = next(people[0].iterdir())
    (people[0] / "cut.jpg").write_bytes(whole.read_bytes()[:900])
    (people[4] / "empty.png").touch()
    (people[9] / "text.gif").write_text("no photo")
    tar(Path("tars/0.tar"), *people[:3])
    tar(Path("tars/more/1.tar"), *people[3:4])
    tar(Path("tars/more/2.tar"), *people[4:])
    listed = sorted(f"party/{path.relative_to('party')}" for path in Path("party").rglob("*.*"))
    Path("guests.txt").write_text("\n".join(listed))
    return SimpleNamespace(
        run=copy.run, folder=Path("party"), listed=Path("guests.txt"), tars=Path("tars/**/*.tar"), people=people
    )


def finished(run: Path, given: Path, **who) -> Path:
    """The place of what is given, after all stages that label it."""
    predict(Predict.of(run=run, threads=1, eval=given))
    calibrate(Calibrate.of(run=run, prior="0.4,0.3,0.3", eval=given, **who))
    submit(EvalStage.of(run=run, eval=given))
    return next(path.parent for path in run.glob("eval-*/folder.json") if f'{given}"' in path.read_text())


def test_a_list_and_tars_give_what_the_folder_gives(sources, capsys):
    place = finished(sources.run, sources.folder, people="folders")
    by_folder = {name: (place / name).read_text() for name in TABLES}
    assert by_folder["bad_photos.csv"].count("\n") == 4
    capsys.readouterr()
    for given, before in ((sources.listed, "party/"), (sources.tars, r"(?:0|more/[12])\.tar/")):
        place = finished(sources.run, given, people="folders")
        for name, table in by_folder.items():
            found = (place / name).read_text()
            assert found != table
            assert re.sub(f"(?m)(^|,){before}", r"\1", found) == table, name
        assert "3 of 73 eval photos have no prediction of their own" in capsys.readouterr().out
        assert count(Count.of(run=sources.run, eval=given, by="folder"))["groups"] == 10
        groups = store.read_csv(place / "counts.csv")["group"].dropna().astype(str)
        assert {person.name for person in sources.people} <= set(groups.str.removeprefix("party/"))
    assert report(Report.of(run=sources.run, eval=sources.tars, no_photos=True))
    assert (sources.run / "eval-tars/report.html").is_file()
    done = contents(sources.run)
    for words in (["predict", "--threads", "1"], ["calibrate", "--prior", "0.4,0.3,0.3"], ["submit"]):
        assert main([*words, "--run", str(sources.run), "--eval", str(sources.tars)]) == 0
    assert contents(sources.run) == done
    told = capsys.readouterr().out
    assert "the predictions about 73 photos stand" in told
    assert "submission.csv stands, 73 photos labelled" in told


def test_a_tar_alone_has_a_place_of_its_own_and_is_gone_through_once(sources, monkeypatch):
    given = Path("tars/more/1.tar")
    assert finished(sources.run, given) == sources.run / "eval-1"
    labelled = store.read_csv(sources.run / "eval-1/submission.csv")
    assert labelled["photo"].str.startswith(f"1.tar/{sources.people[3].name}/").all()
    assert len(list((sources.run / "eval-1/index").rglob("*.*"))) == 2
    monkeypatch.setattr(tar_index, "scan_tar", None)
    assert predict(Predict.of(run=sources.run, threads=1, eval=given))["photos"] == 7
    given.unlink()
    assert main(["predict", "--run", str(sources.run), "--eval", str(given)]) == 2
    assert calibrate(Calibrate.of(run=sources.run, eval=given))


def test_a_tar_that_changes_meanwhile_stops_predict_and_no_photo_is_bad_for_it(sources, monkeypatch, capsys):
    given, work, done = Path("tars/0.tar"), photos.decode_photo, []

    def decoded(*given_to):
        done.append(1)
        if len(done) == 9:
            with given.open("r+b") as file:
                file.truncate(2000)
        return work(*given_to)

    with monkeypatch.context() as patch:
        patch.setattr(photos, "decode_photo", decoded)
        assert main(["predict", "--run", str(sources.run), "--threads", "1", "--eval", str(given)]) == 2
    assert "face18: tars/0.tar has changed since its photos were listed; give the same command again." in (
        capsys.readouterr().err
    )
    assert not (sources.run / "eval-0/predictions.csv").exists()
    assert main(["predict", "--run", str(sources.run), "--eval", str(given)]) == 2
    assert "The tar 'tars/0.tar' cannot be used: it is cut short" in capsys.readouterr().err
    tar(given, sources.people[0])
    assert predict(Predict.of(run=sources.run, threads=1, eval=given))["photos"] == 8


def test_photos_of_many_people_in_flat_tars_are_nobodys(sources):
    with tarfile.open("tars/flat.tar", "w") as file:
        for path in sorted(Path("party").rglob("*.*")):
            file.add(path, path.name)
    given = Path("tars/flat.tar")
    with pytest.raises(
        UserError, match="takes a folder's photos for one person's, and all 70 eval photos lie in no fo"
    ):
        finished(sources.run, given, people="folders")
    finished(sources.run, given)
    assert count(Count.of(run=sources.run, eval=given, by="folder"))["groups"] == 1
    assert set(store.read_csv(sources.run / "eval-flat/counts.csv")["group"].dropna()) >= {"flat.tar"}


def test_among_very_many_photos_none_are_compared(sources, monkeypatch, capsys):
    monkeypatch.setattr(duplicates, "MOST_COMPARED", 6)
    predict(Predict.of(run=sources.run, threads=1, eval=Path("tars/more/1.tar")))
    assert "photos that are there twice: not looked for among more than 100,000" in capsys.readouterr().out
    assert store.read_json(sources.run / "eval-1/dataset.json")["duplicates"] is None


def test_one_name_for_several_sources(sources):
    """A folder, a list, a tar and a pattern that are called alike keep their predictions."""
    shutil.copytree("party", "tars/party")
    shutil.copy("guests.txt", "tars.txt")
    tar(Path("tars/tars.tar"), sources.people[0])
    given = [Path("tars"), Path("tars.txt"), Path("tars/tars.tar"), Path("tars/0*.tar"), Path("tars/*.tar")]
    places = []
    for one in given:
        predict(Predict.of(run=sources.run, threads=1, eval=one))
        kept = [path.parent for path in sources.run.glob("eval-tars*/folder.json")]
        places += [place for place in kept if place not in places]
    assert len(set(places)) == len(given)
    for place, one in zip(places, given, strict=True):
        assert store.read_json(place / "folder.json")["folder"] == os.path.abspath(one)
