"""Which processor to compute on."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from luna.run.errors import EnvironmentFault, UsageError

if TYPE_CHECKING:
    import torch

Warn = Callable[[str], None]


def _warn(text: str) -> None:
    warnings.warn(text, RuntimeWarning, stacklevel=3)


def choose_device(name: str = "auto", warn: Warn = _warn) -> torch.device:
    """Return the torch device for `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.

    `auto` is the first CUDA card that works, else the CPU; only `auto` falls back, and `warn` says
    why. Under torchrun `auto` and `cuda` are the card of this process. Raises UsageError for
    another name or one card for several processes, EnvironmentFault for a device that is not there
    or does not work.
    """
    import torch

    if not re.fullmatch(r"auto|cpu|mps|cuda(:[0-9]+)?", name):
        raise UsageError(f"unknown device {name!r}", hint="use auto, cpu, cuda, cuda:N or mps")
    count = torch.cuda.device_count()
    if name == "cpu" or (name == "auto" and not count):
        return torch.device("cpu")
    if name == "mps":
        if not torch.backends.mps.is_available():
            raise _absent(name, f"torch {torch.__version__} sees no Apple GPU")
        return torch.device("mps")
    if count_in("LOCAL_WORLD_SIZE", 1) > 1:
        return _card_of_rank(name, count)
    if name == "auto":
        return _first_that_works(count, warn)
    return _named_card(name, count)


def device_here(asked: str | torch.device) -> torch.device:
    """Return the processor that was chosen, or what this process makes of a name.

    Work that is sent to other machines names its device: each chooses among its own.
    """
    return choose_device(asked) if isinstance(asked, str) else asked


def count_in(variable: str, default: int) -> int:
    """Return what torchrun put into a variable. Raises EnvironmentFault when it is not a count."""
    text = os.environ.get(variable, str(default))
    if not (text.isascii() and text.isdigit()):
        raise EnvironmentFault(
            f"the environment variable {variable} is not a count",
            why=repr(text),
            hint="torchrun sets it; without torchrun, unset it",
        )
    return int(text)


def _first_that_works(count: int, warn: Warn) -> torch.device:
    import torch

    for index in range(count):
        problem = card_problem(index)
        if not problem:
            return torch.device("cuda", index)
        warn(f"cuda:{index} cannot be used: {problem}")
    warn("computing on the CPU, which takes longer")
    return torch.device("cpu")


def _named_card(name: str, count: int) -> torch.device:
    import torch

    digits = name.partition(":")[2].lstrip("0")
    # More digits than a count has would not fit torch's index.
    if len(digits) > len(str(count)) or int(digits or "0") >= count:
        raise _absent(name, cuda_problem() or f"torch {torch.__version__} sees {count} CUDA cards")
    card = torch.device("cuda", int(digits or "0"))
    if problem := card_problem(card.index):
        raise EnvironmentFault(
            f"{card} cannot be used", why=problem, hint="use --device cpu, or see `luna doctor`"
        )
    return card


def _card_of_rank(name: str, count: int) -> torch.device:
    """One card for each process of this machine; all decide alike, or they would wait for ever."""
    import torch

    processes, rank = count_in("LOCAL_WORLD_SIZE", 1), count_in("LOCAL_RANK", 0)
    if name not in ("auto", "cuda"):
        raise UsageError(
            f"--device {name} is one card for {processes} processes",
            hint="use --device cuda: torchrun gives each process a card of its own, and "
            "CUDA_VISIBLE_DEVICES chooses among them",
        )
    if processes > count:
        raise EnvironmentFault(
            f"{processes} processes and {count} CUDA cards",
            why="each process needs a card of its own",
            hint=f"start torchrun with --nproc-per-node {count}, or use --device cpu",
        )
    return _named_card(f"cuda:{rank}", count) if count else torch.device("cpu")


def _absent(name: str, why: str) -> EnvironmentFault:
    return EnvironmentFault(
        f"device {name} is not there", why=why, hint="use --device cpu, or see `luna doctor`"
    )


def cuda_problem() -> str:
    """Return why torch sees no CUDA card, or an empty text if it sees one."""
    import torch

    if torch.cuda.device_count():
        return ""
    if torch.version.cuda is None and torch.version.hip is None:
        return f"torch {torch.__version__} was built without CUDA"
    return _error_line_of(torch.cuda.init) or f"torch {torch.__version__} sees no CUDA card"


def card_problem(index: int) -> str:
    """Return why torch cannot compute on a CUDA card that it sees, or an empty text."""
    import torch

    def compute() -> None:
        capability = torch.cuda.get_device_capability(index)
        built = torch.cuda.get_arch_list()
        if torch.version.hip is None and not has_kernels(capability, built):
            raise RuntimeError(
                f"{torch.cuda.get_device_name(index)} is of compute capability "
                f"{_dotted(capability)}, and torch {torch.__version__} was built for "
                f"{', '.join(built)}"
            )
        (torch.ones(1, device=f"cuda:{index}") + 1).item()

    return _error_line_of(compute)


def _error_line_of(work: Callable[[], object]) -> str:
    """Return the first line of the error that some work raises, or an empty text."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            work()
    except (RuntimeError, AssertionError, OSError) as error:
        return str(error).strip().partition("\n")[0] or type(error).__name__
    return ""


def has_kernels(capability: tuple[int, int], built: Sequence[str]) -> bool:
    """Whether a build for some architectures runs on a card of a compute capability.

    Machine code (sm_…) runs on cards of its major version that are not older, with an `a` on its
    own alone; code to be compiled on the card (compute_…) on all that are not older. A build that
    names none is trusted. Source: NVIDIA's guide to compatibility.

    >>> has_kernels((8, 9), ["sm_80", "sm_90"]), has_kernels((6, 1), ["sm_80", "sm_90"])
    (True, False)
    >>> has_kernels((12, 0), ["sm_90", "compute_90"]), has_kernels((12, 0), ["sm_90a"])
    (True, False)
    """
    known = [match for name in built if (match := _ARCHITECTURE.fullmatch(name))]
    return not known or any(_fits(capability, match) for match in known)


_ARCHITECTURE = re.compile(r"(sm|compute)_([0-9]+)([0-9])([a-z]?)")


def _fits(capability: tuple[int, int], architecture: re.Match[str]) -> bool:
    kind, major, minor, variant = architecture.groups()
    version = (int(major), int(minor))
    if variant == "a":
        return capability == version
    same_major = capability[0] == version[0]
    return capability >= version and (same_major or kind == "compute")


def _dotted(version: tuple[int, int]) -> str:
    return ".".join(map(str, version))
