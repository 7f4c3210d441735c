"""Mutated files by seed, and what reads them; run as a program over a range of seeds, so that a crash is caught.

python tests/pipeline/fuzzing.py photos|exif|files FIRST COUNT FOLDER
"""

import io
import json
import random
import shutil
import struct
import sys
import time
import traceback
import unicodedata
import zlib
from collections.abc import Callable
from pathlib import Path

SECONDS = 5
"""Of processor time, for one file; on a machine that does other work the clock says little."""
MEMORY = 1_000_000
"""kB that the process may ever hold."""
NUMBERS = [
    b"\0",
    b"\xff",
    b"\x7f\xff",
    b"\xff\x7f",
    b"\0\0\0\0",
    b"\xff\xff\xff\xff",
    b"\x7f\xff\xff\xff",
    b"\0\0\x27\x10",
]
WORDS = [b",", b'"', b"\n", b"\r", b"\0", b"nan", b"-1", b"1e999", b"9" * 400, b"../", b"/", b"\xef\xbb\xbf", b"\xc3"]
WORDS += [b"[" * 50_000, b'{"a":', b"null", b"true", b"inf", b"NA", b"0.5", b"9" * 5000, b"\xed\xa0\x80", b"=", b" "]


def mutated(content: bytes, others: list[bytes], chance: random.Random) -> bytes:
    """Some bytes changed, taken away, put in, repeated, or taken from another file."""
    data = bytearray(content)
    for _ in range(chance.choice((1, 1, 2, 3, 6))):
        # Half of the time at the head, where sizes and types stand.
        place = chance.randrange(1 + (min(len(data), 64) if chance.random() < 0.5 else len(data)))
        length = chance.choice((1, 2, 4, 16, 200))
        kind = chance.randrange(8)
        if kind == 0 and data:
            data[min(place, len(data) - 1)] ^= 1 << chance.randrange(8)
        elif kind == 1:
            data[place : place + length] = chance.randbytes(length)
        elif kind == 2:
            del data[place : place + length]
        elif kind == 3:
            del data[place:]
        elif kind == 4:
            data[place:place] = data[place : place + length] * chance.choice((1, 2, 50))
        elif kind == 5:
            data[place:place] = chance.choice(WORDS)
        elif kind == 6:
            number = chance.choice(NUMBERS)
            data[place : place + len(number)] = number
        else:
            other = chance.choice(others)
            start = chance.randrange(1 + len(other))
            data[place : place + length] = other[start : start + chance.choice((4, 40, 4000))]
    return bytes(data)


HEADERS = (
    "\ufeff{}",
    "\ufeff\ufeff{}",
    "ï»¿{}",
    "sep=,\n{}",
    "sep=;\n{}",
    " {} ",
    '"{}"',
    "\u200b{}",
    "{},{}",
    "{}\u00a0",
)
LABEL_WORDS = (
    "None",
    "nan",
    "NULL",
    "<NA>",
    "-",
    "n/a",
    "NONE",
    "Worn",
    "1.0",
    "0.0",
    "1e0",
    "male ",
    "FEMALE",
    "²",
    "٣",
)


def reworded(content: bytes, chance: random.Random) -> bytes:
    """A table whose header is in disguise, or some of whose cells hold other words."""
    head, *rows = content.decode(errors="replace").split("\n")
    if chance.random() < 0.5:
        head = chance.choice(HEADERS).format(*[head] * 2)
    head = chance.choice((str, str.upper, str.title, str.swapcase))(head)
    for _ in range(chance.choice((0, 1, 3, 20))):
        place = chance.randrange(len(rows)) if rows else 0
        cells = rows[place].split(",") if rows else [""]
        cells[chance.randrange(len(cells))] = chance.choice(LABEL_WORDS)
        rows[place : place + 1] = [",".join(cells)]
    text = "\n".join([head, *rows])
    if chance.random() < 0.2:
        text = unicodedata.normalize("NFD", text)
    return (text.replace("/", "\\") if chance.random() < 0.2 else text).encode()


def with_sums(data: bytes) -> bytes:
    """A PNG with the checksums its chunks should have, so that damage gets past them."""
    whole, place = bytearray(data), 8
    while place + 12 <= len(whole):
        (length,) = struct.unpack(">I", whole[place : place + 4])
        end = place + 8 + length
        if end + 4 > len(whole):
            break
        whole[end : end + 4] = struct.pack(">I", zlib.crc32(whole[place + 4 : end]))
        place = end + 4
    return bytes(whole)


def photos() -> list[bytes]:
    """A photo of each format and kind."""
    import numpy as np
    from PIL import Image

    y, x = np.mgrid[:60, :44]
    photo = Image.fromarray(np.stack([x * 5, y * 4, x + y], axis=2).astype(np.uint8))
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "maker"
    rest = [photo.rotate(90), photo.rotate(180)]
    kinds = [
        (photo, "JPEG", {}),
        (photo, "JPEG", {"progressive": True, "exif": exif}),
        (photo.convert("CMYK"), "JPEG", {}),
        (photo.convert("L"), "JPEG", {}),
        (photo, "PNG", {"exif": exif}),
        (photo.quantize(16), "PNG", {"transparency": 3}),
        (photo.convert("RGBA"), "PNG", {}),
        (Image.fromarray((x * 999).astype(np.uint16)), "PNG", {}),
        (photo, "PNG", {"save_all": True, "append_images": rest}),
        (photo, "WEBP", {"exif": exif}),
        (photo.convert("RGBA"), "WEBP", {"lossless": True}),
        (photo, "WEBP", {"save_all": True, "append_images": rest}),
        (photo, "GIF", {"save_all": True, "append_images": rest}),
        (photo, "BMP", {}),
        (photo.quantize(16), "BMP", {}),
        *((photo, "TIFF", {"compression": kind}) for kind in ("raw", "tiff_lzw", "tiff_adobe_deflate", "jpeg")),
        (Image.fromarray(x.astype(np.float32)), "TIFF", {}),
    ]
    kinds += [(photo, kind, {}) for kind in ("AVIF", "JPEG2000", "PPM") if kind in Image.SAVE]
    files = []
    for image, kind, options in kinds:
        file = io.BytesIO()
        image.save(file, kind, **options)
        files.append(file.getvalue())
    return files


def fuzz_photo(seed: int, folder: Path, sources: list[bytes]) -> str:
    """Decodes a mutated photo; returns what came of it."""
    from pipeline.images.framing import View
    from pipeline.images.photos import Photos, decode_photo

    chance = random.Random(seed)
    source = sources[seed % len(sources)]
    data = mutated(source, sources, chance)
    if source.startswith(b"\x89PNG") and chance.random() < 0.7:
        data = with_sums(data)
    (folder / "a.jpg").write_bytes(data)
    predicted = decode_photo(Photos(folder, ["a.jpg"]), 0, [View(32, 24)])
    if isinstance(predicted, str):
        assert predicted, "a bad photo without a reason"
        assert predicted.isprintable(), f"the reason {predicted!r} is not one line"
        return "refused"
    assert predicted[32, 24].shape == (32, 24, 3)
    return "decoded"


def exif_block(chance: random.Random) -> bytes:
    """A block of EXIF with an orientation and tags of any type, count and place; most blocks are damaged besides."""
    order = chance.choice("<>")
    tags = [(0x112, chance.choice((3, 3, 3, 4, 1)), chance.choice((1, 1, 1, 2, 0)), chance.choice((*range(10), 65535)))]
    known = (0x100, 0x10F, 0x11A, 0x11B, 0x128, 0x132, 0x8769, 0x8825, 0xA005, 0x927C, 0x14A, 0x201, 0x202)
    for _ in range(chance.randrange(8)):
        count = chance.choice((0, 1, 2, 9, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF))
        place = chance.choice((0, 8, 26, 60, 0xFFFF, 0xFFFFFFFF, chance.randrange(2**32)))
        tags.append((chance.choice(known), chance.randrange(15), count, place))
    chance.shuffle(tags)
    block = struct.pack(f"{order}2sHIH", b"II" if order == "<" else b"MM", 42, 8, len(tags))
    for tag, kind, count, value in tags:
        form = "HHIHxx" if tag == 0x112 else "HHII"
        block += struct.pack(order + form, tag, kind, count, value)
    block += struct.pack(f"{order}I", chance.choice((0, 0, 8, 0xFFFFFFFF))) + chance.randbytes(chance.randrange(60))
    return mutated(block, [block], chance) if chance.random() < 0.7 else block


def fuzz_exif(seed: int, folder: Path, sources: list[bytes]) -> str:
    """Decodes a photo with a mutated block of EXIF, as OpenCV does; returns what came of it."""
    import cv2
    import numpy as np

    from pipeline.images.decode import BadPhotoError, decode

    chance = random.Random(seed)
    source = [source for source in sources if source.startswith(b"\xff\xd8")][seed % 4]
    block = (b"Exif\0\0" + exif_block(chance))[:60_000]
    length = len(block) + 2 if chance.random() < 0.9 else chance.choice((0, 1, 2, 8, len(block), len(block) + 9))
    data = source[:2] + b"\xff\xe1" + struct.pack(">H", length) + block + source[2:]
    (folder / "a.jpg").write_bytes(data)
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    reference = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    try:
        pixels = decode(folder / "a.jpg").pixels
    except BadPhotoError as refusal:
        if reference is not None:
            raise AssertionError(f"OpenCV decodes what is refused: {refusal}") from refusal
        return "refused"
    if reference is not None and seed % 4 != 2:  # the third is CMYK, which OpenCV turns to colours by another rule
        plain = reference[..., ::-1]
        turns = [np.rot90(side, times) for side in (plain, plain[:, ::-1]) for times in range(4)]
        assert any(np.array_equal(pixels, turn) for turn in turns), "other pixels than OpenCV's"
    return "decoded" if pixels.shape[0] == 60 else "turned"


Reader = Callable[[Path], object]


def readers(folder: Path) -> list[tuple[str, Reader]]:
    """Makes a data set and a run in a folder; every file of theirs, and what reads it there."""
    import pandas as pd
    import torch
    from small_data import contest, general, key
    from tiny import begun_fold_of

    from models import backbone
    from models.tasks import build_task
    from pipeline.combiner import combiners
    from pipeline.combiner.threshold_combiner import ThresholdCombiner
    from pipeline.dataset.photos import read_data_set
    from pipeline.dataset.truth import read_truth
    from pipeline.prediction import ensemble
    from pipeline.prediction.labelled import labelled_predictions
    from pipeline.prediction.tables import COLUMNS, by_network
    from pipeline.run import records
    from pipeline.run.fold_records import BegunFold
    from pipeline.run.folder import SCHEMA, open_run, usual_settings
    from pipeline.run.presets import PRESETS
    from pipeline.run.settings import RunStage
    from pipeline.runtime import store

    key(contest(folder / "contest"), ("a.png", 17, "eve", 60), ("b.jpg", 3, "", ""))
    (folder / "contest/boxes.csv").write_text("photo,box_x,box_y,box_w,box_h\neval/images/b.jpg,1,2,3,4\n")
    general(folder / "general")
    (folder / "fixes.csv").write_text("key,column,value\n000001,gender,male\n000002/normal,mask,0\n")
    run = folder / "run"
    store.write_json(run / "run.json", usual_settings().as_json() | {"data": str(folder / "contest"), "schema": SCHEMA})
    settings = PRESETS["small"]["mask"] | {
        "backbone": "test_efficientnet", "backbone_options": {}, "height": 32, "width": 24
    }  # fmt: skip
    network = backbone.build(settings, build_task("mask", settings).num_logits)
    fold = run / "mask/fold0"
    begun_fold_of(fold, "mask", 0, settings)
    store.write_weights(fold / "weights.safetensors", network.state_dict())
    people = 60
    table = pd.DataFrame(
        {
            "photo": [f"p{i}.jpg" for i in range(people)], "person": [f"who{i}" for i in range(people)], "fold": 0,
            "mask": 0, "gender": [i % 2 for i in range(people)], "age": [20.0 + i for i in range(people)],
            "mask_worn": 0.5, "mask_wrong": 0.25, "mask_none": 0.25, "gender_female": 0.75,
            "age_years": [21.0 + i for i in range(people)],
        }
    )  # fmt: skip
    store.write_csv(run / "validation.csv", table)
    store.write_csv(run / "predictions.csv", table[["photo", "person", "fold", *COLUMNS]])
    store.write_csv(run / "submission.csv", pd.DataFrame({"ImageID": ["a.png", "b.jpg"], "ans": [1, 2]}))
    combiner = ThresholdCombiner(prior="train", bandwidth=2.0, draws=5).fit(table)
    combiner.save(run / "combiner.json")
    records.record(run, "submit", {"a": 1}, ["submission.csv"], {"photos": 2})
    torch.set_num_threads(1)

    def contest_of(file: Path) -> object:
        return read_data_set(folder / "contest")

    def general_of(file: Path) -> object:
        read_truth(folder / "general")
        return read_data_set(folder / "general")

    tables = [
        *((f"contest/{name}", contest_of) for name in ("train/train.csv", "eval/info.csv", "boxes.csv")),
        ("contest/key.csv", lambda file: read_truth(folder / "contest")),
        ("general/photos.csv", general_of),
        ("fixes.csv", lambda file: read_data_set(folder / "contest", str(file))),
        ("run/validation.csv", lambda file: labelled_predictions(store.read_csv(file))),
        ("run/predictions.csv", lambda file: by_network(store.read_csv(file))),
        ("run/predictions.csv", lambda file: combiner.predict(store.read_csv(file))),
        ("run/submission.csv", lambda file: store.read_csv(file)),
    ]
    return [
        *tables * 2,
        ("run/run.json", lambda file: open_run(RunStage.of(run=run))),
        ("run/combiner.json", lambda file: combiners.load(file)),
        ("run/done/submit.json", lambda file: records.finished(run, "submit", {"a": 1})),
        ("run/mask/fold0/settings.json", lambda file: ensemble.load(BegunFold.read(fold), "cpu", 1)),
        ("run/mask/fold0/weights.safetensors", lambda file: ensemble.load(BegunFold.read(fold), "cpu", 1)),
    ]


def fuzz_file(seed: int, folder: Path, known: list[tuple[str, Reader]], whole: dict[str, bytes]) -> str:
    """Reads a mutated file where its stage does; returns what came of it."""
    from models.errors import UserError

    chance = random.Random(seed)
    name, read = known[seed % len(known)]
    if name.endswith(".csv") and chance.random() < 0.4:
        data = reworded(whole[name], chance)
    else:
        data = mutated(whole[name], list(whole.values()), chance)
    (folder / name).write_bytes(data)
    try:
        read(folder / name)
    except UserError:
        return "refused"
    except Exception as fault:
        where = traceback.extract_tb(fault.__traceback__)
        ours = [step for step in where if "site-packages" not in step.filename][-1]
        raise AssertionError(
            f"{name}: {type(fault).__name__}: {str(fault)[:300]} at {Path(ours.filename).name}:{ours.lineno}"
        ) from fault
    finally:
        (folder / name).write_bytes(whole[name])
    return "read"


def most_memory() -> int:
    """kB that this process ever held. (What getrusage tells begins at its parent's.)"""
    return int(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1])


def main(kind: str, first: int, count: int, folder: Path) -> None:
    """A line for each seed as it begins, and one for whatever is wrong with it; outcomes at the end."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    outcomes: dict[str, int] = {}
    if kind in ("photos", "exif"):
        sources = photos()
        known: tuple = (sources,)
    else:
        made = readers(folder)
        known = (made, {name: (folder / name).read_bytes() for name, _ in made})
    for seed in range(first, first + count):
        print(f"seed {seed}", flush=True)
        begun = time.process_time()
        try:
            outcome = {"photos": fuzz_photo, "exif": fuzz_exif, "files": fuzz_file}[kind](seed, folder, *known)
            outcomes[outcome] = outcomes.get(outcome, 0) + 1
        except Exception as fault:
            print(f"FAULT seed {seed}: {type(fault).__name__}: {fault}", flush=True)
        if time.process_time() - begun > SECONDS:
            print(f"FAULT seed {seed}: took {time.process_time() - begun:.1f} s", flush=True)
        if most_memory() > MEMORY:
            sys.exit(f"FAULT seed {seed}: the process holds more than {MEMORY} kB")
    print("OUTCOMES", json.dumps(outcomes))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]))
