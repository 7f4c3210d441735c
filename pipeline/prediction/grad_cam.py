"""Where in a photo a network's prediction rests: Grad-CAM (Selvaraju et al. 2017)."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from models.backbone import Network
from models.task import Task

AT_ONCE = 16
"""Photos that are looked at together."""


def looked_at(task: Task, network: Network, photos: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
    """By attribute that a network predicts, maps (N, H, W) from 0 to 1 of where its predictions rest.

    photos: (N, H, W, 3). Of the last feature map each channel counts by its mean gradient of what speaks for the
    prediction (`Task.evidence`); what speaks against it is left out. A map without anything is 0 everywhere. Nothing
    where the backbone's last features are no map, as a plain transformer's.
    """
    found: dict[str, list[NDArray[np.float32]]] = {}
    network.eval()
    for start in range(0, len(photos), AT_ONCE):
        some = photos[start : start + AT_ONCE]
        for name, maps in _looked_at(task, network, some).items():
            found.setdefault(name, []).append(maps)
    return {name: np.concatenate(maps) for name, maps in found.items()}


def _looked_at(task: Task, network: Network, photos: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
    height, width = photos.shape[1:3]
    pixels = torch.from_numpy(np.ascontiguousarray(photos)).permute(0, 3, 1, 2).float()
    with torch.no_grad():
        features = network.backbone.forward_features((pixels - network.mean) / network.deviation)
    if features.ndim != 4:
        return {}
    with torch.enable_grad():
        features.requires_grad_()
        logits = network.backbone.forward_head(features)
        if network.learned:
            logits = torch.cat([logits, network.backbone.learned.to(logits.dtype).expand(len(logits), -1)], 1)
        evidence = task.evidence(logits)
        gradients = {
            name: torch.autograd.grad(one.sum(), features, retain_graph=True)[0] for name, one in evidence.items()
        }
    channels_last = features.shape[-1] == network.backbone.num_features != features.shape[1]
    space, channel = ((1, 2), 3) if channels_last else ((2, 3), 1)
    found = {}
    for name, gradient in gradients.items():
        weight = gradient.mean(space, keepdim=True)
        small = (weight * features.detach()).sum(channel).clamp(min=0).numpy()
        maps = np.stack([cv2.resize(one, (width, height), interpolation=cv2.INTER_LINEAR) for one in small])
        most = maps.max((1, 2), keepdims=True)
        found[name] = np.divide(maps, most, out=np.zeros_like(maps), where=most > 0).astype(np.float32)
    return found
