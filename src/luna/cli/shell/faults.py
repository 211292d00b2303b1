"""The one place where the errors of other libraries become luna's own, with their exit codes."""

from __future__ import annotations

import errno
import os
import traceback

import typer

from luna.run.errors import EnvironmentFault, LunaError, UsageError
from luna.run.machine.memory import is_out_of_memory

MACHINE_ERRNOS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "the file is larger than allowed",
    errno.EACCES: "permission denied",
    errno.EPERM: "permission denied",
    errno.EROFS: "the file system is read-only",
    errno.EIO: "the disk or terminal reports an error",
    errno.ENOMEM: "out of memory",
    errno.EMFILE: "too many open files",
    errno.ENFILE: "too many open files",
    errno.EAGAIN: "no more processes or threads",
}

NAME_ERRNOS = {
    errno.ENAMETOOLONG: "a name that is too long",
    errno.ELOOP: "a link that leads to itself",
}

SETTINGS = ("TORCH", "PYTORCH", "CUDA", "OMP", "MKL", "KMP", "MPL", "ITK", "NUMEXPR", "OPENBLAS")
"""First letters of the environment variables that libraries read when they are loaded."""


def known_fault(error: Exception) -> LunaError | None:
    """Return the error as one of luna's own, or None when it is a bug."""
    if isinstance(error, LunaError):
        return error
    if isinstance(error, typer.TyperException):
        return _of_arguments(error)
    if isinstance(error, OSError) and error.errno in NAME_ERRNOS:
        return UsageError(NAME_ERRNOS[error.errno], file=error.filename)
    if any(name.startswith("_LUNA_COMPLETE") for name in os.environ):
        return UsageError("the shell asks for completion in words that make no sense")
    if is_out_of_memory(error):
        return EnvironmentFault(
            "out of memory",
            why=_first_line(error),
            hint="close other programs, or lower the batch size with --set",
        )
    if isinstance(error, RuntimeError) and "can't start new thread" in str(error):
        return EnvironmentFault("no more processes or threads", why=_first_line(error))
    if isinstance(error, OSError) and error.errno in MACHINE_ERRNOS:
        return EnvironmentFault(MACHINE_ERRNOS[error.errno], file=error.filename, why=str(error))
    return _of_loading(error)


def _of_arguments(error: typer.TyperException) -> LunaError:
    message = error.format_message()
    context = getattr(error, "ctx", None)
    command = context.command_path if context else "luna"
    if message.endswith("is not readable."):
        return EnvironmentFault(
            "permission denied", why=_clause(message), hint="ask its owner to let you read it"
        )
    return UsageError(_clause(message), hint=f"see `{command} --help`")


def _of_loading(error: Exception) -> EnvironmentFault | None:
    """Return the fault of a library that fails to load, if that is what happened."""
    names = [
        frame.f_globals.get("__name__", "").partition(".")[0]
        for frame, _ in traceback.walk_tb(error.__traceback__)
        if frame.f_code.co_name == "<module>"
    ]
    others = [name for name in names if name not in ("luna", "__main__", "")]
    if not others and not isinstance(error, ImportError):
        return None
    library = others[0] if others else getattr(error, "name", None) or "a library"
    present = sorted(name for name in os.environ if name.startswith(SETTINGS))
    hint = f"these variables may be the reason: {', '.join(present)}" if present else ""
    return EnvironmentFault(
        f"{library} cannot be loaded",
        why=f"{type(error).__name__}: {_first_line(error)}",
        hint=hint or "`luna doctor` checks the packages",
    )


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), "")


def _clause(message: str) -> str:
    """Return a parser's message in luna's manner: no capital, no full stop."""
    return message[:1].lower() + message[1:].rstrip(".")
