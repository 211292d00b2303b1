"""Which processor to compute on."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from luna.run.errors import EnvironmentFault, UsageError

if TYPE_CHECKING:
    import torch


def choose_device(name: str = "auto") -> torch.device:
    """The torch device for `auto`, `cpu`, `cuda` or `cuda:N`.

    Only `auto` falls back to the CPU. Raises UsageError for another name and
    EnvironmentFault for a CUDA device that is not there.
    """
    import torch

    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", name):
        raise UsageError(f"unknown device {name!r}", hint="use auto, cpu, cuda or cuda:N")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    device = torch.device(name)
    if device.type == "cuda":
        count = torch.cuda.device_count()
        if (device.index or 0) >= count:
            raise EnvironmentFault(
                f"device {name} is not there",
                why=f"torch {torch.__version__} sees {count} CUDA devices",
                hint="use --device cpu, or see `luna doctor`",
            )
    return device


def bf16_is_native(device: torch.device) -> bool:
    """Whether bfloat16 arithmetic runs in hardware (AVX512-BF16 or AMX; compute ≥ 8.0).

    Emulated bfloat16 is several times slower than float32 on a CPU without it.
    """
    import torch

    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
