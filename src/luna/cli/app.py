"""The `luna` command: the tree of commands and the one place where errors become exit codes."""

from __future__ import annotations

import signal
import sys
import traceback
from collections.abc import Sequence
from typing import Annotated, NoReturn

import typer

from luna import __version__
from luna.cli import (
    doctor,
    evaluate,
    imports,
    phantom,
    prep,
    score,
    serve,
    train,
    validate,
    weights,
)
from luna.cli.console import print_data, print_error
from luna.cli.diagnose.command import diagnose
from luna.cli.options import ConfigCommand
from luna.cli.output import claims_released
from luna.cli.shell.faults import known_fault
from luna.cli.shell.process import (
    READER_GONE,
    SIGNALS,
    STOPPED,
    check_address_space,
    check_working_folder,
    close_streams,
    open_streams,
    set_environment,
    signals_end_it,
)
from luna.run.errors import LunaError, UsageError

EPILOG = """Exit codes: 0 done, 1 a bug in luna, 2 usage or config, 3 input data,
4 the machine, 5 some of a batch failed, 6 weights or cache not trusted,
7 training diverged."""

app = typer.Typer(
    name="luna",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    epilog=EPILOG,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print_data(f"luna {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    """Find lung nodules in chest CT scans. For research; not a medical device."""


for command in (
    diagnose,
    prep.prep,
    train.train_seg,
    train.train_cls,
    evaluate.evaluate,
    score.score,
    validate.validate,
    phantom.phantom,
    serve.serve,
):
    app.command(cls=ConfigCommand)(command)
app.command("import")(imports.import_)
app.command()(doctor.doctor)
app.add_typer(weights.app, name="weights")


def main() -> NoReturn:
    """Run the `luna` command."""
    open_streams()
    set_environment()
    code = run(sys.argv[1:])
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)  # all is done; only Python's own end is left
    if error := close_streams():
        code = code or _unwritten(error)
    sys.exit(code)


def run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code; every error has been printed."""
    debug = "--debug" in arguments
    try:
        with signals_end_it():
            return _exit_code(list(arguments), debug=debug)
    except SystemExit as stop:
        return _stopped(stop)


def _exit_code(arguments: list[str], *, debug: bool) -> int:
    try:
        check_working_folder()
        check_address_space()
        # What comes back is an exit code: commands return nothing, and Ctrl-C comes as 130.
        with claims_released():
            code = int(app(arguments, prog_name="luna", standalone_mode=False) or 0)
        return _ended(code)
    except typer.TyperException as error:
        # An empty message: no arguments were given, and the help has been printed.
        return _report(error, debug=debug) if error.format_message() else UsageError.exit_code
    except BrokenPipeError:
        return READER_GONE
    except Exception as error:
        return _report(error, debug=debug)


def _stopped(stop: SystemExit) -> int:
    if isinstance(stop.__context__, BrokenPipeError):
        return READER_GONE
    return _ended(stop.code if isinstance(stop.code, int) else 1)


def _ended(code: int) -> int:
    """Return the code; say so when it is that of a signal."""
    if code in STOPPED:
        print_error(LunaError(STOPPED[code]))
    # The argument parser's own 1: a shell that it cannot complete for.
    return UsageError.exit_code if code == 1 else code


def _unwritten(error: OSError) -> int:
    """Say that the output could not be written, and return the exit code."""
    if isinstance(error, BrokenPipeError):
        return READER_GONE
    return _report(error, debug=False)


def _report(error: Exception, *, debug: bool) -> int:
    """Print an error, with its traceback on demand, and return its exit code."""
    if debug:
        traceback.print_exception(error)
    known = known_fault(error)
    if known is None:
        hint = "the traceback above belongs in the report" if debug else "--debug shows where"
        known = LunaError(
            f"a bug in luna: {type(error).__name__}: {error}",
            hint=f"please report it; {hint}",
        )
    print_error(known)
    return known.exit_code
