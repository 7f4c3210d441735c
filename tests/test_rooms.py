"""The order of the house (DESIGN.md, section 3), read from the imports: a room imports only rooms above it."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

MODELS = (
    "errors",
    "labels",
    "presets",
    "recipes",
    "depthwise",
    "efficientnet",
    "stochastic_depth",
    "convnext",
    "swin",
    "faster",
    "backbone",
    "losses",
    "specialist",
    "classifier",
    "mask",
    "gender",
    "age",
    "joint",
    "multihead",
)
PIPELINE = (
    "store",
    "tables",
    "runs",
    "training_settings",
    "schedule",
    "sampling",
    "early_stopping",
    "progress",
    "stopping",
    "checkpoints",
    "layouts",
    "contest",
    "general",
    "fixes",
    "photos",
    "people",
    "images",
    "drawn_ink",
    "drawn_people",
    "drawn_faces",
    "drawn_shots",
    "drawn",
    "scoring",
    "machine",
    "engines",
    "prediction",
    "muon",
    "moving_average",
    "training",
    "cost",
    "thresholds",
    "answers",
    "label_answers",
    "agreement",
    "pooled_residuals",
    "densities",
    "mixes",
    "self_test",
    "mix_estimate",
    "calibration",
    "expected_score",
    "judging",
    "summary",
    "combiner",
    "chances",
    "label_shift",
    "combiners",
    "inputs",
    "engine_choice",
    "parts",
    "comparison",
    "equal_cost",
    "jobs",
    "report",
    "stages.data",
    "stages.prepare",
    "stages.train",
    "stages.predict",
    "stages.calibrate",
    "stages.submit",
    "stages.score",
    "stages.recipes",
    "stages.compare",
    "arguments",
    "__main__",
)
"""From the top: a room may import those before it. A new room needs a place here."""
ORDER = [f"models.{room}" for room in MODELS] + [f"pipeline.{room}" for room in PIPELINE]
HEAVY = {
    "torch",
    "torchvision",
    "timm",
    "accelerate",
    "pandas",
    "numpy",
    "sklearn",
    "scipy",
    "cv2",
    "albumentations",
    "PIL",
    "joblib",
    "typeguard",  # brings unittest and asyncio
}
STAGES = tuple(room.removeprefix("stages.") for room in PIPELINE if room.startswith("stages."))

ROOT = Path(__file__).parents[1]


def name_of(file: Path) -> str:
    return ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


FILES = {name_of(file): file for package in ("models", "pipeline") for file in sorted((ROOT / package).rglob("*.py"))}
ROOMS = [room for room in FILES if room not in ("models", "pipeline", "pipeline.stages")]


def imports(source: str, here: str) -> list[tuple[str, str, int]]:
    """Every import: (what, where: top, inside or typing, line). `from pipeline import store` is pipeline.store."""
    found = []

    def visit(node: ast.AST, where: str) -> None:
        if isinstance(node, ast.Import):
            found.extend((alias.name, where, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                base = ".".join([*here.split(".")[: -node.level], *([base] if base else [])])
            for alias in node.names:
                whole = f"{base}.{alias.name}"
                found.append(
                    (
                        whole if whole in FILES or base in ("models", "pipeline", "pipeline.stages") else base,
                        where,
                        node.lineno,
                    )
                )
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            for child in node.body:
                visit(child, "typing")
            for child in node.orelse:
                visit(child, where)
            return
        inside = isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
        for child in ast.iter_child_nodes(node):
            visit(child, "inside" if inside and where == "top" else where)

    visit(ast.parse(source), "top")
    return found


def faults(room: str, source: str) -> list[str]:
    """The imports of a room that are against the order, those in functions and for typing too."""
    told = []
    for what, where, line in imports(source, room):
        if what.split(".")[0] not in ("models", "pipeline"):
            continue
        if room.startswith("models.") and what.startswith("pipeline"):
            told.append(f"{room}:{line} imports {what}: models knows nothing of pipeline")
        elif what not in ORDER:
            told.append(f"{room}:{line} imports {what}, which has no place in the order")
        elif ORDER.index(what) >= ORDER.index(room):
            told.append(f"{room}:{line} imports {what}, a room below it ({where})")
    return told


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_rooms_above_it(room):
    assert room in ORDER, f"{room} has no place in the order; give it one"
    assert faults(room, FILES[room].read_text()) == []


@pytest.mark.parametrize(
    ("room", "source", "fault"),
    [
        ("models.labels", "from pipeline import store", "models knows nothing of pipeline"),
        ("models.labels", "from pipeline.store import fingerprint", "models knows nothing of pipeline"),
        ("models.losses", "import models.age", "models.age, a room below it (top)"),
        ("pipeline.store", "from pipeline.runs import Run", "pipeline.runs, a room below it (top)"),
        ("pipeline.store", "from pipeline import photos, runs", "pipeline.photos, a room below it (top)"),
        ("pipeline.store", "from . import runs", "pipeline.runs, a room below it (top)"),
        ("pipeline.store", "from .runs import Run", "pipeline.runs, a room below it (top)"),
        (
            "pipeline.store",
            "def f():\n    import pipeline.training as t",
            "pipeline.training, a room below it (inside)",
        ),
        ("pipeline.store", "if TYPE_CHECKING:\n    from pipeline.runs import Run", "a room below it (typing)"),
        (
            "pipeline.images",
            "class A:\n    def f(self):\n        from pipeline import drawn",
            "a room below it (inside)",
        ),
        ("pipeline.images", "from pipeline import images", "a room below it"),
        ("pipeline.images", "from pipeline import nowhere", "no place in the order"),
        ("pipeline.combiner", "from pipeline.stages.predict import predict", "a room below it"),
        ("pipeline.stages.predict", "from pipeline.stages import submit", "pipeline.stages.submit, a room below it"),
    ],
)
def test_an_import_against_the_order_is_found(room, source, fault):
    assert any(fault in told for told in faults(room, source)), faults(room, source)


@pytest.mark.parametrize(
    ("room", "source"),
    [
        ("pipeline.training", "import torch\nfrom models.age import Age\nfrom pipeline import store, images"),
        ("pipeline.stages.train", "def f():\n    from pipeline.training import Trainer\n    import pandas"),
        ("models.age", "from models.labels import band\nfrom models import losses"),
    ],
)
def test_an_import_in_order_is_none(room, source):
    assert faults(room, source) == []


@pytest.mark.parametrize(
    "room",
    [
        "models.labels",
        "models.presets",
        "models.recipes",
        "models.errors",
        "models.specialist",
        "pipeline.runs",
        "pipeline.store",
    ],
)
def test_rooms_without_torch(room):
    tops = {what.split(".")[0] for what, where, _ in imports(FILES[room].read_text(), room) if where == "top"}
    assert not tops & {"torch", "timm", "accelerate", "albumentations", "pandas", "sklearn"}


def reached(room: str) -> dict[str, list[str]]:
    """What importing a room imports, and by which way: module level alone."""
    ways, waiting = {}, [(room, [room])]
    while waiting:
        here, way = waiting.pop()
        for what, where, _ in imports(FILES[here].read_text(), here):
            if where != "top" or what in ways:
                continue
            ways[what] = [*way, what]
            parts = what.split(".")
            waiting += [
                (whole, ways[what])
                for whole in (".".join(parts[:i]) for i in range(1, len(parts) + 1))
                if whole in FILES
            ]
    return ways


@pytest.mark.parametrize("room", [r for r in ROOMS if r.startswith("pipeline.stages.") or r == "pipeline.__main__"])
def test_a_stage_imports_nothing_heavy_before_it_runs(room):
    heavy = {what: " > ".join(way) for what, way in reached(room).items() if what.split(".")[0] in HEAVY}
    assert heavy == {}


LOADED = """
import json, sys
from pipeline.__main__ import main
try:
    status = main(sys.argv[1:])
except SystemExit as end:
    status = end.code or 0
print("LOADED", json.dumps([status, sorted({name.split(".")[0] for name in sys.modules})]))
"""
COMMANDS = [["--help"], *([stage, "--help"] for stage in STAGES if f"pipeline.stages.{stage}" in FILES)]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_help_loads_nothing_heavy(command):
    done = subprocess.run([sys.executable, "-c", LOADED, *command], cwd=ROOT, capture_output=True, text=True)
    told, _, loaded = done.stdout.rpartition("LOADED")
    status, names = json.loads(loaded)
    assert status == 0, done.stderr
    assert set(names) & HEAVY == set()
    assert "pipeline" in told
    if command == ["--help"]:
        assert all(f"  {stage} " in told for _, *rest in [("", *c) for c in COMMANDS[1:]] for stage in rest[:1])
