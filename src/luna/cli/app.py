"""The `luna` command: the tree of commands and the one place where errors become exit codes."""

from __future__ import annotations

import errno
import signal
import sys
import traceback
from collections.abc import Sequence
from types import FrameType
from typing import Annotated, NoReturn

import typer

from luna import __version__
from luna.cli import diagnose, doctor, evaluate, phantom, prep, score, train, validate, weights
from luna.cli.console import print_data, print_error
from luna.cli.options import ConfigCommand
from luna.cli.output import claims_released
from luna.run.errors import EnvironmentFault, LunaError, UsageError

INTERRUPTED, READER_GONE, TERMINATED = 130, 141, 143
"""128 plus the number of SIGINT, SIGPIPE and SIGTERM, as the shell has it."""

STOPPED = {INTERRUPTED: "interrupted", TERMINATED: "terminated"}

MACHINE_ERRNOS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EACCES: "permission denied",
    errno.EPERM: "permission denied",
    errno.EROFS: "the file system is read-only",
    errno.EIO: "the disk reports an error",
    errno.ENOMEM: "out of memory",
    errno.EMFILE: "too many open files",
    errno.ENFILE: "too many open files",
}

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
            "--version", callback=_print_version, is_eager=True, help="Print the version and leave."
        ),
    ] = False,
) -> None:
    """Find lung nodules in chest CT scans. For research; not a medical device."""


for command in (
    diagnose.diagnose,
    prep.prep,
    train.train_seg,
    train.train_cls,
    evaluate.evaluate,
    score.score,
    validate.validate,
    phantom.phantom,
):
    app.command(cls=ConfigCommand)(command)
app.command()(doctor.doctor)
app.add_typer(weights.app, name="weights")


def main() -> NoReturn:
    """The entry point of the `luna` command."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code; every error has been printed."""
    signal.signal(signal.SIGTERM, _terminate)
    debug = "--debug" in arguments
    try:
        # What comes back is an exit code: commands return nothing, and Ctrl-C comes as 130.
        with claims_released():
            code = int(app(list(arguments), prog_name="luna", standalone_mode=False) or 0)
        return _ended(code)
    except SystemExit as stop:
        return _stopped(stop)
    except typer.TyperException as error:
        # An empty message: no arguments were given, and the help has been printed.
        return _report(error, debug=debug) if error.format_message() else UsageError.exit_code
    except Exception as error:
        return _report(error, debug=debug)


def _terminate(signum: int, frame: FrameType | None) -> NoReturn:
    # SystemExit runs every `finally` on its way, so temporary files go.
    raise SystemExit(TERMINATED)


def _stopped(stop: SystemExit) -> int:
    if isinstance(stop.__context__, BrokenPipeError):
        return READER_GONE
    return _ended(stop.code if isinstance(stop.code, int) else 1)


def _ended(code: int) -> int:
    """The code; says so when it is that of a signal."""
    if code in STOPPED:
        print_error(LunaError(STOPPED[code]))
    return code


def _report(error: Exception, *, debug: bool) -> int:
    """Print an error, with its traceback on demand, and return its exit code."""
    if debug:
        traceback.print_exception(error)
    known = _known(error)
    if known is None:
        hint = "the traceback above belongs in the report" if debug else "--debug shows where"
        known = LunaError(
            f"a bug in luna: {type(error).__name__}: {error}",
            hint=f"please report it; {hint}",
        )
    print_error(known)
    return known.exit_code


def _known(error: Exception) -> LunaError | None:
    """The error as one of luna's own, or None when it is a bug."""
    if isinstance(error, LunaError):
        return error
    if isinstance(error, typer.TyperException):
        context = getattr(error, "ctx", None)
        command = context.command_path if context else "luna"
        return UsageError(_clause(error.format_message()), hint=f"see `{command} --help`")
    if isinstance(error, MemoryError) or _is_torch_out_of_memory(error):
        return EnvironmentFault(
            "out of memory",
            why=str(error).partition("\n")[0],
            hint="close other programs, or lower the batch size with --set",
        )
    if isinstance(error, OSError) and error.errno in MACHINE_ERRNOS:
        return EnvironmentFault(MACHINE_ERRNOS[error.errno], file=error.filename, why=str(error))
    return None


def _is_torch_out_of_memory(error: Exception) -> bool:
    # torch has a class of its own for CUDA, and a plain RuntimeError for the CPU.
    text = str(error)
    return type(error).__name__ == "OutOfMemoryError" or (
        isinstance(error, RuntimeError) and "DefaultCPUAllocator" in text
    )


def _clause(message: str) -> str:
    """A message of the argument parser in the manner of luna's own: no capital, no full stop."""
    return message[:1].lower() + message[1:].rstrip(".")
