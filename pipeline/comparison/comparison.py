"""Systems trained at the same cost, several times each, and judged on the same people."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import joblib
import torch

from pipeline.comparison import jobs, systems
from pipeline.comparison.equal_cost import Planner
from pipeline.comparison.outcomes import Outcome, eval_predictions, held_out_of, validation_file, validation_score
from pipeline.comparison.settings import ComparisonSettings
from pipeline.comparison.sub_run import SubRun
from pipeline.comparison.systems import LEAK, System
from pipeline.comparison.tables import Tables, plain_rows
from pipeline.comparison.trainings import JUDGED, Replicate, Training
from pipeline.comparison.tuning import Choice, best_choices, costs_of, factors_of, sizes_of
from pipeline.dataset import truth as truths
from pipeline.run import records
from pipeline.run.settings import RunStage
from pipeline.run.train_settings import Train
from pipeline.runtime import store

if TYPE_CHECKING:
    from pipeline.dataset.photos import DataSet
    from pipeline.run.folder import Run

UNIT = 1e12
"""FLOPs in a unit of --cost."""
DRAWS, FEW_DRAWS = 2000, 200
"""Resamples of people behind an interval, and in a smoke test."""
SMOKE_COST = 0.01
"""The share of the usual cost that a smoke test spends."""


class Comparison:
    """A comparison at work: `place` holds an ordinary run for each system, cost and replicate, and for each trial.

    settings: with times and sizes; jobs: how many runs side by side, None for as many as there are cores; train: the
    stage that trains; stages: those that follow, each with the kind of what it is told. Raises UserError where people
    of an age band are missing in a fold that validates.
    """

    def __init__(
        self,
        run: Run,
        place: Path,
        settings: ComparisonSettings,
        names: list[str],
        data: DataSet,
        jobs: int | None,
        train: Callable[[Train], Any],
        stages: Mapping[str, tuple[Callable[..., Any], type[RunStage]]],
    ):
        self.run, self.place, self.data, self.names = run, place, data, names
        self.train, self.stages = train, stages
        self.smoke = place.name == "compare-smoke"
        on_gpu = torch.cuda.is_available()
        self.at_once = jobs or (1 if on_gpu else joblib.cpu_count())
        self.threads = None if on_gpu else 1  # on a CPU bytes must not depend on the number of jobs
        self.sizes = sizes_of(settings.sizes)
        self.planner = Planner(run, data, self.threads, self.sizes[0])
        self.replicates = Replicate.several(settings.replicates, settings.times)
        self.planner.check_people([replicate.fold for replicate in self.replicates])
        usual = sum(self.planner.usual_costs.values()) / UNIT  # before anything is recorded: it may meet bad photos
        if settings.cost is None:
            shares = [SMOKE_COST] if self.smoke else [1 / 3, 1]
            settings = replace(settings, cost=",".join(f"{usual * share:.3g}" for share in shares))
        self.settings, self.costs = settings, costs_of(settings.cost)
        store.write_json(place / "settings.json", settings.as_json())
        known = systems.all_systems(run.preset, run.weights)
        self.listed = [known[name] for name in names if name in known]
        self.trained = list({(s.same_as or s.name): known[s.same_as or s.name] for s in self.listed}.values())
        self.leaking = systems.leaking() if LEAK in names else {}

    def compare(self, inputs: dict[str, Any]) -> dict[str, Any]:
        what = "folds" if self.settings.replicates == "folds" else "seeds of fold 0"
        print(
            f"compare: {len(self.replicates)} {what} of each system at "
            f"{' and '.join(f'{cost:g}e12' for cost in self.costs)} FLOPs, {self.at_once} at a time",
            flush=True,
        )
        choices = self._tune()
        subs = {}
        for replicate in self.replicates:
            for cost in self.costs:
                for system in (*self.trained, *self.leaking.values()):
                    folder = self._folder(system.name, cost, replicate)
                    made = self.planner.trainings(system, folder, cost * UNIT, replicate, choices.get(system.name, {}))
                    subs[system.name, cost, replicate] = SubRun(
                        folder, made, system.place(folder), self._predicting(system, folder)
                    )
        self._run(list(subs.values()))
        outcomes = {}
        for cost in self.costs:
            outcomes[cost] = [
                self._outcome(system, replicate, subs[source, cost, replicate], choices.get(source, {}))
                for system in (*self.listed, *self.leaking.values())
                for source in (system.same_as or system.name,)
                for replicate in self.replicates
            ]
        return self._tell(outcomes, inputs | {"settings": self.settings.as_json() | {"systems": self.names}})

    def _tell(self, outcomes: dict[float, list[Outcome]], inputs: dict[str, Any]) -> dict[str, Any]:
        """Open the truth, write the tables and print them."""
        truth = truths.read_truth(self.run.data, self.run.follow_links) if len(self.data.eval) else None
        draws = FEW_DRAWS if self.smoke else DRAWS
        tables = Tables(self.data.train, truth, f"{len(self.replicates)} {self.settings.replicates}", draws)
        for cost, some in outcomes.items():
            files = {
                (system.name, number): self._folder(system.name, cost, replicate) / validation_file(system, replicate)
                for system in self.leaking.values()
                for number, replicate in enumerate(self.replicates)
            }
            print(f"\n{tables.add(cost, some, files)}")
        found = tables.whole()
        for name, table in found.items():
            store.write_csv(self.place / f"{name}.csv", table)
        metrics = {name: plain_rows(table) for name, table in found.items()}
        return records.record(self.place, "compare", inputs, [f"{name}.csv" for name in found], metrics)

    def _folder(self, name: str, cost: float, replicate: Replicate) -> Path:
        number = f"fold{replicate.fold}" if self.settings.replicates == "folds" else f"seed{replicate.seed}"
        return self.place / f"{name}-{cost:g}-{number}"

    def _tune(self) -> dict[str, dict[str, Choice]]:
        """What each network of each system does best with: the size first, then the learning rate for it."""
        sizes, factors = self.sizes, factors_of(self.settings.tune)
        found = {system.name: dict.fromkeys(system.settings, Choice(factors[0], sizes[0])) for system in self.trained}
        if len(sizes) * len(factors) == 1:
            return found
        budget = max(self.costs) * self.settings.tune_share * UNIT
        trials: dict[str, list[tuple[dict[str, Choice], list[Training]]]] = {name: [] for name in found}
        by_size = {f"{height}x{width}": {"size": (height, width)} for height, width in sizes}
        by_factor = {f"lr{factor:g}": {"factor": factor} for factor in factors[1:]}
        for changes in (by_size, by_factor):
            new = []
            for word, change in changes.items():
                for system in self.trained:
                    given = {task: replace(own, **change) for task, own in found[system.name].items()}
                    folder = self.place / "tune" / f"{system.name}-{word}"
                    made = self.planner.trainings(system, folder, budget, Replicate(JUDGED, 0), given, tuning=True)
                    trials[system.name].append((given, made))
                    new.append(SubRun(folder, made, system.place(folder)))
            self._run(new)
            found = {name: best_choices(some) for name, some in trials.items()}
        return found

    def _predicting(self, system: System, folder: Path) -> dict[str, RunStage]:
        """What predict, calibrate and submit are told, by stage."""
        given = {"run": folder, "system": None if system.kind == "specialists" else system.kind}
        # no rival's label probabilities are pooled over people, so nobody's are
        more = {"predict": {"engine": "torch", "threads": self.threads}, "calibrate": {"people": "off"}}
        return {
            name: kind.of(**given, **more.get(name, {}))
            for name, (_, kind) in self.stages.items()
            if name != "submit" or len(self.data.eval)
        }

    def _run(self, subs: list[SubRun]) -> None:
        """Bring runs to their end side by side, each in a process of its own."""
        left = {sub.name: sub for sub in subs if not sub.finished}
        if len(left) < len(subs):
            print(f"compare: {len(subs) - len(left)} of {len(subs)} are finished", flush=True)
            with redirect_stdout(StringIO()):  # the stages only look whether all is as it was
                for sub in subs:
                    if sub.name not in left:
                        self._look(sub)
        jobs.run(
            [jobs.Job(sub.name, sub.commands, sub.folder / "compare.log", sub.flops) for sub in left.values()],
            self.at_once,
            "compare",
            lambda job: left[job.name].told(),
        )

    def _look(self, sub: SubRun) -> None:
        for training in sub.trainings:
            self.train(training.given)
        for name, told in sub.then.items():
            self.stages[name][0](told)

    def _outcome(self, system: System, replicate: Replicate, sub: SubRun, chosen: dict[str, Choice]) -> Outcome:
        labels = years = None
        if len(self.data.eval):
            labels, years = eval_predictions(system, sub.folder, self.data.eval["photo"])
        return Outcome(
            system.name,
            self.replicates.index(replicate),
            validation_score(system, sub.folder, replicate),
            labels,
            years,
            held_out_of(system, sub.folder),
            {task: str(choice) for task, choice in chosen.items()},
            sub.flops,
            sum(training.metrics["seconds"] for training in sub.trainings),
        )
