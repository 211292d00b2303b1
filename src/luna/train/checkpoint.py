"""Training state on disk, without pickle: safetensors for tensors, JSON for the rest.

    last.safetensors       the newest state
    previous.safetensors   the one before it, in case the newest is damaged
    best.safetensors       the state of the best validation

The SHA-256 of the content stands in the file's own metadata, so that one rename replaces both.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError

from luna.run.errors import TrustError
from luna.run.files import read_plain, replace_file

LAST, PREVIOUS, BEST = "last.safetensors", "previous.safetensors", "best.safetensors"
FORMAT = "luna-checkpoint-1"
CHECKPOINT_BYTES_MAX = 64 << 30
"""More than any network here takes; an endless file is something else."""

Tensors = dict[str, torch.Tensor]


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Tensors by name and plain JSON values."""

    tensors: Tensors
    values: dict[str, Any] = field(default_factory=dict)


def pack_optimizer(optimizer: torch.optim.Optimizer) -> Checkpoint:
    """The state of an optimizer: its tensors as `index/key`, everything else as JSON values."""
    state = optimizer.state_dict()
    tensors: Tensors = {}
    plain: dict[str, dict[str, Any]] = {}
    for index, entries in state["state"].items():
        for key, value in entries.items():
            if isinstance(value, torch.Tensor):
                tensors[f"{index}/{key}"] = value
            else:
                plain.setdefault(str(index), {})[key] = value
    return Checkpoint(tensors, {"groups": state["param_groups"], "plain": plain})


def unpack_optimizer(optimizer: torch.optim.Optimizer, packed: Checkpoint) -> None:
    """Give an optimizer the state that `pack_optimizer` took from one of the same parameters.

    Raises TrustError when the parameters or the settings differ.
    """
    state: dict[int, dict[str, Any]] = {}
    fresh = optimizer.state_dict()["param_groups"]
    try:
        for name, tensor in packed.tensors.items():
            index, _, key = name.partition("/")
            state.setdefault(int(index), {})[key] = tensor
        for index, entries in packed.values["plain"].items():
            state.setdefault(int(index), {}).update(entries)
        _refuse_other_settings(packed.values["groups"], fresh)
        optimizer.load_state_dict({"state": state, "param_groups": fresh})
        _refuse_odd_state(optimizer)
    except (ValueError, KeyError, RuntimeError, TypeError, AttributeError) as error:
        raise TrustError("the checkpoint belongs to another network", why=str(error)) from error


def _refuse_other_settings(groups: Any, fresh: list[dict[str, Any]]) -> None:
    """Raise ValueError unless the saved groups of parameters are as the config makes them.

    The rate is set anew at each step, and whether kernels are fused is the device's; another
    version of torch may know other settings.
    """
    for saved, wanted in zip(groups, json.loads(json.dumps(fresh)), strict=True):
        for name in wanted.keys() & saved.keys() - {"lr", "fused"}:
            if saved[name] != wanted[name]:
                raise ValueError(f"{name} of the optimizer is {saved[name]!r:.40}")


def _refuse_odd_state(optimizer: torch.optim.Optimizer) -> None:
    """Raise ValueError unless each parameter's state has the names and shapes of this optimizer."""
    names = STATE_NAMES[type(optimizer)]
    for parameter, entries in optimizer.state.items():
        if entries.keys() != names:
            raise ValueError(f"the optimizer's state has {sorted(entries)}")
        for name, value in entries.items():
            shape = () if name == "step" else tuple(parameter.shape)
            if value is None and isinstance(optimizer, torch.optim.SGD):
                continue  # no momentum yet
            if tuple(value.shape) != shape or not value.is_floating_point():
                raise ValueError(f"{name} is of another shape")


STATE_NAMES: dict[type[torch.optim.Optimizer], set[str]] = {
    torch.optim.AdamW: {"step", "exp_avg", "exp_avg_sq"},
    torch.optim.SGD: {"momentum_buffer"},
}
"""What the optimizers keep of each parameter."""


def with_prefix(prefix: str, tensors: Mapping[str, torch.Tensor]) -> Tensors:
    """Put the names of tensors under a prefix."""
    return {f"{prefix}/{name}": tensor for name, tensor in tensors.items()}


def under_prefix(prefix: str, tensors: Mapping[str, torch.Tensor]) -> Tensors:
    """Return the tensors that `with_prefix` put under a prefix, by their own names."""
    return {
        n.removeprefix(f"{prefix}/"): t for n, t in tensors.items() if n.startswith(f"{prefix}/")
    }


def write_checkpoint(checkpoint: Checkpoint, path: Path) -> str:
    """Write atomically and return the SHA-256 of the content."""
    tensors = {n: t.detach().cpu().contiguous() for n, t in checkpoint.tensors.items()}
    text = json.dumps(checkpoint.values, sort_keys=True)
    digest = _digest(tensors, text)
    metadata = {"format": FORMAT, "values": text, "sha256": digest}
    with replace_file(path) as temporary:
        # Not save_file(): it hides that the disk is full behind an error of its own.
        temporary.write_bytes(safetensors.torch.save(tensors, metadata))
    return digest


def keep_last(checkpoint: Checkpoint, folder: Path) -> None:
    """Write the newest state of a run; the one that was newest becomes the previous."""
    last = folder / LAST
    if last.exists():
        # A second name, not a move: there is a `last` at every moment.
        link = folder / f".{PREVIOUS}"
        link.unlink(missing_ok=True)
        os.link(last, link)
        link.replace(folder / PREVIOUS)
    write_checkpoint(checkpoint, last)


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint whose hash is right. Raises TrustError when it is missing or damaged."""
    try:
        # Not safe_open(): it cannot open a path whose bytes are no text.
        stream = read_plain(path, CHECKPOINT_BYTES_MAX)
        tensors, metadata = safetensors.torch.load(stream), _metadata(stream)
        if metadata.get("format") != FORMAT:
            raise TrustError("not a checkpoint of luna", file=path)
        if metadata.get("sha256") != _digest(tensors, metadata["values"]):
            raise TrustError("the checkpoint is damaged", file=path, why="SHA-256 differs")
        return Checkpoint(tensors, json.loads(metadata["values"]))
    except (
        SafetensorError,
        OSError,
        KeyError,
        ValueError,
        TypeError,
        AttributeError,
        RecursionError,
    ) as error:
        raise TrustError("the checkpoint cannot be read", file=path, why=str(error)) from error


def _metadata(stream: bytes) -> dict[str, str]:
    """Return the metadata of a safetensors file that was read without an error."""
    length = int.from_bytes(stream[:8], "little")
    metadata: dict[str, str] = json.loads(stream[8 : 8 + length]).get("__metadata__", {})
    return metadata


def read_newest(folder: Path) -> tuple[Checkpoint, Path]:
    """Read the newest state of a run that can be trusted; return it with its file.

    Raises TrustError when neither the last nor the previous one can be.
    """
    try:
        return read_checkpoint(folder / LAST), folder / LAST
    except TrustError as error:
        with suppress(TrustError):
            return read_checkpoint(folder / PREVIOUS), folder / PREVIOUS
        error.hint = "no earlier checkpoint is intact either: start a new run, without --resume"
        raise


def _digest(tensors: Tensors, text: str) -> str:
    digest = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
