"""What the processes that predict the same photos must agree on: the first one writes it, the others go by it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from models.errors import UserError
from pipeline.prediction.engine import Engine
from pipeline.run.remembered import EngineSettings
from pipeline.runtime import store
from pipeline.runtime.machine import has_bfloat16

FILE = "predicting.json"


@dataclass(frozen=True)
class WorkOrder:
    """inputs: the fingerprint of what is predicted, and by what; asked: the settings, as JSON; size: photos of a chunk.

    engine, device: what runs the networks, and where (cpu or cuda).
    """

    inputs: str
    asked: dict[str, Any]
    engine: str
    device: str
    size: int

    @classmethod
    def read(cls, place: Path) -> WorkOrder | None:
        """The order that processes in a place go by; None where there is none. Raises UserError for a damaged one."""
        try:
            return cls(**store.read_json(place / FILE))
        except FileNotFoundError:
            return None
        except TypeError:
            raise UserError(f"{place / FILE} is of another version of face18; remove it, and predict again.") from None

    def write(self, place: Path) -> None:
        store.write_json(place / FILE, asdict(self))

    def settings(self, place: Path) -> EngineSettings:
        """The settings that were asked for."""
        return EngineSettings.from_json(self.asked, place / FILE)

    def check_same(self, inputs: str, asked: EngineSettings, place: Path) -> None:
        """Raises UserError where a process would predict something else than those at work."""
        if inputs == self.inputs:
            return
        said = {True: "yes", False: "no"}
        told = [
            f"--{name} {said.get(value, value)}" for name, value in self.asked.items() if asked.as_json()[name] != value
        ]
        if told:
            raise UserError(
                f"another process is predicting in {place} with {', '.join(told)}; leave the setting out to help it, "
                f"or stop it first."
            )
        raise UserError(
            f"another process is predicting in {place} by other networks, or other photos, than there are now; wait "
            f"for it, or stop it first."
        )

    def check_machine(self, device: str) -> None:
        """Raises UserError where this machine, with its device, cannot predict as those at work do."""
        engine = Engine.of(self.engine)
        if engine.device(device) != self.device:
            raise UserError(
                f"the other processes predict on {self.device}, and this machine would on {engine.device(device)}, "
                f"which gives other last digits; help them on machines of one kind."
            )
        if self.device == "cpu" and engine.precision == "bfloat16" and not has_bfloat16():
            raise UserError(
                f"the other processes predict by {engine}, for which this processor has no instructions; help them on "
                f"machines that have, or stop all and predict with --engine openvino."
            )


def clear(place: Path) -> None:
    """Take the order away: what it was for is done."""
    (place / FILE).unlink(missing_ok=True)
