"""Some settings of a kind, as a user, a recipe or a comparison gives them; the others are somebody else's to say."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from functools import cache, partial
from typing import Any, Generic, Self, TypeVar

from models.declared import Setting, Settings, declared
from models.errors import UserError, nearest

S = TypeVar("S", bound=Settings)


class Given(Mapping[str, Any], Generic[S]):
    """Settings of a kind by name, each of them known to it. Raises UserError for others, and as `Setting.check`."""

    def __init__(self, kind: type[S], /, **values: Any):
        for name, value in values.items():
            if name not in declared(kind):
                told = nearest(name, list(declared(kind)))
                raise UserError(f"there is no setting {name}{f'; {told}' if told else ''}.")
            declared(kind)[name].check(value)
        self.kind, self._values = kind, values

    def __or__(self, other: Mapping[str, Any]) -> Given[S]:
        return Given(self.kind, **(self._values | dict(other)))

    def __getitem__(self, name: str) -> Any:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"Given({self.kind.__name__}, {self._values})"


def some_of(kind: type[Settings]) -> Any:
    """The field of a stage that takes any settings of a kind."""
    return dataclasses.field(default_factory=partial(Given, kind), metadata={"some_of": kind})


class Stage(Settings):
    """What a stage is told: a frozen dataclass of settings of its own, and of fields made with `some_of`."""

    @classmethod
    def of(cls, **values: Any) -> Self:
        """The stage's settings from values by name, whichever field takes them; None is not given.

        Raises UserError for a name that no field takes, and as `Setting.check`.
        """
        values = {name: value for name, value in values.items() if value is not None}
        made = {name: values.pop(name) for name in declared(cls) if name in values}
        for field, kind in groups_of(cls).items():
            made[field] = Given(kind, **{name: values.pop(name) for name in declared(kind) if name in values})
        if values:
            raise UserError(f"there is no setting {next(iter(values))}.")
        return cls(**made)

    def given(self) -> dict[str, Any]:
        """Every value by name that is not its default: what `of` takes."""
        own = {name: getattr(self, name) for name in declared(type(self))}
        made = {name: value for name, value in own.items() if value != declared(type(self))[name].default}
        for field in groups_of(type(self)):
            made |= getattr(self, field)
        return made

    def words(self) -> list[str]:
        """The command line that says the same, without the stage's name: first what is said without a name."""
        known = settings_of(type(self))
        given = sorted(self.given().items(), key=lambda item: not known[item[0]].rules.positional)
        return [word for name, value in given for word in known[name].words(value)]


@cache
def groups_of(stage: type[Stage]) -> dict[str, type[Settings]]:
    """The fields of a stage that take settings of another kind, and which."""
    return {field.name: field.metadata["some_of"] for field in dataclasses.fields(stage) if "some_of" in field.metadata}


@cache
def settings_of(stage: type[Stage]) -> dict[str, Setting]:
    """All settings that a stage takes, by name."""
    found = dict(declared(stage))
    for kind in groups_of(stage).values():
        found |= declared(kind)
    return found
