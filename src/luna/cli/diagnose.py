"""`luna diagnose`: the nodules of one scan, as a table and a report."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from luna.cli import options, patient
from luna.cli.console import note, print_data, print_lines, print_table, progress, stage, warn
from luna.cli.output import claim_folder, folder_beside, refuse_odd_name
from luna.clinical.size import axes_words
from luna.report.words import probability_words, volume_words, whole

if TYPE_CHECKING:
    import torch

    from luna.ct.scan import Scan
    from luna.detect.findings import Findings
    from luna.nets.models import Models

HEADER = (
    "no",
    "p",
    "malig",
    "kind",
    "side",
    "voxel i/r/c",
    "LPS mm",
    "axes mm",
    "mean",
    "mm³",
    "HU",
)


def diagnose(
    context: typer.Context,
    scan: Annotated[
        Path,
        typer.Argument(help="DICOM folder or file, .mhd, .mha, .nii, .nii.gz, .nrrd, or a .zip."),
    ],
    weights: options.Weights = None,
    series: Annotated[
        str | None,
        typer.Option(metavar="UID", help="The series to take, where there are several."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder for the results; without it, SCAN's name with -luna, here.",
            rich_help_panel=options.OUTPUT,
        ),
    ] = None,
    include_phi: Annotated[
        bool,
        typer.Option(
            "--include-phi",
            help="Put the patient's name into the report.",
            rich_help_panel=options.OUTPUT,
        ),
    ] = False,
    guideline: patient.Guideline = "none",
    age: patient.Age = None,
    sex: patient.Sex = None,
    risk: patient.Risk = None,
    smoker: patient.Smoker = None,
    family_history: patient.FamilyHistory = None,
    emphysema: patient.Emphysema = None,
    cancer: patient.Cancer = None,
    faithful: options.Faithful = False,
    device: options.Device = "auto",
    config: options.ConfigFile = None,
    overrides: options.Overrides = None,
    print_config: options.PrintConfig = False,
    force: options.Force = False,
    dry_run: options.DryRun = False,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Find, classify and measure the nodules of one chest CT.

    Prints a table and writes report.html, report.json, nodules.csv,
    detections.csv and nodules.nii.gz into the folder --out; without it, into
    scan-luna/ for scan.mhd, in the working folder. Slices, rows and columns count from 0,
    slices from the feet; LPS is the DICOM patient position. A scan without
    nodules is a result, exit code 0.

    Examples:

      luna diagnose scan.mhd

      luna diagnose scan.zip --weights book --out report/ --json

      luna diagnose a.mhd --weights models/ --out report/ --set threshold=0.3
    """
    from luna.detect.config import DiagnoseConfig
    from luna.detect.config import faithful as as_the_book

    settings = options.settings(DiagnoseConfig, config, overrides, print_only=print_config)
    settings = as_the_book(settings) if faithful else settings
    options.refuse_missing([scan], weights)
    guidance = patient.guidance(context.params)
    out = folder_beside(scan) if out is None else out
    refuse_odd_name(out)
    claim_folder(out, [scan, *(weights or ())], force=force, dry_run=dry_run)
    volume = read(scan, series, quiet=quiet)
    processor, models = load_networks(device, weights, quiet=quiet)
    note(f"computing on {processor}, report to {out}", quiet=quiet)
    if dry_run:
        show_plan(volume, models.names(), out)
        return

    from luna.detect.pipeline import diagnose as find_nodules
    from luna.report.write import write_report

    with progress(quiet=quiet) as bar:
        found = find_nodules(volume, models, settings, processor, bar)
        write_report(volume, found, out, include_phi=include_phi, guidance=guidance, progress=bar)
    show(found, out, as_json=as_json)


def read(path: Path, series: str | None, *, quiet: bool) -> Scan:
    """Read the scan before torch is loaded, which takes longer than to refuse most scans."""
    from luna.ct.read import read_scan

    with progress(quiet=quiet) as advance, stage(advance, "read"):
        return read_scan(path, series_uid=series)


def load_networks(
    device: str, weights: list[Path] | None, *, quiet: bool
) -> tuple[torch.device, Models]:
    """Return the processor to compute on and the networks, luna's own where none are named.

    What the networks' cards want said, and which files were left out, is told before anything
    is computed.
    """
    from luna.nets.models import SHIPPED, load_models
    from luna.run.machine.device import choose_device

    processor, models = choose_device(device, warn), load_models(weights or [Path(SHIPPED)])
    for notice in models.notices():
        warn(notice)
    note(*filter(None, [models.left_out]), quiet=quiet)
    return processor, models


def show_plan(scan: Scan, models: dict[str, str], out: Path) -> None:
    """What a dry run found out."""
    shape = " × ".join(str(n) for n in scan.shape_irc)
    print_lines(
        f"would look at series {scan.series_uid}, {shape} voxels",
        *(f"with {name} for {role}" for role, name in models.items()),
        f"and write a report to {out}",
    )


def show(findings: Findings, out: Path, *, as_json: bool) -> None:
    """Print the report as JSON; or what was found and what luna could not judge.

    All numbers are taken from the report, so that they are rounded as on its page.
    """
    for warning in findings.warnings:
        warn(warning)
    text = (out / "report.json").read_text(encoding="utf-8")
    if as_json:
        print_data(text)
        return
    report = json.loads(text)
    for opacity in report["opacities"]:
        print_lines(_opacity_line(opacity, report["trained_for"]["diameter_mm"]))
    if report["findings"]:
        print_table(HEADER, [_row(finding) for finding in report["findings"]])
        print_lines(*_calibration_lines(report["models"]))
    else:
        print_lines(_nothing_line(findings))
    print_lines(*patient.guideline_lines(out), f"report: {out / 'report.html'}")


def _opacity_line(opacity: Mapping[str, Any], trained_mm: Sequence[float] | None) -> str:
    range_mm = f" of {trained_mm[0]:g} to {trained_mm[1]:g} mm" if trained_mm else ""
    place = " ".join(f"{value:.1f}" for value in opacity["center_lps_mm"])
    return (
        f"Opacity larger than the networks' range{range_mm}: {opacity['side']} lung, slice "
        f"{opacity['slice_index']}, LPS {place} mm, about {whole(opacity['long_axis_mm'])}×"
        f"{whole(opacity['short_axis_mm'])} mm, {volume_words(opacity['volume_mm3'])}. "
        "No network judged it."
    )


def _calibration_lines(models: Mapping[str, Any]) -> list[str]:
    """Which of the table's probabilities are no shares of nodules, a line or none."""
    columns = {"nodule": "p", "malignancy": "malig"}
    raw = [columns[role] for role in columns if role in models and not models[role]["calibrated"]]
    return [f"Not calibrated: {', '.join(raw)}."] if raw else []


def _nothing_line(findings: Findings) -> str:
    """Say that there are no findings, and never more than that."""
    right, left = findings.lung_volume_ml
    searched = f"the lungs ({right:.0f} ml right, {left:.0f} ml left)"
    candidates = len(findings.candidates.p_nodule)
    above = f"at or above p = {findings.threshold:g}"
    if findings.status == "clear":
        return f"Looked at {searched} and {candidates} candidates, and found nothing {above}."
    if findings.status == "opacity":
        return f"No nodule {above} in {searched}, {candidates} candidates."
    return (
        "Limited: luna could not judge all of this scan (see the warnings). In what it could "
        f"judge of {searched} there were {candidates} candidates, and none {above}."
    )


def _row(finding: Mapping[str, Any]) -> tuple[str, ...]:
    long_mm, short_mm, mean_mm = axes_words(finding["long_axis_mm"], finding["short_axis_mm"])
    return (
        str(finding["number"]),
        probability_words(finding["p_nodule"]),
        probability_words(finding["p_malignant"]),
        finding["kind"] or "–",
        finding["side"],
        "/".join(f"{value:.0f}" for value in finding["center_irc"]),
        " ".join(f"{value:.1f}" for value in finding["center_lps_mm"]),
        f"{long_mm}×{short_mm}",
        mean_mm,
        whole(finding["volume_mm3"]),
        whole(finding["hu_mean"]),
    )
