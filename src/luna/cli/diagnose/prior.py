"""The options of `luna diagnose` for a prior scan, and what they print."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from luna.cli.console import note, print_table, progress, stage
from luna.run.errors import UsageError, naming

if TYPE_CHECKING:
    from luna.ct.listing.find import Listing
    from luna.ct.scan import Scan
    from luna.detect.prior.fit import Prior

PANEL = "Prior scan"
LONGEST_DAYS = 36_500

PriorScan = Annotated[
    Path | None,
    typer.Option(
        "--prior",
        metavar="SCAN",
        help="An earlier scan of the patient: tell what is new, grown, stable, smaller or gone.",
        rich_help_panel=PANEL,
    ),
]
Interval = Annotated[
    int | None,
    typer.Option(
        "--interval",
        metavar="DAYS",
        min=1,
        max=LONGEST_DAYS,
        help="Days between the scans; without it, from the study dates.",
        rich_help_panel=PANEL,
    ),
]

HEADER = ("change", "no", "prior", "mm³", "before", "% (limits)", "mm", "doubling days")


def inputs(prior: Path | None, interval: int | None, lobes: Path | None) -> list[Path]:
    """Return the paths of what is given beside a scan.

    Raises UsageError for one that is missing, for an interval without a prior, and for a report
    in place of a scan.
    """
    if prior is None and interval is not None:
        raise UsageError("--interval is the time since a prior scan", hint="add --prior SCAN")
    given = [path for path in (prior, lobes) if path is not None]
    for path in given:
        if not path.exists():
            raise UsageError("no such file or folder", file=path)
    if prior is not None and (prior / "report.json").is_file():
        raise UsageError(
            "this is a report, which holds no voxels to compare",
            file=prior,
            hint="name the scan that the report is of",
        )
    return given


def read_prior(
    path: Path | None, found: Scan | Listing, interval: int | None, *, quiet: bool
) -> Prior | None:
    """Read and align the prior scan before any network is loaded; None without one.

    Raises UsageError where there are several scans, InputError for a prior that does not fit.
    """
    from luna.ct.read import read_scan
    from luna.ct.scan import Scan
    from luna.detect.prior.fit import fit_prior

    if path is None:
        return None
    if not isinstance(found, Scan):
        raise UsageError("--prior is for one scan, and these are many", hint="name one scan")
    with progress(quiet=quiet) as advance, stage(advance, "align"), naming(path):
        prior = fit_prior(found, read_scan(path), interval)
    told = f"{prior.share:.0%} of the places in them found again"
    note(f"prior aligned: lungs overlap by {prior.alignment.overlap:.0%}, {told}", quiet=quiet)
    return prior


def warnings(report: Mapping[str, Any]) -> list[str]:
    """What a report says of its prior scan; nothing where it has none."""
    return [f"Prior: {text}" for text in report.get("prior", {}).get("warnings", ())]


def show_changes(report: Mapping[str, Any]) -> None:
    """Print what became of each nodule since the prior scan, where a report has one."""
    changes = report.get("prior", {}).get("changes")
    if changes:
        print_table(HEADER, [_row(change) for change in changes])


def _row(change: Mapping[str, Any]) -> tuple[str, ...]:
    low, high = change["volume_change_low"], change["volume_change_high"]
    limits = "" if low is None else f" ({low:+.0f} to {high:+.0f})"
    return (
        change["verdict"],
        change["finding"] or ("measured" if change["measured"] else "–"),
        change["prior_finding"] or ("measured" if change["prior_measured"] else "–"),
        _figure(change["volume_mm3"], ".0f"),
        _figure(change["prior_volume_mm3"], ".0f"),
        _figure(change["volume_change"], "+.0f") + limits,
        _figure(change["growth_mm"], "+.1f"),
        _figure(change["doubling_days"], ".0f"),
    )


def _figure(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)
