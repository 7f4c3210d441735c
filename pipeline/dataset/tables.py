"""Tables that users bring: CSV read strictly, cells turned into labels and boxes."""

import csv
import io
import math
import os
import re
import stat
from collections.abc import Sequence
from pathlib import Path

from models.labels import GENDERS, MASKS
from pipeline.runtime.problems import Problems, show

EVER_AGED = 120
"""The oldest age, in years, that is taken for an age and not for a slip of the pen."""
BOX = ("box_x", "box_y", "box_w", "box_h")
"""The columns of a face box, in pixels: left, top, width, height."""
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)

Row = tuple[int, dict[str, str]]
"""A row of a table: its number as a spreadsheet shows it (the header is row 1), and its cells by column."""
Box = tuple[float, float, float, float]


def read_table(
    path: Path, name: str, needed: Sequence[str], problems: Problems
) -> tuple[list[Row], tuple[str, ...]] | None:
    """The rows of a CSV file as text, and its columns; None, and a problem, where it cannot be read.

    `name` is what problems call the file. Cells stay exactly as written (an id keeps its zeros, a name its
    spaces); only the header is stripped. A byte-order mark is fine, and rows without any content are left
    out, as spreadsheets leave such rows behind.
    """
    text = _read_text(path, name, problems)
    if text is None:
        return None
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        lines = list(reader)
    except csv.Error as error:
        where = f"{name} line {reader.line_num}"
        problems.add(f"{where} is not readable as CSV ({error}); look for an unpaired quote there or above")
        return None
    numbered = [(number, cells) for number, cells in enumerate(lines, 1) if any(map(str.strip, cells))]
    if not numbered:
        problems.add(f"{name} is empty; it needs the columns {', '.join(needed)}")
        return None
    header = [column.strip() for column in numbered[0][1]]
    if not _check_header(header, name, needed, problems):
        return None
    ragged = False
    rows = []
    for number, cells in numbered[1:]:
        if len(cells) < len(header) or any(map(str.strip, cells[len(header) :])):
            problems.add(f"{name} row {number} has {len(cells)} cells, but the header has {len(header)}")
            ragged = True
        rows.append((number, dict(zip(header, cells, strict=False))))
    return None if ragged else (rows, tuple(header))


def _read_text(path: Path, name: str, problems: Problems) -> str | None:
    """The text of a file, or None and a problem. Looks at its kind first: to read a pipe is to wait."""
    try:
        mode = os.stat(path).st_mode
        if not stat.S_ISREG(mode):
            what = "a folder" if stat.S_ISDIR(mode) else "not a file"
            problems.add(f"{name} is {what}; a CSV table is expected there")
            return None
        data = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        problems.add(f"{name} is missing; put it there, or correct the path")
        return None
    except OSError as error:
        problems.add(f"{name} cannot be read ({error.strerror}); check its permissions")
        return None
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        problems.add(f"{name} line {line} is not UTF-8 text; save the table as CSV in UTF-8")
        return None
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        problems.add(f"{name} line {line} holds a NUL byte; save the table as CSV in UTF-8")
        return None
    return text


def _check_header(header: list[str], name: str, needed: Sequence[str], problems: Problems) -> bool:
    """Whether the header has every needed column, and none twice; adds the problem where not."""
    missing = [column for column in needed if column not in header]
    if missing:
        apart = len(header) == 1 and re.search(r"[;\t|]", header[0])
        hint = "; separate the cells with commas" if apart else ""
        plural = "s" if len(missing) > 1 else ""
        problems.add(f"{name} lacks the column{plural} {', '.join(missing)} in its first row{hint}")
        return False
    twice = sorted({column for column in header if column and header.count(column) > 1})
    if twice:
        problems.add(f"{name} names the column {', '.join(twice)} twice; keep one")
        return False
    return True


def path_fault(path: str) -> str | None:
    """What is wrong with a path written in a table: it must be plain, relative and stay inside; else None."""
    if not path.strip():
        return "is blank"
    if path.startswith("/") or re.match(r"[A-Za-z]:[\\/]", path):
        return "is absolute; write it relative to the data set"
    steps = path.split("/")
    if ".." in steps:
        return "leaves the data set; write a path inside it"
    if "." in steps or "" in steps:
        return "is not plain; write it without empty or '.' steps"
    return None


def number(text: str) -> float | None:
    """The finite number a cell holds, None where it holds none. Takes 45, 45.0, 4.5e1; not nan or 1_000."""
    text = text.strip()
    if not _NUMBER.fullmatch(text):
        return None
    value = float(text)
    return value if math.isfinite(value) else None


def parse_label(column: str, text: str) -> float | int | None:
    """A cell of the column `mask`, `gender` or `age`: a code number, years, or None where it is blank.

    Raises ValueError with a phrase that begins with column and text, where the cell is none of these.
    """
    text = text.strip()
    if not text:
        return None
    value = number(text)
    if column == "age":
        if value is None:
            raise ValueError(f"age {show(text)} is not a number; write years or leave it blank")
        if not 0 <= value <= EVER_AGED:
            raise ValueError(f"age {text} is impossible; write 0 to {EVER_AGED} years or leave it blank")
        return value
    words = {"mask": MASKS, "gender": GENDERS}[column]
    if text.lower() in words:
        return words.index(text.lower())
    if value is not None and value in range(len(words)):
        return int(value)
    known = ", ".join(words)
    raise ValueError(f"{column} {show(text)} is none of {known} (or 0 to {len(words) - 1}); blank is unknown")


def parse_box(cells: dict[str, str]) -> Box | None:
    """The face box of a row with the columns of BOX, in pixels, or None where all four are blank.

    Raises ValueError with a phrase where the four are no box. A box may reach over the edge of its photo.
    """
    texts = [cells[column].strip() for column in BOX]
    if not any(texts):
        return None
    values = [number(text) for text in texts]
    for column, text, value in zip(BOX, texts, values, strict=True):
        if value is None:
            raise ValueError(f"{column} {show(text)} is not a number; a box needs all of {', '.join(BOX)}")
    if values[2] <= 0 or values[3] <= 0:
        raise ValueError(f"the box is {texts[2]} wide and {texts[3]} high; both must be above 0 pixels")
    return tuple(values)
