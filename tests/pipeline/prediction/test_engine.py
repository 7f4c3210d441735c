"""Which engine predicts, by the machine and the amount of work, and what its text says."""

from dataclasses import replace

import pandas as pd
import pytest

from models.errors import UserError
from pipeline.prediction import engine as engine_module
from pipeline.prediction.run_predictions import engine_of
from pipeline.run.remembered import ENGINES

BF16 = {"/proc/cpuinfo": "flags\t\t: fpu avx512f avx512_bf16 amx_tile\n"}


@pytest.mark.parametrize(
    ("device", "predictions", "files", "compiler", "engine"),
    [
        ("cpu", engine_module.WORTH - 1, BF16, True, "torch"),
        ("cpu", engine_module.WORTH, BF16, True, "openvino"),
        ("cpu", engine_module.WORTH, {}, True, "openvino"),
        ("cpu", engine_module.LONG - 1, BF16, True, "openvino"),
        ("cpu", engine_module.LONG, BF16, True, "openvino-bfloat16"),
        ("cpu", engine_module.LONG, {}, True, "openvino"),
        ("cuda", engine_module.LONG - 1, {}, True, "torch"),
        ("cuda", engine_module.LONG, {}, True, "compiled"),
        ("cuda", engine_module.LONG, {}, False, "torch"),
    ],
)
def test_the_engine_for_so_many_answers(computer, monkeypatch, device, predictions, files, compiler, engine):
    computer(cores=2, files=files)
    monkeypatch.setattr("shutil.which", lambda name: name if compiler else None)
    assert engine_module.usual_engine(device, predictions) == engine


def test_every_engine_falls_back_on_the_reference():
    for name, ladder in engine_module.LADDERS.items():
        assert str(ladder[0]) == name
        assert ladder[-1] == engine_module.REFERENCE
    assert set(ENGINES) == {"auto", *engine_module.LADDERS}


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("ladder", engine_module.LADDERS.values(), ids=engine_module.LADDERS)
def test_an_engines_text_is_that_engine(ladder, flip):
    for engine in ladder:
        engine = replace(engine, flip=flip)
        assert engine_module.Engine.of(str(engine)) == engine
        assert str(engine).endswith(" flip") is flip
    assert (ladder[0].precision == "bfloat16") is (str(ladder[0]) in ("compiled", "openvino-bfloat16"))


@pytest.mark.parametrize("text", ["", "nan", "Torch", "openvino-float16", "openvino flipped", "torch-bfloat16"])
def test_a_text_of_no_engine_is_refused(text):
    with pytest.raises(UserError, match="there is no engine"):
        engine_module.Engine.of(text)


def test_a_table_that_does_not_tell_its_engine_is_refused():
    assert engine_of(pd.DataFrame({"engine": ["openvino flip"] * 2})) == engine_module.Engine("openvino", flip=True)
    with pytest.raises(UserError, match="lack the column engine: run predict again"):
        engine_of(pd.DataFrame({"photo": ["a.jpg"]}))
