"""python -m pipeline compare: the specialists and their rivals, trained at the same cost."""

from __future__ import annotations

from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.declared import Settings, setting
from models.errors import UserError, nearest
from pipeline.dataset.run_data import data_of
from pipeline.run import records
from pipeline.run.folder import Run, open_run
from pipeline.run.given import Given, some_of
from pipeline.run.settings import RECORDED, EvalStage, RunSettings, RunStage
from pipeline.runtime import store
from pipeline.stages.calibrate import Calibrate, calibrate
from pipeline.stages.predict import Predict, predict
from pipeline.stages.submit import submit
from pipeline.stages.train import train

if TYPE_CHECKING:
    import pandas as pd

    from pipeline.comparison.equal_cost import Training
    from pipeline.comparison.outcomes import Outcome
    from pipeline.comparison.systems import System
    from pipeline.dataset.photos import DataSet

UNIT = 1e12
"""FLOPs in a unit of --cost."""
DRAWS, FEW_DRAWS = 2000, 200
"""Resamples of people behind an interval, and in a smoke test."""
SMOKE_COST = 0.01
"""The share of the usual cost that a smoke test spends."""
FIXED = ("cost", "tune", "tune_share")
"""What the systems have in common: it cannot change between two calls, while systems and seeds may be added."""
STAGES = {"predict": (predict, Predict), "calibrate": (calibrate, Calibrate), "submit": (submit, EvalStage)}
"""What follows a training; `score` does not, so that the truth is opened once, at the end."""


@dataclass(frozen=True, kw_only=True)
class ComparisonSettings(Settings):
    """What is compared, and how: recorded where the comparison is."""

    systems: str | None = setting(
        "Which, with commas between them: specialists, joint-efficientnet, joint-swin, joint-convnext (with lite "
        "joint alone), multihead-bands, multihead-years, specialists-30-60, and leak for the second table.",
        None,
        usual="all",
    )
    seeds: int = setting("How often each is trained.", 3, least=1)
    cost: float | None = setting(
        "Cost of a system's whole training, in 1e12 FLOPs.",
        None,
        above=0,
        usual="what the three specialists cost by their own epochs",
    )
    tune: str = setting("What the preset's learning rates are multiplied by before the best is chosen.", "0.5,1,2")
    tune_share: float = setting("The share of the cost that each such trial gets.", 0.25, above=0)


SMOKE = Given(ComparisonSettings, seeds=1, tune="0.5,1")


@dataclass(frozen=True, kw_only=True)
class Compare(RunStage):
    """What the stage compare is told."""

    jobs: int | None = setting("Trainings side by side.", None, least=1, usual="as many as there are cores; 1 on a GPU")
    smoke: bool = setting(
        "One seed and hardly any training, in a folder of its own: does everything run?", False, flag=True
    )
    comparison: Given[ComparisonSettings] = some_of(ComparisonSettings)

    def __post_init__(self) -> None:
        super().__post_init__()
        _refuse(self.shared)
        if "systems" in self.comparison:
            from pipeline.comparison.systems import LEAK, all_systems

            _names(self.comparison["systems"], [*all_systems("small"), LEAK])  # the same with every preset


def compare(settings: Compare) -> dict[str, Any]:
    """Train the specialists and their rivals at the same cost, several seeds each, and compare them."""
    run = open_run(settings)
    _refuse(Given(RunSettings, **{name: getattr(run, name) for name in RECORDED}))
    place = run.folder / ("compare-smoke" if settings.smoke else "compare")
    chosen = _chosen(place, settings)
    from pipeline.comparison.systems import LEAK, all_systems

    known = all_systems(run.preset)
    names = _names(chosen.systems, [*known, LEAK])
    data = data_of(run)
    inputs = {
        "settings": chosen.as_json() | {"systems": names},
        "run": {name: str(getattr(run, name)) for name in RECORDED},
        "photos": store.photo_fingerprint(data.root, [*data.train["photo"], *data.eval["photo"]]),
        "labels": store.fingerprint(data.train[["person", "mask", "gender", "age"]].astype(str).to_numpy().tolist()),
        "tables": {name: _table(known[name], run.preset) for name in names if name in known},
        "files": {name: store.file_fingerprint(data.root / name) for name in ("key.csv", "photos.csv", "boxes.csv")},
    }
    with store.locked(place / "compare.lock", f"compare in {place}"):
        store.sweep(place)
        done = records.finished(place, "compare", inputs)
        if done:
            print(f"compare: {' and '.join(str(place / f'{name}.csv') for name in done)} stand")
            return done
        return _Comparison(run, place, chosen, names, data, settings.jobs).compare(inputs)


def _refuse(given: Given[RunSettings]) -> None:
    """Raises UserError for settings of a run that a comparison sees to by itself."""
    leave_out, recipe = given.get("leave_out"), given.get("recipe")
    told = {
        f"--leave-out {leave_out}: compare leaves out people by itself": leave_out is not None,
        f"--recipe {recipe}: compare has systems of its own": recipe is not None,
        "--split photo: compare splits by person, and shows the leak beside": given.get("split") == "photo",
    }
    for sentence, is_given in told.items():
        if is_given:
            raise UserError(f"{sentence}; leave it out, or where the run has it, name another (--run).")


def _chosen(place: Path, settings: Compare) -> ComparisonSettings:
    """What is given, else as recorded the last time, else the usual. Raises UserError for what cannot be."""
    path = place / "settings.json"
    recorded = ComparisonSettings.from_json(store.read_json(path), path) if path.is_file() else None
    given = settings.comparison
    for name in FIXED:
        if name in given and recorded is not None and given[name] != getattr(recorded, name):
            raise UserError(
                f"{place} was begun with --{name.replace('_', '-')} {getattr(recorded, name)}, not {given[name]}; "
                f"leave the setting out, or name another run with RUN=folder (--run)."
            )
    usual = ComparisonSettings()
    return (recorded or (usual | SMOKE if settings.smoke else usual)) | given


def _table(system: System, preset: str) -> dict[str, Any]:
    """All that makes a system, for a fingerprint."""
    kept = {"name": system.name, "kind": system.kind, "run": dict(system.run), "same_as": system.same_as}
    return kept | {task: made.as_json(task) for task, made in system.resolved(preset).items()}


def _names(asked: str | None, known: list[str]) -> list[str]:
    """The systems asked for, in the table's order. Raises UserError for one that there is not."""
    names = known if asked is None else [name.strip() for name in asked.split(",")]
    for name in names:
        if name not in known:
            hint = nearest(name, known) or f"there are {', '.join(known)}"
            raise UserError(f"--systems {name}: there is no system of this name; {hint}.")
    return [name for name in known if name in names]


class _Comparison:
    """A comparison at work: `place` holds an ordinary run for each system and seed, and for each trial."""

    def __init__(
        self, run: Run, place: Path, chosen: ComparisonSettings, names: list[str], data: DataSet, jobs: int | None
    ):
        import joblib
        import torch

        from pipeline.comparison.equal_cost import Planner, factors_of
        from pipeline.comparison.systems import LEAK, all_systems, leaking

        self.run, self.place, self.data, self.names = run, place, data, names
        self.smoke = place.name == "compare-smoke"
        self.factors, self.seeds, self.share = factors_of(chosen.tune), range(chosen.seeds), chosen.tune_share
        on_gpu = torch.cuda.is_available()
        self.at_once = jobs or (1 if on_gpu else joblib.cpu_count())
        self.threads = None if on_gpu else 1  # on a CPU bytes must not depend on the number of jobs
        self.planner = Planner(run, data, self.threads)
        self.planner.check_people()
        if chosen.cost is None:
            usual = self.planner.usual_cost() * (SMOKE_COST if self.smoke else 1)
            chosen = replace(chosen, cost=float(f"{usual / UNIT:.4g}"))
        self.chosen, self.budget = chosen, chosen.cost * UNIT
        store.write_json(place / "settings.json", chosen.as_json())
        known = all_systems(run.preset)
        self.listed = [known[name] for name in names if name in known]
        self.trained = list({(s.same_as or s.name): known[s.same_as or s.name] for s in self.listed}.values())
        self.leaking = leaking() if LEAK in names else {}

    def compare(self, inputs: dict[str, Any]) -> dict[str, Any]:
        print(
            f"compare: {len(self.seeds)} seeds of each system at {self.chosen.cost:g}e12 FLOPs, "
            f"{self.at_once} trainings side by side",
            flush=True,
        )
        factors = self._tune()
        work = {
            (system.name, seed): self.planner.trainings(
                system, self._folder(system.name, seed), self.budget, seed, factors.get(system.name, {})
            )
            for seed in self.seeds
            for system in (*self.trained, *self.leaking.values())
        }
        self._train([training for trainings in work.values() for training in trainings])
        self._predict()
        outcomes = [
            self._outcome(system, seed, work, factors)
            for system in (*self.listed, *self.leaking.values())
            for seed in self.seeds
        ]
        return self._tell(outcomes, inputs | {"settings": self.chosen.as_json() | {"systems": self.names}})

    def _folder(self, name: str, seed: int) -> Path:
        return self.place / f"{name}-seed{seed}"

    def _tune(self) -> dict[str, dict[str, float]]:
        """The best learning-rate factor by system and task, each system with the same number of trials and cost."""
        from pipeline.comparison.equal_cost import best_factors

        if len(self.factors) == 1:
            return {system.name: dict.fromkeys(system.settings, self.factors[0]) for system in self.trained}
        trials: dict[str, dict[float, list[Training]]] = {}
        for system in self.trained:
            for factor in self.factors:
                folder = self.place / "tune" / f"{system.name}-lr{factor:g}"
                trials.setdefault(system.name, {})[factor] = self.planner.trainings(
                    system, folder, self.budget * self.share, 0, dict.fromkeys(system.settings, factor), tuning=True
                )
        self._train([one for by_factor in trials.values() for some in by_factor.values() for one in some])
        return {name: best_factors(by_factor) for name, by_factor in trials.items()}

    def _train(self, trainings: list[Training]) -> None:
        """Train side by side what is not finished."""
        from pipeline.comparison import jobs

        left = {training.name: training for training in trainings if not training.finished}
        if len(left) < len(trainings):
            print(f"compare: {len(trainings) - len(left)} of {len(trainings)} trainings are finished", flush=True)
            with redirect_stdout(StringIO()):  # the stage only looks whether all is as it was
                for one in trainings:
                    if one.finished:
                        train(one.given)
        jobs.run(
            [
                jobs.Job(
                    one.name,
                    (("train", *one.given.words()),),
                    one.given.run / f"{one.given.task}.log",
                    one.effort.flops,
                )
                for one in left.values()
            ],
            self.at_once,
            "compare",
            lambda job: f"macro-F1 {left[job.name].metrics['macro_f1']:.3f}",
        )

    def _predict(self) -> None:
        """Predict, calibrate and submit side by side, in every run where that is not finished."""
        from pipeline.comparison import jobs

        left = []
        for seed in self.seeds:
            for system in (*self.trained, *self.leaking.values()):
                folder = self._folder(system.name, seed)
                given = {"run": folder, "system": None if system.kind == "specialists" else system.kind}
                more = {"predict": {"engine": "torch", "threads": self.threads}}
                told = {name: kind.of(**given, **more.get(name, {})) for name, (_, kind) in STAGES.items()}
                if (system.place(folder) / "done" / "submit.json").is_file():
                    with redirect_stdout(StringIO()):
                        for name, (stage, _) in STAGES.items():
                            stage(told[name])
                else:
                    commands = tuple((name, *told[name].words()) for name in STAGES)
                    left.append(jobs.Job(f"the predictions of {folder.name}", commands, folder / "predictions.log"))
        jobs.run(left, self.at_once, "compare")

    def _outcome(
        self,
        system: System,
        seed: int,
        work: dict[tuple[str, int], list[Training]],
        factors: dict[str, dict[str, float]],
    ) -> Outcome:
        from pipeline.comparison.outcomes import Outcome, eval_predictions, validation_score

        source = system.same_as or system.name
        folder, trainings = self._folder(source, seed), work[source, seed]
        labels = years = None
        if len(self.data.eval):
            labels, years = eval_predictions(system, folder, self.data.eval["photo"])
        return Outcome(
            system.name,
            seed,
            validation_score(system, folder),
            labels,
            years,
            factors.get(source, {}),
            sum(training.effort.flops for training in trainings),
            sum(training.metrics["seconds"] for training in trainings),
        )

    def _tell(self, outcomes: list[Outcome], inputs: dict[str, Any]) -> dict[str, Any]:
        """Open the truth, write both tables and print them."""
        from pipeline.comparison.report import comparison_table, comparison_text, leak_table, leak_text
        from pipeline.dataset.truth import read_truth

        truth = read_truth(self.run.data, self.run.follow_links) if len(self.data.eval) else None
        train, draws = self.data.train, FEW_DRAWS if self.smoke else DRAWS
        per_person = len(train) / train["person"].nunique()
        apart = [system.name for system in self.leaking.values()]
        tables = {}
        if self.listed:
            mine = [outcome for outcome in outcomes if outcome.system not in apart]
            tables["compare"] = comparison_table(mine, truth, per_person, draws)
            print(f"\n{comparison_text(tables['compare'], self._about(truth))}")
        if self.leaking:
            files = {
                (system.name, seed): self._folder(system.name, seed) / "joint" / "fold0" / "validation.csv"
                for system in self.leaking.values()
                for seed in self.seeds
            }
            found = comparison_table([one for one in outcomes if one.system in apart], truth, per_person, draws)
            tables["leak"] = leak_table(found, files, draws)
            print(f"\n{leak_text(tables['leak'])}")
        for name, table in tables.items():
            store.write_csv(self.place / f"{name}.csv", table)
        metrics = {name: _plain(table) for name, table in tables.items()}
        return records.record(self.place, "compare", inputs, [f"{name}.csv" for name in tables], metrics)

    def _about(self, truth: pd.DataFrame | None) -> str:
        from pipeline.comparison.outcomes import person_of

        about = f"{len(self.seeds)} seeds each, trained on people of {self.run.data}"
        if truth is None:
            return f"{about}; the truth of eval photos is not known, so validation alone"
        person = person_of(truth)
        if person is None:
            return f"{about}; {len(truth)} eval photos, 95 % intervals as if of people with as many photos as in train"
        return f"{about}; {len(truth)} eval photos of {len(set(person))} people, 95 % intervals by person"


def _plain(table: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows for JSON; what is blank is None."""
    rows = table.to_dict("records")
    return [{name: None if value != value else value for name, value in row.items()} for row in rows]
