"""The rate of every step, and which weights an optimizer changes."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from luna.train.config import TrainConfig
from luna.train.optimize import (
    forward_pass,
    learn,
    learning_rate,
    memory_format,
    new_optimizer,
    set_learning_rate,
)

fractions = st.floats(0, 0.99)


@given(st.integers(1, 400), fractions, st.sampled_from(["cosine", "constant"]))
def test_the_rate_rises_to_its_highest_and_never_again(steps, warmup, schedule):
    config = TrainConfig(learning_rate=0.5, warmup=warmup, schedule=schedule)
    rates = [learning_rate(step, steps, config) for step in range(steps)]
    warm = int(warmup * steps)
    assert all(0 < rate <= 0.5 for rate in rates)
    assert rates[:warm] == sorted(rates[:warm])
    assert rates[warm:] == sorted(rates[warm:], reverse=True)
    if warm < steps:
        assert rates[warm] == 0.5  # the first step after the warm-up has the whole rate
    if schedule == "constant":
        assert set(rates[warm:]) <= {0.5}


@given(st.integers(2, 400))
def test_half_a_cosine_is_half_the_rate_in_the_middle(half):
    config = TrainConfig(learning_rate=0.2, warmup=0)
    assert learning_rate(half, 2 * half, config) == pytest.approx(0.1)
    last = learning_rate(2 * half - 1, 2 * half, config)
    assert last == pytest.approx(0.2 * (torch.pi / (4 * half)) ** 2, rel=0.2)


def two_layers() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 1))


def stepped(config: TrainConfig, scale: float = 1.0) -> tuple[nn.Sequential, nn.Sequential]:
    """A network before and after one step; the first layer is frozen."""
    before, net = two_layers(), two_layers()
    net[0].requires_grad_(False)
    optimizer = new_optimizer(net, config)
    set_learning_rate(optimizer, 0, 10, config)
    losses = scale * net(torch.ones(4, 3)).square().flatten()
    learn(net, optimizer, losses, config)
    return before, net


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_frozen_weights_stay_and_the_others_move(optimizer):
    before, net = stepped(TrainConfig(optimizer=optimizer, warmup=0))
    assert torch.equal(before[0].weight, net[0].weight)
    assert not torch.equal(before[1].weight, net[1].weight)
    assert net[0].weight.grad is None


def test_a_long_gradient_is_cut_and_a_short_one_is_not():
    plain = TrainConfig(optimizer="sgd", learning_rate=1.0, weight_decay=0, warmup=0)
    for scale, is_cut in ((1e6, True), (1e-6, False)):
        before, net = stepped(plain, scale)
        change = (
            torch.cat(
                [
                    (a - b).flatten()
                    for a, b in zip(before.parameters(), net.parameters(), strict=True)
                ]
            )
            .detach()
            .norm()
        )
        assert (float(change) == pytest.approx(1.0, rel=1e-4)) == is_cut
        assert float(change) <= 1.001
    before, net = stepped(TrainConfig(**{**_values(plain), "clip_norm": None}), 1e6)
    assert float((before[1].weight - net[1].weight).detach().norm()) > 1e3


def _values(config: TrainConfig) -> dict[str, object]:
    return {name: getattr(config, name) for name in TrainConfig.__dataclass_fields__}


def test_the_rate_is_given_to_every_group():
    net = two_layers()
    optimizer = torch.optim.SGD([{"params": [p]} for p in net.parameters()], lr=9.0)
    rate = set_learning_rate(optimizer, 1, 10, TrainConfig(learning_rate=0.5, warmup=0.4))
    assert rate == pytest.approx(0.25)
    assert {group["lr"] for group in optimizer.param_groups} == {rate}


def test_the_layout_is_that_of_the_networks_convolutions():
    flat, deep = nn.Sequential(nn.Conv2d(1, 1, 3)), nn.Sequential(nn.Conv3d(1, 1, 3))
    assert memory_format(flat, TrainConfig()) is torch.channels_last
    assert memory_format(deep, TrainConfig()) is torch.channels_last_3d
    assert memory_format(deep, TrainConfig(channels_last=False)) is torch.contiguous_format


def test_nothing_is_compiled_unless_asked_for():
    net = two_layers()
    assert forward_pass(net, TrainConfig()) is net


def test_norms_and_biases_do_not_decay_where_that_is_asked_for() -> None:
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.fill_(1.0)
    config = TrainConfig(decay="matrices", weight_decay=0.5, learning_rate=0.1, warmup=0)
    optimizer = new_optimizer(net, config)
    set_learning_rate(optimizer, 0, 10, config)
    for parameter in net.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    assert torch.allclose(net[0].weight, torch.tensor(1 - 0.1 * 0.5))
    for kept in (net[0].bias, net[1].weight, net[1].bias):
        assert torch.equal(kept, torch.ones(2))
