"""The options that mean the same in every command (docs/cli.md lists them)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Device = Annotated[
    str,
    typer.Option(
        "--device", metavar="auto|cpu|cuda[:N]", help="Where to compute; only auto falls back."
    ),
]
ConfigFile = Annotated[
    Path | None, typer.Option("--config", help="TOML file: a diff from the defaults.")
]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override one config value; repeatable."),
]
Force = Annotated[
    bool, typer.Option("--force", help="Write into a folder that already holds files.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON to stdout and nothing else there.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress and notes on stderr.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Check everything, compute and write nothing.")
]
