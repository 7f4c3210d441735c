"""The settings of the stage train: what a network learns by, and how the work is done."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from models.errors import unknown
from pipeline.run import setting_rules
from pipeline.run.settings import Flag, MaybeNumber, MaybeText, MaybeWhole, RunSettings, given_settings
from pipeline.runtime.machine import PRECISIONS


@dataclass(frozen=True, kw_only=True)
class Train(RunSettings):
    task: Positional[Literal["mask", "gender", "age", "joint", "multihead"]]
    """The specialist: mask (EfficientNet), gender (Swin) or age (ConvNeXt); or a rival: joint or multihead."""
    folds: str = "0"
    """Which folds to train now: all, or numbers like 0,1."""
    restart: Flag = False
    """Begin these folds anew; what was there is kept under a dated name."""
    threads: MaybeWhole = None
    """Processor threads (default: all cores, shared out)."""
    share: MaybeWhole = None
    """How many trainings share this machine's cores (default: 1)."""
    workers: MaybeWhole = None
    """Loader processes beside the training one (default: by machine)."""
    precision: MaybeText = None
    """float32, or bfloat16 where the network allows it (default: by machine and backbone)."""
    muon_precision: MaybeText = None
    """float32 or bfloat16, of Muon's matrix products (default: by machine)."""
    channels_last: Annotated[Literal["yes", "no"] | None, arg(metavar="{yes,no}", help_behavior_hint="")] = None
    """Photos with their channels last in memory (default: by machine and backbone)."""
    plan: Flag = False
    """Say how the machine would be used, and stop."""
    checkpoint_steps: MaybeWhole = None
    """A checkpoint every so many steps (default: by time alone)."""
    checkpoint_seconds: MaybeNumber = None
    """And after so many seconds (default: 60), beside the one after each epoch."""
    epochs: MaybeNumber = None
    """How often each photo is seen; 6.5 is six epochs and a half."""
    batch_size: MaybeWhole = None
    """Photos a step."""
    sampling: MaybeText = None
    """all: every photo in its turn (and see --undersample). balanced: every class equally often, as many photos an
    epoch as there are; --undersample then does nothing."""
    lr: MaybeNumber = None
    """Largest learning rate."""
    warmup: MaybeNumber = None
    """Share of the steps over which the learning rate rises."""
    schedule: MaybeText = None
    """What the learning rate does then: cosine (falls to zero), step (falls by --gamma now and then) or constant."""
    period: MaybeNumber = None
    """Epochs from the cosine's top to zero (0: the run's length), or between two steps (0: a third of it)."""
    gamma: MaybeNumber = None
    """What each step of the schedule multiplies the learning rate by."""
    patience: MaybeWhole = None
    """Stop early, after so many epochs without a better macro-F1 of the people held out; their scores are then
    optimistic and shown so. 0: never."""
    weight_decay: MaybeNumber = None
    """On all but norms and biases."""
    optimizer: MaybeText = None
    """muon, adamw, adam or radam. Muon learns fastest from scratch, AdamW is usual for pretrained weights; each wants
    an --lr of its own."""
    layer_decay: MaybeNumber = None
    """Learning rate of a layer as a share of the next one's, for pretrained weights."""
    max_grad_norm: MaybeNumber = None
    """Largest norm of the gradient."""
    dropout: MaybeNumber = None
    """Before the last layer."""
    drop_path: MaybeNumber = None
    """Stochastic depth."""
    backbone: MaybeText = None
    """Another timm backbone."""
    backbone_options: MaybeText = None
    """Settings of the timm backbone, as JSON."""
    height: MaybeWhole = None
    """Photo height in pixels."""
    width: MaybeWhole = None
    """Photo width in pixels."""
    seed: MaybeWhole = None
    """Of first weights, order and augmentation."""
    loss: MaybeText = None
    """Of classes: cross_entropy, focal (easy photos count little), or soft_f1 (macro-F1 of the batch)."""
    smoothing: MaybeNumber = None
    """Label smoothing, of cross_entropy and focal."""
    focal_gamma: MaybeNumber = None
    """How strongly focal turns from easy photos to hard ones; 0 is cross_entropy."""
    class_balance: MaybeNumber = None
    """Mask: 0 counts every photo of an epoch the same, 1 every class."""
    undersample: MaybeNumber = None
    """Mask: in an epoch, at most this many times the rarest class's photos; the others take turns. 0: all."""
    age_loss: MaybeText = None
    """Age: distribution (over the years), or plain regression: l1 or mse."""
    age_spread: MaybeNumber = None
    """Age: deviation in years of the soft labels."""
    rare_ages: MaybeNumber = None
    """Age: power of the weight for rare ages, 0 none to 1 full."""
    age_scale: MaybeNumber = None
    """Age: the unit, in years, in which plain regression learns."""
    age_head: MaybeText = None
    """Multihead: its age head predicts years or bands."""
    head_balance: MaybeText = None
    """Multihead: its three losses add up by uncertainty (each with a weight that is learned), or as a plain sum."""
    mask_weight: MaybeNumber = None
    """Multihead: of the mask's loss."""
    gender_weight: MaybeNumber = None
    """Multihead: of gender's loss."""
    age_weight: MaybeNumber = None
    """Multihead: of the age's loss."""

    def __post_init__(self) -> None:
        super().__post_init__()
        setting_rules.check_values(given_settings(self))
        for name in ("precision", "muon_precision"):
            if (given := getattr(self, name)) is not None and given not in PRECISIONS:
                raise unknown(name.replace("_", "-"), given, PRECISIONS)
