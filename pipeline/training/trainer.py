"""Fits one network: the loop, averaged weights, checkpoints and processes.

What happens at a step depends on (seed, step) and the weights alone, so a run that was interrupted ends with
the same bytes as one that was not. Nothing is chosen by looking at validation people: the schedule is fixed and
the averaged weights at its end are the model. Only where `patience` asks for early stopping do they choose the
epoch, and every metric on them then has the caveat optimistic.
"""

from __future__ import annotations

import math
import signal
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from timm.utils import ModelEmaV3
from torch import Tensor

from models.backbone import Network
from models.errors import UserError
from models.task import Task
from pipeline.images.augment import Augmenter
from pipeline.run.train_settings import TrainingSettings
from pipeline.runtime import store
from pipeline.runtime.machine import Plan, settle
from pipeline.runtime.progress import Progress, duration
from pipeline.runtime.stopping import StoppedError, Stopping
from pipeline.scoring.caveats import caveat_suffix
from pipeline.training import checkpoints, muon, sampling
from pipeline.training.data import TrainingData, check_batch_size, photo_weights, rows_of_epoch
from pipeline.training.early_stopping import EarlyStopping
from pipeline.training.epoch_line import epoch_line, silent, whole
from pipeline.training.evaluation import evaluate, quick
from pipeline.training.fitted import fitted
from pipeline.training.loader import Loader, LoaderLostError
from pipeline.training.optimizer import optimizer_of
from pipeline.training.processes import agreement
from pipeline.training.schedule import learning_rate
from pipeline.training.tracker import accelerator_of, finish, track

HALF_LIFE = 0.05
"""Half-life of the averaged weights, as a share of the run's steps."""
CHECKPOINTS = (0, 60.0)
"""How often a checkpoint is written beside those after each epoch: steps (0: never for that), and seconds."""
FINITE_EVERY = 25
"""Steps between two looks at whether the loss is finite; looking makes a GPU wait."""


class Trainer:
    """Trains `network` to its end, from the checkpoint in `folder` where there is one.

    Parameters: `name` for what is printed; `often` as CHECKPOINTS; `caveats` of its
    validation scores (leaky), which stand in the lines and as columns of the log; `again` tells what to give to go on
    with a training that was stopped; `log` as `accelerator_of`. Raises UserError when the loss stops being finite, when
    not even one photo at a time fits into the GPU's memory, and when a loader process dies; StoppedError after SIGTERM
    or Ctrl-C, at the end of a step and with a checkpoint.
    """

    def __init__(
        self,
        task: Task,
        network: Network,
        data: TrainingData,
        settings: TrainingSettings,
        plan: Plan,
        folder: Path,
        name: str,
        often: tuple[int, float] = CHECKPOINTS,
        caveats: tuple[str, ...] = (),
        again: str = "the same command",
        log: str | None = None,
    ):
        self.often, self.caveats, self.again = often, caveats, again
        self.task, self.data, self.settings, self.plan = task, data, settings, plan
        self.folder, self.name = folder, name
        settle(plan)
        self.accelerator = accelerator_of(plan.device, folder, log)
        self.ranks, self.rank = self.accelerator.num_processes, self.accelerator.process_index
        self.agree = agreement(self.ranks)
        network = fitted(network, plan, self.ranks).to(self.accelerator.device)
        first_epoch = self.rows_of_epoch(0)
        photos_per_epoch = len(first_epoch)
        self.batch_size = min(settings.batch_size, photos_per_epoch)
        self.micro_batch_size = self.batch_size
        check_batch_size(name, self.batch_size, self.ranks)
        self.steps_per_epoch = sampling.epoch_steps(photos_per_epoch, self.batch_size)
        self.steps = sampling.steps_of(settings.epochs, self.steps_per_epoch)
        self.early = EarlyStopping(settings.patience)
        optimizer = optimizer_of(network, settings)
        decay = 0.5 ** (1 / max(1.0, HALF_LIFE * self.steps))
        self.average = ModelEmaV3(network, decay)
        self.network = network
        self.model, self.optimizer = self.accelerator.prepare(network, optimizer)
        device = self.accelerator.device
        self.targets = torch.from_numpy(data.targets)
        self.weights = torch.zeros(len(self.targets))
        self.weights[data.train] = photo_weights(task, data, self.targets, first_epoch, settings)
        self.targets, self.weights = self.targets.to(device), self.weights.to(device)
        self.step, self.over = 0, False
        self.epoch_started = time.monotonic()
        self.loss_sum = torch.zeros((), device=device)
        self.log: list[dict[str, float]] = []
        self.validation_logits: NDArray[np.float32] | None = None
        """Of the model, by the reference, where this process judged it."""

    @property
    def averaged(self) -> Network:
        """The network with the averaged weights."""
        return self.average.module

    @property
    def row(self) -> dict[str, float]:
        """The log's row about the averaged weights: its last, or under early stopping the best epoch's."""
        return self.log[-1 if self.early.best is None else self.early.best["row"]]

    def run(self) -> pd.DataFrame:
        """Train to the end; returns the log, one row per epoch."""
        self.epoch_started = time.monotonic()
        self._resume()
        epochs, seed = self.settings.epochs, self.settings.seed
        steps = [] if self.over else sampling.batches(
            self.rows_of_epoch, self.batch_size, epochs, seed, self.step, self.rank, self.ranks
        )  # fmt: skip
        augmenter = Augmenter(self.task.augmentation, seed)
        try:
            with Loader(self.data.every_pixel, augmenter, steps, self.plan, self.data.drawing) as loader:
                self._run(loader)
        except LoaderLostError as lost:
            raise UserError(
                f"{self.name}: {lost}; {self.again} goes on from the last checkpoint, --workers 0 does without such "
                f"processes."
            ) from None
        except ValueError as problem:
            if "more than 1 value per channel" not in str(problem):
                raise
            raise UserError(
                f"{self.name}: batch normalisation cannot learn from one photo of this size; give a larger "
                f"--batch-size, or larger photos, and --restart."
            ) from None
        if self.early.best is not None and self._leads():
            self.averaged.load_state_dict(self.early.best["weights"])
            print(
                f"{self.name}: the weights of epoch {whole(self.row['epoch'])} are the model{caveat_suffix(self.row)}",
                flush=True,
            )
        finish(self.accelerator)
        return pd.DataFrame(self.log)

    def _run(self, loader: Loader) -> None:
        saved = started = time.monotonic()
        first, total, done = self.step, self.steps * self.batch_size, self.step * self.batch_size
        with (
            Stopping(self.ranks > 1) as stop,
            Progress(self.name, total, "photos", done, quiet=not self._leads()) as progress,
        ):
            for pixels, rows in loader:
                self.train_step(pixels.to(self.accelerator.device, non_blocking=True), rows)
                self.step += 1
                ends = self.step % self.steps_per_epoch == 0 or self.step == self.steps
                asked, due = self.agree(stop.asked, self._is_time(time.monotonic() - saved))
                if self.step % FINITE_EVERY == 0 or ends:
                    self._check_finite()
                    progress.advance(0, f"loss {self.loss_sum.item() / self._steps_in():.3f}")
                if self.step - first == 20:
                    left = (time.monotonic() - started) / 20 * (self.steps - self.step)
                    progress.say(f"{self.name}: {self.steps} steps, about {duration(left)} to go")
                if ends:
                    self.end_epoch(progress)
                    saved = time.monotonic()
                elif asked or due:
                    self.save()
                    saved = time.monotonic()
                progress.advance(self.batch_size)
                if asked:
                    self.accelerator.wait_for_everyone()  # until the checkpoint is written
                    raise StoppedError(
                        f"{self.name}: stopped by {signal.Signals(asked).name} at step {self.step} of {self.steps}; "
                        f"{self.again} goes on there",
                        asked,
                    )
                if self.over:
                    break

    def _steps_in(self) -> int:
        """How many steps of the present epoch are done."""
        return self.step % self.steps_per_epoch or self.steps_per_epoch

    def _is_time(self, seconds: float) -> bool:
        """Whether a checkpoint is due, so many seconds after the last."""
        steps, most = self.often
        return seconds > most or (steps > 0 and self.step % steps == 0)

    def rows_of_epoch(self, epoch: int) -> NDArray[np.int64]:
        """The rows that an epoch sees, in no order."""
        return rows_of_epoch(self.task, self.data, self.settings, epoch)

    def _leads(self) -> bool:
        return self.rank == 0

    def train_step(self, pixels: Tensor, rows: Tensor) -> None:
        """One step on photos (B, H, W, 3), rows (B,) of the data."""
        settings, period = self.settings, self.settings.period * self.steps_per_epoch
        share = learning_rate(self.step, self.steps, settings.warmup, settings.schedule, period, settings.gamma)
        rate = settings.lr * share
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group.get("lr_scale", 1.0)
        self.model.train()
        while True:
            torch.manual_seed(((settings.seed * 1_000_003 + self.step) * self.ranks + self.rank) % 2**63)
            try:
                loss = self.gradients(pixels, rows)
                break
            except torch.OutOfMemoryError:
                self._halve()
        norm = self.accelerator.clip_grad_norm_(self.model.parameters(), settings.max_grad_norm)
        with muon.products_in(self.plan.muon_precision):
            self.optimizer.step()
        self.optimizer.zero_grad()
        # The weights after the first step are the first average (after Polyak and Juditsky, 1992).
        self.average.update(self.network, self.step + 1)
        self.loss_sum += loss + 0 * norm  # 0, or NaN when a gradient is not finite though the loss is

    def gradients(self, pixels: Tensor, rows: Tensor) -> Tensor:
        """Gradients of the whole batch, a micro-batch at a time; returns its loss.

        Of several processes each has a share, and the mean over the processes is that of the whole batch.
        """
        photos_each = len(rows) if self.ranks == 1 else self.batch_size / self.ranks
        total = torch.zeros((), device=self.accelerator.device)
        for start in range(0, len(rows), self.micro_batch_size):
            some = rows[start : start + self.micro_batch_size].to(self.accelerator.device, non_blocking=True)
            photos = pixels[start : start + self.micro_batch_size].permute(0, 3, 1, 2)
            with self.plan.autocast():
                logits = self.model(photos if self.plan.channels_last else photos.contiguous())
            loss = self.task.loss(logits, self.targets[some], self.weights[some])
            loss = loss * (len(some) / photos_each)
            self.accelerator.backward(loss)
            total += loss.detach()
        return total

    def _halve(self) -> None:
        self.optimizer.zero_grad()
        torch.cuda.empty_cache()
        if self.micro_batch_size == 1 or self.ranks > 1:
            raise UserError(
                f"{self.name}: the GPU's memory is full at {self.micro_batch_size} photos at a time; give a smaller "
                f"--batch-size, photo size or backbone."
            ) from None
        self.micro_batch_size = math.ceil(self.micro_batch_size / 2)
        print(
            f"{self.name}: the GPU's memory is full; now {self.micro_batch_size} photos at a time, same batch size.",
            flush=True,
        )

    def _check_finite(self) -> None:
        if not math.isfinite(self.loss_sum.item()):
            raise UserError(
                f"{self.name}: the loss is no longer finite at step {self.step} of {self.steps}; start again "
                f"with --restart and a smaller --lr (it was {self.settings.lr:g}) or a longer --warmup."
            )

    def evaluate(self) -> dict[str, float]:
        """The averaged weights on validation people, and on un-augmented train people; at the end as the reference."""
        last, plan = self.step == self.steps, quick(self.plan, self.settings.width)
        if last or self.early.patience:  # epochs are compared there, by one measure
            plan = replace(self.plan, precision="float32")
        metrics, logits = evaluate(self.task, self.averaged, self.data, plan)
        self.validation_logits = logits if last and not self.early.patience else None
        return metrics

    def end_epoch(self, progress: Progress) -> None:
        """Judge the averaged weights, tell and log what came out, write a checkpoint; with several processes, all."""
        seconds = time.monotonic() - self.epoch_started
        self.loss_sum = self.accelerator.reduce(self.loss_sum, "mean")
        if self._leads():
            steps = self._steps_in()
            whole_epoch = steps == self.steps_per_epoch
            epoch = self.step // self.steps_per_epoch if whole_epoch else self.step / self.steps_per_epoch
            row = {"epoch": epoch, "train_loss": self.loss_sum.item() / steps, **self.evaluate()}
            row |= dict.fromkeys(self.caveats, True)
            if self.early.patience:
                self.early.see(row["macro_f1"], len(self.log), self.averaged.state_dict())
                row["optimistic"] = True
            row["seconds"] = round(seconds, 2)
            self.log.append(row)
            track(self.accelerator, row, self.step)
            progress.say(f"{self.name}: {epoch_line(row, self.settings.epochs)}")
            if self.early.over and self.step < self.steps:
                progress.say(f"{self.name}: stops early: no better macro-F1 in {self.early.since} epochs")
        # Only the first process judges, and all must stop at the same step.
        self.over = bool(self.accelerator.reduce(self.loss_sum.new_tensor(self.early.over), "sum").item())
        self.loss_sum.zero_()
        self.epoch_started = time.monotonic()
        self.save()
        self._write_log()

    def _write_log(self) -> None:
        if self._leads() and self.log:
            store.write_csv(self.folder / "log.csv", pd.DataFrame(self.log))

    def save(self) -> None:
        """Write a checkpoint, which a training goes on from. Raises UserError where the loss is not finite."""
        self._check_finite()
        losses = self.accelerator.gather(self.loss_sum[None]).tolist()  # the loss of each process's shares
        if not self._leads():
            return
        state = {
            "step": self.step,
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "loss_sum": losses,
            "spent": time.monotonic() - self.epoch_started,
            "micro_batch_size": self.micro_batch_size,
            "log": self.log,
            "early": self.early.state(),
        }
        checkpoints.save(self.folder, self.step, state)

    def _resume(self) -> None:
        if self._leads():
            store.sweep(self.folder)
        say = print if self._leads() else silent
        state = checkpoints.agreed(self.folder, self.accelerator, lambda line: say(f"{self.name}: {line}"))
        if state is None:
            return
        try:
            self.network.load_state_dict(state["network"])
            self.average.load_state_dict(state["average"])
            self.optimizer.load_state_dict(state["optimizer"])
        except (RuntimeError, KeyError, ValueError) as other:
            raise UserError(
                f"{self.name}: the checkpoint in {self.folder} is of another network "
                f"({str(other).splitlines()[0]}); start again with --restart."
            ) from None
        self.step, self.log, losses = state["step"], state["log"], torch.tensor(state["loss_sum"]).flatten()
        if self.ranks == 1:  # several have as many micro-batches each, one
            self.micro_batch_size = state["micro_batch_size"]
        self.loss_sum.copy_(losses[self.rank] if len(losses) == self.ranks else losses.mean())
        self.epoch_started -= state["spent"]
        self.early.load(state["early"])
        self.over = self.early.over
        self._write_log()  # a run may have been killed between its checkpoint and its log
        say(f"{self.name}: goes on at step {self.step} of {self.steps}")
