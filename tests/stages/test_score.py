"""Which truth a submission is scored by, and how its photos are told apart."""

import re
import shutil

import pandas as pd
import pytest
from tiny_runs import finish

from models.errors import UserError
from pipeline.stages.score import Score, score


def test_a_key_without_eval_photos_is_no_truth(copy):
    shutil.rmtree(copy.data / "eval")
    assert (copy.data / "key.csv").is_file()
    assert score(Score.of(run=copy.run, if_known=True)) == {}
    with pytest.raises(UserError, match=r"^people has no eval photos or holds no truth of them .*scored\.$"):
        score(Score.of(run=copy.run))


def test_numbers_with_zeros_before_them_are_names_of_photos(copy, done):
    names = pd.read_csv(copy.data / "eval/info.csv")["ImageID"]
    number = {name: f"{i:06}" for i, name in enumerate(names)}
    for table in (copy.data / "eval/info.csv", copy.data / "key.csv"):
        table.write_text(re.sub(r"[0-9a-f]{40}\.jpg", lambda found: number[found[0]], table.read_text()))
    for name in names:
        (copy.data / "eval/images" / name).rename(copy.data / "eval/images" / number[name])
    assert finish(copy.run).score == done.metrics.score
    assert (copy.run / "submission.csv").read_text().splitlines()[1].startswith("000000,")
