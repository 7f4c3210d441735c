"""Label fixes: corrections of train labels, applied at reading, each one told."""

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from models.labels import GENDERS, MASKS, OLDEST
from pipeline.dataset.names import Spellings, composed
from pipeline.dataset.tables import parse_label, read_table
from pipeline.runtime.problems import Problems, show, some

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ("mask", "gender", "age")


class Fix(NamedTuple):
    """One correction: `where` names it in messages, `key` says whose label, `value` is as in the tables."""

    where: str
    key: str
    column: str
    value: str


_MEN = (*(f"{number:06}" for number in range(6359, 6365)), "001720")
_WOMEN = ("001498-1", "004432", "005223")
_SWAPPED = ("000020", "004418", "005227")
CONTEST = tuple(
    Fix("contest fix", key, column, value)
    for key, column, value in (
        *((token, "gender", "male") for token in _MEN),
        *((token, "gender", "female") for token in _WOMEN),
        *((f"{token}/normal", "mask", "wrong") for token in _SWAPPED),
        *((f"{token}/incorrect_mask", "mask", "none") for token in _SWAPPED),
    )
)
"""The fixes most teams of the contest agree on, by id token."""


def id_token(person: str) -> str:
    """The id in a person's folder name: what stands before the first underscore, suffix included."""
    return person.split("_", 1)[0]


def apply_fixes(train: "pd.DataFrame", fixes: str, one_age: bool = True) -> tuple["pd.DataFrame", list[str]]:
    """The train photo table with the fixes applied, and one line per fix (old -> new).

    `fixes` is "contest" for the table above, or the path of a CSV file with the columns key, column, value.
    A key is looked up as a photo (its path in the table), then a person, then an id token, then
    `<person or id token>/<file name or stem>` for one photo; the first of these that matches counts, so a
    full name always reaches the one it names. Mask fixes need the key of a photo. `train` is not changed.

    `one_age`: whether a person has one age, as in the contest; elsewhere the photos may be years apart.
    Names match whatever way their letters are composed, and with backslashes for separators.

    Raises UserError listing every fix that matches nothing, or two people or photos, whose value is no label,
    that repeats another, or that leaves one person with two genders or ages.
    """
    # The contest's fixes name the contest's people: with another data set the way out is to leave them out.
    contest = "Fixes contest, for the contest's own photos,"
    problems = Problems(contest if fixes == "contest" else f"The fixes {show(fixes)}")
    wanted = CONTEST if fixes == "contest" else _read_fixes(Path(fixes), problems)
    keys = _Keys(train)
    fixed = train.copy()
    lines: list[str] = []
    touched: dict[tuple[int, str], str] = {}
    for fix in wanted:
        try:
            value = _value(fix)
            rows = keys.rows(fix)
        except ValueError as error:
            problems.add(f"{fix.where}: {error}")
            continue
        before = [touched[row, fix.column] for row in rows if (row, fix.column) in touched]
        if before:
            what = f"the {fix.column} of {show(fix.key)}"
            problems.add(f"{fix.where}: {what} is already fixed by {before[0]}; keep one of the two")
            continue
        touched.update({(row, fix.column): fix.where for row in rows})
        at = fixed.columns.get_loc(fix.column)
        old = sorted({_words(fix.column, cell) for cell in fixed.iloc[rows, at]})
        fixed.iloc[rows, at] = value
        count = f"{len(rows)} photos" if len(rows) > 1 else "1 photo"
        change = f"{' and '.join(old)} -> {_words(fix.column, value)}"
        lines.append(f"fixed {fix.column} of {show(fix.key)} ({count}): {change}")
    _check_constant(fixed, touched, ("gender", "age") if one_age else ("gender",), problems)
    problems.stop()
    return fixed, lines


def _read_fixes(path: Path, problems: Problems) -> list[Fix]:
    """The rows of a fixes file."""
    table = read_table(path, path.name, Fix._fields[1:], problems)
    if table is None:
        return []
    if not table[0]:
        problems.add(f"{path.name} holds no fix; add rows or leave the setting fixes out")
    return [
        Fix(f"{path.name} row {number}", cells["key"], cells["column"].strip().lower(), cells["value"])
        for number, cells in table[0]
    ]


def _value(fix: Fix) -> int | float:
    """The new label; ValueError where the fix has no such column or its value is no label."""
    if fix.column not in COLUMNS:
        raise ValueError(f"column {show(fix.column)} is none of {', '.join(COLUMNS)}")
    value = parse_label(fix.column, fix.value)
    if value is None:
        bare = "none, in small letters, for not worn" if fix.column == "mask" else "a value"
        raise ValueError(f"the new {fix.column} of {show(fix.key)} is blank; write {bare}")
    return min(value, OLDEST) if fix.column == "age" else value


def _words(column: str, value: object) -> str:
    """A label as a person would say it; "unknown" where it is missing."""
    import pandas as pd

    if pd.isna(value):
        return "unknown"
    if column == "age":
        return f"{value:g}"
    return {"mask": MASKS, "gender": GENDERS}[column][int(value)]


class _Keys:
    """Looks up the rows of a photo table by photo, person and id token, in any spelling of their letters."""

    def __init__(self, train: "pd.DataFrame"):
        self.photos = [composed(photo) for photo in train["photo"]]
        self.by_photo = {photo: [row] for row, photo in enumerate(self.photos)}
        self.by_person: dict[str, list[int]] = {}
        for row, person in enumerate(train["person"]):
            self.by_person.setdefault(composed(person), []).append(row)
        self.by_token: dict[str, list[str]] = {}
        for person in self.by_person:
            self.by_token.setdefault(id_token(person), []).append(person)

    def rows(self, fix: Fix) -> list[int]:
        """The rows a fix is for; ValueError with a sentence where they are none, or not one person's."""
        key = composed(fix.key)
        rows = self._rows(key, fix.column)
        if not rows and "\\" in key:
            rows = self._rows(key.replace("\\", "/"), fix.column)
        if not rows:
            raise ValueError(
                f"{show(fix.key)} matches no train photo, person or id (the whole id){self._other_case(key)}; "
                "mend or remove the fix"
            )
        return rows

    def _rows(self, key: str, column: str) -> list[int]:
        """The rows of the photo, else the person, else the photo of a person that a key names."""
        if key in self.by_photo:
            return self.by_photo[key]
        rows = self._person(key, key)
        if rows:
            if column == "mask":
                raise ValueError(f"a mask fix needs one photo; write {show(f'{key}/<photo>')}")
            return rows
        owner, _, photo = key.rpartition("/")
        rows = self._person(owner, key) if owner and photo else []
        names = {row: self.photos[row].rpartition("/")[2] for row in rows}
        rows = [row for row, name in names.items() if name == photo] or [
            row for row, name in names.items() if name.rpartition(".")[0] == photo
        ]
        if len(rows) > 1:
            raise ValueError(f"{show(key)} matches {len(rows)} photos; write the whole path of one of them")
        return rows

    def _other_case(self, key: str) -> str:
        """A photo, person or id that differs from a key only in capital letters, for a message."""
        others = Spellings([*self.photos, *self.by_person, *self.by_token]).in_other_case(key)
        return f", but {show(others[0])} differs only in capital letters" if others else ""

    def _person(self, name: str, key: str) -> list[int]:
        """The rows of the person of that name or id token, if there is one; `key` is for messages."""
        people = [name] if name in self.by_person else self.by_token.get(name, [])
        if len(people) > 1:
            raise ValueError(
                f"{show(key)} matches {len(people)} people ({some([show(person) for person in people])}); "
                "write the person's whole name"
            )
        return self.by_person[people[0]] if people else []


def _check_constant(
    fixed: "pd.DataFrame", touched: dict[tuple[int, str], str], columns: tuple[str, ...], problems: Problems
) -> None:
    """Some columns belong to the person: a fix of one photo must not give its person two of them."""
    for column in columns:
        rows = [row for row, name in touched if name == column]
        people = fixed["person"].iloc[rows].unique()
        counts = fixed[fixed["person"].isin(people)].groupby("person")[column].nunique()
        for person in counts.index[counts > 1]:
            problems.add(f"{show(person)} would have two {column}s; make the person the key of the fix")
