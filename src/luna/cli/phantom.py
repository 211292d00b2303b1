"""`luna phantom`: write a synthetic cohort."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from luna.cli import options


def phantom(
    out: Annotated[Path, typer.Argument(help="New folder; gets the layout of LUNA16.")],
    scans: Annotated[int, typer.Option(help="Number of scans.")] = 8,
    seed: Annotated[int, typer.Option(help="Same seed, same bytes.")] = 0,
    size: Annotated[int, typer.Option(help="Rows and columns of a slice.")] = 512,
    slab_mm: Annotated[float, typer.Option(help="Height of the scans; 0: whole lungs.")] = 0.0,
    processes: Annotated[int, typer.Option(help="Worker processes.")] = 1,
    debug: options.Debug = False,
) -> None:
    """Write synthetic chest CTs whose every nodule is known."""
    from luna.data.phantom_cohort import write_cohort
    from luna.data.phantom_config import PhantomConfig

    config = PhantomConfig(size=size, slab_mm=slab_mm)
    write_cohort(
        out, scans, seed, config, processes, lambda uid: typer.echo(f"made {uid}", err=True)
    )
    typer.echo(str(out))
