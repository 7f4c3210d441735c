"""The plan follows from the backbone and the machine alone, and survives JSON."""

import json

import pytest
import torch

from models.cpu import faster
from pipeline.runtime import machine, plan_table, tuned
from pipeline.runtime.instructions import BFLOAT16, KINDS
from pipeline.runtime.machine import Plan, plan

EFFICIENT = ("depthwise", "squeeze-excite")
NETWORKS = {
    "efficientnet_b0": ("bfloat16", True, EFFICIENT),
    "test_efficientnet": ("bfloat16", True, EFFICIENT),
    "tf_efficientnetv2_s": ("bfloat16", True, EFFICIENT),
    "mobilenetv3_small_100": ("bfloat16", True, EFFICIENT),
    "mnasnet_100": ("bfloat16", True, EFFICIENT),
    "tinynet_e": ("bfloat16", True, EFFICIENT),
    "tf_efficientnet_lite0": ("bfloat16", True, ("depthwise",)),
    "legacy_xception": ("float32", True, ()),
    "resnet50": ("float32", True, ()),
    "convnext_atto": ("float32", True, ("depthwise",)),
    "convnext_tiny": ("bfloat16", True, ("convnext", "depthwise")),
    "convnextv2_base": ("bfloat16", True, ("convnext", "depthwise")),
    "swin_tiny_patch4_window7_224": ("bfloat16", False, ()),
    "coatnet_0_rw_224": ("bfloat16", False, ()),
}


BF16 = {"/proc/cpuinfo": "flags\t\t: fpu avx512f avx512_bf16 amx_tile\n"}


@pytest.fixture(autouse=True)
def _nothing_tuned(tmp_path, monkeypatch):
    monkeypatch.setenv(tuned.FOLDER, str(tmp_path))


@pytest.mark.parametrize(("name", "best"), NETWORKS.items())
def test_on_a_processor(computer, name, best):
    computer(cores=4, files=BF16)
    precision, channels_last, layers = best
    assert plan(name) == Plan("cpu", precision, channels_last, threads=4, workers=0, layers=layers)
    for files in ({"/proc/cpuinfo": "flags: fpu avx2 avx512f\n"}, {"/proc/cpuinfo": "flags: fpu avx2\n"}, {}):
        computer(cores=4, files=files)
        assert (plan(name).precision, plan(name).muon_precision) == ("float32", "float32")


def test_a_row_that_is_not_measured_takes_the_nearest():
    assert set(plan_table.NEAREST) | set(plan_table.WAYS) == set(KINDS)
    assert not set(plan_table.NEAREST) & set(plan_table.WAYS)
    for kind, nearest in plan_table.NEAREST.items():
        assert kind not in BFLOAT16
        assert nearest not in BFLOAT16
        assert plan_table.way(kind, "swin_tiny") == plan_table.way(nearest, "swin_tiny")
        assert not plan_table.way(kind, "swin_tiny").measured
    assert plan_table.way("amx", "swin_tiny") != plan_table.way("avx512_bf16", "swin_tiny")


@pytest.mark.parametrize("kind", plan_table.WAYS)
def test_what_fits_no_row_is_not_said_to_be_measured(kind):
    assert not plan_table.way(kind, "coatnet_0_rw_224").measured
    assert not plan_table.way(kind, "mobilenetv3_small_100").measured


def test_every_layer_of_ours_is_used_on_some_row():
    ways = [one for rows in plan_table.WAYS.values() for one in rows.values() if one.measured]
    assert {name for one in ways for name in one.layers} == set(faster.LAYERS) == set(plan_table.LAYERS)


def test_what_is_measured_is_told_apart(computer):
    computer(cores=4, files=BF16)
    assert machine.is_measured("tf_efficientnet_lite0")
    assert not machine.is_measured("resnet50")
    computer(cores=4, files={})
    assert not machine.is_measured("tf_efficientnet_lite0")
    assert not plan_table.way("amx", "swin_tiny").measured


@pytest.mark.parametrize("name", NETWORKS)
def test_on_a_gpu(computer, name):
    computer(cores=4, gpu=True)
    assert plan(name) == Plan("cuda", "bfloat16", True, threads=4, workers=3, layers=())
    computer(cores=1, gpu=True)
    assert plan(name).workers == 1
    computer(cores=64, gpu=True)
    assert plan(name).workers == 8
    assert plan(name, workers=0).workers == 0


@pytest.mark.parametrize(
    ("size", "precision"), [((256, 192), "bfloat16"), ((64, 64), "bfloat16"), ((84, 63), "float32")]
)
def test_no_bfloat16_where_a_map_is_one_column_wide(computer, size, precision):
    computer(cores=4, files=BF16)
    assert plan("convnext_tiny", size=size).precision == precision


def test_what_the_user_sets_holds(computer):
    computer(cores=4)
    made = plan("convnext_tiny", threads=1, workers=3)
    assert (made.threads, made.workers) == (1, 3)
    assert made.channels_last
    assert not plan("convnext_tiny", channels_last=False).channels_last
    assert plan("convnext_tiny", precision="bfloat16", threads=None).precision == "bfloat16"
    assert plan("efficientnet_b0", precision=None).precision == "float32"


def test_a_plan_round_trips_through_json():
    made = Plan("cpu", "bfloat16", False, 2, 1)
    assert Plan(**json.loads(json.dumps(made.as_dict()))) == made


@pytest.mark.parametrize(("precision", "dtype"), [("float32", torch.float32), ("bfloat16", torch.bfloat16)])
def test_autocast(precision, dtype):
    with Plan("cpu", precision, False, 1, 0).autocast():
        assert torch.nn.Linear(2, 2)(torch.ones(1, 2)).dtype == dtype


def test_versions_are_plain():
    made = machine.versions()
    assert json.loads(json.dumps(made)) == made
    assert made["torch"] == torch.__version__
