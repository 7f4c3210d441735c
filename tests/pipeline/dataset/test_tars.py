"""Photos in tars: found by headers, called by name, read where they stand; what is no photo is told."""

import errno
import os
import re
import shutil
import subprocess
import tarfile
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest
from tars import member, write_tar

from models.errors import UserError
from pipeline.dataset import eval_sources, shards, tar_index
from pipeline.dataset.duplicates import find_duplicates
from pipeline.dataset.eval_sources import read_eval
from pipeline.dataset.photos import DataSet, read_folder
from pipeline.dataset.reach import BadPhotoError
from pipeline.dataset.run_data import data_of
from pipeline.dataset.tar_scan import is_tar
from pipeline.run.folder import open_run
from pipeline.run.settings import EvalStage, RunStage
from pipeline.runtime import store

JPEG = b"\xff\xd8\xff"


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def read(given="s/*.tar"):
    return read_eval(Path(given), False, Path("index"))


def contents(data) -> dict[str, bytes]:
    """What is read for each photo."""
    return {photo: data.source(photo).content for photo in data.eval["photo"]}


def outcome(given) -> DataSet | str:
    """The data set, or why there is none."""
    try:
        return read(given)
    except UserError as error:
        return str(error)


def refused(given="s/*.tar") -> str:
    with pytest.raises(UserError) as error:
        read(given)
    return str(error.value)


def test_photos_are_called_by_their_tar_and_their_name_in_there():
    write_tar(Path("s/b.tar"), ("people/7.jpg", b"seven"), ("people/10.jpg", b"ten"))
    write_tar(Path("s/a.tar"), ("1.png", b"one"))
    write_tar(Path("s/more/a.tar"), ("1.png", b"more"))
    data = read()
    assert list(data.eval.columns) == ["photo", "person"]
    assert data.eval["person"].isna().all()
    assert list(contents(data).items()) == [
        ("a.tar/1.png", b"one"),
        ("b.tar/people/10.jpg", b"ten"),
        ("b.tar/people/7.jpg", b"seven"),
    ]
    assert (data.name, data.layout, data.notes) == ("s", "shards", ())
    assert list(contents(read("s/**/*.tar"))) == [*list(contents(data)), "more/a.tar/1.png"]
    assert (read("s/b.tar").name, next(iter(contents(read("s/b.tar"))))) == ("b", "b.tar/people/10.jpg")


def test_the_table_is_that_of_a_folder():
    for name in ("a.tar/x.jpg", "a.tar-b/x.jpg", "a.tar/é/x"):
        Path("f", name).parent.mkdir(parents=True, exist_ok=True)
        Path("f", name).write_bytes(JPEG)
    write_tar(Path("s/a.tar"), ("x.jpg", JPEG), ("é/x", JPEG))
    write_tar(Path("s/a.tar-b.tar"), ("x.jpg", JPEG))
    table = read().eval
    assert sorted(table["photo"]) == list(table["photo"])
    assert table.dtypes.tolist() == read_folder(Path("f")).eval.dtypes.tolist()


LONG = "d" * 70 + "/" + "e" * 70 + "/" + "f" * 60 + ".jpg"
FORMS = {"ustar": tarfile.USTAR_FORMAT, "gnu": tarfile.GNU_FORMAT, "pax": tarfile.PAX_FORMAT}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("written", "called"),
    [
        ("./a.jpg", "a.jpg"),
        ("/abs/a.jpg", "abs/a.jpg"),
        ("x/../a.jpg", "a.jpg"),
        ("사람/é.jpg", "사람/é.jpg"),
        (LONG, LONG),
        ("a b,\"c'\n\r.jpg", "a b,\"c'\n\r.jpg"),
        ("NA", "NA"),
        ("GIF89a.jpg", "GIF89a.jpg"),
        ("MZ/1.jpg", "MZ/1.jpg"),
    ],
)
def test_names_however_a_tar_writes_them(form, written, called):
    write_tar(Path("s/a.tar"), (written, JPEG + b"1"), ("z.jpg", b"2"), form=FORMS[form])
    for _ in ("made", "kept"):
        assert contents(read()) == {f"a.tar/{called}": JPEG + b"1", "a.tar/z.jpg": b"2"}


def test_links_and_other_kinds():
    write_tar(
        Path("s/a.tar"),
        ("./one.jpg", b"one"),
        member("hard.jpg", kind=tarfile.LNKTYPE, link="one.jpg"),
        member("chain.jpg", kind=tarfile.LNKTYPE, link="./hard.jpg"),
        member("early.jpg", kind=tarfile.LNKTYPE, link="late.jpg"),
        ("late.jpg", b"late"),
        member("soft.jpg", kind=tarfile.SYMTYPE, link="one.jpg"),
        member("pipe.jpg", kind=tarfile.FIFOTYPE),
        member("folder.jpg", kind=tarfile.DIRTYPE),
        ("../out.jpg", b"out"),
    )
    data = read()
    one = {name: b"one" for name in ("a.tar/one.jpg", "a.tar/hard.jpg", "a.tar/chain.jpg")}
    assert contents(data) == one | {"a.tar/late.jpg": b"late"}
    assert set(data.notes) == {
        "symbolic links in tars, not used (1): 'a.tar/soft.jpg'",
        "hard links in tars to no photo before them, not used (1): 'a.tar/early.jpg'",
        "members of tars that are no plain files, not used (1): 'a.tar/pipe.jpg'",
        "members whose names lead out of their tar, not used (1): 'a.tar/../out.jpg'",
    }


def test_of_two_members_of_a_name_the_last_counts():
    link = member("link.jpg", kind=tarfile.LNKTYPE, link="a.jpg")
    write_tar(Path("s/a.tar"), ("a.jpg", b"old"), link, ("./a.jpg", b"new"))
    data = read()
    assert contents(data) == {"a.tar/a.jpg": b"new", "a.tar/link.jpg": b"old"}
    assert data.notes == ("members whose name another one has further on in the tar, not used (1): 'a.tar/a.jpg'",)


def test_of_two_members_of_a_name_the_last_counts_where_it_is_no_photo():
    """And where the first is none."""
    soft = member("b.jpg", kind=tarfile.SYMTYPE, link="c.jpg")
    write_tar(Path("s/a.tar"), ("a", JPEG), ("b.jpg", b"old"), ("a", b"text"), soft, ("c", b"text"), ("c", JPEG))
    data = read()
    assert contents(data) == {"a.tar/c": JPEG}
    assert set(data.notes) == {
        "members whose name another one has further on in the tar, not used (2): 'a.tar/a', 'a.tar/b.jpg'",
        "not photos, not used (2): 'a.tar/a', 'a.tar/c'",
        "symbolic links in tars, not used (1): 'a.tar/b.jpg'",
    }


def test_a_hard_link_to_a_hidden_member_is_a_photo():
    """As stores of files by their content are packed."""
    write_tar(
        Path("s/a.tar"),
        (".store/1", JPEG + b"1"),
        member(".store/2", kind=tarfile.LNKTYPE, link=".store/1"),
        member("anna/1.jpg", kind=tarfile.LNKTYPE, link=".store/2"),
        member("anna/2", kind=tarfile.LNKTYPE, link="anna/1.jpg"),
    )
    assert contents(read()) == {"a.tar/anna/1.jpg": JPEG + b"1", "a.tar/anna/2": JPEG + b"1"}


def unreadable(monkeypatch, start: int, end: int) -> None:
    """Makes some bytes of all tars such as a disk with a fault refuses."""
    pread = os.pread

    def refused(handle, length, offset):
        if offset < end and offset + length > start and os.readlink(f"/proc/self/fd/{handle}").endswith(".tar"):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return pread(handle, length, offset)

    monkeypatch.setattr(os, "pread", refused)


def test_an_unreadable_spot_in_a_photo_makes_it_a_bad_one_and_elsewhere_names_the_tar(monkeypatch):
    write_tar(Path("s/a.tar"), ("a.jpg", b"a" * 9000), ("b.jpg", b"b"), ("c", JPEG))
    data = read()
    with monkeypatch.context() as patch:
        unreadable(patch, 4000, 4001)
        with pytest.raises(BadPhotoError, match=r"^Input/output error$"):
            data.source("a.tar/a.jpg")
        assert data.source("a.tar/b.jpg").content == b"b"
        assert len(read().eval) == 3
    shutil.rmtree("index")
    unreadable(monkeypatch, 11_264, 11_265)
    assert refused().endswith("'s/a.tar': it cannot be read behind byte 10,752 (Input/output error).")


def test_a_sparse_member_is_told(tmp_path):
    if shutil.which("tar") is None:
        pytest.skip("no tar here")
    with Path("hole.jpg").open("wb") as file:
        file.truncate(1_000_000)
        file.write(b"x")
    Path("s").mkdir()
    Path("a.jpg").write_bytes(b"a")
    for form in ("gnu", "posix"):
        subprocess.run(["tar", f"--format={form}", "-S", "-cf", "s/a.tar", "hole.jpg", "a.jpg"], check=True)
        data = read()
        assert contents(data) == {"a.tar/a.jpg": b"a"}
        assert data.notes == ("members of tars that are no plain files, not used (1): 'a.tar/hole.jpg'",)


def test_what_is_no_photo_is_counted_and_told_with_examples(monkeypatch):
    names = [f"{number:05}" for number in range(25)]
    files = [(f"{name}.{ending}", b"{}") for name in names for ending in ("jpg", "json")]
    more = [(".hidden/a.jpg", b"a"), ("x/._a.jpg", b"a"), ("__MACOSX/a.jpg", b"a"), ("a/.DS_Store", b"")]
    more += [("film", b"\0\0\0\x14ftypqt  "), ("photo", JPEG), ("x.nef", b"raw"), ("x.jpg", b"a"), ("y.nef", b"raw")]
    write_tar(Path("s/a.tar"), *files, *more)
    write_tar(Path("s/b.tar"), ("b.jpg", b"b"), ("b.cls", b"0"))
    data = read()
    assert len(data.eval) == 29
    assert {"a.tar/photo", "a.tar/x.jpg", "a.tar/y.nef", "b.tar/b.jpg"} <= set(data.eval["photo"])
    shown = ", ".join(f"'a.tar/{name}.json'" for name in names[:10])
    assert set(data.notes) == {
        f"not photos, not used (27): {shown} and 17 more",
        "hidden files and folders, not used (1): 'a.tar/.hidden/a.jpg'",
        "cameras' raw files beside a photo of the same name, not used (1): 'a.tar/x.nef'",
        "system files (.DS_Store, Thumbs.db, ._* and the like), not used: 3",
    }
    assert (len(data.left_out.files), data.left_out.unlisted, data.left_out.system) == (13, 16, 3)
    assert read().notes == data.notes
    monkeypatch.setattr(eval_sources, "LISTED", 3)
    left_out = read().left_out
    assert (len(left_out.files), left_out.unlisted) == (5, 24)


def test_empty_tars_are_told_and_some_photos_there_must_be():
    write_tar(Path("s/zeros.tar"))
    Path("s/none.tar").touch()
    write_tar(Path("s/texts.tar"), ("a.txt", b""))
    assert refused() == "The tars 's/*.tar' cannot be used: they hold no photos; name some that do."
    assert refused("s/none.tar") == "The tar 's/none.tar' cannot be used: it holds no photos; name one that does."
    write_tar(Path("s/z.tar"), ("a.jpg", b""))
    assert read().notes[-1] == "tars without photos (3): 'none.tar', 'texts.tar', 'zeros.tar'"
    assert contents(read()) == {"z.tar/a.jpg": b""}


@pytest.mark.parametrize("form", FORMS)
def test_a_tar_that_is_cut_anywhere_gives_no_wrong_photo(form):
    """It is refused with its name, or told to be perhaps cut short, and then what is read is right."""
    whole = {"people/a.jpg": b"a" * 700, f"{LONG[:130]}/b.jpg": b"b" * 1024, "c.txt": b"c", "d.jpg": b"", "é.jpg": b"e"}
    path = write_tar(Path("s/a.tar"), *whole.items(), form=FORMS[form])
    content, right = path.read_bytes(), contents(read(path))
    assert len(right) == 4
    end = len(content.rstrip(b"\0")) // 512 * 512 + 512
    kinds = set()
    for cut in range(0, end + 1024, 256):
        path.write_bytes(content[:cut])
        data = outcome(path)
        if isinstance(data, str):
            kinds.add("refused")
            assert "s/a.tar" in data, cut
            assert re.search("damaged|cut short|no photos", data), (cut, data)
            continue
        found = contents(data)
        assert found == {name: right[name] for name in found}, cut
        told = any("may have been cut short" in note for note in data.notes)
        kinds.add("told" if told else "whole")
        assert told or found == right, cut
    assert kinds == {"refused", "told", "whole"}


@pytest.mark.parametrize("seed", range(3))
def test_a_damaged_header_never_ends_in_a_traceback(seed):
    path = write_tar(Path("s/a.tar"), *[(f"{number}/{LONG}", bytes([number]) * 600) for number in range(3)])
    content = path.read_bytes()
    with tarfile.open(path) as tar:
        places = [slice(one.offset_data, one.offset_data + 600) for one in tar]
    for at in range(seed, 3600, 19):
        path.write_bytes(content[:at] + bytes([content[at] ^ (1 << seed * 3)]) + content[at + 1 :])
        data, damaged = outcome("s/a.tar"), path.read_bytes()
        if isinstance(data, str):
            assert "\n" not in data
        else:
            assert contents(data)
            assert {*contents(data).values()} <= {damaged[place] for place in places}


def test_a_damaged_header_further_on_is_no_end():
    path = write_tar(Path("s/a.tar"), ("a.jpg", b"a"), ("b.jpg", b"b"))
    content = bytearray(path.read_bytes())
    content[1024 + 50] ^= 1
    path.write_bytes(content)
    assert refused() == "The tars 's/*.tar' cannot be used: 's/a.tar': it is damaged at byte 1,024."


def test_a_number_below_zero_is_damage():
    path = write_tar(Path("s/a.tar"), ("a.jpg", b"a"))
    content = bytearray(path.read_bytes())
    content[124:136] = b"\xff" * 12  # -1 as GNU writes large numbers
    content[148:156] = b" " * 8
    content[148:156] = f"{sum(content[:512]):06o}\0 ".encode()
    path.write_bytes(content)
    assert "it is damaged near byte 0" in refused()


def test_tars_joined_with_cat_are_refused():
    one = write_tar(Path("s/a.tar"), ("a.jpg", b"a")).read_bytes()
    Path("s/a.tar").write_bytes(one + write_tar(Path("b.tar"), ("b.jpg", b"b")).read_bytes())
    assert "'s/a.tar': more follows at byte 10,240, behind zeros that end it at byte 1,024" in refused()


@pytest.mark.parametrize("first", [0, 1])
def test_members_behind_a_long_run_of_zeros_are_not_lost_in_silence(first):
    """Of any length, as a disk or a copy that failed leaves; where the first block is one of them too."""
    photos = [("a.jpg", b"a"), ("b.jpg", bytes(5 * 2**20)), ("c.jpg", b"c")]
    content = bytearray(write_tar(Path("s/a.tar"), *photos).read_bytes())
    content[first * 1024 : 4 * 2**20] = bytes(4 * 2**20 - first * 1024)
    Path("s/a.tar").write_bytes(content)
    behind = len(content.rstrip(b"\0")) // 512 * 512 - 512
    assert f"'s/a.tar': more follows at byte {behind:,}, behind zeros that end it" in refused()


def test_a_name_that_is_not_utf_8_is_a_problem():
    write_tar(Path("s/a.tar"), ("a\udcff.jpg", b"a"), form=tarfile.GNU_FORMAT)
    assert "the name of its member 'a\\udcff.jpg' is not UTF-8" in refused()
    write_tar(Path("s/a.tar"), ("a\udcff.txt", b"a"), ("b.jpg", b""), form=tarfile.GNU_FORMAT)
    assert read().left_out.files == {"a.tar/a\\udcff.txt": "not photos"}


@pytest.mark.parametrize("packer", ["gz", "bz2", "xz"])
@pytest.mark.parametrize("name", ["s/a.tar", "s/a.tar.gz", "s/a.tgz"])
def test_a_packed_tar_is_to_be_unpacked(name, packer):
    Path("s").mkdir()
    with tarfile.open(name, f"w:{packer}") as tar:
        tar.addfile(*member("a.jpg")[:1])
    for given in (name, "s/*"):
        assert "unpack it into a plain .tar" in refused(given)


def test_every_file_of_a_pattern_is_a_tar():
    write_tar(Path("s/a.tar"), ("a.jpg", b"a"))
    Path("s/list.txt").write_text("a.jpg")
    Path("s/in").mkdir()
    os.symlink("nowhere", "s/gone.tar")
    Path("s/bad.tar").write_text("nothing " * 100)
    write_tar(Path("s/other.img"), ("a.jpg", b"a"))
    told = refused("s/*")
    for line in (
        "'s/list.txt' does not end in .tar; narrow the pattern, as to *.tar",
        "'s/in' is a folder; remove it, or narrow the pattern",
        "'s/gone.tar' is a link that leads nowhere; remove it, or narrow the pattern",
        "'s/bad.tar' is damaged, or no tar; bring it anew",
        "'s/other.img' does not end in .tar; give it a name that does",
    ):
        assert line in told, told
    write_tar(Path("deep/x.tar/y.tar"), ("anna/1.jpg", b"1"))
    assert "'deep/x.tar/y.tar' lies in a folder that is called like a tar; rename the folder" in refused("deep/*/*.tar")
    assert list(contents(read("deep/x.tar/*.tar"))) == ["y.tar/anna/1.jpg"]
    assert refused("nowhere/*.tar").startswith("there is no file like 'nowhere/*.tar'; name tars, a folder")


def test_a_tar_under_several_names_is_read_once():
    write_tar(Path("s/a.tar"), ("a.jpg", b"a"))
    write_tar(Path("s/in/b.tar"), ("b.jpg", b"b"))
    for name in ("loop", "more"):  # through both there are more names than can be looked at
        os.symlink(".", f"s/{name}")
    os.symlink("in/b.tar", "s/latest.tar")
    os.link("s/a.tar", "s/copy.tar")
    again = "tars that are there under several names, read once"
    for pattern, told in (
        ("s/*.tar", f"{again} (1): 'copy.tar' = 'a.tar'"),
        ("s/**/*.tar", f"{again} (2): 'copy.tar' = 'a.tar', 'in/b.tar' = 'latest.tar'"),
        ("s/*/*.tar", None),
    ):
        data = read(pattern)
        if told is None:
            assert sorted(photo.rpartition("/")[2] for photo in contents(data)) == ["a.jpg", "b.jpg"]
        else:
            assert contents(data) == {"a.tar/a.jpg": b"a", "latest.tar/b.jpg": b"b"}
            assert data.notes == (told,)


def test_links_out_of_the_folder_of_a_pattern_are_followed_where_that_is_allowed():
    write_tar(Path("s/a.tar"), ("a.jpg", b"a"))
    write_tar(Path("other/b.tar"), ("b.jpg", b"b"))
    os.symlink("../other", "s/out")
    told = refused("s/**/*.tar")
    assert "The tars 's/**/*.tar' cannot be used: 'out' is a link that leaves" in told
    assert told.endswith("or allow such links with --follow-links.")
    os.symlink("..", "other/back")
    assert list(contents(read_eval(Path("s/**/*.tar"), True, Path("index")))) == ["a.tar/a.jpg", "out/b.tar/b.jpg"]


def test_a_folder_whose_name_has_signs():
    write_tar(Path("odd[1]/in*/a.tar"), ("a.jpg", b"a"))
    write_tar(Path("odd1/in/a.tar"), ("other.jpg", b""))
    assert list(contents(read("odd[1]/in*/*.tar"))) == ["a.tar/a.jpg"]
    assert list(contents(read("odd[1]/i*/*.tar"))) == ["in*/a.tar/a.jpg"]


def test_an_index_is_made_once_and_anew_for_a_tar_that_changed(monkeypatch):
    made = []
    scan = tar_index.scan_tar
    monkeypatch.setattr(tar_index, "scan_tar", lambda file, advance: made.append(file.name) or scan(file, advance))
    for name in "ab":
        write_tar(Path(f"s/{name}.tar"), ("a.jpg", name.encode()))
    first = read()
    assert read().eval_fingerprint() == first.eval_fingerprint()
    assert [str(path) for path in made] == ["s/a.tar", "s/b.tar"]
    write_tar(Path("s/b.tar"), ("a.jpg", b"new"), ("b.jpg", b""))
    changed = read()
    assert contents(changed) == {"a.tar/a.jpg": b"a", "b.tar/a.jpg": b"new", "b.tar/b.jpg": b""}
    assert changed.eval_fingerprint() != first.eval_fingerprint()
    assert [str(path) for path in made[2:]] == ["s/b.tar"]
    assert len(list(Path("index").iterdir())) == 6
    for path in Path("index").iterdir():
        os.utime(path, (1, 1))
    read()
    assert len(list(Path("index").iterdir())) == 4
    damaged = max(Path("index").glob("*.csv"), key=os.path.getmtime)
    for content in (damaged.read_text()[:-2], "", "photo\nx", None):
        damaged.unlink() if content is None else damaged.write_text(content)
        assert contents(read()) == contents(changed)
    assert len(made) == 7
    os.rename("s/b.tar", "s/c.tar")
    assert read().eval_fingerprint() != changed.eval_fingerprint()


@pytest.mark.parametrize("writes", ["write_csv", "write_json"])
def test_an_index_that_another_process_removes_is_used_all_the_same(monkeypatch, writes):
    path, write = write_tar(Path("s/a.tar"), ("a.jpg", b"a")), getattr(store, writes)

    def written(*given):
        write(*given)
        shutil.rmtree("index")
        Path("index").mkdir()

    first = read(path)
    shutil.rmtree("index")
    with monkeypatch.context() as patch:
        patch.setattr(store, writes, written)
        for _ in range(2):
            data = read(path)
            assert contents(data) == {"a.tar/a.jpg": b"a"}
            assert data.eval_fingerprint() == first.eval_fingerprint()
    assert contents(read(path)) == {"a.tar/a.jpg": b"a"}


def test_processes_that_begin_together_share_the_tars(monkeypatch):
    """What another one goes through is left to it; meanwhile there are others."""
    write_tar(Path("s/a.tar"), ("a.jpg", b"a"))
    read()
    made, scan = [], tar_index.scan_tar
    monkeypatch.setattr(
        tar_index, "scan_tar", lambda file, advance: made.append(Path(file.name).name) or scan(file, advance)
    )
    record = next(Path("index").glob("*.json"))
    content = record.read_text()
    record.unlink()
    write_tar(Path("s/b.tar"), ("b.jpg", b"b"))
    held = ExitStack()
    assert held.enter_context(store.free_lock(record.with_suffix(".lock")))

    def slept(_):
        record.write_text(content)
        held.close()

    monkeypatch.setattr(eval_sources.time, "sleep", slept)
    assert contents(read()) == {"a.tar/a.jpg": b"a", "b.tar/b.jpg": b"b"}
    assert made == ["b.tar"]
    assert {path.suffix for path in Path("index").iterdir()} == {".csv", ".json", ".lock"}


def test_two_sources_of_one_name_keep_their_indexes(monkeypatch):
    made, scan = [], tar_index.scan_tar
    monkeypatch.setattr(
        tar_index, "scan_tar", lambda file, advance: made.append(Path(file.name).name) or scan(file, advance)
    )
    monkeypatch.setattr(tar_index, "DAY", -1)
    for name in ("00", "01", "10"):
        write_tar(Path(f"s/{name}.tar"), ("a.jpg", b"x"))
    run = open_run(RunStage.of(run=Path("run")))
    for _ in range(2):
        for pattern in ("s/0*.tar", "s/1*.tar"):
            data_of(run, EvalStage.of(run=Path("run"), eval=Path(pattern)))
    assert made == ["00.tar", "01.tar", "10.tar"]


def test_of_a_tar_its_headers_alone_are_read():
    """Not as much as the disk likes to be read at once: over a network that would be nearly the whole tar."""
    write_tar(Path("s/a.tar"), *[(f"{number}.jpg", bytes(100_000)) for number in range(50)], form=tarfile.USTAR_FORMAT)

    def bytes_read() -> int:
        return int(re.search(r"rchar: (\d+)", Path("/proc/self/io").read_text())[1])

    read()  # imports are read too
    shutil.rmtree("index")
    before = bytes_read()
    read()
    assert bytes_read() - before < 50 * 2000 + 50_000


def test_a_tar_that_changes_while_it_is_read_stops_the_stage():
    path = write_tar(Path("s/a.tar"), ("a.jpg", b"first"), ("b.jpg", b"second"))
    data = read()
    assert data.source("a.tar/a.jpg").content == b"first"
    content = path.read_bytes()
    path.write_bytes(content[:600])
    with pytest.raises(UserError, match=r"s/a\.tar has changed since its photos were listed"):
        data.source("a.tar/b.jpg")
    path.write_bytes(content)
    os.utime(path, (1, 1))
    with pytest.raises(UserError, match=r"s/a\.tar has changed"):
        data.source("a.tar/b.jpg")
    data = read()
    path.unlink()
    with pytest.raises(UserError, match=r"s/a\.tar is not there any more; bring it back"):
        data.source("a.tar/b.jpg")


@pytest.mark.parametrize("start", [0, 5000])
def test_a_tar_of_the_same_size_and_time_is_known_by_the_headers_of_its_photos(start):
    """Bytes are never another member's; the same command again goes through it anew."""
    path = write_tar(Path("s/a.tar"), ("a.jpg", b"A" * 9000))
    before = os.stat(path)
    read()
    write_tar(path, ("zz.txt", b"Z" * 400), ("a.jpg", b"N" * 8000))
    os.utime(path, ns=(before.st_mtime_ns, before.st_mtime_ns))
    assert os.stat(path).st_size == before.st_size
    with pytest.raises(UserError, match=r"s/a\.tar has changed since its photos were listed; give the same command"):
        read().shards.read("a.tar/a.jpg", start, 10)
    assert contents(read()) == {"a.tar/a.jpg": b"N" * 8000}


def test_the_bytes_of_a_photo_are_those_from_any_place_on():
    content = os.urandom(5000)
    write_tar(Path("s/a.tar"), ("a.jpg", content), ("b.jpg", b""))
    held = read().shards
    for start, length in ((0, 5000), (0, 1), (1, 4999), (4990, 99), (5000, 1), (9000, 9)):
        assert held.read("a.tar/a.jpg", start, length) == content[start : start + length]
    assert held.read("a.tar/b.jpg", 0, 9) == b""


def test_a_tar_put_in_the_place_of_one_that_is_read_changes_nothing_read_from_the_old():
    path = write_tar(Path("s/a.tar"), ("a.jpg", b"first"), ("b.jpg", b"second"))
    data = read()
    assert data.source("a.tar/a.jpg").content == b"first"
    os.rename(write_tar(Path("new.tar"), ("a.jpg", b"other")), path)
    assert data.source("a.tar/b.jpg").content == b"second"


def test_a_photo_too_large_to_be_read_whole_is_a_bad_one(monkeypatch):
    write_tar(Path("s/a.tar"), ("a.jpg", bytes(2_000_001)))
    monkeypatch.setattr(shards, "LARGEST", 2_000_000)
    with pytest.raises(BadPhotoError, match="2 MB are more than are read out of a tar"):
        read().source("a.tar/a.jpg")


def test_the_same_photo_twice_is_found_across_tars():
    twice = os.urandom(10_000)
    write_tar(Path("s/a.tar"), ("a.jpg", twice), ("b.jpg", twice[::-1]), ("p.jpg", b"%PDF-1.7"), ("q.jpg", b"%PDF-1.7"))
    write_tar(Path("s/b.tar"), ("a.jpg", twice))
    assert find_duplicates(read()).harmless == [["a.tar/a.jpg", "b.tar/a.jpg"]]


def test_threads_read_many_tars_with_few_open(monkeypatch, tmp_path):
    monkeypatch.setattr(shards, "OPEN", 2)
    monkeypatch.setattr(shards, "ROWS", 7)
    monkeypatch.setattr(shards, "BLOCKS", 2)
    right = {}
    for tar in range(9):
        photos = [(f"{number}.jpg", f"{tar} {number}".encode()) for number in range(5 * (tar % 4))]
        write_tar(Path(f"s/{tar}.tar"), *photos)
        right |= {f"{tar}.tar/{name}": content for name, content in photos}
    data = read()
    asked = sorted(right, key=lambda name: name[::-1]) * 20
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda name: data.source(name).content, asked)) == [right[name] for name in asked]

    def open_tars() -> int:
        paths = [os.path.realpath(f"/proc/self/fd/{number}") for number in os.listdir("/proc/self/fd")]
        return sum(path.startswith(f"{tmp_path}/s/") for path in paths)

    assert 1 <= open_tars() <= 2
    for unknown in ("", "0.tar/1.jpg", "1.tar/9.jpg", "zzz"):
        with pytest.raises(KeyError):
            data.source(unknown)
    data = None
    assert open_tars() == 0


def test_a_tar_is_told_by_its_head(tmp_path):
    tar = write_tar(tmp_path / "a.tar", ("MZ.jpg", b"")).read_bytes()
    assert is_tar(tar[:512])
    assert is_tar(bytes(512))
    assert not is_tar(b"")
    assert not is_tar(b"text")
    assert not is_tar(JPEG + bytes(509))


MANY = 20_000


def test_memory_stays_flat_beyond_the_names_of_photos(tmp_path):
    """Python's own objects for each member, as tarfile keeps, would take a kilobyte."""
    made = tarfile.TarInfo("x")
    with Path("many.tar").open("wb") as file:
        for number in range(MANY):
            made.name = f"people/{number:06}.jpg" if number % 2 else f"people/{number:06}.txt"
            file.write(made.tobuf(tarfile.USTAR_FORMAT))
        file.write(bytes(1024))
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        data = read("many.tar")
        after, peak = tracemalloc.get_traced_memory()
        table = data.eval["photo"].tolist()
        names = sum(name.__sizeof__() for name in table) + 8 * len(table)
        assert len(table) == MANY // 2
        data.source(table[-1])
        photos = MANY / 2
        assert (after - before - names) / photos < 40  # a blank person, and two numbers
        assert (peak - before - names) / photos < 400
    finally:
        tracemalloc.stop()
