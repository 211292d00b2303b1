"""The arithmetic of networks, and exact float32."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

from luna.run.errors import EnvironmentFault

if TYPE_CHECKING:
    import torch

Precision = Literal["auto", "float32", "bfloat16"]

BF16_SINCE, FP16_SINCE = (8, 0), (7, 0)
"""Compute capabilities of CUDA whose tensor cores take bfloat16 (and TF32), and float16."""


def bf16_is_native(device: torch.device) -> bool:
    """Return whether bfloat16 runs in hardware (AVX512-BF16 or AMX; compute ≥ 8.0).

    Emulated bfloat16 is several times slower than float32 on a CPU without it.
    """
    import torch

    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= BF16_SINCE
    if device.type != "cpu":
        return False
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def fast_type(device: torch.device) -> torch.dtype | None:
    """The 16-bit type in which a device applies networks fast; None where float32 is as good.

    Cards before compute 8.0 have float16 alone. It ends at 65504: what overflows is seen
    (`refuse_non_finite`), and nothing is trained in it.
    """
    import torch

    if bf16_is_native(device):
        return torch.bfloat16
    if device.type == "cuda" and torch.cuda.get_device_capability(device) >= FP16_SINCE:
        return torch.float16
    return None


@contextmanager
def arithmetic(device: torch.device, precision: Precision) -> Iterator[None]:
    """Apply networks in the block at a precision; `auto` takes the fast type, else float32.

    Raises EnvironmentFault for bfloat16 on a card that has none.
    """
    import torch

    refuse_absent(device, precision)
    fast = {"auto": fast_type(device), "float32": None, "bfloat16": torch.bfloat16}[precision]
    with (
        exact_float32(),
        torch.autocast(device.type, dtype=fast or torch.bfloat16, enabled=fast is not None),
    ):
        yield


def refuse_absent(device: torch.device, precision: str) -> None:
    """Raise EnvironmentFault when a device computes bfloat16 or tf32 in software, or not at all.

    A CPU computes bfloat16 in any case, to the same numbers; TF32 is of CUDA cards alone.
    """
    if precision in ("auto", "float32") or (device.type, precision) == ("cpu", "bfloat16"):
        return
    if device.type != "cuda" or not bf16_is_native(device):
        raise EnvironmentFault(
            f"{device} does not compute {precision}",
            why=_capability_of(device),
            hint="choose precision auto or float32 with --set",
        )


def _capability_of(device: torch.device) -> str:
    import torch

    wanted = ".".join(map(str, BF16_SINCE))
    if device.type != "cuda":
        return f"CUDA cards of compute capability {wanted} and later do"
    found = ".".join(map(str, torch.cuda.get_device_capability(device)))
    return f"its compute capability is {found}; {wanted} and later do"


@contextmanager
def exact_float32(tf32: bool = False) -> Iterator[None]:
    """Compute float32 as float32 in the block, or let CUDA cards round its factors to TF32.

    torch allows TF32 in convolutions unless told otherwise: 10 bits of 23, and probabilities off
    by up to 0.1. What the user set comes back after the block.
    """
    import torch

    settings: tuple[Any, ...] = (torch.backends.cuda.matmul, torch.backends.cudnn.conv)  # type: ignore[attr-defined]
    before = [setting.fp32_precision for setting in settings]
    try:
        for setting in settings:
            setting.fp32_precision = "tf32" if tf32 else "ieee"
        yield
    finally:
        for setting, value in zip(settings, before, strict=True):
            setting.fp32_precision = value


@contextmanager
def tuned_kernels(device: torch.device) -> Iterator[None]:
    """Let cuDNN try its kernels on each size that it meets: for blocks in which sizes stay."""
    import torch

    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = device.type == "cuda"
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before
