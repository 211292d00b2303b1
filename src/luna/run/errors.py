"""Errors a user can cause, and the exit code of each.

    LunaError                  1   a bug in luna, when raised bare
    ├── UsageError             2   command line or config
    ├── InputError             3   the input data
    ├── EnvironmentFault       4   device, disk, permissions, memory
    ├── PartialFailure         5   some of a batch failed
    ├── TrustError             6   weights, checkpoint or cache not trusted or not fitting
    └── DivergedError          7   training diverged

Hung up is 129, interrupted 130 and terminated 143, as the shell has it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike
from typing import ClassVar

from luna.run.text import for_message

LIST_MAX = 20_000
"""Characters of a reason, which may be a list of all series in a folder."""


class LunaError(Exception):
    """What went wrong, in which file, why, and what to do about it.

    `what` is one clause without a full stop; `why` may quote the library underneath, or list
    items, each after a line break; `hint` is the next thing for the user to try.
    """

    exit_code: ClassVar[int] = 1

    def __init__(
        self,
        what: str,
        *,
        file: str | PathLike[str] | None = None,
        why: str = "",
        hint: str = "",
    ) -> None:
        super().__init__(what)
        self.what = what
        self.file = None if file is None else str(file)
        self.why = why
        self.hint = hint

    def __str__(self) -> str:
        what, why = for_message(self.what), for_message(self.why, most=LIST_MAX, keep="\n\t")
        head = what if self.file is None else f"{for_message(self.file)}: {what}"
        if why.startswith("\n"):
            return f"{head}:{why}"
        return f"{head} ({why})" if why else head

    def __reduce__(self) -> tuple[object, ...]:
        # Worker processes send errors home by pickling; keyword arguments would be lost.
        return (_rebuild, (type(self), self.what, self.file, self.why, self.hint))


@contextmanager
def naming(file: str | PathLike[str] | None) -> Iterator[None]:
    """Attach a file to the error of the block, unless the error names one already.

    >>> with naming("scan.nii"):
    ...     raise InputError("the orientation is singular")
    Traceback (most recent call last):
    luna.run.errors.InputError: scan.nii: the orientation is singular
    """
    try:
        yield
    except LunaError as error:
        if error.file is None and file is not None:
            error.file = str(file)
        raise


def _rebuild(cls: type[LunaError], what: str, file: str | None, why: str, hint: str) -> LunaError:
    return cls(what, file=file, why=why, hint=hint)


class UsageError(LunaError):
    """The command line or the config cannot be obeyed as given."""

    exit_code = 2


class InputError(LunaError):
    """The input data is damaged, ambiguous, or not what it says it is."""

    exit_code = 3


class EnvironmentFault(LunaError):
    """The machine lacks something: device, disk space, permission, memory."""

    exit_code = 4


class PartialFailure(LunaError):
    """Some items of a batch failed; the others are done."""

    exit_code = 5


class TrustError(LunaError):
    """Weights, a checkpoint or a cache entry cannot be trusted or does not fit."""

    exit_code = 6


class DivergedError(LunaError):
    """The loss stopped being finite."""

    exit_code = 7
