"""`luna phantom`: write a synthetic cohort."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from luna.cli import options
from luna.cli.console import listener_by_line, print_data
from luna.cli.output import claim_folder


def phantom(
    out: Annotated[Path, typer.Argument(help="New folder, in the layout of LUNA16.")],
    scans: Annotated[int, typer.Option(help="Number of scans.")] = 8,
    seed: Annotated[int, typer.Option(help="Same seed, same bytes.")] = 0,
    config: options.ConfigFile = None,
    overrides: options.Overrides = None,
    print_config: options.PrintConfig = False,
    workers: options.Workers = 1,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Write synthetic chest CTs in which every nodule is known.

    Examples:

      luna phantom cohort/ --scans 20 --workers 2

      luna phantom small/ --set slab_mm=80 --set extra_nodules=4
    """
    from luna.phantom.cohort import write_cohort
    from luna.phantom.config import PhantomConfig

    settings = options.settings(PhantomConfig, config, overrides, print_only=print_config)
    claim_folder(out, force=True)
    progress = listener_by_line(quiet=quiet).progress
    write_cohort(out, scans, seed, settings, workers, progress)
    print_data(str(out))
