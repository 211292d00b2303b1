"""Which processor to compute on."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from luna.run.errors import EnvironmentFault, UsageError

if TYPE_CHECKING:
    import torch


def choose_device(name: str = "auto") -> torch.device:
    """Return the torch device for `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.

    `auto` is CUDA where it is, else the CPU; only `auto` falls back. Raises UsageError for
    another name and EnvironmentFault for a device that is not there.
    """
    import torch

    if not re.fullmatch(r"auto|cpu|mps|cuda(:[0-9]+)?", name):
        raise UsageError(f"unknown device {name!r}", hint="use auto, cpu, cuda, cuda:N or mps")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "mps" and not torch.backends.mps.is_available():
        raise _absent(name, f"torch {torch.__version__} sees no Apple GPU")
    if name.startswith("cuda"):
        count = torch.cuda.device_count()
        digits = name.partition(":")[2].lstrip("0")
        # More digits than a count has would not fit torch's index.
        if len(digits) > len(str(count)) or int(digits or "0") >= count:
            raise _absent(name, f"torch {torch.__version__} sees {count} CUDA devices")
    return torch.device(name)


def _absent(name: str, why: str) -> EnvironmentFault:
    return EnvironmentFault(
        f"device {name} is not there", why=why, hint="use --device cpu, or see `luna doctor`"
    )


def bf16_is_native(device: torch.device) -> bool:
    """Return whether bfloat16 runs in hardware (AVX512-BF16 or AMX; compute ≥ 8.0).

    Emulated bfloat16 is several times slower than float32 on a CPU without it.
    """
    import torch

    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type != "cpu":
        return False
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
