"""A task small enough to learn in seconds, with samples made in memory."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from luna.nets.bundle import build_network
from luna.nets.card import Card
from luna.train.runs import Run
from luna.train.tasks import Batch, Data

CLASSIFIER = {"input_size": [8, 8, 8], "widths": [2]}
UNET = {"context_slices": 3, "depth": 2, "width": 4}


@dataclass(frozen=True)
class Balls:
    """Noise at -800 HU, with a bright cube in every second sample; masks when asked."""

    count: int
    masks: bool = False

    def __len__(self) -> int:
        return self.count

    def read(self, indices: Sequence[int]) -> Batch:
        shape = (3, 16, 16) if self.masks else (1, 8, 8, 8)
        hu, target = [], []
        for index in indices:
            noise = torch.randn(shape, generator=torch.Generator().manual_seed(index)) * 50 - 800
            mask = torch.zeros(1, *shape[1:], dtype=torch.uint8)
            mask[..., 3:6, 3:6] = index % 2
            hu.append((noise + 600 * mask).short())
            target.append(mask if self.masks else torch.tensor(index % 2))
        return torch.stack(hu), torch.stack(target)


def noisy(hu: torch.Tensor, target: torch.Tensor, seeds: torch.Tensor) -> Batch:
    """An augmentation that shows which seed a sample got."""
    shift = (seeds % 97).float().reshape(-1, *[1] * (hu.dim() - 1))
    return hu + shift, target


def data(samples: int = 32, masks: bool = False) -> Data:
    return Data(
        train=Balls(samples, masks),
        validation=Balls(10, masks),
        order=lambda epoch: np.random.default_rng([7, epoch]).permutation(samples),
        augment=noisy,
    )


def network(masks: bool = False) -> nn.Module:
    torch.manual_seed(0)
    return build_network("unet", UNET) if masks else build_network("classifier", CLASSIFIER)


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., Run]:
    """A run in a folder of its own: (name, masks=False)."""

    def make(name: str, masks: bool = False) -> Run:
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        card = Card(
            name=name,
            role="segmentation" if masks else "nodule",
            architecture="unet" if masks else "classifier",
            arguments=UNET if masks else CLASSIFIER,
            training_data="cubes in noise",
            licence="CC0-1.0",
        )
        return Run(folder=folder, card=card)

    return make


@pytest.fixture(name="cubes")
def cubes_fixture() -> Callable[..., Data]:
    """In-memory data: (samples=32, masks=False)."""
    return data


@pytest.fixture(name="network")
def network_fixture() -> Callable[..., nn.Module]:
    """The same fresh network at every call: (masks=False)."""
    return network
