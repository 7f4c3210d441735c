"""label.py, the one portable file of an export: the lines of this project that it needs, put one after the other."""

from __future__ import annotations

import ast
from collections.abc import Collection
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SOURCES: tuple[tuple[str, Collection[str] | None], ...] = (
    ("pipeline/faces/yunet.py", None),
    ("pipeline/faces/frame.py", None),
    ("pipeline/images/framing.py", ("Box", "clipped", "rectangle", "fit")),
    ("pipeline/serving/exported.py", None),
)
"""The files in the order in which they are needed, and which of their names; None: all."""
HEAD = '''"""Labels photos with the networks beside it: python label.py photo.jpg --json

It needs Python 3.11 or newer, numpy, onnxruntime and OpenCV (opencv-python-headless), and nothing else. Written by
face18 (MIT licence) out of its own code; MODEL_CARD.md tells what the networks can and cannot do.
"""

from __future__ import annotations

'''
OURS = ("pipeline", "models")


def portable(margin: float) -> str:
    """The text of label.py; margin: the usual one of a face box. Raises AssertionError where two files share a name."""
    imports: dict[str, None] = {}
    pieces: list[str] = [f"MARGIN = {margin!r}"]
    defined: dict[str, str] = {"MARGIN": "bundle"}
    for file, names in SOURCES:
        text = (ROOT / file).read_text(encoding="utf-8")
        nodes = ast.parse(text).body
        kept_before = False
        for node in nodes[1:]:  # after its docstring
            if isinstance(node, ast.Import | ast.ImportFrom):
                module = node.module or "" if isinstance(node, ast.ImportFrom) else node.names[0].name
                if module.split(".")[0] not in OURS and module != "__future__":
                    imports[ast.unparse(node)] = None
                continue
            mine = _names(node)
            documents = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
            kept_before = kept_before if documents else names is None or bool(mine & set(names))
            if not kept_before:
                continue
            for name in mine:
                if defined.setdefault(name, file) != file:
                    raise AssertionError(f"{name} is of {defined[name]} and of {file}")
            pieces.append(_source(text, node))
    tail = 'if __name__ == "__main__":\n    sys.exit(main())'
    return HEAD + "\n".join(sorted(imports)) + "\n\n" + "\n\n".join([*pieces, tail]) + "\n"


def _names(node: ast.stmt) -> set[str]:
    """What a statement defines."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return {node.name}
    if not isinstance(node, ast.Assign | ast.Expr):
        raise AssertionError(f"a bundle knows no statement like that of line {node.lineno}")
    targets = node.targets if isinstance(node, ast.Assign) else []
    return {each.id for target in targets for each in ast.walk(target) if isinstance(each, ast.Name)}


def _source(text: str, node: ast.stmt) -> str:
    """A statement's lines, decorators and all."""
    first = min([node.lineno, *(one.lineno for one in getattr(node, "decorator_list", []))])
    return "\n".join(text.splitlines()[first - 1 : node.end_lineno])
