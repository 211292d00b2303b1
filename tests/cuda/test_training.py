"""A training on a card: devices agree, and no step waits for the card.

Gradients are made up: torch's own backward pass asks for CUDA's streams, which are not there.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from luna.data.augment import Augment, AugmentConfig
from luna.nets.bundle import build_network
from luna.nets.card import Card as NetworkCard
from luna.nets.losses import segmentation_loss
from luna.run.errors import EnvironmentFault
from luna.run.machine.precision import refuse_absent
from luna.train.config import TrainConfig
from luna.train.loop import train
from luna.train.metrics import Metrics
from luna.train.optimize import new_optimizer
from luna.train.resident import Resident
from luna.train.runs import Run, State
from luna.train.tasks import NODULE, SEGMENTATION, Batch, Data

from .conftest import CARD, Card

Nets = list[torch.nn.Module]
STEPS, BATCH = 6, 4
AUGMENT = AugmentConfig(flip=True, offset=0.1, scale=0.1, rotate_degrees=180, noise_hu=20)


@dataclass(frozen=True)
class Zeros:
    """Samples as the cache gives them."""

    shape: tuple[int, ...]
    masks: bool
    count: int = STEPS * BATCH

    def __len__(self) -> int:
        return self.count

    def read(self, indices: Sequence[int]) -> Batch:
        n = len(indices)
        mask = torch.zeros(n, 1, *self.shape[1:], dtype=torch.uint8)
        return torch.zeros(n, *self.shape, dtype=torch.int16), mask if self.masks else torch.arange(
            n
        ) % 2


@dataclass(frozen=True, kw_only=True, slots=True)
class Nowhere(Run):
    """A run that keeps nothing; the waits at each step's end are taken down."""

    card_waits: list[str]
    at_step: list[int]
    losses: list[tuple[int, float]]

    def restore(self, state: State, *_: Any, **__: Any) -> State:
        return state

    def log_step(self, step: int, rate: float, loss: float, speed: Metrics) -> None:
        self.at_step.append(len(self.card_waits))
        self.losses.append((step, loss))

    def keep(self, state: State, metrics: Mapping[str, Metrics], best_by: str) -> None:
        assert {p.device for p in state.net.parameters()} == {CARD}

    def save(self, state: State) -> None:
        """Nothing is written."""


def nowhere(card: Card) -> Nowhere:
    described = NetworkCard(
        name="a", role="nodule", architecture="unet", arguments={}, training_data="", licence=""
    )
    return Nowhere(
        folder=Path("/nowhere"), card=described, card_waits=card.waits, at_step=[], losses=[]
    )


NETWORKS = {
    "unet": ({"context_slices": 3, "depth": 2, "width": 4}, (3, 24, 24)),
    "classifier": ({"input_size": (8, 8, 8), "widths": (2,)}, (1, 8, 8, 8)),
    "residual-classifier": ({"input_size": (8, 8, 8), "widths": (2, 4)}, (1, 8, 8, 8)),
}


@pytest.fixture
def made_up_gradients(monkeypatch: pytest.MonkeyPatch) -> Iterator[Nets]:
    """The networks whose weights get a gradient where a loss is sent back."""
    nets: Nets = []

    def backward(loss: torch.Tensor) -> None:
        assert loss.device == CARD
        assert loss.dtype == torch.float32
        for net in nets:
            for weight in net.parameters():
                weight.grad = torch.zeros_like(weight)

    monkeypatch.setattr(torch.Tensor, "backward", backward)
    cached = torch.is_autocast_cache_enabled()
    torch.set_autocast_cache_enabled(False)  # weights in the cache would ask for gradients
    with torch.no_grad():
        yield nets
    torch.set_autocast_cache_enabled(cached)


def trained(architecture: str, card: Card, nets: Nets, **changes: Any) -> Nowhere:
    arguments, shape = NETWORKS[architecture]
    masks = architecture == "unet"
    task = NODULE
    if masks:
        task = replace(
            SEGMENTATION, loss=lambda x, y: segmentation_loss(x, y, cross_entropy_weight=1.0)
        )
    data = Data(
        train=Zeros(shape, masks),
        validation=Zeros(shape, masks, count=5),
        order=lambda epoch: np.arange(STEPS * BATCH),
        augment=Augment(replace(AUGMENT, crop_vox=16 if masks else None)),
    )
    config = TrainConfig(
        epochs=1, batch_size=BATCH, validation_batch_size=2, resident_gib=0, **changes
    )
    run = nowhere(card)
    nets[:] = [build_network(architecture, arguments)]
    train(task, data, nets[0], config, CARD, run)
    return run


@pytest.mark.parametrize("architecture", NETWORKS)
def test_no_step_waits_for_the_card(architecture: str, card: Card, made_up_gradients: Nets) -> None:
    run = trained(architecture, card, made_up_gradients)
    assert [step for step, _ in run.losses] == list(range(STEPS))
    # Constants go to the card in the first step; the last is read when the epoch ends.
    middle = run.at_step[1 : STEPS - 1]
    assert len(set(middle)) == 1, card.waits


@pytest.mark.parametrize("architecture", NETWORKS)
def test_auto_trains_in_bfloat16_or_float32_and_never_in_float16(
    architecture: str, card: Card, made_up_gradients: Nets
) -> None:
    trained(architecture, card, made_up_gradients)
    assert card.halves == ({torch.bfloat16} if card.capability == (9, 0) else set())


def test_float32_and_tf32_hold_for_gradients_too(
    card: Card, made_up_gradients: Nets, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen, step = set(), torch.optim.AdamW.step

    def watched(self: torch.optim.AdamW, *given: Any) -> Any:
        seen.add((torch.backends.cudnn.conv.fp32_precision, torch.backends.cudnn.benchmark))
        return step(self, *given)

    monkeypatch.setattr(torch.optim.AdamW, "step", watched)
    for precision, kernels in (("float32", "ieee"), ("tf32", "tf32")):
        seen.clear()
        trained("classifier", card, made_up_gradients, precision=precision)
        assert seen == {(kernels, True)}
    assert not torch.backends.cudnn.benchmark


def test_the_optimizer_is_fused_on_the_card_alone(card: Card) -> None:
    config = TrainConfig()
    for device, fused in ((CARD, True), (torch.device("cpu"), None)):
        net = build_network("classifier", NETWORKS["classifier"][0]).to(device)
        assert new_optimizer(net, config).param_groups[0]["fused"] is fused


def test_resident_samples_stay_on_the_card(card: Card) -> None:
    kept = Resident(Zeros((1, 8, 8, 8), False), CARD)
    hu, target = kept.read([3, 1, 3])
    assert (hu.device, target.device, hu.dtype) == (CARD, CARD, torch.int16)
    assert (hu.shape, target.shape) == ((3, 1, 8, 8, 8), (3,))
    assert "copy to the card" not in card.waits


def test_precisions_that_a_device_lacks_are_refused(card: Card) -> None:
    lacking = [torch.device("cpu")] + ([CARD] if card.capability < (8, 0) else [])
    for device in lacking:
        with pytest.raises(EnvironmentFault, match=f"{device} does not compute tf32"):
            refuse_absent(device, "tf32")
    refuse_absent(torch.device("cpu"), "bfloat16")  # in software, to the same numbers
