"""One training by several processes: what they do by turns, and what they agree on. A training by one passes through.

Accelerate and torch do the work between them; torchrun, or `launch`, begins them.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar

from models.errors import UserError
from pipeline.runtime import ranks

if TYPE_CHECKING:
    from accelerate import PartialState

    from models.backbone import Network
    from pipeline.run.train_settings import TrainingSettings

T = TypeVar("T")
Agree = Callable[[int, bool], tuple[int, bool]]

FRESH = "TORCH_DISABLE_SHARE_RDZV_TCP_STORE"
"""In torchrun's environment: processes that are begun anew meet at a new place."""
PATIENCE = timedelta(days=1)
"""How long a process waits for the others: the first one prepares photos and judges networks alone. Who is lost is not
waited for: torchrun ends the others."""


def together() -> PartialState:
    """The processes of this training; the first call brings them together.

    Raises UserError as `check_gpus`, and where torchrun would begin them anew but have them meet at a place where they
    find one another's old addresses (as torch 2.15 has it), and wait for ever.
    """
    import torch
    from accelerate import PartialState

    check_gpus(ranks.on_this_machine())
    if int(os.environ.get("TORCHELASTIC_MAX_RESTARTS", 0)) and os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True":
        raise UserError(
            f"torchrun --max-restarts wants --rdzv-backend c10d and {FRESH}=1 in its environment on each machine, lest "
            f"processes that begin anew miss one another; give these, or --max-restarts 0."
        )
    if ranks.processes() > 1:  # of layers of one channel: both strides name the same memory
        warnings.filterwarnings("ignore", message="Grad strides do not match bucket view strides")
    if ranks.is_worker():  # as torchrun does for several of a machine; the training's plan has the last word
        os.environ.setdefault("OMP_NUM_THREADS", "1")
    return PartialState(cpu=not torch.cuda.is_available(), timeout=PATIENCE)


def dissolve() -> None:
    """The work that processes did together is done."""
    if ranks.processes() > 1:
        together().wait_for_everyone()
        leave_others()


def leave_others() -> None:
    """Let go of what holds processes together: with that still there, torch now and then aborts as it ends."""
    from torch import distributed

    if distributed.is_initialized():
        distributed.destroy_process_group()


def check_gpus(processes: int) -> None:
    """Raises UserError where so many processes of this machine cannot have a GPU each."""
    import torch

    if torch.cuda.is_available() and processes > torch.cuda.device_count():
        there = torch.cuda.device_count()
        raise UserError(
            f"{processes} processes on this machine want a GPU each, and it has {there}; begin at most {there} here, "
            f"as by NPROC={there} (--processes), or hide its GPUs (CUDA_VISIBLE_DEVICES=) to train on processors."
        )


def by_first(work: Callable[[], T]) -> T:
    """What some work gives in the first process, in all of them; raises there the UserError or OSError it raises."""
    if ranks.processes() == 1:
        return work()
    from accelerate.utils import broadcast_object_list

    together()
    told: list[T | Exception | None] = [None]
    if ranks.rank() == 0:
        try:
            told = [work()]
        except (UserError, OSError) as problem:
            told = [problem]
    broadcast_object_list(told)
    if isinstance(told[0], Exception):
        raise told[0]
    return told[0]


def first_then_all(work: Callable[[], T]) -> T:
    """Some work that leaves files, done in the first process, and then in the others, which find them."""
    done: list[T] = []
    by_first(lambda: done.append(work()))
    return done[0] if done else work()


def agreement(processes: int) -> Agree:
    """How processes agree after each step: (signal that asks to stop, or 0; whether a checkpoint is due) of each
    -> of all. The first alone has a say about checkpoints.

    Numbers in the processors' memory, so that no GPU is waited for.
    """
    if processes == 1:
        return lambda asked, due: (asked, due)
    import torch
    from torch import distributed

    group = None if distributed.get_backend() == "gloo" else distributed.new_group(backend="gloo", timeout=PATIENCE)

    def agree(asked: int, due: bool) -> tuple[int, bool]:
        told = torch.tensor([asked, due and ranks.rank() == 0])
        distributed.all_reduce(told, distributed.ReduceOp.MAX, group)
        return int(told[0]), bool(told[1])

    return agree


def differences(processes: int, device: str, network: Network, settings: TrainingSettings) -> str:
    """How many processes share each batch, and what is not as by one; empty for one."""
    if processes == 1:
        return ""
    from torch.nn.modules.batchnorm import _BatchNorm

    own = []
    if device == "cpu" and any(isinstance(layer, _BatchNorm) for layer in network.modules()):
        own.append("batch normalisation, which processors cannot share,")
    if getattr(settings, "loss", None) == "soft_f1":
        own.append("the loss soft_f1")
    told = f"; {processes} processes share each batch"
    return f"{told}: {' and '.join(own)} {'are' if own[1:] else 'is'} over each one's photos alone" if own else told
