"""`luna evaluate`: how good is this system, and how sure are we."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from luna.cli import options
from luna.run.errors import UsageError

MODES: dict[str, tuple[set[str], set[str]]] = {
    "data": (
        {"weights"},
        {"fold", "series_list", "device", "faithful", "calibrate", "versus"},
    ),
    "only": ({"data", "weights"}, {"fold", "series_list", "device", "faithful"}),
    "cv": ({"data"}, {"versus"}),
    "detections": ({"annotations", "series"}, {"excluded", "versus"}),
}
"""What may be evaluated: by the option that names it, those it needs and those it takes."""

Only = Literal["cls", "seg", "malignancy"]

EVERYWHERE = {"out", "config", "overrides", "force", "as_json", "quiet", "debug", "dry_run"}


def evaluate(
    context: typer.Context,
    out: Annotated[Path, typer.Option(help="Folder for the tables, plots and page.")],
    data: Annotated[
        list[Path] | None,
        typer.Argument(
            help="Folder in the layout of LUNA16, whose scans are looked at; with --cv, the "
            "folders that evaluations of the folds wrote."
        ),
    ] = None,
    weights: Annotated[
        list[Path] | None,
        typer.Option(
            help="For DATA: bundle, .state file, a folder of them, `book` or `shipped`; repeatable."
        ),
    ] = None,
    only: Annotated[
        Only | None,
        typer.Option(help="Of DATA: one network alone, on candidates, voxels or nodules known."),
    ] = None,
    cv: Annotated[
        bool, typer.Option("--cv", help="Pool evaluated folds into one score, as LUNA16 does.")
    ] = False,
    fold: Annotated[
        int | None, typer.Option(min=0, max=9, help="Of DATA: the scans of this subset only.")
    ] = None,
    series_list: Annotated[
        Path | None, typer.Option(help="Of DATA: the scans of this list only, one UID a line.")
    ] = None,
    device: options.Device = "auto",
    faithful: Annotated[
        bool, typer.Option("--faithful", help="Of DATA: compute as the book's code does.")
    ] = False,
    calibrate: Annotated[
        Path | None,
        typer.Option(
            help="Of DATA: new folder for the bundles, with the temperature and the threshold "
            "for fp_per_scan that fit its marks."
        ),
    ] = None,
    detections: Annotated[
        list[Path] | None,
        typer.Option(help="Marks in LUNA16's format; repeat it to pool the folds of one system."),
    ] = None,
    annotations: Annotated[
        Path | None, typer.Option(help="Annotated nodules; may tell kind and malignancy.")
    ] = None,
    series: Annotated[
        Path | None, typer.Option(help="The scans that are scored, one UID a line.")
    ] = None,
    excluded: Annotated[
        Path | None, typer.Option(help="Irrelevant findings: neither hit nor false.")
    ] = None,
    versus: Annotated[
        list[Path] | None, typer.Option(help="Marks of a second system, for a paired test.")
    ] = None,
    config: options.ConfigFile = None,
    overrides: options.Overrides = None,
    force: options.Force = False,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
    dry_run: options.DryRun = False,
) -> None:
    """Score a system as the LUNA16 challenge does, and say how sure the scores are.

    Runs the pipeline over the scans of DATA, or scores the marks of any
    system. Prints tables and writes evaluation.html, metrics.json, froc.csv,
    nodules.csv, the plots and events for TensorBoard. A scan of DATA that is
    done is not done again: run the same command to go on after an interruption.

    Examples:

      luna evaluate luna16/ --weights models/ --fold 9 --out evaluation/

      luna evaluate luna16/ --weights models/ --fold 8 --out evaluation/
      --calibrate calibrated/ --set fp_per_scan=0.5

      luna evaluate luna16/ --weights models/ --only malignancy --out alone/

      luna evaluate --cv evaluations/fold*/ --out pooled/

      luna evaluate --detections submission.csv --annotations annotations.csv
      --excluded annotations_excluded.csv --series seriesuids.csv --out evaluation/

      luna evaluate … --versus other.csv --set threshold=0.3 --set samples=5000
    """
    mode = choose_mode(context)
    values = of_mode(context, mode)
    if mode == "data":
        from luna.cli.evaluate_cohort import evaluate_cohort

        evaluate_cohort(**values)
    elif mode == "only":
        from luna.cli.evaluate_alone import evaluate_alone

        evaluate_alone(**values)
    elif mode == "cv":
        from luna.cli.evaluate_folds import evaluate_folds

        evaluate_folds(**values)
    else:
        from luna.cli.evaluate_files import evaluate_files

        evaluate_files(**values)


def choose_mode(context: typer.Context) -> str:
    """What is evaluated. Raises UsageError for options that are missing or do not go together."""
    given = {
        name
        for name in context.params
        if (source := context.get_parameter_source(name)) and source.name != "DEFAULT"
    }
    asked = MODES.keys() & given
    needed_by_others = set[str]().union(*(MODES[name][0] for name in asked))
    named = [name for name in MODES if name in asked - needed_by_others]
    if len(named) != 1:
        raise UsageError(
            f"{' and '.join(map(_shown, named)) or 'nothing'} to evaluate",
            hint=f"name one of {', '.join(map(_shown, MODES))}",
        )
    mode = named[0]
    needed, taken = MODES[mode]
    missing = sorted(needed - given)
    if missing:
        raise UsageError(f"{_shown(mode)} needs {' and '.join(map(_shown, missing))}")
    strange = sorted(given - EVERYWHERE - needed - taken - {mode})
    if strange:
        raise UsageError(f"{_shown(strange[0])} means nothing beside {_shown(mode)}")
    return mode


def of_mode(context: typer.Context, mode: str) -> dict[str, Any]:
    """The values of the options that a mode takes, by name.

    Raises UsageError for several folders where one is meant.
    """
    names = EVERYWHERE.union(*MODES[mode], {mode}) - {"debug", "cv"}
    values = {name: context.params[name] for name in names}
    if mode in {"data", "only"}:
        if len(values["data"]) > 1:
            raise UsageError(
                f"{len(values['data'])} DATA folders",
                why=", ".join(map(str, values["data"])),
                hint="name one; --cv pools the folders of folds that are evaluated",
            )
        (values["data"],) = values["data"]
    return values


def _shown(name: str) -> str:
    return "DATA" if name == "data" else f"--{name.replace('_', '-')}"
