"""`luna phantom`: write a synthetic cohort, or put synthetic nodules into real scans."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from luna.cli import options
from luna.cli.console import listener_by_line, listening, note, print_data
from luna.cli.output import claim_folder
from luna.run.errors import PartialFailure, UsageError

if TYPE_CHECKING:
    from luna.phantom.config import PhantomConfig

INSERTION = "Nodules in real scans"


def phantom(
    backgrounds: Annotated[
        list[Path],
        typer.Argument(
            metavar="[SCAN]...",
            help="With --into: scans in any format, or folders of them.",
            default_factory=list,
            show_default=False,
        ),
    ],
    out: Annotated[Path, typer.Argument(help="New folder, in the layout of LUNA16.")],
    scans: Annotated[int, typer.Option(help="Number of scans.")] = 8,
    seed: Annotated[int, typer.Option(help="Same seed, same bytes.")] = 0,
    into: Annotated[
        bool,
        typer.Option(
            "--into",
            help="Place the nodules into the lungs of the SCANs.",
            rich_help_panel=INSERTION,
        ),
    ] = False,
    per_scan: Annotated[
        int, typer.Option(min=1, help="Nodules in each SCAN.", rich_help_panel=INSERTION)
    ] = 4,
    annotations: Annotated[
        Path | None,
        typer.Option(
            help="LUNA16's table of the nodules that the SCANs have: none is placed on them.",
            rich_help_panel=INSERTION,
        ),
    ] = None,
    config: options.ConfigFile = None,
    overrides: options.Overrides = None,
    print_config: options.PrintConfig = False,
    workers: options.Workers = 1,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Write synthetic chest CTs in which every nodule is known.

    With --into, the nodules are placed into scans of your own. Each becomes
    a new MetaImage with a new UID; nothing that names the patient is written.

    Examples:

      luna phantom cohort/ --scans 20 --workers 2

      luna phantom small/ --set slab_mm=80 --set extra_nodules=4

      luna phantom --into scans/ more/ct.nii.gz cohort/ --per-scan 6
    """
    from luna.phantom.cohort import write_cohort
    from luna.phantom.config import PhantomConfig

    settings = options.settings(PhantomConfig, config, overrides, print_only=print_config)
    if bool(backgrounds) != into:
        raise UsageError(
            "--into and scans belong together",
            hint="luna phantom --into SCAN… OUT, or luna phantom OUT",
        )
    options.refuse_missing([*backgrounds, *([annotations] if annotations else [])], None)
    claim_folder(out, backgrounds, force=True)
    if into:
        _insert(backgrounds, out, seed, settings, per_scan, annotations, workers, quiet=quiet)
    else:
        progress = listener_by_line(quiet=quiet).progress
        write_cohort(out, scans, seed, settings, workers, progress)
    print_data(str(out))


def _insert(
    backgrounds: list[Path],
    out: Path,
    seed: int,
    settings: PhantomConfig,
    per_scan: int,
    annotations: Path | None,
    workers: int,
    *,
    quiet: bool,
) -> None:
    """Write the cohort of --into; raises PartialFailure when a scan cannot be used."""
    from luna.ct.listing.find import find_scans
    from luna.phantom.insert.cohort import read_known, write_insertions

    known = read_known(annotations) if annotations else {}
    listing = find_scans([(path, None) for path in backgrounds], out=out)
    for line in listing.sentences():
        note(line, quiet=quiet)
    with listening(quiet=quiet) as listener:
        report = write_insertions(
            out, listing.sources, seed, settings, per_scan, known, workers, listener
        )
    note(f"{report.nodules} nodules in {report.scans} scans", quiet=quiet)
    failed = {**listing.damaged, **report.failed}
    if failed:
        raise PartialFailure(
            f"{len(failed)} of {report.scans + len(failed)} scans could not be used",
            why="; ".join(f"{name}: {reason}" for name, reason in [*failed.items()][:5]),
            hint="the others are in the cohort",
        )
