"""The words of the house (DESIGN.md, section 3, "Words"): the field's standard terms, read from the syntax trees.

Every name, parameter, attribute and key of models, pipeline and benchmarks; messages and prose are for readers.
"""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = [file for folder in ("models", "pipeline", "benchmarks") for file in sorted((ROOT / folder).rglob("*.py"))]
REPLACED = {
    **dict.fromkeys(("answer", "answers", "answered"), "predictions or probabilities"),
    **dict.fromkeys(("chance", "chances"), "probabilities"),
    "honest": "calibrated",
    **dict.fromkeys(("figure", "figures"), "metrics"),
    **dict.fromkeys(("mix", "mixes"), "prior"),
    **dict.fromkeys(("trust", "pull", "pulled"), "shrinkage"),
    **dict.fromkeys(("mark", "marks", "marked"), "fingerprint or caveat"),
    **dict.fromkeys(("part", "parts"), "a word of its own: part is the train or eval part of a data set"),
}
"""Words that no name may have among its own, and what is said instead."""
NAMES = {
    **dict.fromkeys(("outputs", "outputs_of"), "logits"),
    "Known": "LabelledPredictions",
    "Member": "EnsembleMember",
    "batch": "batch_size",
    "clip": "max_grad_norm",
    "micro": "micro_batch_size",
    "micro_batch": "micro_batch_size",
    "an_epoch": "steps_per_epoch",
    "first_bias": "initial_bias",
    "classes_of": "true_class",
    "classify": "predicted_class",
}
"""Names that are replaced whole; those in small letters whatever the size of theirs."""
ALLOWED = {
    ("age_mix", "key"): "what a user reads",
    ("batch", "variable"): "the photos of a step themselves",
    ("clip", "attribute"): "numpy's and torch's",
    ("mark_dirty", "attribute"): "torch's",
    **dict.fromkeys((("Figure", "definition"), ("Figure", "variable"), ("figure", "definition")), "matplotlib's"),
    **{
        (f"MultiPart{what}", kind): "Starlette's"
        for what in ("Parser", "Exception")
        for kind in ("definition", "variable")
    },
}
OF_OLDER_FILES = {"benchmarks/digests.py": ("mix", "marks", "pull")}
"""Keys that stand there to be read."""
PARTS = ("pipeline/dataset/", "pipeline/synthetic/")
"""Where a part is that of a data set."""


def words_of(name: str) -> set[str]:
    """The words of a snake_case or CamelCase name, in small letters."""
    return {word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name)}


def names(source: str) -> list[tuple[str, str, int]]:
    """Every name with its kind (variable, parameter, attribute, definition, key) and line."""
    found = []

    def keys(*nodes: ast.AST | None) -> None:
        """Texts that are looked up by, word for word."""
        for each in nodes:
            if isinstance(each, ast.Constant) and isinstance(each.value, str) and not each.value.isidentifier():
                found.extend(
                    (word, "key", each.lineno) for word in re.findall("[A-Za-z_]+", each.value.replace("age mix", ""))
                )

    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Name(id=name):
                found.append((name, "variable", node.lineno))
            case ast.arg(arg=name) | ast.keyword(arg=str(name)):
                found.append((name, "parameter", node.lineno))
            case ast.Attribute(attr=name):
                found.append((name, "attribute", node.lineno))
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                found.append((name, "definition", node.lineno))
            case ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)):
                found.append((name, "variable", node.lineno))
            case ast.alias(name=name, asname=alias):
                found += [(each, "definition", node.lineno) for each in (*name.split("."), alias) if each]
            case ast.Constant(value=str(text)) if text.isidentifier():
                found.append((text, "key", node.lineno))
            case ast.Subscript(slice=index):
                keys(index)
            case ast.Dict(keys=all_keys):
                keys(*all_keys)
    return found


def dialect(source: str, path: str = "") -> list[str]:
    """The names of a file that the house has other words for, its own among them."""
    told = []
    stems = [(stem, "definition", 0) for stem in path.removesuffix(".py").split("/")]
    for name, kind, line in names(source) + stems:
        words = words_of(name)
        if (name, kind) in ALLOWED or (words & {"part", "parts"} and path.startswith(PARTS)):
            continue
        if kind == "key" and name in OF_OLDER_FILES.get(path, ()):
            continue
        instead = (
            NAMES.get(name)
            or NAMES.get(name.lower())
            or next((REPLACED[word] for word in words if word in REPLACED), None)
        )
        if instead:
            told.append(f"{path}:{line} {kind} {name}: {instead}")
    return told


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_no_name_is_of_the_dialect(file):
    assert dialect(file.read_text(), str(file.relative_to(ROOT))) == []


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("answers = 1", "variable answers"),
        ("def f(honest): pass", "parameter honest"),
        ("f(batch=3)", "parameter batch"),
        ("class A:\n    clip: int = 3", "variable clip"),
        ("self.batch", "attribute batch"),
        ("x = {'figures': 1}", "key figures"),
        ("x['clip']", "key clip"),
        ("def read_answers(): pass", "definition read_answers"),
        ("class HonestChances: pass", "definition HonestChances"),
        ("from x import Known", "definition Known"),
        ("import pipeline.mix_estimate", "definition mix_estimate"),
        ("MIX_OF_EVAL = 1", "variable MIX_OF_EVAL"),
        ("f'{marks}'", "variable marks"),
        ("lambda part: 0", "parameter part"),
        ("BATCH = 64", "variable BATCH"),
        ("part_of = 1", "variable part_of"),
        ("outputs_of = 1", "variable outputs_of"),
        ("try: pass\nexcept E as marks: pass", "variable marks"),
        ("match x:\n    case marks: pass", "variable marks"),
        ("async def answers(): pass", "definition answers"),
        ("row['true mix']", "key mix"),
        ("{'old-mix': 1}", "key mix"),
    ],
)
def test_a_name_of_the_dialect_is_found(source, name):
    assert [told.split(" ", 1)[1].split(":")[0] for told in dialect(source)] == [name] * len(dialect(source))
    assert dialect(source)


@pytest.mark.parametrize(
    "source", ["batch = photos[:3]", "np.clip(x, 0, 1)", "x['age_mix']", "clip_grad_norm_(w)", "unknown = mixer = 1"]
)
def test_other_names_are_none(source):
    assert dialect(source) == []


def test_a_file_named_in_the_dialect_is_found():
    assert dialect("", "pipeline/combiner/mix_trials.py")


def test_part_is_the_train_or_eval_part_of_a_data_set():
    assert dialect("part = 'train'", "pipeline/dataset/general.py") == []
    assert dialect("part = 3", "pipeline/scoring/surface.py")
