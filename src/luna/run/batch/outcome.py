"""What becomes of one item: a result, of this run or an earlier one, or a reason."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from luna.run.checked import DamagedError
from luna.run.errors import EnvironmentFault, InputError, LunaError, UsageError
from luna.run.machine.memory import is_out_of_memory

I = TypeVar("I")  # noqa: E741 - an item
R = TypeVar("R")  # its result


@dataclass(frozen=True, kw_only=True, slots=True)
class Done(Generic[R]):
    """The result of an item. `kept`: an earlier run made it; `damage`: what was wrong with one."""

    result: R
    kept: bool = False
    damage: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Failed:
    """Why an item has no result."""

    reason: str


Outcome = Done[R] | Failed


def resumed(load: Callable[[], R | None], make: Callable[[], R]) -> Done[R]:
    """Return the result of an earlier run, or make and store it.

    `load` gives None when there is no result, or one of something else, and raises
    DamagedError.
    """
    damage = ""
    try:
        earlier = load()
    except DamagedError as error:
        earlier, damage = None, str(error)
    if earlier is not None:
        return Done(result=earlier, kept=True)
    return Done(result=make(), damage=damage)


@contextmanager
def item_at_fault() -> Iterator[None]:
    """Turn the fault of one item into an InputError, so that the others go on.

    A path that names nothing is wrong usage, and one that may not be read a fault of the
    machine, only where a user gave it.
    """
    try:
        yield
    except (UsageError, EnvironmentFault) as error:
        raise InputError(error.what, file=error.file, why=error.why) from error


@dataclass(frozen=True, slots=True)
class Guarded(Generic[I, R]):
    """The work, with its failures as values: what is no fault of one item is raised."""

    work: Callable[[str, I], Done[R]]

    def __call__(self, name: str, item: I) -> Outcome[R]:
        try:
            return self.work(name, item)
        except InputError as error:
            return Failed(reason=reason_of(error))
        except Exception as error:
            if is_out_of_memory(error):
                return Failed(reason="out of memory")
            raise


def reason_of(error: LunaError) -> str:
    """Return what is wrong with an item, its file by name: reports travel further than folders."""
    file = "" if error.file is None else f"{Path(error.file).name}: "
    return f"{file}{error.what}" + (f" ({error.why})" if error.why else "")
