"""`luna serve`: a local page to drop scans on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from luna.cli import options
from luna.cli.console import note, print_lines, warn
from luna.run.errors import UsageError
from luna.run.extras import require_extra

if TYPE_CHECKING:
    from luna.serve.node.address import Node
    from luna.serve.process import Loaded

PACKAGES = ("fastapi", "uvicorn", "python_multipart", "pynetdicom")

NETWORK, STORAGE, NODE = "Network", "Storage", "DICOM node"
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
    dicom: Annotated[
        int | None,
        typer.Option(
            metavar="PORT",
            min=0,
            max=65535,
            help="Take studies from the network on this port, too: C-ECHO and C-STORE of CT.",
            rich_help_panel=NODE,
        ),
    ] = None,
    ae_title: Annotated[
        str, typer.Option(help="What the node is called.", rich_help_panel=NODE)
    ] = "LUNA",
    send_to: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT/AET",
            help="Who gets SEG, SR and key images of what came from the network.",
            rich_help_panel=NODE,
        ),
    ] = None,
    allow: Annotated[
        list[str] | None,
        typer.Option(
            metavar="AET",
            help="Calling AE title that is let in, and no other; repeatable.",
            rich_help_panel=NODE,
        ),
    ] = None,
    quiet_after: Annotated[
        float,
        typer.Option(
            metavar="SECONDS",
            min=0.1,
            help="A study is complete when nothing of it came for so long.",
            rich_help_panel=NODE,
        ),
    ] = 30.0,
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

    With --dicom it is also a node: studies that are sent there are looked at,
    and their results go to --send-to.

    Examples:

      luna serve

      luna serve --port 9000 --data /srv/luna

      luna serve --host 0.0.0.0 --token-file token

      luna serve --dicom 11112 --send-to pacs:4242/PACS --allow PACS
    """
    from luna.detect.config import DiagnoseConfig

    settings = options.settings(DiagnoseConfig, config, overrides, print_only=print_config)
    options.refuse_missing([], weights)
    require_extra("serve", PACKAGES, "packages for the server are missing")
    from luna.nets.models import SHIPPED
    from luna.serve.examine import ExaminerSettings
    from luna.serve.server import Place, own_folder, serve
    from luna.serve.upload import Limits

    examiner = ExaminerSettings(
        weights=tuple(weights or [Path(SHIPPED)]), config=settings, device=device,
        include_phi=include_phi,
    )  # fmt: skip
    place = Place(
        data=data or own_folder(), host=host, port=port, names=tuple(allow_host or ()),
        token_file=token_file, limits=Limits(bytes=int(max_upload * GIB)),
        node=_node(dicom, ae_title, send_to, allow, quiet_after),
    )  # fmt: skip

    def listening(address: str, loaded: Loaded) -> None:
        note(f"computing on {loaded[1]}, scans in {place.data}; Ctrl-C ends it", quiet=quiet)
        print_lines(address)

    serve(place, examiner, warn, listening)


def _node(
    port: int | None, title: str, send_to: str | None, allow: list[str] | None, quiet_s: float
) -> Node | None:
    """Return what the options ask of the DICOM node; None where nothing.

    Raises UsageError for a title or a peer that is none, and for options that need --dicom.
    """
    from luna.serve.node.address import Node, checked_title, peer_of

    if port is None:
        if send_to or allow:
            raise UsageError("the DICOM node does not listen", hint="add --dicom PORT")
        return None
    return Node(
        port=port,
        title=checked_title(title),
        send_to=peer_of(send_to) if send_to else None,
        allowed=tuple(checked_title(one) for one in allow or ()),
        quiet_s=quiet_s,
    )
