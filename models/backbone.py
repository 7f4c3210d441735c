"""A timm backbone that takes photos as they are stored: uint8, normalised on the device they are on."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import timm
import torch
from torch import Tensor, nn
from torch.nn import init
from torch.overrides import TorchFunctionMode

from models.errors import UserError, nearest
from models.pretrained import check_taken, check_weights, reach_hub
from models.settings import ModelSettings

STEP, LARGEST = 32, 4096
"""Photo sizes that most networks take are multiples of STEP pixels; none is larger than LARGEST."""


class Network(nn.Module):
    """uint8 photos in, logits out.

    Parameters: `learned` numbers follow the logits of every photo, zero at first and learned with the weights;
    `mean` and `deviation` are per channel, of pixels scaled to 0..1; they are no weights and stand
    in the run's settings.
    """

    def __init__(self, backbone: nn.Module, mean: list[float], deviation: list[float], learned: int = 0):
        super().__init__()
        self.backbone = backbone
        if learned:  # of the backbone, so that every optimizer finds it
            backbone.learned = nn.Parameter(torch.zeros(learned))
        self.learned = learned
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1) * 255, persistent=False)
        self.register_buffer("deviation", torch.tensor(deviation).view(1, 3, 1, 1) * 255, persistent=False)

    def begin_at(self, bias: Tensor) -> None:
        """Give the last layer small weights and this bias (num_logits,).

        Some of timm's networks begin with logits so large that early training goes into undoing them.
        """
        head = self.backbone.get_classifier()
        nn.init.trunc_normal_(head.weight, std=0.01)
        head.bias.data.copy_(bias)

    def forward(self, photos: Tensor) -> Tensor:
        """photos (N, 3, H, W) uint8 -> logits (N, num_logits + learned)."""
        logits = self.backbone((photos.float() - self.mean) / self.deviation)
        if not self.learned:
            return logits
        return torch.cat([logits, self.backbone.learned.to(logits.dtype).expand(len(logits), -1)], 1)


def build(settings: ModelSettings, num_logits: int, weights: str = "none", learned: int = 0) -> Network:
    """The network that `settings` describes (backbone, backbone_options, height, width, dropout, drop_path).

    `weights`: none (random, from torch's current seed), hub, or a folder of `<timm name>.safetensors` files;
    `learned`: see Network. Raises UserError for an unknown backbone, a photo size it cannot take (naming one that it
    takes), or weights that cannot be had.
    """
    name = _known(settings.backbone)
    size = (settings.height, settings.width)
    try:
        network = _assembled(settings, size, num_logits, weights, learned)
    except UserError:
        raise
    except Exception as problem:  # timm raises whatever its networks and loaders raise
        fitting = _fitting_size(settings, size, num_logits)
        if fitting is not None:
            height, width = fitting
            raise UserError(
                f"the network {name} cannot take photos of {size[0]}x{size[1]}; {height}x{width} works: "
                f"--height {height} --width {width}."
            ) from problem
        if isinstance(problem, RuntimeError) and "loading state_dict" in str(problem):
            raise UserError(
                f"--weights {weights}: {name}.safetensors in it does not fit that network "
                f"({str(problem).splitlines()[-1].strip().rstrip('.')}); put its weights there as timm publishes them, "
                f"or use hub or none."
            ) from problem
        raise UserError(
            f"the network {name} could not be made for photos of {size[0]}x{size[1]} with weights {weights}: "
            f"{_first_line(problem)}."
        ) from problem
    return network.train()


def blank(settings: ModelSettings, num_logits: int, learned: int = 0) -> Network:
    """The network that `build` made once, for weights that are about to be loaded: none drawn, no photo tried.

    Raises UserError where this timm cannot make it.
    """
    name, size = _known(settings.backbone), (settings.height, settings.width)
    try:
        with _NothingDrawn():
            return _unproven(settings, size, num_logits, "none", learned).train()
    except UserError:
        raise
    except Exception as problem:  # timm raises whatever its networks raise
        raise UserError(
            f"the network {name} cannot be made here as it was trained, by timm {timm.__version__}: "
            f"{_first_line(problem)}."
        ) from problem


def _known(name: str) -> str:
    """The name of a backbone. Raises UserError for one that timm does not know."""
    if not timm.is_model(name):
        near = nearest(name, timm.list_models())
        raise UserError(f"--backbone {name}: timm knows no such network{f'; {near}' if near else ''}.")
    return name


class _NothingDrawn(TorchFunctionMode):
    """Zeros in the place of random numbers, which take longer than all else that makes a network.

    What draws again until the numbers please it gets real ones.
    """

    DRAWS = frozenset(
        {Tensor.uniform_, Tensor.normal_, Tensor.erfinv_, init.uniform_, init.normal_, init.kaiming_uniform_}
    )

    def __init__(self) -> None:
        super().__init__()
        self._last: Tensor | None = None

    def __torch_function__(
        self, function: Callable, types: Sequence[type], given: tuple = (), named: Mapping[str, Any] | None = None
    ) -> Any:
        named = named or {}
        if function in self.DRAWS:
            tensor = given[0] if given else named["tensor"]
            if tensor is not self._last:
                self._last = tensor
                with torch.no_grad():
                    return tensor.zero_()
        return function(*given, **named)


def _assembled(
    settings: ModelSettings, size: tuple[int, int], num_logits: int, weights: str, learned: int = 0
) -> Network:
    """The network at a photo size, having taken one photo; raises UserError, or whatever timm raises."""
    network = _unproven(settings, size, num_logits, weights, learned)
    with torch.no_grad():  # many networks only find out at their first photo that it is too small
        network.eval()(torch.zeros(1, 3, *size, dtype=torch.uint8))
    return network


def _unproven(
    settings: ModelSettings, size: tuple[int, int], num_logits: int, weights: str, learned: int = 0
) -> Network:
    """The network at a photo size; raises UserError, or whatever timm raises."""
    name = settings.backbone
    options: dict[str, Any] = {"num_classes": num_logits, **settings.backbone_options}
    conv_stem, fan_in_init = options.pop("conv_stem", False), options.pop("fan_in_init", False)
    options |= {"drop_rate": settings.dropout, "drop_path_rate": settings.drop_path}
    config = timm.get_pretrained_cfg(name)
    if config is not None and config.fixed_input_size:
        options["img_size"] = size
    if weights == "hub":
        reach_hub(name)
    elif weights != "none":
        file = Path(weights) / f"{name}.safetensors"
        check_weights(file, weights)
        options["pretrained_cfg_overlay"] = {"file": str(file)}
    try:
        backbone = timm.create_model(name, pretrained=weights != "none", **options)
    except TypeError:
        del options["drop_path_rate"]
        backbone = timm.create_model(name, pretrained=weights != "none", **options)  # another fault is raised here
        if settings.drop_path > 0:
            raise UserError(f"--drop-path {settings.drop_path}: {name} has no paths to drop; give 0.") from None
    if weights not in ("none", "hub"):
        check_taken(backbone, file, weights)
    if conv_stem:
        _exchange_stem(backbone)
    if fan_in_init and weights == "none":
        scale_to_fan_in(backbone)
    normalisation = timm.data.resolve_model_data_config(backbone)
    network = Network(backbone, list(normalisation["mean"]), list(normalisation["std"]), learned)
    head = backbone.get_classifier()
    if not (isinstance(head, nn.Linear) and head.out_features == num_logits and head.bias is not None):
        raise UserError(f"--backbone {name}: its last layer is not a single linear one; take another backbone.")
    return network


def sizes_near(height: int, width: int) -> list[tuple[int, int]]:
    """Photo sizes in multiples of 32 of about the same aspect, from the next larger one on to sides of 256 or more."""
    sizes = [(math.ceil(height / STEP) * STEP, math.ceil(width / STEP) * STEP)]
    short = min(height, width)
    for side in range(min(sizes[0]), 256 + STEP, STEP):  # of the shorter side
        sizes.append(tuple(round(given / short * side / STEP) * STEP for given in (height, width)))
    return [size for size in dict.fromkeys(sizes) if max(size) <= LARGEST]


def _fitting_size(settings: ModelSettings, size: tuple[int, int], num_logits: int) -> tuple[int, int] | None:
    """A photo size that the network takes, where it does not take this one; None where its size is not the matter."""

    def takes(height: int, width: int) -> bool:
        try:
            _assembled(settings, (height, width), num_logits, "none")
        except Exception:  # as above
            return False
        return True

    if takes(*size):
        return None
    config = timm.get_pretrained_cfg(settings.backbone)
    own = [] if config is None else [tuple(config.input_size[1:])]
    return next((near for near in [*sizes_near(*size), *own] if takes(*near)), None)


def scale_to_fan_in(backbone: nn.Module) -> None:
    """Draw the weights of convolutions and linear layers anew, with deviation 1 / sqrt(inputs) (LeCun et al. 1998).

    Transformers and ConvNeXts are given 0.02, which suits their usual width; narrow ones would begin with
    their blocks as good as switched off and need hundreds of steps to grow them.
    """
    for layer in backbone.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.trunc_normal_(layer.weight, std=layer.weight[0].numel() ** -0.5)


def _exchange_stem(backbone: nn.Module) -> None:
    """Put a convolutional stem in place of the 4x4 patches of a Swin or a ConvNeXt."""
    if hasattr(backbone, "patch_embed"):
        backbone.patch_embed.proj = convolutional_stem(backbone.patch_embed.proj.out_channels)
    else:
        backbone.stem = nn.Sequential(convolutional_stem(backbone.stem[0].out_channels), backbone.stem[-1])


def convolutional_stem(channels: int) -> nn.Sequential:
    """Four small convolutions in place of 4x4 patches: (N, 3, H, W) -> (N, channels, H/4, W/4).

    Transformers learn much faster from scratch with such a stem (Xiao et al. 2021).
    """
    half = channels // 2
    layers: list[nn.Module] = []
    for before, after, stride in ((3, half, 2), (half, channels, 2), (channels, channels, 1)):
        layers += [nn.Conv2d(before, after, 3, stride, 1, bias=False), nn.BatchNorm2d(after), nn.GELU()]
    return nn.Sequential(*layers, nn.Conv2d(channels, channels, 1))


def _first_line(problem: Exception) -> str:
    return (str(problem).strip().splitlines() or [type(problem).__name__])[0].rstrip(".")
