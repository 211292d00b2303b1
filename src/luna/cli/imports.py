"""`luna import`: make a cohort from your own scans and annotations."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from luna.cli import options
from luna.cli.console import listening, note, print_data, print_lines, warn
from luna.cli.output import claim_folder
from luna.run.errors import PartialFailure, UsageError

if TYPE_CHECKING:
    from luna.data.imports.cohort import ImportReport
    from luna.data.imports.sources import Source

ANNOTATIONS = "Annotations (one of these)"
READING = "How they are read"
LIDC_AGREE = 3
"""As LUNA16 does: three of four readers."""


def import_(
    scans: Annotated[
        Path, typer.Argument(help="Folder of scans, in any format, with any subfolders.")
    ],
    out: Annotated[Path, typer.Option(help="New folder for the cohort.")],
    table: Annotated[
        Path | None,
        typer.Option(
            help="CSV table with the place and the size of each nodule.",
            rich_help_panel=ANNOTATIONS,
        ),
    ] = None,
    masks: Annotated[
        Path | None,
        typer.Option(
            help="Folder of label volumes named like their scans.",
            rich_help_panel=ANNOTATIONS,
        ),
    ] = None,
    seg: Annotated[
        Path | None,
        typer.Option(help="Folder of DICOM segmentations.", rich_help_panel=ANNOTATIONS),
    ] = None,
    rtstruct: Annotated[
        Path | None,
        typer.Option(help="Folder of DICOM structure sets.", rich_help_panel=ANNOTATIONS),
    ] = None,
    lidc_xml: Annotated[
        Path | None,
        typer.Option(help="Folder of LIDC-IDRI's XML files.", rich_help_panel=ANNOTATIONS),
    ] = None,
    columns: Annotated[
        list[str] | None,
        typer.Option(
            "--map",
            metavar="ROLE=COLUMN",
            help="The table's column for series, x, y, z, diameter, volume, malignant or patient; "
            "repeatable.",
            rich_help_panel=READING,
        ),
    ] = None,
    frame: Annotated[
        Literal["lps", "ras", "voxel"],
        typer.Option(
            help="Frame of the coordinates: lps or ras in mm, or voxel (column, row, slice from "
            "0).",
            rich_help_panel=READING,
        ),
    ] = "lps",
    agree: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Keep nodules that this many readers outlined; 3 for LIDC-IDRI, else 1.",
            rich_help_panel=READING,
        ),
    ] = None,
    roi: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATTERN",
            help="Names of the segments or structures that are nodules, for instance 'GTV*'; "
            "repeatable.",
            rich_help_panel=READING,
        ),
    ] = None,
    annotated_only: Annotated[
        bool,
        typer.Option(
            "--annotated-only",
            help="Leave out scans without annotations; otherwise they count as scans without "
            "nodules.",
            rich_help_panel=READING,
        ),
    ] = False,
    workers: options.Workers = 1,
    force: options.Force = False,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Turn your own scans and annotations into a cohort for `luna prep`.

    Scans are linked and not copied, so leave them where they are. The U-Net is
    trained on the masks and outlines. The cohort has no table of candidates:
    `luna prep` takes its own from the lungs.

    Examples:

      luna import scans/ --table nodules.csv --map series=PatientID --out cohort/

      luna import scans/ --masks labels/ --annotated-only --out cohort/

      luna import LIDC-IDRI/ --lidc-xml LIDC-IDRI/ --agree 3 --out cohort/
    """
    from luna.data.imports.cohort import write_cohort
    from luna.data.imports.scans import find_scans
    from luna.data.imports.sources import Reading, read_marks

    kind, source = _only_one(
        {"table": table, "masks": masks, "seg": seg, "rtstruct": rtstruct, "lidc": lidc_xml}
    )
    claim_folder(out, [scans, source], force=force)
    found = find_scans(scans)
    readers = agree or (LIDC_AGREE if kind == "lidc" else 1)
    reading = Reading(_roles(columns or []), frame, readers, tuple(roi or ()))
    marks, patients, notices = read_marks(kind, source, found, reading)
    for line in notices:
        warn(str(line))
    if annotated_only:
        found = {uid: scan for uid, scan in found.items() if uid in marks}
    note(f"{len(found)} scans, {len(marks)} of them annotated", quiet=quiet)
    with listening(quiet=quiet) as listener:
        report = write_cohort(out, found, marks, patients, workers, listener)
    show(report, out, as_json=as_json)


def _only_one(named: Mapping[Source, Path | None]) -> tuple[Source, Path]:
    given = {kind: path for kind, path in named.items() if path is not None}
    if len(given) != 1:
        raise UsageError(
            f"{len(given)} sources of annotations are named" if given else "no annotations named",
            hint="name one of --table, --masks, --seg, --rtstruct, --lidc-xml",
        )
    ((kind, source),) = given.items()
    if not source.exists():
        raise UsageError("no such file or folder", file=source)
    return kind, source


def _roles(pairs: list[str]) -> dict[str, str]:
    from luna.data.imports.table import COLUMNS

    roles = {role: column for role, _, column in (pair.partition("=") for pair in pairs)}
    for role, column in roles.items():
        if role not in COLUMNS or not column:
            raise UsageError(
                f"--map {role}={column} names no column",
                hint=f"as --map x=COLUMN; there are {', '.join(COLUMNS)}",
            )
    return roles


def show(report: ImportReport, out: Path, *, as_json: bool) -> None:
    """Print what was imported; raises PartialFailure when a scan failed."""
    if report.unmarked:
        warn(
            f"{report.unmarked} scans have no annotation and count as scans without nodules; "
            "--annotated-only leaves them out"
        )
    if report.patients_unknown:
        warn(
            f"the patients of {report.patients_unknown} scans are not known: two scans of one "
            f"patient may be on different sides of a split"
        )
    if as_json:
        from dataclasses import asdict

        print_data(json.dumps(asdict(report), indent=2))
    else:
        left = f", {report.unagreed} findings marked by too few readers left out" * bool(
            report.unagreed
        )
        print_lines(
            f"{report.scans} scans, {report.nodules} nodules{left}, {report.masks} masks in {out}",
            f"next: luna prep {out} --cache cache/ --set slices=all",
        )
    if report.failed:
        raise PartialFailure(
            f"{len(report.failed)} of {report.scans + len(report.failed)} scans were left out",
            why="; ".join(f"{uid}: {why}" for uid, why in [*report.failed.items()][:3]),
            hint="the others are in the cohort",
        )
