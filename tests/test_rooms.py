"""The order of the house (DESIGN.md, section 3), read from the imports: a room imports only rooms above it."""

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.comparison.jobs import BEGIN

ROOMS = (
    "models",
    "pipeline.runtime",
    "pipeline.run",
    "pipeline.dataset",
    "pipeline.faces",
    "pipeline.images",
    "pipeline.scoring",
    "pipeline.prediction",
    "pipeline.training",
    "pipeline.combiner",
    "pipeline.comparison",
    "pipeline.report",
    "pipeline.serving",
    "pipeline.synthetic",
    "pipeline.stages",
    "pipeline",
)
"""From the top: a room may import those before it. A new room needs a place here."""
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
    "matplotlib",
    "jinja2",
    "onnx",
    "onnxruntime",
    "starlette",
    "uvicorn",
    "prometheus_client",
    "typeguard",  # brings unittest and asyncio
}
ROOT = Path(__file__).parents[1]
LINES, FUNCTION = 350, 60
"""The most lines of a file, and of a function with its docstring."""


def name_of(file: Path) -> str:
    return ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


FILES = {
    name_of(file): file
    for package in ("models", "pipeline")
    for file in sorted((ROOT / package).rglob("*.py"))
    if file.name != "__init__.py"
}
STAGES = tuple(name.removeprefix("pipeline.stages.") for name in FILES if name.startswith("pipeline.stages."))


def room_of(name: str) -> str:
    """The room of a file: models, a folder of pipeline, or pipeline itself for what stands in its root."""
    parts = name.split(".")
    return parts[0] if parts[0] == "models" or len(parts) == 2 else ".".join(parts[:2])


def imports(source: str, here: str) -> list[tuple[str, str, int]]:
    """Every import: (what, where: top, inside or typing, line); what is a file where it names one."""
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
                found.append((base if base in FILES else whole, where, node.lineno))
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


BY_NAME = ("pipeline.arguments",)
"""Files that import by name: the stages of the command line, the lowest room."""


def faults(name: str, source: str) -> list[str]:
    """The imports of a file that are against the order of the rooms, those in functions and for typing too."""
    told = []
    if name not in BY_NAME and re.search(r"\bimport_module\b|\b__import__\b|\brunpy\.", source.replace(BEGIN, "")):
        told.append(f"{name} imports by name, which hides what it imports")
    for what, where, line in imports(source, name):
        if what.split(".")[0] in ("benchmarks", "tests"):
            told.append(f"{name}:{line} imports {what}, which is no room")
        if what.split(".")[0] not in ("models", "pipeline"):
            continue
        if what not in FILES:
            told.append(f"{name}:{line} imports {what}, and there is no such file")
        elif ROOMS.index(room_of(what)) > ROOMS.index(room_of(name)):
            told.append(f"{name}:{line} imports {what}, of a room below it ({where})")
    return told


@pytest.mark.parametrize("name", FILES)
def test_a_room_imports_only_rooms_above_it(name):
    assert room_of(name) in ROOMS, f"{room_of(name)} has no place in the order; give it one"
    assert faults(name, FILES[name].read_text()) == []


def circle(names: list[str], wanted: dict[str, set[str]]) -> list[str]:
    """Files that import one another in a circle, the first again at its end; none where there is no circle."""
    done: set[str] = set()

    def follow(name: str, way: list[str]) -> list[str]:
        if name in way:
            return [*way[way.index(name) :], name]
        if name not in done:
            for other in sorted(wanted.get(name, ())):
                if found := follow(other, [*way, name]):
                    return found
            done.add(name)
        return []

    return next((found for name in names if (found := follow(name, []))), [])


def test_within_a_room_is_no_circle():
    wanted = {
        name: {what for what, _, _ in imports(file.read_text(), name) if what in FILES} for name, file in FILES.items()
    }
    assert circle(list(FILES), wanted) == []


def test_a_circle_is_found():
    assert circle(["a", "b"], {"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"]
    assert circle(["a", "b"], {"a": {"b", "c"}, "b": {"c"}}) == []


def test_every_folder_is_a_package_whose_init_is_empty():
    folders = {file.parent for file in FILES.values()}
    assert all((folder / "__init__.py").is_file() for folder in folders)
    assert all(not (folder / "__init__.py").read_text().strip() for folder in folders)


@pytest.mark.parametrize(
    ("name", "source", "fault"),
    [
        ("models.labels", "from pipeline.runtime import store", "pipeline.runtime.store, of a room below it (top)"),
        ("models.labels", "from pipeline.runtime.store import fingerprint", "of a room below it"),
        (
            "pipeline.runtime.store",
            "from pipeline.run.folder import Run",
            "pipeline.run.folder, of a room below it (top)",
        ),
        (
            "pipeline.runtime.store",
            "from pipeline.run import folder, records",
            "pipeline.run.records, of a room below it",
        ),
        ("pipeline.runtime.store", "from ..run import folder", "pipeline.run.folder, of a room below it (top)"),
        ("pipeline.runtime.store", "from ..run.folder import Run", "pipeline.run.folder, of a room below it (top)"),
        ("pipeline.runtime.store", "def f():\n    import pipeline.run.folder as t", "of a room below it (inside)"),
        ("pipeline.runtime.store", "if TYPE_CHECKING:\n    from pipeline.run.folder import Run", "below it (typing)"),
        ("pipeline.images.decode", "class A:\n    def f(self):\n        from pipeline import arguments", "(inside)"),
        ("pipeline.images.decode", "from pipeline.images import nowhere", "there is no such file"),
        ("pipeline.scoring.metrics", "from pipeline.stages.predict import predict", "of a room below it"),
        ("pipeline.stages.predict", "from pipeline.arguments import parse", "of a room below it"),
        ("models.task", "from importlib import import_module", "imports by name"),
        ("pipeline.scoring.metrics", "from benchmarks.speed import summary", "which is no room"),
    ],
)
def test_an_import_against_the_order_is_found(name, source, fault):
    assert any(fault in told for told in faults(name, source)), faults(name, source)


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("pipeline.training.trainer", "import torch\nfrom models.age import Age\nfrom pipeline.runtime import store"),
        ("pipeline.stages.train", "def f():\n    from pipeline.training.trainer import Trainer\n    import pandas"),
        ("pipeline.stages.compare", "from pipeline.stages.train import train"),
        ("models.age", "from models.labels import band\nfrom models import losses"),
    ],
)
def test_an_import_in_order_is_none(name, source):
    assert faults(name, source) == []


def functions(source: str) -> list[tuple[str, int]]:
    """The functions and methods of a file, with their lines."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return [(n.name, n.end_lineno - n.lineno + 1) for n in ast.walk(ast.parse(source)) if isinstance(n, kinds)]


@pytest.mark.parametrize("name", FILES)
def test_files_and_functions_are_short(name):
    source = FILES[name].read_text()
    assert source.count("\n") <= LINES
    assert [(function, lines) for function, lines in functions(source) if lines > FUNCTION] == []


@pytest.mark.parametrize(
    "name",
    [
        "models.labels",
        "models.errors",
        "models.task",
        "pipeline.dataset.run_data",
        "pipeline.images.run_photos",
        "pipeline.prediction.chunks",
        "pipeline.prediction.engine",
        "pipeline.prediction.run_predictions",
        "pipeline.run.presets",
        "pipeline.run.records",
        "pipeline.run.settings",
        "pipeline.run.train_settings",
        "pipeline.run.recipes",
        "pipeline.run.folder",
        "pipeline.runtime.machine",
        "pipeline.runtime.problems",
        "pipeline.runtime.store",
        "pipeline.scoring.caveats",
    ],
)
def test_rooms_without_torch(name):
    tops = {what.split(".")[0] for what, where, _ in imports(FILES[name].read_text(), name) if where == "top"}
    assert not tops & {"torch", "timm", "accelerate", "albumentations", "pandas", "sklearn"}


def reached(name: str) -> dict[str, list[str]]:
    """What importing a file imports, and by which way: module level alone."""
    ways, waiting = {}, [(name, [name])]
    while waiting:
        here, way = waiting.pop()
        for what, where, _ in imports(FILES[here].read_text(), here):
            if where != "top" or what in ways:
                continue
            ways[what] = [*way, what]
            waiting += [(what, ways[what])] if what in FILES else []
    return ways


@pytest.mark.parametrize("name", [n for n in FILES if n.startswith("pipeline.stages.") or n == "pipeline.__main__"])
def test_a_stage_imports_nothing_heavy_before_it_runs(name):
    heavy = {what: " > ".join(way) for what, way in reached(name).items() if what.split(".")[0] in HEAVY}
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
COMMANDS = [["--help"], *([stage, "--help"] for stage in STAGES)]


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
