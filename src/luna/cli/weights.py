"""`luna weights`: fetch, import, export and inspect networks."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from luna.cli import options
from luna.cli.console import note, print_data, print_lines, print_table, warn
from luna.cli.output import claim_folder
from luna.run.errors import UsageError

if TYPE_CHECKING:
    from luna.nets.export import Exported

app = typer.Typer(no_args_is_help=True, help="Fetch, import, export and list networks.")


@app.command("import")
def import_(
    paths: Annotated[
        list[Path], typer.Argument(help=".state files of the book's code, or folders of them.")
    ],
    out: Annotated[Path, typer.Option(help="Folder for the bundles, one folder each.")],
    role: Annotated[
        Literal["segmentation", "nodule", "malignancy"] | None,
        typer.Option(help="Role of the network, if it is not the one that its shape implies."),
    ] = None,
    force: options.Force = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Turn the book's checkpoints into bundles; nothing in them is executed.

    In a folder, a network that luna cannot rebuild is left out, with a note;
    named by itself it is an error, exit code 6.

    Example:

      luna weights import book/models --out weights/
    """
    from luna.nets.models import import_states

    imported = import_states(paths, out, role, force=force, warn=warn)
    for left_out in imported.left_out:
        warn(left_out)
    for folder in imported.folders:
        print_data(str(folder))
    note(f"{len(imported.folders)} bundles in {out}", quiet=quiet)


@app.command()
def info(
    weights: Annotated[
        list[Path] | None,
        typer.Argument(
            help="Bundles, .state files, folders of them, `book` or `shipped`; default: `shipped`."
        ),
    ] = None,
    as_json: options.Json = False,
    debug: options.Debug = False,
) -> None:
    """Show the cards of weights, after checking that the weights match them.

    Examples:

      luna weights info weights/segmentation

      luna weights info shipped
    """
    import json

    from luna.nets.models import SHIPPED, load_each

    bundles, left_out = load_each(weights or [Path(SHIPPED)])
    for sentence in left_out:
        warn(sentence)
    cards = [bundle.facts() for bundle in bundles]
    if as_json:
        shown = cards if len(cards) > 1 else cards[0]
        print_data(json.dumps(shown, indent=2, ensure_ascii=False))
        return
    for number, card in enumerate(cards):
        lines = [f"{name}: {value}" for name, value in card.items() if value not in ("", {})]
        print_lines(*([""] if number else []), *lines)


@app.command()
def fetch(
    what: Annotated[Literal["book"], typer.Argument(help="The book's published checkpoints.")],
    source: Annotated[
        str | None, typer.Option("--from", metavar="URL|FOLDER", help="A mirror, or a folder.")
    ] = None,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Fetch published weights, check them, and keep them for `--weights book`.

    The SHA-256 of the files are fixed in luna. HTTPS_PROXY sets a proxy. An
    interrupted download continues where it stopped.

    Examples:

      luna weights fetch book

      luna weights fetch book --from usb-stick/models
    """
    from luna.nets.fetch import SOURCE, fetch_book

    for folder in fetch_book(SOURCE if source is None else source, partial(note, quiet=quiet)):
        print_data(str(folder))
    note("`--weights book` means these", quiet=quiet)


@app.command()
def export(
    weights: Annotated[
        list[Path] | None,
        typer.Argument(help="As for `luna weights info`; `shipped` is the default."),
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for the files.")] = Path("exported"),
    form: Annotated[
        Literal["onnx", "pt2"],
        typer.Option("--format", help="ONNX, or a program of torch.export."),
    ] = "onnx",
    force: options.Force = False,
    as_json: options.Json = False,
    debug: options.Debug = False,
) -> None:
    """Write networks for other programs, and check that they compute the same.

    Each file holds the network from Hounsfield units to logits, and says in its
    metadata what has to be done before and after. Times are for this machine.

    Example:

      luna weights export shipped --format onnx --out exported/
    """
    from luna.nets.export import export_network
    from luna.nets.models import SHIPPED, load_each

    bundles, left_out = load_each(weights or [Path(SHIPPED)])
    for sentence in left_out:
        warn(sentence)
    roles = [bundle.card.role for bundle in bundles]
    if len(set(roles)) < len(roles):
        raise UsageError("two networks with one role", hint="export them one after another")
    claim_folder(out, weights or (), force=force)
    show_exported([export_network(bundle, out, form) for bundle in bundles], as_json=as_json)


def show_exported(done: list[Exported], *, as_json: bool) -> None:
    """Print the files that were written, and how they compare with luna's own networks."""
    import json
    from dataclasses import asdict

    if as_json:
        print_data(json.dumps([asdict(line) for line in done], indent=2, default=str))
        return
    header = ("file", "MB", "largest difference", "luna ms", "exported ms")
    rows = [
        (
            str(line.file),
            f"{line.bytes / 1e6:.1f}",
            f"{line.largest_difference:.1e}",
            f"{line.own_ms:.1f}",
            f"{line.exported_ms:.1f}",
        )
        for line in done
    ]
    print_table(header, rows, left=[True, False, False, False, False])


@app.command("list")
def list_(
    runs: Annotated[Path, typer.Option(help="Folder of runs whose bundles are listed.")] = Path(
        "runs"
    ),
    as_json: options.Json = False,
    debug: options.Debug = False,
) -> None:
    """List the bundles on this machine: shipped, fetched, and trained by runs.

    Example:

      luna weights list --json
    """
    import json

    from luna.nets.inventory import list_bundles

    rows = list_bundles(runs)
    if as_json:
        print_data(json.dumps([row.facts() for row in rows], indent=2, ensure_ascii=False))
    else:
        header = ("from", "role", "name", "figures", "folder")
        print_table(header, [row.cells() for row in rows], left=[True] * len(header))
