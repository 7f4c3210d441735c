"""What a training is told: what its network learns by, and how the work is done."""

from __future__ import annotations

from dataclasses import dataclass

from models.declared import Settings, setting
from models.settings import ModelSettings
from pipeline.run.given import Given, some_of
from pipeline.run.settings import NETWORKS, RunStage
from pipeline.runtime.machine import PRECISIONS


@dataclass(frozen=True, kw_only=True)
class TrainingSettings(ModelSettings):
    """A network, its loss, and how it learns: with the photos, all that its weights follow from."""

    epochs: float = setting("How often each photo is seen; 6.5 is six epochs and a half.", above=0)
    batch_size: int = setting("Photos in a training step.", 32, least=1)
    sampling: str = setting(
        "all: every photo in its turn (and see --undersample). balanced: every class equally often, as many photos an "
        "epoch as there are; --undersample then does nothing.",
        "all",
        choices=("all", "balanced"),
    )
    extra_weight: float = setting(
        "How much a photo of the extra sets (--extra) counts in the loss, as a share of what it would count otherwise.",
        1.0,
        above=0,
    )
    lr: float = setting("Largest learning rate.", above=0)
    warmup: float = setting("Share of the steps over which the learning rate rises.", 0.1, least=0, most=1)
    schedule: str = setting(
        "What the learning rate does then: cosine (falls to zero), step (falls by --gamma now and then) or constant.",
        "cosine",
        choices=("cosine", "step", "constant"),
    )
    period: float = setting(
        "Epochs from the cosine's top to zero (0: the run's length), or between two steps (0: a third of it).",
        0.0,
        least=0,
    )
    gamma: float = setting("What each step of the schedule multiplies the learning rate by.", 0.1, above=0, most=1)
    patience: int = setting(
        "Stop early, after so many epochs without a better macro-F1 of the people held out; their scores are then "
        "optimistic and shown so. 0: never.",
        0,
        least=0,
    )
    weight_decay: float = setting("Weight decay, of all weights but norms and biases.", least=0)
    optimizer: str = setting(
        "Muon learns fastest from scratch, AdamW is usual for pretrained weights; each wants an --lr of its own.",
        "adamw",
        choices=("muon", "adamw", "adam", "radam"),
    )
    layer_decay: float = setting(
        "Learning rate of a layer as a share of the next one's, for pretrained weights.", 1.0, above=0, most=1
    )
    max_grad_norm: float = setting("Gradients are clipped to this norm.", 1.0, above=0)
    seed: int = setting(
        "Seed of the first weights, of the order of photos and of their augmentation.", 0, least=0, most=10**15
    )


@dataclass(frozen=True, kw_only=True)
class WorkSettings(Settings):
    """How the machine is used: nothing that a network learns by."""

    threads: int | None = setting(
        "Processor threads of each process's network; where it has several, one more augments.",
        None,
        least=1,
        usual="all cores, shared out",
    )
    share: int = setting("How many trainings share this machine's cores.", 1, least=1)
    processes: int = setting(
        "Processes of this machine that train together, sharing out each batch; with GPUs, one each.", 1, least=1
    )
    workers: int | None = setting("Loader processes beside each training one.", None, least=0, usual="by machine")
    precision: str | None = setting(
        "Number format in which the network trains.", None, choices=PRECISIONS, usual="by machine and backbone"
    )
    muon_precision: str | None = setting(
        "Number format of the matrix products of the optimizer Muon.", None, choices=PRECISIONS, usual="by machine"
    )
    channels_last: bool | None = setting(
        "Photos with their channels last in memory.", None, usual="by machine and backbone"
    )
    layers: str | None = setting(
        "faster: all those made faster for processors, where they fit; timm: its own alone. They differ by rounding.",
        None,
        choices=("faster", "timm"),
        usual="by machine and backbone",
    )
    checkpoint_steps: int | None = setting("A checkpoint every so many steps.", None, least=1, usual="by time alone")
    checkpoint_seconds: float | None = setting(
        "A checkpoint after so many seconds, beside the one after each epoch.", 60.0, above=0
    )
    log: str | None = setting(
        "Tell what comes out after each epoch to tensorboard too (an extra), in a folder of that name in the fold's.",
        None,
        choices=("tensorboard",),
        usual="log.csv alone",
    )


@dataclass(frozen=True, kw_only=True)
class Train(WorkSettings, RunStage):
    """What the stage train is told."""

    task: str = setting(
        "The specialist: mask (EfficientNet), gender (Swin) or age (ConvNeXt); or a rival: joint or multihead.",
        choices=NETWORKS,
        positional=True,
    )
    folds: str = setting("Which folds to train now: all, or numbers like 0,1.", "0")
    restart: bool = setting("Begin these folds anew; what was there is kept under a dated name.", False, flag=True)
    plan: bool = setting("Say how the machine would be used, and stop.", False, flag=True)
    training: Given[TrainingSettings] = some_of(TrainingSettings)
