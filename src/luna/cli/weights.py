"""`luna weights`: bring the book's checkpoints in, and look at what a bundle says."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from luna.cli import options
from luna.cli.console import note, print_data, print_lines, warn

app = typer.Typer(no_args_is_help=True, help="Import networks and look into bundles.")


@app.command("import")
def import_(
    paths: Annotated[
        list[Path], typer.Argument(help=".state files of the book's code, or folders of them.")
    ],
    out: Annotated[Path, typer.Option(help="Folder for the bundles, one folder each.")],
    role: Annotated[
        Literal["segmentation", "nodule", "malignancy"] | None,
        typer.Option(help="What the network is for, when it is not what its shape implies."),
    ] = None,
    force: options.Force = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Turn the book's checkpoints into bundles; nothing in them is executed.

    In a folder, a network that luna cannot rebuild is left out and said; named
    by itself it is an error, exit code 6.

    Example:

      luna weights import book/models --out weights/
    """
    from luna.nets.models import import_states

    imported = import_states(paths, out, role, force=force)
    for left_out in imported.left_out:
        warn(left_out)
    for folder in imported.folders:
        print_data(str(folder))
    note(f"{len(imported.folders)} bundles in {out}", quiet=quiet)


@app.command()
def info(
    bundle: Annotated[Path, typer.Argument(help="The bundle's folder.")],
    as_json: options.Json = False,
    debug: options.Debug = False,
) -> None:
    """Say what a bundle is, after checking that its weights are the ones on its card.

    Example:

      luna weights info weights/segmentation
    """
    import json
    from dataclasses import asdict

    from luna.nets.bundle import load_bundle

    loaded = load_bundle(bundle)
    count = sum(tensor.numel() for tensor in loaded.module.parameters())
    facts = asdict(loaded.card) | {"parameters": count}
    if as_json:
        print_data(json.dumps(facts, indent=2, ensure_ascii=False))
    else:
        print_lines(*(f"{name}: {value}" for name, value in facts.items() if value not in ("", {})))
