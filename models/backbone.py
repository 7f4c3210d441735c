"""A timm backbone that takes photos as they are stored: uint8, normalised on the device they are on."""

from __future__ import annotations

import difflib
import os
import threading
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import timm
import torch
from torch import Tensor, nn

from models import depthwise
from models.errors import UserError

HUB_PATIENCE = 4.0
"""Seconds to wait for the weights hub before saying that it cannot be reached."""


class Network(nn.Module):
    """uint8 photos in, outputs (logits) out.

    Parameters: `mean` and `deviation` are per channel, of pixels scaled to 0..1; they are no weights and stand
    in the run's settings.
    """

    def __init__(self, backbone: nn.Module, mean: list[float], deviation: list[float]):
        super().__init__()
        self.backbone = backbone
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1) * 255, persistent=False)
        self.register_buffer("deviation", torch.tensor(deviation).view(1, 3, 1, 1) * 255, persistent=False)

    def begin_at(self, bias: Tensor) -> None:
        """Give the last layer small weights and this bias (outputs,).

        Some of timm's networks begin with outputs so large that early training goes into undoing them.
        """
        head = self.backbone.get_classifier()
        nn.init.trunc_normal_(head.weight, std=0.01)
        head.bias.data.copy_(bias)

    def forward(self, photos: Tensor) -> Tensor:
        """photos (N, 3, H, W) uint8 -> outputs (N, outputs)."""
        return self.backbone((photos.float() - self.mean) / self.deviation)


def build(settings: dict[str, Any], outputs: int, weights: str = "none") -> Network:
    """The network that `settings` describes (backbone, backbone_options, height, width, dropout, drop_path).

    `weights`: none (random, from torch's current seed), hub, or a folder of `<timm name>.safetensors` files.
    Raises UserError for an unknown backbone, a photo size it cannot take, or weights that cannot be had.
    """
    name = settings["backbone"]
    if not timm.is_model(name):
        near = difflib.get_close_matches(name, timm.list_models(), 3)
        hint = f"; near are {', '.join(near)}" if near else ""
        raise UserError(f"--backbone {name}: timm knows no such network{hint}.")
    options: dict[str, Any] = {"num_classes": outputs} | settings["backbone_options"]
    conv_stem, fan_in_init = options.pop("conv_stem", False), options.pop("fan_in_init", False)
    options |= {"drop_rate": settings["dropout"], "drop_path_rate": settings["drop_path"]}
    config = timm.get_pretrained_cfg(name)
    if config is not None and config.fixed_input_size:
        options["img_size"] = (settings["height"], settings["width"])
    try:
        if weights == "none":
            backbone = timm.create_model(name, pretrained=False, **options)
        elif weights == "hub":
            _reach_hub(name)
            backbone = timm.create_model(name, pretrained=True, **options)
        else:
            file = Path(weights) / f"{name}.safetensors"
            if not file.is_file():
                raise UserError(f"--weights {weights}: there is no {file.name} in it; put it there or use none.")
            backbone = timm.create_model(name, pretrained=True, pretrained_cfg_overlay={"file": str(file)}, **options)
        if conv_stem:
            _exchange_stem(backbone)
        if fan_in_init and weights == "none":
            scale_to_fan_in(backbone)
        depthwise.exchange(backbone)
        normalisation = timm.data.resolve_model_data_config(backbone)
        network = Network(backbone, list(normalisation["mean"]), list(normalisation["std"]))
        with torch.no_grad():  # many networks only find out at their first photo that it is too small
            network.eval()(torch.zeros(1, 3, settings["height"], settings["width"], dtype=torch.uint8))
    except UserError:
        raise
    except Exception as problem:  # timm raises whatever its networks and loaders raise
        raise UserError(
            f"the network {name} could not be made for photos of {settings['height']}x{settings['width']} "
            f"with weights {weights}: {_first_line(problem)}."
        ) from problem
    return network.train()


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


def _reach_hub(name: str) -> None:
    """Raises UserError unless the weights lie in the hub's local cache or the hub answers in time."""
    from huggingface_hub import constants, try_to_load_from_cache

    config = timm.get_pretrained_cfg(name)
    hub_id = config.hf_hub_id if config is not None else None
    if hub_id is None:
        raise UserError(f"--weights hub: the hub has no weights for {name}; use --weights none or a folder.")
    if any(
        isinstance(try_to_load_from_cache(hub_id, file), str) for file in ("model.safetensors", "pytorch_model.bin")
    ):
        return
    answered = threading.Event()

    def ask() -> None:
        try:
            urllib.request.urlopen(constants.ENDPOINT, timeout=HUB_PATIENCE).close()
            answered.set()
        except urllib.error.HTTPError:  # any answer is an answer
            answered.set()
        except OSError:  # told below, as not answered
            pass

    offline = os.environ.get("HF_HUB_OFFLINE", "").lower() in ("1", "true", "yes", "on")
    if not offline:
        # In a thread of its own, because looking a name up can outlast every timeout.
        asking = threading.Thread(target=ask, daemon=True)
        asking.start()
        asking.join(HUB_PATIENCE)
    if not answered.is_set():
        raise UserError(
            f"the weights hub cannot be reached for {hub_id}; use WEIGHTS=none (--weights none) to train from "
            f"scratch, or WEIGHTS=folder with {name}.safetensors in it."
        )
