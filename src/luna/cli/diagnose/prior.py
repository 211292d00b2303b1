"""The options of `luna diagnose` for a prior scan, and what they print."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from luna.cli.console import note, print_table, progress, stage
from luna.report.words import change_words, whole
from luna.run.errors import UsageError, naming

if TYPE_CHECKING:
    from luna.ct.listing.find import Listing
    from luna.ct.scan import Scan
    from luna.detect.prior.fit import Prior
    from luna.report.origin import Origin

PANEL = "Prior scan"
LONGEST_DAYS = 36_500

PriorScan = Annotated[
    Path | None,
    typer.Option(
        "--prior",
        metavar="SCAN|REPORT",
        help="Earlier scan of the patient, or luna's report of it: report what is new, grown, "
        "stable, smaller or gone.",
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
        help="Days between the scans; default: from the study dates.",
        rich_help_panel=PANEL,
    ),
]

AutoPriors = Annotated[
    Literal["auto"] | None,
    typer.Option(
        "--priors",
        help="Compare each scan with the patient's latest earlier study among these scans.",
        rich_help_panel=PANEL,
    ),
]

HEADER = ("change", "no", "prior", "mm³", "before", "% (limits)", "mm", "doubling days")


def inputs(options: Mapping[str, Any]) -> list[Path]:
    """Return the paths of what is given beside a scan, and that of the scan of an earlier report.

    Raises UsageError for one that is missing, for an interval without a prior, for two ways to
    name a prior, and what `read_origin` raises.
    """
    prior: Path | None = options["prior"]
    if prior is not None and options["priors"] is not None:
        raise UsageError(
            "--prior is the prior of one scan, --priors finds those of many",
            hint="give one of them",
        )
    if prior is None and options["interval"] is not None:
        raise UsageError(
            "--interval is the time since a prior scan, and there is none", hint="add --prior SCAN"
        )
    given = [path for path in (prior, options["lobes"]) if path is not None]
    for path in given:
        if not path.exists():
            raise UsageError("no such file or folder", file=path)
    origin = _origin(prior)
    return given if origin is None else [*given, origin.path]


def _origin(prior: Path | None) -> Origin | None:
    """Where the scan of an earlier report lies; None where the prior is none, or a scan."""
    if prior is None or not (prior / "report.json").is_file():
        return None
    from luna.report.origin import read_origin

    return read_origin(prior)


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
        raise UsageError("--prior works with one scan only", hint="name one scan")
    origin = _origin(path)
    if origin is not None:
        note(f"prior: {origin.path}, the scan of the report", quiet=quiet)
    with progress(quiet=quiet) as advance, stage(advance, "align"), naming(path):
        earlier = origin.read() if origin else read_scan(path)
        prior = fit_prior(found, earlier, interval, origin.nodules if origin else ())
    places = f"{prior.share:.0%} of the places in them found again"
    note(f"prior aligned: lungs overlap by {prior.alignment.overlap:.0%}, {places}", quiet=quiet)
    return prior


def warnings(report: Mapping[str, Any]) -> list[str]:
    """Return the report's warnings about its prior scan; none without one."""
    return [f"Prior: {text}" for text in report.get("prior", {}).get("warnings", ())]


def show_changes(report: Mapping[str, Any]) -> None:
    """Print how each nodule changed since the prior scan, if the report has one."""
    changes = report.get("prior", {}).get("changes")
    if changes:
        print_table(HEADER, [_row(change) for change in changes])


def _row(change: Mapping[str, Any]) -> tuple[str, ...]:
    limits = (change[f"volume_change{end}"] for end in ("_low", "", "_high"))
    return (
        change["verdict"],
        change["finding"] or ("measured" if change["measured"] else "–"),
        change["prior_finding"] or ("measured" if change["prior_measured"] else "–"),
        _whole(change["volume_mm3"]),
        _whole(change["prior_volume_mm3"]),
        change_words(*limits),
        "–" if change["growth_mm"] is None else f"{change['growth_mm']:+.1f}",
        _whole(change["doubling_days"]),
    )


def _whole(value: float | None) -> str:
    return "–" if value is None else whole(value)
