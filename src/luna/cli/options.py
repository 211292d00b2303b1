"""The options that mean the same in every command; docs/cli.md lists them."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeVar

import typer
from typer.core import TyperCommand

from luna.cli.console import print_data, warn
from luna.run.errors import UsageError

if TYPE_CHECKING:
    from luna.run.batch import Shard
    from luna.run.batch.cluster import Cluster

CONFIG, COMPUTING, OUTPUT, TERMINAL = "Config", "Computing", "Output", "Terminal"
"""Panels of `--help` for the shared options."""

NAMED_WEIGHTS = ("book", "shipped")
"""Names of weights that are not paths; `nets.models` resolves them."""

THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS",
)
"""Where torch, numpy's products and SimpleITK look for the number of their threads."""

T = TypeVar("T")

Device = Annotated[
    str,
    typer.Option(
        "--device",
        metavar="auto|cpu|cuda[:N]|mps",
        help="Device to compute on; only auto falls back to the CPU.",
        rich_help_panel=COMPUTING,
    ),
]
Workers = Annotated[
    int,
    typer.Option(
        "--workers",
        min=1,
        help="Number of processes; they share the cores.",
        rich_help_panel=COMPUTING,
    ),
]


def limit_threads(count: int | None) -> int | None:
    """Limit the threads of this process and of those it starts, if a number is given.

    Most libraries read a variable when they load, which is later: commands import them themselves.
    """
    if count is not None:
        os.environ.update(dict.fromkeys(THREAD_VARIABLES, str(count)))
        if torch := sys.modules.get("torch"):
            torch.set_num_threads(count)
    return count


Threads = Annotated[
    int | None,
    typer.Option(
        "--threads",
        min=1,
        help="Threads of each process; default: all cores.",
        callback=limit_threads,
        show_default=False,
        rich_help_panel=COMPUTING,
    ),
]
ClusterName = Annotated[
    str | None,
    typer.Option(
        "--cluster",
        metavar="ADDRESS|FILE|local:N",
        help="Workers of Dask that share the scans: a scheduler's address, its scheduler file, or "
        "N workers on this machine.",
        rich_help_panel=COMPUTING,
    ),
]
ShardName = Annotated[
    str | None,
    typer.Option(
        "--shard",
        metavar="I/N",
        help="Take the I-th of N shares of the scans, which run apart from each other; then run "
        "without it for the whole.",
        rich_help_panel=COMPUTING,
    ),
]


@dataclass(frozen=True, slots=True)
class Crew:
    """Who looks at the scans: this process, or a cluster; at all of them, or at a share."""

    cluster: Cluster | None
    shard: Shard | None

    def path(self, path: Path) -> Path:
        """Return a path as it has to be named to workers, who may stand in other folders."""
        return path if self.cluster is None else path.absolute()


def crew_of(cluster: str | None, shard: str | None, device: str, threads: int | None) -> Crew:
    """Return who was asked to look. Raises UsageError for what is no cluster or no share."""
    from luna.run.batch.shard import Shard

    share = None if shard is None else Shard.named(shard)
    return Crew(None if cluster is None else _cluster(cluster, device, threads), share)


def _cluster(address: str, device: str, threads: int | None) -> Cluster:
    """Return the cluster of an address; workers on this machine share its cores and GPUs."""
    from luna.run.batch.cluster import Cluster, local_count, visible_cards

    count = local_count(address)
    if not count:
        address = address if "://" in address else str(Path(address).absolute())
        return Cluster(address, warn, threads=threads)
    import torch

    from luna.run.machine.limits import cores

    cards = visible_cards(torch.cuda.device_count()) if device in ("auto", "cuda") else []
    return Cluster(address, warn, cards, threads or max(1, cores() // count))


ConfigFile = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE|NAME",
        help="TOML file with changes to the defaults, or the name of a config that comes with "
        "luna.",
        rich_help_panel=CONFIG,
    ),
]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Change one config value; repeatable.",
        rich_help_panel=CONFIG,
    ),
]
PrintConfig = Annotated[
    bool,
    typer.Option(
        "--print-config",
        help="Print the resolved config as TOML and exit.",
        rich_help_panel=CONFIG,
    ),
]
Weights = Annotated[
    list[Path] | None,
    typer.Option(
        "--weights",
        help="Bundle, .state file, a folder of them, or `book`; repeatable. Default: the shipped "
        "networks.",
    ),
]
Faithful = Annotated[
    bool,
    typer.Option(
        "--faithful",
        help="Compute exactly as the book's code does; overrides the config.",
        rich_help_panel=COMPUTING,
    ),
]
Out = Annotated[Path, typer.Option("--out", help="Folder for the results.", rich_help_panel=OUTPUT)]
Dicom = Annotated[
    Literal["none", "results", "all"] | None,
    typer.Option(
        "--dicom",
        help="For a DICOM scan: SEG and SR (results, the default), also key images and a PDF "
        "(all), or none. They carry the patient's identifiers, as objects of the study must.",
        rich_help_panel=OUTPUT,
    ),
]
Force = Annotated[
    bool,
    typer.Option(
        "--force", help="Write into a folder that already holds files.", rich_help_panel=OUTPUT
    ),
]
DryRun = Annotated[
    bool,
    typer.Option(
        "--dry-run", help="Check everything; compute and write nothing.", rich_help_panel=OUTPUT
    ),
]
Json = Annotated[
    bool,
    typer.Option(
        "--json", help="Print one JSON document and nothing else.", rich_help_panel=TERMINAL
    ),
]
Quiet = Annotated[
    bool,
    typer.Option("--quiet", help="Print no progress and no notes.", rich_help_panel=TERMINAL),
]
Debug = Annotated[
    bool,
    typer.Option("--debug", help="Show the traceback of an error.", rich_help_panel=TERMINAL),
]


class ConfigCommand(TyperCommand):
    """A command whose `--print-config` needs none of the command's arguments."""

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override]  # typer hides the base
        """Parse as usual, but allow missing arguments if only the config is printed."""
        ctx.resilient_parsing = "--print-config" in args
        try:
            return super().parse_args(ctx, args)
        finally:
            ctx.resilient_parsing = False


def refuse_missing(scans: Iterable[Path], weights: Iterable[Path] | None) -> None:
    """Raise UsageError for a path that names nothing, before anything slow is loaded."""
    for path in scans:
        if not path.exists():
            raise UsageError("no such file or folder", file=path)
    for path in weights or ():
        if not path.exists() and str(path) not in NAMED_WEIGHTS:
            raise UsageError(
                "no such weights",
                file=path,
                hint="give a path, `shipped` or `book`",
            )


def settings(
    root: type[T], config: Path | None, overrides: list[str] | None, *, print_only: bool
) -> T:
    """Return the config in force; with `print_only`, print it as TOML and end the command."""
    from luna.run.config import dump_config, load_config

    found = load_config(root, config, overrides or ())
    if print_only:
        print_data(dump_config(found))
        raise typer.Exit
    return found
