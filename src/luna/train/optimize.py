"""Set up torch as a TrainConfig says: memory layout, compilation, optimizer."""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from luna.run.errors import EnvironmentFault
from luna.train.config import TrainConfig

Forward = Callable[[torch.Tensor], torch.Tensor]


def memory_format(net: nn.Module, config: TrainConfig) -> torch.memory_format:
    """Return the memory layout of the network's weights and inputs."""
    if not config.channels_last:
        return torch.contiguous_format
    is_3d = any(isinstance(module, nn.Conv3d) for module in net.modules())
    return torch.channels_last_3d if is_3d else torch.channels_last


def forward_pass(net: nn.Module, config: TrainConfig) -> Forward:
    """Return the network's forward pass, compiled where the configuration asks for it.

    Validation takes the network as it is: each size of slice would be compiled again.
    """
    if not config.compile:
        return net
    compiler = os.environ.get("CXX", "g++")
    if shutil.which(compiler) is None:
        raise EnvironmentFault(
            "train.compile needs a C++ compiler",
            why=f"there is no {compiler} in PATH",
            hint="install one or name it in CXX, or --set train.compile=false",
        )
    forward: Forward = torch.compile(net)
    return forward


def new_optimizer(net: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    """Make an optimizer of the weights that learn."""
    learning = [p for p in net.parameters() if p.requires_grad]
    common: dict[str, Any] = {
        "lr": config.learning_rate,
        "weight_decay": config.weight_decay,
    }
    if any(p.device.type == "cuda" for p in learning):
        common["fused"] = True  # one kernel for all weights instead of some for each
    groups = _groups(learning) if config.decay == "matrices" else learning
    if config.optimizer == "adamw":
        return torch.optim.AdamW(groups, **common)
    return torch.optim.SGD(groups, momentum=config.momentum, **common)


def _groups(learning: Sequence[nn.Parameter]) -> list[dict[str, Any]]:
    """Separate weights of convolutions and heads, which decay, from norms and biases.

    A norm's scale has nothing to be small for: what follows it would make up for that.
    """
    groups: list[dict[str, Any]] = [
        {"params": [p for p in learning if p.dim() > 1]},
        {"params": [p for p in learning if p.dim() <= 1], "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def learning_rate(step: int, steps: int, config: TrainConfig) -> float:
    """Return the rate of a step: up in a straight line, then level or down half a cosine.

    >>> config = TrainConfig(learning_rate=0.5, warmup=0.2)
    >>> [round(learning_rate(step, 10, config), 3) for step in (0, 1, 2, 6, 9)]
    [0.25, 0.5, 0.5, 0.25, 0.019]
    """
    warm = int(config.warmup * steps)
    if step < warm:
        return config.learning_rate * (step + 1) / warm
    if config.schedule == "constant":
        return config.learning_rate
    done = (step - warm) / (steps - warm)
    return config.learning_rate * 0.5 * (1 + math.cos(math.pi * done))


def set_learning_rate(
    optimizer: torch.optim.Optimizer, step: int, steps: int, config: TrainConfig
) -> float:
    """Give the optimizer the rate of a step, and return it."""
    rate = learning_rate(step, steps, config)
    for group in optimizer.param_groups:
        group["lr"] = rate
    return rate


def learn(
    net: nn.Module, optimizer: torch.optim.Optimizer, losses: torch.Tensor, config: TrainConfig
) -> None:
    """Change the network's weights by the gradient of the mean of the losses."""
    optimizer.zero_grad(set_to_none=True)
    losses.mean().backward()  # type: ignore[no-untyped-call]
    if config.clip_norm is not None:
        nn.utils.clip_grad_norm_(net.parameters(), config.clip_norm)
    optimizer.step()
