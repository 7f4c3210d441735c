"""Every recipe of the notes is plain settings that its system knows, and a network that timm can build."""

import json

import pytest
import timm
import torch

from models import backbone
from models.declared import declared
from models.errors import UserError
from pipeline.run import presets, recipes
from pipeline.run.recipes import RECIPES
from pipeline.run.settings import SYSTEMS, TASKS
from pipeline.run.train_settings import TrainingSettings
from pipeline.stages.recipes import Recipes
from pipeline.stages.recipes import recipes as list_recipes

NAMES = (
    "note-efficientnet", "note-coatnet", "note-swin", "note-convnext", "note-basecode", "note-xception",
    "note-xception-radam",
    "note-efficientnet-b0", "note-xception-heads", "note-three-heads", "note-specialists",
)  # fmt: skip
TOLD = {
    "note-efficientnet": {"backbone": "efficientnet_b0", "epochs": 30, "batch_size": 32},
    "note-coatnet": {"backbone": "coatnet_0_rw_224", "epochs": 30, "batch_size": 32},
    "note-swin": {"backbone": "swin_tiny_patch4_window7_224", "epochs": 30, "batch_size": 32},
    "note-convnext": {"backbone": "convnext_tiny", "epochs": 30, "batch_size": 32},
    "note-basecode": {"backbone": "legacy_xception", "loss": "soft_f1", "optimizer": "adam", "schedule": "cosine"},
    "note-xception": {"backbone": "legacy_xception", "optimizer": "adam", "lr": 1e-3, "schedule": "step",
                      "batch_size": 32, "dropout": 0.5},
    "note-xception-radam": {"backbone": "legacy_xception", "optimizer": "radam", "lr": 0.0015, "weight_decay": 1e-4,
                            "schedule": "cosine", "period": 50.0},
    "note-efficientnet-b0": {"backbone": "efficientnet_b0", "optimizer": "adam", "schedule": "step", "batch_size": 64,
                             "height": 512, "width": 384, "dropout": 0.5},
    "note-xception-heads": {"backbone": "legacy_xception", "age_head": "bands", "head_balance": "sum",
                            "age_weight": 1.2},
    "note-three-heads": {"backbone": "efficientnet_b0", "epochs": 5, "age_head": "years", "age_loss": "mse",
                         "age_scale": 1.0, "head_balance": "sum"},
}  # fmt: skip
"""What DESIGN.md tells of each, section 5."""
TABLES = [(name, task) for name, recipe in RECIPES.items() for task in SYSTEMS[recipe.system]]


def resolved(name, task):
    recipe = RECIPES[name]
    return presets.PRESETS[recipe.run["preset"]][task] | recipe.settings.get(task, {})


def test_the_recipes_are_those_of_the_notes():
    assert tuple(RECIPES) == NAMES
    for recipe in RECIPES.values():
        assert recipe.system in SYSTEMS
        assert recipe.saw
        assert "\n" not in recipe.saw
        assert (recipe.run["preset"], recipe.run["weights"]) == ("base", "hub")
    assert {name for name, recipe in RECIPES.items() if recipe.run.get("split") == "photo"} == set(NAMES[:4])
    assert RECIPES["note-basecode"].run["split"] == "person"
    shares = {name: recipe.run["held_out"] for name, recipe in RECIPES.items() if "held_out" in recipe.run}
    assert shares == {
        "note-basecode": 0.2,
        "note-xception": 0.1,
        "note-xception-radam": 0.1,
        "note-efficientnet-b0": 0.05,
    }


@pytest.mark.parametrize(("name", "task"), TABLES)
def test_a_recipe_holds_settings_its_task_knows_within_their_ranges(name, task):
    recipe = RECIPES[name]
    assert set(recipe.settings) <= set(SYSTEMS[recipe.system])
    given = recipe.settings.get(task, {})
    assert all(declared(TrainingSettings)[setting].known_by(task) for setting in given)
    told = list_recipes(Recipes())[name]
    assert json.loads(json.dumps(told)) == told
    assert told["settings"].get(task, {}) == given
    # Options belong to a backbone: one that is exchanged takes none of the preset's.
    assert ("backbone" in given) == ("backbone_options" in given)
    assert timm.is_model(resolved(name, task).backbone)


@pytest.mark.parametrize("name", TOLD)
def test_a_recipe_is_what_the_notes_tell(name):
    (task,) = SYSTEMS[RECIPES[name].system]
    made = resolved(name, task)
    assert {setting: getattr(made, setting) for setting in TOLD[name]} == TOLD[name]


def test_the_specialists_of_the_notes_are_the_base_presets():
    assert RECIPES["note-specialists"].settings == {}
    assert [resolved("note-specialists", task) for task in TASKS] == [presets.PRESETS["base"][task] for task in TASKS]
    made = [presets.PRESETS["base"][task].backbone.split("_")[0] for task in TASKS]
    assert made == ["efficientnet", "swin", "convnext"]


def test_an_unknown_recipe_names_near_ones():
    assert recipes.named("note-swin") is RECIPES["note-swin"]
    with pytest.raises(
        UserError, match=r"^--recipe note-convnxt: there is no such recipe; perhaps you mean note-convnext"
    ):
        recipes.named("note-convnxt")
    with pytest.raises(UserError, match=r"; known are note-efficientnet, .*note-specialists\.$"):
        recipes.named("?")


def networks():
    """Each backbone and photo size of the recipes once."""
    made = {}
    for name, task in TABLES:
        table = resolved(name, task)
        made.setdefault((table.backbone, table.height, table.width), table)
    return made


def test_the_notes_families_are_all_there():
    named = {name.replace("legacy_", "").split("_")[0] for name, _, _ in networks()}
    assert named == {"efficientnet", "coatnet", "swin", "convnext", "xception"}


@pytest.mark.slow
@pytest.mark.parametrize("network", networks(), ids=lambda key: "{}-{}x{}".format(*key))
def test_the_networks_of_the_recipes_answer_a_photo_at_their_size(network):
    made = networks()[network]
    built = backbone.build(made, 18).eval()
    photo = torch.randint(0, 256, (1, 3, made.height, made.width), dtype=torch.uint8)
    with torch.inference_mode():
        logits = built(photo)
    assert logits.shape == (1, 18)
    assert logits.isfinite().all()
