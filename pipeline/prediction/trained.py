"""A fold's network with the weights that it was trained to."""

from __future__ import annotations

from safetensors import SafetensorError
from safetensors.torch import load_file

from models import backbone
from models.backbone import Network
from models.errors import UserError
from models.task import Task
from models.tasks import build_task
from models.weight_files import weights_fault
from pipeline.run.fold_records import WEIGHTS, BegunFold


def trained_network(fold: BegunFold) -> tuple[Task, Network]:
    """A fold's task and network, with the weights that it was trained to. Raises UserError where its files
    are damaged."""
    one = build_task(fold.task, fold.settings)
    network = backbone.blank(fold.settings, one.num_logits, one.learned)
    load_weights(network, fold)
    return one, network


def load_weights(network: Network, fold: BegunFold) -> None:
    """Give a network the weights that a fold was trained to. Raises UserError where these are damaged or another's."""
    file = fold.folder / WEIGHTS
    try:
        network.load_state_dict(load_file(file))
    except FileNotFoundError:
        raise UserError(f"{file} is missing; train it again with --restart.") from None
    except (SafetensorError, RuntimeError) as damage:
        fault = weights_fault(file)
        if fault is not None:
            raise UserError(f"{file} {fault[0]}; {fault[1]}, or train it again with --restart.") from None
        raise UserError(
            f"{file} is damaged or of another network ({str(damage).splitlines()[0]}); train it again with --restart."
        ) from None
