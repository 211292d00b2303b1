"""The one loop that trains every task."""

from __future__ import annotations

import math
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import torch
from torch import nn

from luna.run.errors import EnvironmentFault, UsageError
from luna.run.machine.memory import is_out_of_memory, keep_freed_memory
from luna.run.machine.precision import exact_float32, tuned_kernels
from luna.run.stop import stoppable
from luna.train.batches import read_ahead
from luna.train.config import TrainConfig
from luna.train.metrics import Metrics
from luna.train.optimize import (
    Forward,
    forward_pass,
    learn,
    memory_format,
    new_optimizer,
    set_learning_rate,
)
from luna.train.ranks import Ranks
from luna.train.readout import Reading, Readout
from luna.train.resident import kept_in_memory
from luna.train.runs import Run, State, diverged
from luna.train.tasks import Data, Task, blocks_of
from luna.train.trainer import Trainer, augmented, batches_of, forward
from luna.train.validation import validate

SIGNALLED = 128
"""Exit codes of signals start here: 130 for Ctrl-C, 143 for SIGTERM, as the shell has it."""


def train(
    task: Task,
    data: Data,
    net: nn.Module,
    config: TrainConfig,
    device: torch.device,
    run: Run,
    ranks: Ranks | None = None,
) -> Metrics:
    """Train a network from the state of its run, and return the best validation's metrics.

    Ranks that do not lead return none. Randomness depends on the seed and the number of the step
    alone, so a resumed run gives the same numbers.

    Raises DivergedError when the loss is not finite, EnvironmentFault when the device does not
    have enough memory, and SystemExit after saving when SIGTERM (143) or Ctrl-C (130) comes.
    """
    keep_freed_memory()
    ranks = ranks or Ranks()
    steps = steps_of(task, data, config, ranks.count)
    with _explained_memory():
        kept = kept_in_memory(data.train, config.resident_gib, device)
    trainer = Trainer(task, replace(data, train=kept), config, device, ranks, run, steps)
    layout = memory_format(net, config)
    net = net.to(device).to(memory_format=layout)  # type: ignore[call-overload]
    state = run.restore(
        State(net, new_optimizer(net, config)),
        trainer.ranks,
        epochs=config.epochs,
        steps=trainer.steps,
        columns=len(task.columns),
    )
    trained = forward_pass(trainer.ranks.wrap(net, device), config)
    with stoppable(trainer.stop), _explained_memory(), exact_float32(config.precision == "tf32"):
        while state.epoch < config.epochs:
            metrics = {"train": _train_epoch(trainer, state, trained)}
            if config.validates(state.epoch + 1):
                found = validate(trainer, state.epoch, net)
                if found is None:
                    raise _stopped(trainer, state)
                metrics["validation"] = found
            state.finish_epoch()
            if trainer.ranks.leads:
                run.keep(state, metrics, trainer.best_by)
    if trainer.ranks.leads and run.board is not None:
        run.board.settings(run.settings, state.best)
    # Others know the best from a checkpoint only, and nobody should print it twice.
    return dict(state.best) if trainer.ranks.leads else {}


def _train_epoch(trainer: Trainer, state: State, net: Forward) -> Metrics:
    """Train for the rest of the epoch in which the state stands, and return its metrics."""
    task, config = trainer.task, trainer.config
    _set_training_mode(state.net)
    batches = batches_of(trainer, state)
    _report_progress(trainer, state)
    readout = Readout(config.batch_size)
    for batch, waited_s in read_ahead(trainer.data.train, batches, config.threads, trainer.device):
        step = state.epoch * trainer.steps + state.step
        rate = set_learning_rate(state.optimizer, step, trainer.steps * config.epochs, config)
        hu, target = augmented(trainer, batch, step)
        with tuned_kernels(trainer.device):
            logits = forward(trainer, net, hu)
            losses = task.loss(logits, target)
            readout.send(step, rate, waited_s, _mean_over_ranks(trainer, losses))
            stopping = _log(trainer, readout.readings())
            learn(state.net, state.optimizer, losses, config)
        state.add(task.rows(logits.detach(), target, losses.detach(), config.threshold))
        _report_progress(trainer, state)
        if stopping:
            raise _stopped(trainer, state, readout)
        if state.step % config.save_every == 0:
            _save(trainer, state, readout)
    _log(trainer, readout.readings(rest=True))
    state.collect(trainer.ranks)
    _refuse_broken(trainer, state)
    return task.metrics(state.earlier, config.threshold)


def _mean_over_ranks(trainer: Trainer, losses: torch.Tensor) -> torch.Tensor:
    """Return the mean loss over all ranks, and above 0 when one of them is to stop: (2,)."""
    # Filled where it lies: a value that is moved there would be waited for.
    stopping = losses.new_full((), float(trainer.stop.signal))
    return trainer.ranks.mean(torch.stack([losses.detach().mean(), stopping]))


def _log(trainer: Trainer, readings: Sequence[Reading]) -> bool:
    """Log the steps whose losses have come, and return whether the run is to stop.

    Raises DivergedError for a loss that is not finite.
    """
    for reading in readings:
        if not math.isfinite(reading.loss):
            raise diverged(reading.step, trainer.run.folder)
        if trainer.ranks.leads:
            trainer.run.log_step(reading.step, reading.rate, reading.loss, reading.speed)
    return any(reading.stopping for reading in readings)


def _report_progress(trainer: Trainer, state: State) -> None:
    """Report how many samples of the epoch are done."""
    done, total = (steps * trainer.config.batch_size for steps in (state.step, trainer.steps))
    trainer.run.listener.progress(f"epoch {state.epoch + 1}", done, total)


def _set_training_mode(net: nn.Module) -> None:
    """Set training mode, but not for frozen blocks: their batch norm keeps its statistics too."""
    net.train()
    for block in blocks_of(net):
        if not any(p.requires_grad for p in block.parameters()):
            block.eval()


def _save(trainer: Trainer, state: State, readout: Readout) -> None:
    """Save the newest checkpoint, once every loss up to it is known to be finite."""
    _log(trainer, readout.readings(rest=True))
    state.collect(trainer.ranks)
    _refuse_broken(trainer, state)
    if trainer.ranks.leads:
        trainer.run.save(state)


def _stopped(trainer: Trainer, state: State, readout: Readout | None = None) -> SystemExit:
    """Save, and return what ends a run that a signal asked to stop, on whichever rank."""
    _save(trainer, state, readout or Readout(trainer.config.batch_size))
    return SystemExit(SIGNALLED + (trainer.stop.signal or signal.SIGTERM))


def _refuse_broken(trainer: Trainer, state: State) -> None:
    """Raise DivergedError, before anything is saved, when a weight is not finite.

    A finite loss can have a gradient that is not.
    """
    weights = [value for value in state.net.state_dict().values() if value.is_floating_point()]
    if not torch.stack([value.isfinite().all() for value in weights]).all():
        raise diverged(state.epoch * trainer.steps + state.step, trainer.run.folder)


def steps_of(task: Task, data: Data, config: TrainConfig, count: int = 1) -> int:
    """Return the steps of an epoch; samples that do not fill a batch are left to other epochs.

    Raises UsageError when the numbers leave nothing to do or do not divide by `count` processes.
    """
    size, samples = config.batch_size, len(data.order(0))
    if size % count:
        raise UsageError(f"batch_size is {size}, no multiple of {count} processes")
    if samples < size:
        raise UsageError(f"an epoch of {samples} samples does not fill a batch of {size}")
    if len(data.validation) < count:
        raise UsageError(
            f"there are {len(data.validation)} samples to validate on, too few",
            hint="prepare more scans, or use more of them for validation: --set split.stride=…",
        )
    # One row of zeros, wide enough for every task, tells the names.
    if config.best_by != "auto" and config.best_by not in task.metrics(np.zeros((1, 4)), 0.5):
        raise UsageError(f"best_by is {config.best_by}, but task {task.role} has no such metric")
    return samples // size


@contextmanager
def _explained_memory() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        raise EnvironmentFault(
            "the device does not have enough memory",
            why=str(error).partition("\n")[0],
            hint="lower batch_size, validation_batch_size or resident_gib of train, with --set",
        ) from error
