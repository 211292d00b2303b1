"""`luna train-cls` and `luna train-seg`: train a network on a prepared cohort."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from luna.cli import options
from luna.cli.console import (
    note,
    print_data,
    print_lines,
    print_table,
    progress,
    warn,
)
from luna.run.progress import Listener, Progress
from luna.run.text import duration

if TYPE_CHECKING:
    from luna.train.launch import Recipe

RUNS, NAME = "runs", "luna"
RUN, TASK = "Run", "Task"

RECIPES = {
    "tiny": ("tiny-seg", "tiny-cls", "tiny-cls"),
    "default": ("seg", "cls", "cls"),
    "best": ("shipped-seg", "shipped-cls", "shipped-malignancy"),
}
"""The shipped config of each short name, by network: U-Net, nodule, malignancy."""

Cache = Annotated[
    Path | None, typer.Argument(help="Cache that `luna prep` filled; not with --resume.")
]
Runs = Annotated[
    Path | None,
    typer.Option(
        help="Folder of runs; the run gets its own folder there.",
        show_default=RUNS,
        rich_help_panel=RUN,
    ),
]
Name = Annotated[
    str | None,
    typer.Option(
        help="Last part of the run's folder name.", show_default=NAME, rich_help_panel=RUN
    ),
]
Resume = Annotated[
    Path | None,
    typer.Option(metavar="RUN", help="Continue this run where it stopped.", rich_help_panel=RUN),
]


@dataclass(frozen=True, slots=True)
class Place:
    """Where the data lies and the run goes; `runs` and `name` are None when they are not given."""

    cache: Path | None
    resume: Path | None
    runs: Path | None
    name: str | None


@dataclass(frozen=True, slots=True)
class Settings:
    """The recipe's type and what the command line changes in it."""

    recipe: type[Recipe]
    config: Path | None
    overrides: list[str]
    print_only: bool

    def recipe_in_force(self) -> Recipe:
        """Return the recipe with its changes; with `print_only`, print it and end the command."""
        return options.settings(
            self.recipe, self.config, self.overrides, print_only=self.print_only
        )


def train_cls(
    cache: Cache = None,
    task: Annotated[
        Literal["nodule", "malignancy"] | None,
        typer.Option(help="What the network learns to decide.", rich_help_panel=TASK),
    ] = None,
    init: Annotated[
        Path | None,
        typer.Option(
            metavar="BUNDLE", help="Fine-tune the network of this bundle.", rich_help_panel=TASK
        ),
    ] = None,
    unfreeze: Annotated[
        int | None,
        typer.Option(
            help="With --init: number of last blocks to train, including the head.",
            rich_help_panel=TASK,
        ),
    ] = None,
    runs: Runs = None,
    name: Name = None,
    resume: Resume = None,
    config: options.ConfigFile = None,
    overrides: options.Overrides = None,
    print_config: options.PrintConfig = False,
    device: options.Device = "auto",
    threads: options.Threads = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
    dry_run: options.DryRun = False,
) -> None:
    """Train the classifier: nodule or not, benign or malignant.

    Makes runs/<task>-<time>-<name>/ with the config, a record, checkpoints, event
    files for TensorBoard and, in bundle/, the best network so far. SIGTERM and
    Ctrl-C save before they stop.

    Examples:

      luna train-cls cache/ --config tiny

      luna train-cls cache/ --config best

      luna train-cls cache/ --task malignancy --init runs/nodule-…/bundle --unfreeze 2

      luna train-cls --resume runs/nodule-…

      torchrun --nproc-per-node 4 -m luna train-cls cache/
    """
    from luna.train.recipes import ClassifierRecipe

    chosen = {"task": task, "init": init, "unfreeze": unfreeze}
    chosen_keys = [f"{key}={value}" for key, value in chosen.items() if value is not None]
    place = Place(cache=cache, resume=resume, runs=runs, name=name)
    file = shipped_recipe(config, 2 if task == "malignancy" else 1)
    settings = Settings(ClassifierRecipe, file, [*(overrides or ()), *chosen_keys], print_config)
    _train(place, settings, device, as_json=as_json, quiet=quiet, dry_run=dry_run)


def train_seg(
    cache: Cache = None,
    runs: Runs = None,
    name: Name = None,
    resume: Resume = None,
    config: options.ConfigFile = None,
    overrides: options.Overrides = None,
    print_config: options.PrintConfig = False,
    device: options.Device = "auto",
    threads: options.Threads = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
    dry_run: options.DryRun = False,
) -> None:
    """Train the U-Net that marks nodule voxels.

    Makes runs/segmentation-<time>-<name>/ with the config, a record, checkpoints,
    event files for TensorBoard and, in bundle/, the best network so far. SIGTERM
    and Ctrl-C save before they stop.

    Examples:

      luna train-seg cache/ --config default

      luna train-seg cache/ --set train.epochs=40 --set train.batch_size=64

      luna train-seg --resume runs/segmentation-…
    """
    from luna.train.recipes import SegmenterRecipe

    place = Place(cache=cache, resume=resume, runs=runs, name=name)
    file = shipped_recipe(config, 0)
    settings = Settings(SegmenterRecipe, file, overrides or [], print_config)
    _train(place, settings, device, as_json=as_json, quiet=quiet, dry_run=dry_run)


def shipped_recipe(config: Path | None, network: int) -> Path | None:
    """Return the config that a word means for this network; other names and paths as they are."""
    return Path(RECIPES[str(config)][network]) if str(config) in RECIPES else config


def _train(
    place: Place, settings: Settings, device: str, *, as_json: bool, quiet: bool, dry_run: bool
) -> None:
    from luna.run.device import choose_device
    from luna.run.errors import UsageError
    from luna.train import launch

    if settings.print_only:
        settings.recipe_in_force()
    processor = choose_device(device, warn)
    with progress(quiet=quiet) as advance:
        listener = Listener(
            note=lambda text: note(text, quiet=quiet), warn=warn, progress=timed(advance)
        )
        if place.resume is not None and place.cache is None:
            placed = (place.runs, place.name) != (None, None)
            if settings.config or settings.overrides or dry_run or placed:
                raise UsageError(
                    "a run is resumed in its own folder and with its own config", file=place.resume
                )
            folder = place.resume
            best = launch.resume(folder, settings.recipe, processor, listener)
        elif place.cache is not None and place.resume is None:
            recipe = settings.recipe_in_force()
            _refuse_idle_unfreeze(recipe, settings.overrides)
            runs = place.runs or Path(RUNS)
            name = NAME if place.name is None else place.name
            if dry_run:
                print_lines(*launch.plan(recipe, place.cache, runs))
                return
            folder, best = launch.start(
                recipe, place.cache, runs, name, processor, sys.argv, listener
            )
        else:
            raise UsageError("give either a cache or --resume RUN")
    # Of several processes only the first one keeps the best.
    if best:
        show(folder, best, as_json=as_json)


def _refuse_idle_unfreeze(recipe: Recipe, overrides: Sequence[str]) -> None:
    """Raise UsageError for `unfreeze` without a bundle to start from."""
    from luna.run.errors import UsageError

    is_given = any(setting.startswith("unfreeze=") for setting in overrides)
    if is_given and getattr(recipe, "init", None) is None:
        raise UsageError(
            "unfreeze without init",
            why="all blocks of a new network are trained",
            hint="name the bundle to start from with --init, or leave --unfreeze out",
        )


def timed(advance: Progress) -> Progress:
    """Return a progress that adds the samples a second and the time left to another."""
    stage, first, begun = "", 0, 0.0

    def tell(name: str, done: int, total: int, detail: str = "", /) -> None:
        nonlocal stage, first, begun
        now = time.perf_counter()
        if name != stage:
            # A resumed epoch begins in its middle.
            stage, first, begun = name, done, now
        if done > first:
            rate = (done - first) / (now - begun)
            detail = f"{rate:.1f} samples/s, about {duration((total - done) / rate)} left"
        advance(name, done, total, detail)

    return tell


def show(folder: Path, best: dict[str, float], *, as_json: bool) -> None:
    """Print the metrics of the best validation, and where its network is."""
    if as_json:
        finite = {name: value for name, value in best.items() if value == value}
        print_data(json.dumps({"run": str(folder), "best": finite}, indent=2))
        return
    rows = [(name, f"{value:.4f}" if value == value else "–") for name, value in best.items()]
    print_table(("best validation", ""), rows, left=[True, False])
    print_lines(f"bundle: {folder / 'bundle'}")
