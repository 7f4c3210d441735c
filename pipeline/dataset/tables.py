"""Tables that users bring: CSV read strictly, cells turned into labels and boxes."""

import csv
import io
import math
import os
import re
import stat
import unicodedata
from collections.abc import Sequence
from pathlib import Path

from models.labels import GENDERS, MASKS
from pipeline.dataset.foreign import in_place_of, table_fault
from pipeline.runtime.problems import Problems, show, some

EVER_AGED = 120
"""The oldest age, in years, that is taken for an age and not for a slip of the pen."""
BOX = ("box_x", "box_y", "box_w", "box_h")
"""The columns of a face box, in pixels: left, top, width, height."""
NOTHING = (
    *("none", "nan", "null", "na", "nat", "nil", "n/a", "#n/a", "#na", "<na>", "-", "--"),
    *("-nan", "1.#qnan", "-1.#qnan", "1.#ind", "-1.#ind"),
)
"""Words, in small letters, that programs write for nothing: in the cell of a label they are blanks."""
NOBODY = ("nan", "NaN", "<NA>", "None", "NULL", "NaT")
"""The same for a person, as programs spell them; somebody may be called Null, or NA."""
_BARE_MASK = "none"
"""The one word for nothing that is a label, spelled so: a mask is not worn."""
_SEPARATOR = re.compile(r'"?sep=(.)"?[\r\n;,\t]*', re.IGNORECASE)
_BYTE_ORDER = re.compile("^(?:\ufeff|\u00ef\u00bb\u00bf|\u00c3\u00af\u00c2\u00bb\u00c2\u00bf)+")
"""At the beginning of a text: as it should be, and read as Latin text and written again, once or twice."""
SMALLEST_BOX = 2
"""A box that is narrower and lower than this many pixels is of no face: it is taken for shares of the photo."""
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)

Row = tuple[int, dict[str, str]]
"""A row of a table: its number as a spreadsheet shows it (the header is row 1), and its cells by column."""
Box = tuple[float, float, float, float]


def read_table(
    path: Path, name: str, needed: Sequence[str], problems: Problems, known: Sequence[str] = ()
) -> tuple[list[Row], tuple[str, ...]] | None:
    """The rows of a CSV file as text, and its columns; None, and a problem, where it cannot be read.

    `name` is what problems call the file, `known` are columns that it may have beside those needed. Cells stay exactly
    as written (an id keeps its zeros, a name its spaces). Byte-order marks are fine, and so is a first line sep=, as
    Excel writes it; the needed and known columns are found without regard to capital letters and what surrounds them
    unseen. Rows without any content are left out, as spreadsheets leave such rows behind.
    """
    text = _read_text(path, name, problems)
    if text is None:
        return None
    lines = _parse(text, name, problems)
    if lines is None:
        return None
    numbered = [(number, cells) for number, cells in enumerate(lines, 1) if any(map(str.strip, cells))]
    if not numbered:
        problems.add(f"{name} is empty; it needs the columns {', '.join(needed)}")
        return None
    written = numbered[0][1]
    header = [_column(cell, (*needed, *known)) for cell in written]
    if not _check_header(header, written, name, needed, problems):
        return None
    ragged = False
    rows = []
    for number, cells in numbered[1:]:
        if len(cells) < len(header) or any(map(str.strip, cells[len(header) :])):
            problems.add(f"{name} row {number} has {len(cells)} cells, but the header has {len(header)}")
            ragged = True
        rows.append((number, dict(zip(header, cells, strict=False))))
    return None if ragged else (rows, tuple(header))


def _parse(text: str, name: str, problems: Problems) -> list[list[str]] | None:
    """The cells of each line. A first line sep= is no row, as in a spreadsheet, and says what separates the cells."""
    first, _, rest = text.partition("\n")
    told = _SEPARATOR.fullmatch(first)
    if told:
        text = rest
    reader = csv.reader(io.StringIO(text, newline=""), strict=True, delimiter=told[1] if told else ",")
    try:
        return list(reader)
    except csv.Error as error:
        where = f"{name} line {reader.line_num + bool(told)}"
        problems.add(f"{where} is not readable as CSV ({error}); look for an unpaired quote there or above")
        return None


def _column(cell: str, known: Sequence[str]) -> str:
    """The known column that a cell of the header names; any other as it is written, without surrounding blanks."""
    seen = _BYTE_ORDER.sub("", cell)
    while seen and (unseen := [end for end in (0, -1) if seen[end].isspace() or _is_unseen(seen[end])]):
        seen = seen[1:] if unseen[0] == 0 else seen[:-1]
    matching = [column for column in known if column.casefold() == seen.strip('"').casefold()]
    return matching[0] if matching else cell.strip()


def _is_unseen(letter: str) -> bool:
    """Whether a letter takes no room: a byte-order mark, a zero-width space, a change of direction."""
    return unicodedata.category(letter) in ("Cf", "Cc")


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
        beside = in_place_of(path)
        problems.add(
            f"{name} is missing, but {beside}" if beside else f"{name} is missing; put it there, or correct the path"
        )
        return None
    except OSError as error:
        problems.add(f"{name} cannot be read ({error.strerror}); check its permissions")
        return None
    fault = table_fault(data)
    if fault:
        problems.add(f"{name} {fault}")
        return None
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        problems.add(f"{name} line {line} is not UTF-8 text; save the table as CSV in UTF-8")
        return None
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        problems.add(f"{name} line {line} holds a NUL byte; save the table as CSV in UTF-8")
        return None
    return _BYTE_ORDER.sub("", text)


def _check_header(header: list[str], written: list[str], name: str, needed: Sequence[str], problems: Problems) -> bool:
    """Whether the header has every needed column, and none twice; adds the problem where not."""
    missing = [column for column in needed if column not in header]
    if missing:
        apart = len(header) == 1 and re.search(r"[;\t|]", header[0])
        hint = "; separate the cells with commas" if apart else ""
        plural = "s" if len(missing) > 1 else ""
        found = some([show(cell) for cell in written])  # show spells out what cannot be seen
        problems.add(
            f"{name} lacks the column{plural} {', '.join(missing)} in its first row{hint}; that row holds {found}"
        )
        return False
    twice = sorted({column for column in header if column and header.count(column) > 1})
    if twice:
        cells = [show(cell) for column, cell in zip(header, written, strict=True) if column in twice]
        as_written = f" ({some(cells)})" if len(set(cells)) > len(twice) else ""
        problems.add(f"{name} names the column {', '.join(twice)} twice{as_written}; keep one")
        return False
    return True


def number(text: str) -> float | None:
    """The finite number a cell holds, None where it holds none. Takes 45, 45.0, 4.5e1; not nan or 1_000."""
    text = text.strip()
    if not _NUMBER.fullmatch(text):
        return None
    value = float(text)
    return value if math.isfinite(value) else None


def says_nothing(column: str, text: str) -> bool:
    """Whether a cell of a label is blank or a word for nothing. In the column mask, none is a label."""
    text = text.strip()
    return not text or (text.lower() in NOTHING and (column, text) != ("mask", _BARE_MASK))


def parse_label(column: str, text: str) -> float | int | None:
    """A cell of the column `mask`, `gender` or `age`: a code number, years, or None where it `says_nothing`.

    Raises ValueError with a phrase that begins with column and text, where the cell is none of these.
    """
    if says_nothing(column, text):
        return None
    text = text.strip()
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


class BoxAsSharesError(ValueError):
    """A box that is written as shares of its photo and not in pixels."""


def parse_box(cells: dict[str, str]) -> Box | None:
    """The face box of a row with the columns of BOX, in pixels, or None where all four are blank.

    Raises ValueError with a phrase where the four are no box. A box may reach over the edge of its photo.
    """
    texts = ["" if says_nothing("box", cells[column]) else cells[column].strip() for column in BOX]
    if not any(texts):
        return None
    values = [number(text) for text in texts]
    for column, text, value in zip(BOX, texts, values, strict=True):
        if value is None:
            raise ValueError(f"{column} {show(text)} is not a number; a box needs all of {', '.join(BOX)}")
    if values[2] <= 0 or values[3] <= 0:
        raise ValueError(f"the box is {texts[2]} wide and {texts[3]} high; both must be above 0 pixels")
    if values[2] < SMALLEST_BOX and values[3] < SMALLEST_BOX:
        raise BoxAsSharesError(
            f"the box is {texts[2]} wide and {texts[3]} high, like shares of the photo from 0 to 1; boxes are in "
            "pixels of the upright, full-size photo: multiply x and w by its width, y and h by its height; and where "
            "x and y are the centre, as YOLO writes them, then take half of w off x and half of h off y"
        )
    return tuple(values)
