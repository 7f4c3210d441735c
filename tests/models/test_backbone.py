"""timm backbones: built at any size, from random, local or hub weights, with one sentence when that fails."""

import re
import socket
import time

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file

from models import backbone, pretrained
from models.errors import UserError
from models.settings import ModelSettings
from pipeline.run.presets import PRESETS, TASKS

TINY = {
    "test_efficientnet": {},
    "test_convnext": {},
    "swin_tiny_patch4_window7_224": {
        "embed_dim": 32,
        "depths": (1, 1, 2, 1),
        "num_heads": (1, 2, 4, 8),
        "window_size": 4,
    },
}


def settings(name, height=64, width=48, **more):
    made = {"backbone": name, "backbone_options": TINY.get(name, {}), "height": height, "width": width}
    return ModelSettings(**(made | more))


def photos(height, width, n=2):
    return torch.randint(0, 256, (n, 3, height, width), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("size", [(64, 48), (128, 96), (65, 50)])
@pytest.mark.parametrize("name", TINY)
def test_tiny_networks_take_photos_of_any_size(name, size):
    network = backbone.build(settings(name, *size), 5)
    assert network.training
    logits = network(photos(*size))
    assert (logits.shape, logits.dtype) == ((2, 5), torch.float32)
    logits.sum().backward()
    assert all(p.grad is not None for p in network.parameters())


def test_random_weights_follow_torchs_seed():
    def made(seed):
        torch.manual_seed(seed)
        return backbone.build(settings("test_convnext"), 3).state_dict()

    one, same, other = made(1), made(1), made(2)
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert any(not torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("name", TINY)
def test_first_outputs_may_begin_at_a_bias(name):
    network = backbone.build(settings(name), 5)
    bias = torch.arange(5.0)
    network.begin_at(bias)
    assert network.backbone.get_classifier().weight.std().item() == pytest.approx(0.01, rel=0.2)
    with torch.no_grad():
        assert (network.eval()(photos(64, 48)) - bias).abs().max() < 1


@pytest.mark.parametrize("name", ["swin_tiny_patch4_window7_224", "convnext_atto"])
def test_a_convolutional_stem_keeps_the_grid_of_patches(name):
    options = TINY.get(name, {}) | {"conv_stem": True}
    network = backbone.build(settings(name, 128, 96, backbone_options=options), 5)
    body = network.backbone
    stem = body.patch_embed.proj if hasattr(body, "patch_embed") else body.stem
    assert stem(torch.zeros(1, 3, 128, 96)).shape[2:] == (32, 24)
    assert any(isinstance(layer, torch.nn.BatchNorm2d) for layer in stem.modules())
    assert network(photos(128, 96)).shape == (2, 5)


def test_weights_may_be_drawn_to_fan_in():
    options = {"fan_in_init": True}
    layers = backbone.build(settings("test_convnext", backbone_options=options), 5).backbone
    wide = [m for m in layers.modules() if isinstance(m, torch.nn.Linear | torch.nn.Conv2d) and m.weight.numel() > 3000]
    assert len(wide) > 5
    for layer in wide:
        assert layer.weight.std().item() == pytest.approx(layer.weight[0].numel() ** -0.5, rel=0.1)


def test_building_leaves_batch_norms_running_figures_new():
    state = backbone.build(settings("test_efficientnet"), 3).state_dict()
    assert all(
        not value.any() for name, value in state.items() if name.endswith(("running_mean", "num_batches_tracked"))
    )


@pytest.mark.parametrize("name", TINY)
def test_dropout_and_drop_path_reach_the_network(name):
    network = backbone.build(settings(name), 3)
    assert torch.equal(network(photos(64, 48, 8)), network(photos(64, 48, 8)))
    for given in ({"dropout": 0.5}, {"drop_path": 0.9}):
        if "drop_path" in given and name == "test_efficientnet":
            continue  # it has no path to drop
        network = backbone.build(settings(name, **given), 3)
        assert not torch.equal(network(photos(64, 48, 8)), network(photos(64, 48, 8))), given
        network.eval()
        assert torch.equal(network(photos(64, 48)), network(photos(64, 48)))


@pytest.mark.parametrize("name", TINY)
def test_photos_are_normalised_as_timm_says(name):
    network = backbone.build(settings(name), 3).eval()
    config = timm.data.resolve_model_data_config(network.backbone)
    mean, deviation = (torch.tensor(config[key]).view(1, 3, 1, 1) for key in ("mean", "std"))
    given = photos(64, 48)
    expected = network.backbone((given.double() / 255 - mean).div(deviation).float())
    torch.testing.assert_close(network(given), expected, rtol=1e-4, atol=1e-4)
    seen = []
    network.backbone.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    network(given)
    torch.testing.assert_close(seen[0].double(), (given.double() / 255 - mean) / deviation, rtol=1e-5, atol=1e-5)
    assert not any(name.endswith(("mean", "deviation")) and "." not in name for name in network.state_dict())


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("efficientnet_b99", "efficientnet_b8"),
        ("convnxt_tiny", "convnext_tiny"),
        ("test_efficentnet", "test_efficientnet"),
    ],
)
def test_an_unknown_backbone_names_near_ones(name, near):
    with pytest.raises(
        UserError, match=rf"^--backbone {name}: timm knows no such network; perhaps you mean .*\b{near}\b"
    ):
        backbone.build(settings(name), 3)


def test_an_unknown_backbone_near_to_nothing():
    with pytest.raises(UserError, match=r"timm knows no such network\.$"):
        backbone.build(settings("?"), 3)


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("test_vit", (100, 70)),
        ("test_convnext", (9, 8)),
        ("test_coatnet", (100, 70)),
    ],
)
def test_a_size_the_network_cannot_take_is_told_with_one_that_works(name, size):
    with pytest.raises(UserError) as told:
        backbone.build(settings(name, *size), 3)
    shown = re.fullmatch(
        rf"the network {name} cannot take photos of {size[0]}x{size[1]}; (\d+)x(\d+) works: "
        r"--height (\d+) --width (\d+)\.",
        str(told.value),
    )
    assert shown, told.value
    height, width, *again = map(int, shown.groups())
    assert [height, width] == again
    assert backbone.build(settings(name, height, width), 3)(photos(height, width)).shape == (2, 3)


def test_the_size_that_works_is_the_nearest_of_about_the_same_aspect():
    with pytest.raises(UserError, match="cannot take photos of 100x70; 128x96 works: --height 128 --width 96"):
        backbone.build(settings("test_coatnet", 100, 70), 3)
    with pytest.raises(UserError, match="cannot take photos of 250x190; 256x192 works"):
        backbone.build(settings("test_coatnet", 250, 190), 3)


@pytest.mark.parametrize("size", [(100, 70), (3, 2), (400, 300), (64, 64), (31, 500)])
def test_sizes_that_are_tried_keep_the_aspect(size):
    first, *others = backbone.sizes_near(*size)
    assert all(side % 32 == 0 for near in (first, *others) for side in near)
    assert all(given <= side < given + 32 for given, side in zip(size, first, strict=True))
    for height, width in others:
        # Rounded to 32, which is half of that at most on the longer side.
        assert abs(height / width - size[0] / size[1]) <= 16 / min(height, width) * max(1, size[0] / size[1])
    assert len({first, *others}) == 1 + len(others)


def test_weights_that_cannot_be_read_are_not_the_sizes_fault(tmp_path):
    file = tmp_path / "test_coatnet.safetensors"
    file.write_bytes(b"no weights at all")
    with pytest.raises(UserError, match=r"test_coatnet\.safetensors is not in the safetensors format") as told:
        backbone.build(settings("test_coatnet", 64, 64), 3, str(tmp_path))
    assert "works" not in str(told.value)
    save_file(timm.create_model("test_coatnet").state_dict(), file)
    with pytest.raises(UserError, match="cannot take photos of 100x70; 128x96 works"):
        backbone.build(settings("test_coatnet", 100, 70), 3, str(tmp_path))


def test_a_network_without_paths_to_drop():
    """Xception's constructor knows no drop path."""
    small = settings("legacy_xception", 71, 71)
    assert backbone.build(small, 3)(photos(71, 71)).shape == (2, 3)
    with pytest.raises(UserError, match=r"^--drop-path 0\.1: legacy_xception has no paths to drop; give 0\.$"):
        backbone.build(small | {"drop_path": 0.1}, 3)


def test_options_the_network_does_not_know():
    with pytest.raises(UserError, match="test_convnext could not be made"):
        backbone.build(settings("test_convnext", backbone_options={"no_such_option": 1}), 3)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder of weights as timm publishes them: 1000 classes."""
    folder = tmp_path_factory.mktemp("weights")
    for name, options in TINY.items():
        torch.manual_seed(5)
        save_file(timm.create_model(name, **options).state_dict(), folder / f"{name}.safetensors")
    return folder


@pytest.mark.parametrize("name", TINY)
def test_weights_of_a_folder_start_the_backbone_and_the_head_is_new(name, folder):
    torch.manual_seed(5)
    published = timm.create_model(name, **TINY[name])
    size = (224, 224) if name.startswith("swin") else (64, 48)
    torch.manual_seed(9)
    network = backbone.build(settings(name, *size), 3, str(folder)).backbone
    state, theirs = network.state_dict(), published.state_dict()
    head = {key for key in state if state[key].shape != theirs[key].shape}
    assert head
    assert all(key.startswith(("classifier", "head")) for key in head)
    assert all(state[key].shape[0] == 3 for key in head)
    for key in state.keys() - head:
        torch.testing.assert_close(state[key], theirs[key], rtol=0, atol=0, msg=key)


def test_a_swins_weights_are_fitted_to_another_photo_size(folder):
    network = backbone.build(settings("swin_tiny_patch4_window7_224", 64, 48), 3, str(folder))
    assert network(photos(64, 48)).shape == (2, 3)
    torch.manual_seed(5)
    theirs = timm.create_model("swin_tiny_patch4_window7_224", **TINY["swin_tiny_patch4_window7_224"])
    assert torch.equal(network.backbone.patch_embed.proj.weight, theirs.patch_embed.proj.weight)


RENAMED = {
    "another network's": lambda state: timm.create_model("test_convnext").state_dict(),
    "none at all": lambda state: {},
    "of a part of a network": lambda state: {f"backbone.{name}": tensor for name, tensor in state.items()},
    "only the last layer": lambda state: {name: state[name] for name in ("classifier.weight", "classifier.bias")},
    "only the norms": lambda state: {name: tensor for name, tensor in state.items() if tensor.ndim == 1},
    "only the stem": lambda state: {"conv_stem.weight": state["conv_stem.weight"]},
}


@pytest.mark.parametrize("kind", RENAMED)
def test_weights_that_timm_would_pass_over_in_silence(tmp_path, folder, kind):
    name = "test_efficientnet"
    changed = RENAMED[kind](load_file(folder / f"{name}.safetensors"))
    save_file({key: tensor.contiguous() for key, tensor in changed.items()}, tmp_path / f"{name}.safetensors")
    with pytest.raises(UserError, match=r"test_efficientnet\.safetensors holds the weights of another network") as told:
        backbone.build(settings(name, 64, 48), 3, str(tmp_path))
    assert "\n" not in str(told.value)


def test_weights_of_another_shape_are_named_with_the_way_out(tmp_path, folder):
    state = load_file(folder / "test_efficientnet.safetensors")
    state["conv_head.weight"] = state["conv_head.weight"][:, 1:].contiguous()
    save_file(state, tmp_path / "test_efficientnet.safetensors")
    with pytest.raises(UserError) as told:
        backbone.build(settings("test_efficientnet", 64, 48), 3, str(tmp_path))
    sentence = str(told.value)
    assert sentence.startswith(f"--weights {tmp_path}: test_efficientnet.safetensors in it does not fit that network (")
    assert "size mismatch for conv_head.weight" in sentence
    assert sentence.endswith("or use hub or none.")
    assert "\n" not in sentence


@pytest.mark.parametrize("number", [torch.float16, torch.bfloat16, torch.float64])
def test_weights_of_another_precision_fit(tmp_path, folder, number):
    state = load_file(folder / "test_convnext.safetensors")
    save_file({key: tensor.to(number) for key, tensor in state.items()}, tmp_path / "test_convnext.safetensors")
    network = backbone.build(settings("test_convnext", 64, 48), 3, str(tmp_path))
    assert network(photos(64, 48)).shape == (2, 3)


def test_weights_missing_from_the_folder(tmp_path):
    with pytest.raises(UserError, match=r"there is no test_convnext\.safetensors in it"):
        backbone.build(settings("test_convnext"), 3, str(tmp_path))


@pytest.mark.parametrize("damage", ["short", "noise", "other network"])
def test_damaged_weights(tmp_path, folder, damage):
    whole = (folder / "test_convnext.safetensors").read_bytes()
    bytes_ = {
        "short": whole[: len(whole) // 2],
        "noise": b"no weights at all",
        "other network": (folder / "test_efficientnet.safetensors").read_bytes(),
    }
    (tmp_path / "test_convnext.safetensors").write_bytes(bytes_[damage])
    told = {
        "short": r"test_convnext\.safetensors is cut short: it holds",
        "noise": r"test_convnext\.safetensors is not in the safetensors format",
        "other network": r"test_convnext could not be made .* with weights",
    }
    with pytest.raises(UserError, match=told[damage]):
        backbone.build(settings("test_convnext"), 3, str(tmp_path))


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """An empty cache, and a hub that is not there: nobody listens, or somebody who never answers."""
    from huggingface_hub import constants

    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{listener.getsockname()[1]}")
        yield listener


@pytest.mark.parametrize("silent", [False, True])
def test_an_unreachable_hub_is_told_within_5_seconds(hub, silent):
    if silent:
        hub.listen()
    started = time.monotonic()
    with pytest.raises(UserError) as told:
        backbone.build(settings("test_convnext"), 3, "hub")
    assert time.monotonic() - started < 5
    sentence = str(told.value)
    assert "the weights hub cannot be reached" in sentence
    ways = [sentence.index(way) for way in ("PRESET=lite", "WEIGHTS=none", "WEIGHTS=folder")]
    assert ways == sorted(ways)
    assert "WEIGHTS=folder with test_convnext.safetensors" in sentence
    assert "\n" not in sentence


def test_an_unreachable_hub_is_spared_where_a_package_has_the_weights(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(UserError, match=r"use WEIGHTS=package \(--weights\), which has the same, WEIGHTS=none"):
        pretrained.reach_hub("tf_efficientnet_lite0")


def test_weights_that_lie_at_an_address_of_their_own(hub, monkeypatch, tmp_path):
    """Xception's are a single file outside the hub."""
    asked = []

    def refuse(address, **_):
        asked.append(address)
        raise OSError

    monkeypatch.setattr(pretrained.urllib.request, "urlopen", refuse)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with pytest.raises(UserError, match=r"cannot be reached for https://.*xception.*\.pth; use PRESET=lite"):
        backbone.build(settings("legacy_xception", 71, 71), 3, "hub")
    assert len(asked) == 1
    kept = tmp_path / "checkpoints" / asked[0].rpartition("/")[2]
    kept.parent.mkdir()
    kept.touch()
    pretrained.reach_hub("legacy_xception")
    assert len(asked) == 1


def test_offline_asks_nobody(hub, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(pretrained.urllib.request, "urlopen", lambda *_, **__: pytest.fail("asked the network"))
    with pytest.raises(UserError, match="the weights hub cannot be reached"):
        backbone.build(settings("test_convnext"), 3, "hub")


def test_a_network_without_published_weights(hub):
    with pytest.raises(UserError, match="the hub has no weights for efficientnet_b8"):
        backbone.build(settings("efficientnet_b8"), 3, "hub")


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize(
    "preset", ["small", pytest.param("base", marks=pytest.mark.slow), pytest.param("large", marks=pytest.mark.slow)]
)
def test_the_presets_networks_answer_at_their_sizes(preset, task):
    made = PRESETS[preset][task]
    network = backbone.build(made, 2).eval()
    with torch.inference_mode():
        assert network(photos(made.height, made.width, 1)).shape == (1, 2)


@pytest.mark.parametrize("name", ["levit_128s", "deit_tiny_distilled_patch16_224"])
def test_a_network_without_a_single_last_layer_is_refused(name):
    with pytest.raises(UserError, match=rf"--backbone {name}: its last layer is not a single linear one"):
        backbone.build(settings(name, 224, 224), 3)


@pytest.mark.parametrize("options", [{}, {"conv_stem": True, "fan_in_init": True}])
@pytest.mark.parametrize("name", TINY)
def test_a_blank_network_is_the_one_whose_weights_it_takes(name, options, monkeypatch):
    if options and name == "test_efficientnet":
        options = {}
    given = settings(name, backbone_options=TINY[name] | options)
    built = backbone.build(given, 3, learned=2).eval()
    drawn = torch.get_rng_state()
    monkeypatch.setattr(backbone.Network, "forward", lambda *_: pytest.fail("a photo was tried"))
    made = backbone.blank(given, 3, learned=2)
    monkeypatch.undo()
    assert torch.equal(torch.get_rng_state(), drawn)
    assert made.training
    made.load_state_dict(built.state_dict())
    with torch.inference_mode():
        assert torch.equal(made.eval()(photos(64, 48)), built(photos(64, 48)))


@pytest.mark.timeout(20)
def test_who_draws_until_the_numbers_please_gets_real_ones():
    with backbone._NothingDrawn():
        numbers = torch.ones(5)
        while not (numbers.normal_() > 0).any():
            pass
        for low, high in ((-2.0, 2.0), (1.5, 2.0)):
            torch.nn.init.trunc_normal_(torch.ones(50), 0.0, 1.0, low, high)  # ends
    assert numbers.std() > 0
