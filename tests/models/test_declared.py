"""Every declared setting: its help, its range, its JSON, its word of the command line."""

import json
from collections.abc import Mapping
from dataclasses import MISSING, dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.declared import Settings, declared, setting
from models.errors import UserError
from models.settings import OURS


@dataclass(frozen=True, kw_only=True)
class Sample(Settings):
    share: float = setting("A share.", 0.5, least=0, most=1)
    above: float = setting("A rate.", 1.0, above=0)
    low: float = setting("A rate up to one.", 1.0, above=0, most=1)
    count: int = setting("How many.", 3, least=1)
    word: str = setting("A word.", "red", choices=("red", "green", "blue"))
    size: float = setting("One of some.", 0.2, choices=(0.2, 0.1))
    options: Mapping[str, object] = setting("As JSON.")
    place: Path = setting("A folder.", Path("here"))
    maybe: int | None = setting("Perhaps.", None, least=0)
    mirror: bool = setting("Mirrored.", False)
    again: bool = setting("Again.", False, flag=True)
    any: str = setting("Anything.", "x")


KNOWN = declared(Sample)


@pytest.mark.parametrize(
    ("name", "word", "told"),
    [
        ("share", "1.5", "--share 1.5: it must be from 0 to 1."),
        ("share", "nan", "--share nan: it must be from 0 to 1."),
        ("share", "half", "--share half: it must be a number."),
        ("above", "0", "--above 0: it must be above 0."),
        ("above", "inf", "--above inf: it must be above 0."),
        ("low", "2", "--low 2: it must be above 0 and at most 1."),
        ("count", "0", "--count 0: it must be 1 or more."),
        ("count", "1.0", "--count 1.0: it must be a whole number."),
        ("count", "²", "--count ²: it must be a whole number."),
        ("word", "gren", "--word gren: it must be one of red, green or blue; perhaps you mean green."),
        ("word", "x", "--word x: it must be one of red, green or blue."),
        ("size", "0.3", "--size 0.3: it must be one of 0.2 or 0.1."),
        ("options", "{", "--options {: it must be a JSON object."),
        ("options", "[1]", "--options [1]: it must be a JSON object."),
        ("options", "[]", "--options []: it must be a JSON object."),
        ("options", '[["a", 1]]', '--options [["a", 1]]: it must be a JSON object.'),
        ("options", '{"a": NaN}', '--options {"a": NaN}: it must be a JSON object.'),
        ("options", "[" * 9000, "--options " + "[" * 200 + ": it must be a JSON object."),
        ("share", "1.0000001", "--share 1.0000001: it must be from 0 to 1."),
        ("size", "0.2000001", "--size 0.2000001: it must be one of 0.2 or 0.1."),
        ("maybe", "None", "--maybe None: it must be a whole number."),
        ("mirror", "maybe", "--mirror maybe: say yes or no."),
    ],
)
def test_what_cannot_be_gets_one_sentence(name, word, told):
    with pytest.raises(UserError) as refusal:
        KNOWN[name].parse(word)
    assert str(refusal.value) == told


@pytest.mark.parametrize(
    ("name", "value"),
    [("share", "0.5"), ("share", True), ("count", 1.0), ("count", True), ("word", 3), ("options", [1]), ("place", "x"),
     ("mirror", 1), ("share", None), ("any", None)],
)  # fmt: skip
def test_a_value_of_another_type_is_refused(name, value):
    with pytest.raises(UserError, match=rf"^--{name} "):
        KNOWN[name].check(value)


values = st.fixed_dictionaries(
    {
        "share": st.floats(0, 1),
        "above": st.floats(1e-300, 1e300),
        "count": st.integers(1, 10**30),
        "word": st.sampled_from(["red", "green", "blue"]),
        "options": st.dictionaries(st.text(max_size=3), st.integers() | st.text(max_size=3) | st.none(), max_size=3),
        "maybe": st.none() | st.integers(0, 9),
        "mirror": st.booleans(),
        "again": st.booleans(),
    }
)


@given(values)
def test_json_and_command_line_give_back_what_they_were_told(values):
    made = Sample(**values)
    assert Sample.from_json(json.loads(json.dumps(made.as_json())), Path("file")) == made
    for name, value in values.items():
        words = KNOWN[name].words(value)
        if value is None or (name == "again" and not value):
            assert words == []
        elif name == "again":
            assert words == ["--again"]
        else:
            assert words[0] == f"--{name}"
            assert KNOWN[name].parse(words[1]) == value


def test_paths_begin_at_home_where_they_say_so():
    assert KNOWN["place"].parse("~/photos") == Path.home() / "photos"
    assert KNOWN["any"].parse("~/photos") == str(Path.home() / "photos")


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"shape": 1}, "run.json: there is no setting shape; "),
        ({"share": 2}, "run.json: --share 2: it must be from 0 to 1."),
        ({"share": "2"}, "run.json: --share 2: it must be a number."),
        ({"options": None}, "run.json: --options None: "),
    ],
)
def test_a_file_with_what_cannot_be_is_named(changed, told):
    with pytest.raises(UserError) as refusal:
        Sample.from_json(Sample(options={}).as_json() | changed, Path("run.json"))
    assert str(refusal.value).startswith(told)


@pytest.mark.parametrize("name", KNOWN)
def test_a_file_that_lacks_a_setting_is_named(name):
    values = Sample(options={}).as_json()
    del values[name]
    with pytest.raises(UserError, match=rf"^run.json lacks the setting {name};"):
        Sample.from_json(values, Path("run.json"))


def test_others_stand_above():
    made = Sample(options={}) | {"share": 0.1}
    assert (made.share, made.count) == (0.1, 3)
    with pytest.raises(UserError, match="--share 3"):
        made | {"share": 3.0}


def test_what_is_declared_where():
    assert KNOWN["options"].default is MISSING
    assert {one.owner for one in KNOWN.values()} == {"Sample"}
    assert OURS.keys() == {"drop_rate", "drop_path_rate", "img_size", "num_classes"}
