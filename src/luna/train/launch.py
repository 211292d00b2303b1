"""Start a run in a new folder, or resume one."""

from __future__ import annotations

import json
import os
import shlex
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Protocol, TypeVar

import torch
from torch import nn

from luna.nets.card import Card
from luna.run.config import dump_config, flat, load_config
from luna.run.errors import EnvironmentFault, InputError, TrustError, UsageError
from luna.run.files import read_plain, replace_file
from luna.run.folders import check_folder, held_folder
from luna.run.machine.precision import refuse_absent
from luna.run.progress import SILENT, Listener
from luna.run.record import record_run, write_record
from luna.train.board.events import Board
from luna.train.config import TrainConfig
from luna.train.loop import steps_of, train
from luna.train.metrics import Metrics
from luna.train.ranks import Ranks, joined_ranks
from luna.train.runs import CONFIG, RECORD, Run, last_checkpoint
from luna.train.tasks import Data, Task, start_from

RECORD_BYTES_MAX = 1 << 24


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """A task, its samples, and a new network, made from prepared data by a recipe.

    `card` describes the network; the run adds its name and metrics. `init` is the bundle whose
    tensors the network starts from.
    """

    task: Task
    data: Data
    net: nn.Module
    card: Card
    fingerprint: str
    init: Path | None = None

    def initialise(self) -> None:
        """Fill the network from `init`, if any. Raises what `start_from` raises."""
        if self.init is not None:
            start_from(self.init, self.net, self.card.architecture)


class Recipe(Protocol):
    """A root of configuration that can be trained, and the command that does it."""

    command: ClassVar[str]

    @property
    def train(self) -> TrainConfig: ...

    def job(self, cache: Path) -> Job:
        """The samples in a cache that `luna prep` filled, and a new network."""
        ...


R = TypeVar("R", bound=Recipe)


def start(
    recipe: Recipe,
    cache: Path,
    runs: Path,
    name: str,
    device: torch.device,
    command: Sequence[str] = (),
    listener: Listener = SILENT,
) -> tuple[Path, Metrics]:
    """Train in a new folder `runs/<task>-<time>-<name>`; return it and the best metrics.

    Raises what `train` raises, and UsageError for a name that is no plain folder name.
    """
    if not name or Path(name).name != name or name.startswith("."):
        raise UsageError(f"{name!r} cannot be part of a folder's name", hint="choose a plain word")
    refuse_without_float64(device)
    config = dump_config(recipe)
    refuse_absent(device, recipe.train.precision)
    with joined_ranks(device) as ranks, ExitStack() as stack:
        torch.manual_seed(recipe.train.seed)
        job = recipe.job(cache)
        job.initialise()
        began = time.strftime("%Y%m%d-%H%M%S", time.gmtime(ranks.of_first(int(time.time()))))
        folder = runs / f"{job.task.role}-{began}-{name}"
        if ranks.leads:
            stack.enter_context(
                held_folder(folder, force=False, option="--runs", warn=listener.warn)
            )
            _write_down(recipe, config, job, cache, folder, device, command)
        ranks.wait()
        return folder, _go(recipe, job, folder, name, device, ranks, listener)


def refuse_without_float64(device: torch.device) -> None:
    """Raise EnvironmentFault for a device on which augmentation and metrics cannot be exact."""
    if device.type == "mps":
        raise EnvironmentFault(
            "luna does not train on mps",
            why="Apple's GPUs have no float64, in which samples are changed and judged",
            hint="train with --device cpu; luna diagnose runs on mps",
        )


def plan(recipe: Recipe, cache: Path, runs: Path) -> list[str]:
    """Return in lines what `start` would do; the data is read, nothing is written."""
    job = recipe.job(cache)
    job.initialise()
    steps = steps_of(job.task, job.data, recipe.train)
    check_folder(runs, force=True, option="--runs")
    parameters = sum(p.numel() for p in job.net.parameters() if p.requires_grad)
    return [
        f"would train {job.task.role}: {job.card.training_data}",
        f"{recipe.train.epochs} epochs of {steps} steps of {recipe.train.batch_size} samples, "
        f"validated on {len(job.data.validation)}",
        f"{parameters} parameters learn",
        f"and write to {runs}",
    ]


def resume(
    folder: Path, root: type[R], device: torch.device, listener: Listener = SILENT
) -> Metrics:
    """Resume a run from its newest good checkpoint, and return the best metrics.

    The checkpoint holds every tensor: a bundle that the run started from may have gone.
    Raises InputError when the folder holds no run, TrustError when its data has changed.
    """
    if not (folder / CONFIG).is_file() or not (folder / RECORD).is_file():
        raise InputError("no run in this folder", file=folder, why=f"no {CONFIG} and {RECORD}")
    data = _recorded_data(folder / RECORD)
    if data["command"] != root.command:
        raise UsageError(
            f"a run of luna {data['command']}",
            file=folder,
            hint=f"luna {data['command']} --resume {shlex.quote(str(folder))}",
        )
    refuse_without_float64(device)
    recipe = load_config(root, folder / CONFIG)
    refuse_absent(device, recipe.train.precision)
    with joined_ranks(device) as ranks, ExitStack() as stack:
        if ranks.leads:
            stack.enter_context(
                held_folder(folder, force=True, option="--runs", warn=listener.warn)
            )
        torch.manual_seed(recipe.train.seed)
        job = recipe.job(Path(data["cache"]))
        if job.fingerprint != data["fingerprint"]:
            raise TrustError(
                "the data is not what this run began with",
                file=Path(data["cache"]),
                why=f"fingerprint {job.fingerprint[:12]}, not {data['fingerprint'][:12]}",
                hint="prepare the same cohort again, or start a new run",
            )
        if last_checkpoint(folder) is None:
            job.initialise()
        name = folder.name.split("-", 3)[-1]
        return _go(recipe, job, folder, name, device, ranks, listener)


def _go(
    recipe: Recipe,
    job: Job,
    folder: Path,
    name: str,
    device: torch.device,
    ranks: Ranks,
    listener: Listener,
) -> Metrics:
    card = replace(job.card, name=name, source=f"trained by luna in {folder.name}")
    listener = listener if ranks.leads else SILENT
    board = Board(folder / "events") if ranks.leads else None
    run = Run(folder=folder, card=card, settings=flat(recipe), board=board, listener=listener)
    listener.note(f"run: {folder}")
    try:
        return train(job.task, job.data, job.net, recipe.train, device, run, ranks)
    except SystemExit:
        again = shlex.join(["luna", recipe.command, "--resume", str(folder)])
        listener.note(f"saved; continue with: {again}")
        raise


def _write_down(
    recipe: Recipe,
    config: str,
    job: Job,
    cache: Path,
    folder: Path,
    device: torch.device,
    command: Sequence[str],
) -> None:
    with replace_file(folder / CONFIG) as temporary:
        temporary.write_text(config, encoding="utf-8")
    data = {
        "cache": os.path.abspath(cache),  # noqa: PTH100
        "fingerprint": job.fingerprint,
        "command": recipe.command,
    }
    record = record_run(command, config, str(device), recipe.train.seed, data)
    write_record(record, folder / RECORD)


def _recorded_data(path: Path) -> dict[str, str]:
    try:
        data = json.loads(read_plain(path, RECORD_BYTES_MAX).decode())["data"]
        return {name: str(data[name]) for name in ("cache", "fingerprint", "command")}
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise TrustError("this run's record cannot be read", file=path, why=str(error)) from error
