"""Photos with a frame around each face and its label: pictures for people to look at."""

from __future__ import annotations

import os
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image, ImageDraw, ImageFont

from models.errors import UserError
from models.labels import MASK_WORDS, MASKS
from pipeline.dataset.tables import BOX
from pipeline.images.decode import decode
from pipeline.runtime import store
from pipeline.runtime.problems import show
from pipeline.runtime.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

LIST = "pictures.csv"
"""Which picture is of which photo: a list of what we drew, too."""
STEM = 100
"""Letters of a photo's name that its picture keeps."""
SMALLEST, LARGEST = 400, 1280
"""Pixels of a picture's longer side, at the least and at the most."""
COLOURS = {"worn": "#1f5fa8", "wrong": "#b34d00", "none": "#5b5b5b"}
"""Of the frames, by mask state: dark enough for white letters, and told apart by who does not see red or green."""
LETTERS = (12, 22)
"""Pixels of a caption's letters, at the least and at the most; between, a tenth of the face's width."""
PADDING = 3


def picture_names(photos: Sequence[str]) -> dict[str, str]:
    """A file name for each photo (paths); those of one name in several folders are told apart."""
    stems = {photo: _text(Path(photo).stem[:STEM]) for photo in photos}
    same = Counter(stems.values())
    return {
        photo: f"{stem}{f'-{store.fingerprint(photo)[:6]}' if same[stem] > 1 else ''}.jpg"
        for photo, stem in stems.items()
    }


def check_pictures_folder(folder: Path, photos: Sequence[str], data: Path) -> None:
    """Raises UserError for a folder that is none, lies in the data set, or has a file in the place of a picture.

    Files that were pictures of an earlier time do not count.
    """
    if folder.exists() and not folder.is_dir():
        raise UserError(f"--draw {folder} is not a folder; name one for the pictures.")
    if Path(os.path.realpath(folder)).is_relative_to(os.path.realpath(data)):
        raise UserError(f"--draw {folder} lies in the data set, where nothing is written; name another folder.")
    ours = set(_listed(folder)["picture"])
    for name in picture_names(photos).values():
        if name not in ours and os.path.lexists(folder / name):
            raise UserError(
                f"--draw {folder}: {show(name)} is there already and is no picture of ours; name another folder."
            )


def draw_pictures(folder: Path, photos: Sequence[str], faces: pd.DataFrame | None, whole: pd.DataFrame) -> None:
    """Write a picture of each photo (paths) to a folder, as JPEG, and which is of which: pictures.csv.

    faces: a row a face (photo, box_x, box_y, box_w, box_h, mask, gender, band, perhaps age_years), None where none
    were looked for; whole: a row a photo that has a label, for those without a face.
    """
    import pandas as pd

    names = picture_names(photos)  # of all, as they were checked
    shown = whole["photo"].tolist()
    listed = pd.DataFrame({"picture": [names[photo] for photo in shown], "photo": list(map(_text, shown))})
    before = _listed(folder)
    kept = before[~before["picture"].isin(listed["picture"])]
    store.write_csv(folder / LIST, pd.concat([kept, listed]))  # first, so that whatever is drawn is known as ours
    with Progress("draw", len(shown), "pictures", quiet=not sys.stdout.isatty()) as progress:
        for photo in shown:
            rows = whole[:0] if faces is None else faces[faces["photo"] == photo]
            picture = drawn(Path(photo), rows if len(rows) else whole[whole["photo"] == photo])
            with store.replacing(folder / names[photo]) as temporary:
                picture.save(temporary, "JPEG", quality=90)
            progress.advance()


def _listed(folder: Path) -> pd.DataFrame:
    """The pictures that were drawn into a folder. Raises UserError where a list of another kind has that name."""
    import pandas as pd

    if not (folder / LIST).is_file():
        return pd.DataFrame({"picture": [], "photo": []}, dtype="string")
    listed = store.read_csv(folder / LIST)
    if list(listed.columns) != ["picture", "photo"]:
        raise UserError(f"--draw {folder}: its {LIST} is no list of ours; name another folder.")
    return listed


def _text(name: str) -> str:
    """A name as a table can hold it: bytes that are no UTF-8 become question marks."""
    return name.encode("utf-8", "replace").decode("utf-8")


def drawn(path: Path, rows: pd.DataFrame) -> Image.Image:
    """A photo with its faces, the smallest last, so that none hides it; or with a row without a box, for all of it."""
    photo = decode(path)
    longest = min(max(*photo.size, SMALLEST), LARGEST)
    scale = longest / max(photo.size)
    size = tuple(max(1, round(side * scale)) for side in photo.size)
    picture = Image.fromarray(photo.pixels).resize(size, Image.Resampling.LANCZOS)
    scale /= photo.reduced  # of pixels of the whole photo, in which boxes are
    draw = ImageDraw.Draw(picture)
    for row in rows.to_dict("records"):
        box = [row[name] * scale for name in BOX] if "box_x" in row else [0, picture.height, picture.width, 0]
        if "box_x" in row:
            left, top, wide, high = box
            line = max(2, round(wide / 60))
            draw.rectangle((left, top, left + wide, top + high), outline=COLOURS[row["mask"]], width=line)
        _caption(draw, row, *box)
    return picture


def _caption(draw: ImageDraw.ImageDraw, row: dict[str, Any], left: float, top: float, wide: float, high: float) -> None:
    """What a row says, white on its colour, above a box or, where there is no room, below; moved into the picture."""
    font = ImageFont.load_default(min(max(wide / 10, LETTERS[0]), LETTERS[1]))
    years = f" ({row['age_years']:.0f})" if "age_years" in row else ""
    text = f"{row['gender']}, {row['band']}{years}\n{MASK_WORDS[MASKS.index(row['mask'])]}"
    x0, y0, x1, y1 = draw.multiline_textbbox((0, 0), text, font)
    across, down = x1 - x0 + 2 * PADDING, y1 - y0 + 2 * PADDING
    width, height = draw.im.size
    left = max(0, min(left, width - across))
    y = top - down if top >= down or top + high + down > height else top + high
    y = max(0, min(y, height - down))
    draw.rectangle((left, y, left + across, y + down), fill=COLOURS[row["mask"]])
    draw.multiline_text((left + PADDING - x0, y + PADDING - y0), text, "white", font)
