"""`luna diagnose`: the nodules of one scan, as a table and a report."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from luna.cli import options
from luna.cli.console import note, print_data, print_lines, print_table, progress, warn
from luna.cli.diagnose import beside, many, patient
from luna.cli.diagnose import prior as prior_scan
from luna.cli.output import claim_reports
from luna.clinical.size import axes_words
from luna.report.words import probability_words, volume_words, whole

if TYPE_CHECKING:
    import torch

    from luna.cli.diagnose.beside import Beside
    from luna.ct.scan import Scan
    from luna.detect.findings import Findings
    from luna.nets.models import Models
    from luna.report.batch.scan import Order

SCANS = "Scans"

SIZES = ("axes mm", "mean", "mm³")
HEADER = ("no", "p", "malig", "kind", "side", "voxel i/r/c", "LPS mm", *SIZES, "HU")


def diagnose(
    context: typer.Context,
    scans: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="PATH",
            help="Scans (.mhd, .mha, .nii, .nii.gz, .nrrd, .zip, DICOM), or folders of them, also "
            "of many patients.",
        ),
    ] = None,
    weights: options.Weights = None,
    series: Annotated[
        str | None,
        typer.Option(
            metavar="UID|NUMBER",
            help="Series of each study: its UID, the beginning of its UID, or its number.",
            rich_help_panel=SCANS,
        ),
    ] = None,
    choose: Annotated[
        Literal["thinnest", "largest", "all"] | None,
        typer.Option(
            help="How to choose among several series of a study; default for many studies: "
            "thinnest.",
            rich_help_panel=SCANS,
        ),
    ] = None,
    scan_list: Annotated[
        Path | None,
        typer.Option(
            "--list",
            metavar="FILE",
            help="CSV table of more scans, with a column path and optionally a column series.",
            rich_help_panel=SCANS,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder for the results. Default: PATH's name with -luna, here; luna-reports for "
            "several paths.",
            rich_help_panel=options.OUTPUT,
        ),
    ] = None,
    include_phi: Annotated[
        bool,
        typer.Option(
            "--include-phi",
            help="Put the patient's name into the report's pages and tables.",
            rich_help_panel=options.OUTPUT,
        ),
    ] = False,
    dicom: options.Dicom = None,
    guideline: patient.Guideline = "none",
    age: patient.Age = None,
    sex: patient.Sex = None,
    risk: patient.Risk = None,
    smoker: patient.Smoker = None,
    family_history: patient.FamilyHistory = None,
    emphysema: patient.Emphysema = None,
    cancer: patient.Cancer = None,
    prior: prior_scan.PriorScan = None,
    priors: prior_scan.AutoPriors = None,
    interval: prior_scan.Interval = None,
    lobes: beside.LobeMask = None,
    faithful: options.Faithful = False,
    device: options.Device = "auto",
    threads: options.Threads = None,
    cluster: options.ClusterName = None,
    shard: options.ShardName = None,
    config: options.ConfigFile = None,
    overrides: options.Overrides = None,
    print_config: options.PrintConfig = False,
    force: options.Force = False,
    dry_run: options.DryRun = False,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Find, classify and measure the nodules of one chest CT, or of many.

    Prints a table and writes report.html, report.json, nodules.csv,
    detections.csv and nodules.nii.gz into the folder --out. Without --out the
    report of scan.mhd goes to scan-luna/ in the working folder. Slices, rows and
    columns count from 0, slices from the feet; LPS is the DICOM patient position.
    A scan without nodules is a result, exit code 0.

    For a DICOM scan it also writes nodules.seg.dcm and measurements.sr.dcm for
    the archive; they name the patient as the scan does. --dicom none leaves them
    out.

    With several paths, a table or a folder of several studies, every scan gets
    such a folder, and index.html, summary.csv and summary.json list all scans.
    Run the same command again to continue an interrupted run. A scan that cannot
    be read does not stop the others; the exit code is 5. --cluster and --shard
    share the scans among processes and machines (docs/scale.md).

    --prior names an earlier scan of the patient to compare the nodules with; one that
    does not fit is refused. --priors auto finds the prior of each of many scans.

    Examples:

      luna diagnose scan.mhd

      luna diagnose scan.zip --weights book --out report/ --json

      luna diagnose archive/ more/scan.nii.gz --out reports/ --choose thinnest

      luna diagnose --list scans.csv --out reports/ --cluster local:2

      luna diagnose now/ --prior before/ --guideline lung-rads
    """
    from luna.detect.config import DiagnoseConfig
    from luna.detect.config import faithful as as_the_book

    settings = options.settings(DiagnoseConfig, config, overrides, print_only=print_config)
    settings = as_the_book(settings) if faithful else settings
    inputs = many.inputs(scans, scan_list, weights) + prior_scan.inputs(context.params)
    guidance = patient.guidance(context.params)
    crew = options.crew_of(cluster, shard, device, threads)
    out = crew.path(out or many.folder_for(scans or ()))
    claim_reports(out, inputs, crew.shard, force=force, dry_run=dry_run)
    found = many.find(scans or (), scan_list, series, choose, out, crew, priors, quiet=quiet)
    given = beside.read_beside(prior, interval, lobes, found, quiet=quiet)
    processor, models = load_networks(device, weights, crew, out, quiet=quiet)
    if dry_run:
        many.show_plan(found, models.names(), out, inputs[0], dicom)
        return

    from luna.ct.listing.find import Listing
    from luna.report.batch.scan import Order

    order = Order(
        models=models, config=settings, device=processor, out=out,
        include_phi=include_phi, guidance=guidance, dicom=dicom,
    )  # fmt: skip
    if isinstance(found, Listing):
        many.diagnose_all(found, order, crew, as_json=as_json, quiet=quiet)
    else:
        diagnose_one(inputs[0], found, order, given, as_json=as_json, quiet=quiet)


def load_networks(
    device: str, weights: list[Path] | None, crew: options.Crew, out: Path, *, quiet: bool
) -> tuple[torch.device | str, Models]:
    """Return the processor and the networks; the shipped networks if none are named.

    The workers of a cluster choose their own processors by its name. The notices of the networks'
    cards, and the files that were left out, are printed first.
    """
    from luna.nets.models import SHIPPED, load_models
    from luna.run.device import choose_device

    processor = choose_device(device, warn) if crew.cluster is None else device
    models = load_models(weights or [Path(SHIPPED)])
    for notice in models.notices():
        warn(notice)
    if models.left_out:
        note(models.left_out, quiet=quiet)
    place = "" if crew.cluster is None else f" of each worker at {crew.cluster.address}"
    note(f"computing on {processor}{place}, report to {out}", quiet=quiet)
    return processor, models


def diagnose_one(
    path: Path, scan: Scan, order: Order, given: Beside, *, as_json: bool, quiet: bool
) -> None:
    """Diagnose the scan at a path, with its prior and lobes, and show its report."""
    from luna.report.diagnosis import diagnose_and_report
    from luna.report.dicom.results import results_of

    dicom = results_of(path, scan, order.dicom)
    with progress(quiet=quiet) as bar:
        found = diagnose_and_report(
            scan, order, dicom, bar, prior=given.prior, lobes=given.lobes, lungs=given.lungs
        )
    show(found, order.out, as_json=as_json)
    if dicom[0] is not None:
        note("the .dcm files beside it name the patient, as their archive needs", quiet=quiet)


def show(findings: Findings, out: Path, *, as_json: bool) -> None:
    """Print the report as JSON, or the findings and what luna could not judge.

    All numbers are taken from the report, so that they are rounded as on its page.
    """
    text = (out / "report.json").read_text(encoding="utf-8")
    report = json.loads(text)
    for warning in (*findings.warnings, *prior_scan.warnings(report)):
        warn(warning)
    if as_json:
        print_data(text)
        return
    for opacity in report["opacities"]:
        print_lines(_opacity_line(opacity, report["trained_for"]["diameter_mm"]))
    if report["findings"]:
        print_table(HEADER, [_row(finding) for finding in report["findings"]])
        print_lines(*_remarks(report))
    else:
        print_lines(_nothing_line(findings))
    prior_scan.show_changes(report)
    print_lines(*patient.guideline_lines(out), f"report: {out / 'report.html'}")


def _opacity_line(opacity: Mapping[str, Any], trained_mm: Sequence[float] | None) -> str:
    range_mm = f" of {trained_mm[0]:g} to {trained_mm[1]:g} mm" if trained_mm else ""
    place = " ".join(f"{value:.1f}" for value in opacity["center_lps_mm"])
    bound = "at least" if opacity["cut_by_scan"] else "about"
    return (
        f"Opacity larger than the networks' range{range_mm}: {opacity['side']} lung, slice "
        f"{opacity['slice_index']}, LPS {place} mm, {bound} {whole(opacity['long_axis_mm'])}×"
        f"{whole(opacity['short_axis_mm'])} mm, {volume_words(opacity['volume_mm3'])}. "
        "No network judged it."
    )


def _remarks(report: Mapping[str, Any]) -> list[str]:
    """Return lines that explain the table: what is not calibrated, cut, or dense."""
    columns, models = {"nodule": "p", "malignancy": "malig"}, report["models"]
    raw = [columns[role] for role in columns if role in models and not models[role]["calibrated"]]
    remarks = [f"Not calibrated: {', '.join(raw)}."] if raw else []
    if any(finding["cut_by_scan"] for finding in report["findings"]):
        remarks.append("≥: the edge of the scan cuts the nodule; its size is a lower bound.")
    dense = [str(f["number"]) for f in report["findings"] if f["calcification"] == "complete"]
    if dense:
        remarks.append(f"Bone, calcium or contrast agent, dense throughout: {', '.join(dense)}.")
    return remarks


def _nothing_line(findings: Findings) -> str:
    """Return the sentence for a scan without findings; it never claims more."""
    right, left = findings.lung_volume_ml
    searched = f"the lungs ({whole(right)} ml right, {whole(left)} ml left)"
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
    bound = "≥" if finding["cut_by_scan"] else ""
    return (
        str(finding["number"]),
        probability_words(finding["p_nodule"]),
        probability_words(finding["p_malignant"]),
        finding["kind"] or "–",
        finding["side"],
        "/".join(f"{value:.0f}" for value in finding["center_irc"]),
        " ".join(f"{value:.1f}" for value in finding["center_lps_mm"]),
        f"{bound}{long_mm}×{short_mm}",
        f"{bound}{mean_mm}",
        f"{bound}{whole(finding['volume_mm3'])}",
        whole(finding["hu_mean"]),
    )
