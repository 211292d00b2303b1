"""`luna validate`: score one network by itself."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from luna.cli import options
from luna.cli.console import listener_by_line, print_lines, warn
from luna.cli.evaluate import Data, Fold, SeriesList, note_start, refuse_failures, show_page
from luna.cli.output import claim_evaluation


def validate(
    bundle: Annotated[
        Path, typer.Argument(help="Bundle, .state file, a folder of them, `book` or `shipped`.")
    ],
    data: Data,
    out: options.Out,
    role: Annotated[
        Literal["segmentation", "nodule", "malignancy"] | None,
        typer.Option(help="Network to score, if BUNDLE holds several."),
    ] = None,
    fold: Fold = None,
    series_list: SeriesList = None,
    device: options.Device = "auto",
    threads: options.Threads = None,
    config: options.ConfigFile = None,
    overrides: options.Overrides = None,
    print_config: options.PrintConfig = False,
    force: options.Force = False,
    dry_run: options.DryRun = False,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Score one network by itself, on known candidates or nodules of a cohort.

    A nodule classifier is run on every candidate of DATA, a malignancy classifier
    on every nodule with a verdict, a segmenter on the slices that the pipeline
    would give it. Prints tables and writes evaluation.html, metrics.json and
    plots. Run the same command again to continue an interrupted run. A scan that
    cannot be read is left out, and the exit code is 5.

    Examples:

      luna validate runs/nodule-…/bundle LUNA16/ --fold 9 --out judged/

      luna validate shipped LUNA16/ --role malignancy --out judged/
    """
    from luna.evaluate.folder import CONCLUSIONS
    from luna.evaluate.network import Network, ValidateConfig, questions
    from luna.evaluate.scans import chosen_scans
    from luna.evaluate.validation import judge_network, results_folder
    from luna.nets.models import load_network
    from luna.run.device import choose_device

    settings = options.settings(ValidateConfig, config, overrides, print_only=print_config)
    processor, loaded = choose_device(device, warn), load_network(bundle, role)
    cohort, scans = chosen_scans(data, fold, series_list)
    inputs, results = [data, *filter(None, [series_list])], results_folder(out, loaded)
    claim_evaluation(out, inputs, CONCLUSIONS, results=results, force=force, dry_run=dry_run)
    note_start(cohort, processor, quiet=quiet)
    if dry_run:
        what = f"would run {loaded.card.name} ({loaded.card.role}) on {len(scans)} scans"
        return print_lines(what, f"and write an evaluation to {out}")
    rows = questions(cohort, loaded.card.role, scans)
    network = Network(bundle=loaded, config=settings, device=processor, rows=rows)
    listener = listener_by_line(quiet=quiet)
    page, failures = judge_network(network, cohort, scans, out, listener)
    show_page(page, out, as_json=as_json, quiet=quiet)
    return refuse_failures(failures, len(scans), "they are left out of all scores")
