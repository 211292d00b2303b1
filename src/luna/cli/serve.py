"""`luna serve`: a local page to drop scans on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from luna.cli import options
from luna.cli.console import note, print_lines, warn
from luna.run.errors import EnvironmentFault

if TYPE_CHECKING:
    from luna.serve.process import Loaded

NETWORK, STORAGE = "Network", "Storage"
GIB = 1 << 30


def serve(
    port: Annotated[
        int,
        typer.Option(min=0, max=65535, help="Port of the page; 0 takes a free one.",
                     rich_help_panel=NETWORK),
    ] = 8765,
    host: Annotated[
        str,
        typer.Option(help="Address to listen on; any but this machine's own needs a token.",
                     rich_help_panel=NETWORK),
    ] = "127.0.0.1",
    token_file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="File with the token that requests must bring.",
                     rich_help_panel=NETWORK),
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Another name that this server is called by; repeatable.",
                     rich_help_panel=NETWORK),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder for uploads and reports; without it, luna's own "
                     "among your application data.", rich_help_panel=STORAGE),
    ] = None,
    max_upload: Annotated[
        float,
        typer.Option(metavar="GIB", min=0.001, max=1024, help="The most that one upload may hold.",
                     rich_help_panel=STORAGE),
    ] = 8.0,
    include_phi: Annotated[
        bool,
        typer.Option("--include-phi", help="Show patients' names on the page and in the reports.",
                     rich_help_panel=STORAGE),
    ] = False,
    weights: options.Weights = None,
    device: options.Device = "auto",
    threads: options.Threads = None,
    config: options.ConfigFile = None,
    overrides: options.Overrides = None,
    print_config: options.PrintConfig = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:  # fmt: skip
    """Serve a local page to drop scans on, with a queue, reports and a JSON API.

    Needs the extra luna-ct[serve]. The page is for this machine only unless
    --host says otherwise. Uploads and reports stay in the folder --data until
    they are deleted on the page; nothing is sent anywhere. Ctrl-C ends it;
    scans that wait are looked at after the next start.

    Examples:

      luna serve

      luna serve --port 9000 --data /srv/luna

      luna serve --host 0.0.0.0 --token-file token
    """
    from luna.detect.config import DiagnoseConfig

    settings = options.settings(DiagnoseConfig, config, overrides, print_only=print_config)
    options.refuse_missing([], weights)
    _check_extra()
    from luna.nets.models import SHIPPED
    from luna.serve.examine import Means
    from luna.serve.server import Place, own_folder, serve
    from luna.serve.upload import Limits

    means = Means(
        weights=tuple(weights or [Path(SHIPPED)]), config=settings, device=device,
        include_phi=include_phi,
    )  # fmt: skip
    place = Place(
        data=data or own_folder(), host=host, port=port, names=tuple(allow_host or ()),
        token_file=token_file, limits=Limits(bytes=int(max_upload * GIB)),
    )  # fmt: skip

    def listening(address: str, loaded: Loaded) -> None:
        note(f"computing on {loaded[1]}, scans in {place.data}; Ctrl-C ends it", quiet=quiet)
        print_lines(address)

    serve(place, means, warn, listening)


def _check_extra() -> None:
    """Raise EnvironmentFault where the packages of the extra are missing."""
    from importlib.util import find_spec

    missing = [n for n in ("fastapi", "uvicorn", "python_multipart") if find_spec(n) is None]
    if missing:
        raise EnvironmentFault(
            "packages for the server are missing",
            why=", ".join(missing),
            hint="pip install 'luna-ct[serve]'",
        )
