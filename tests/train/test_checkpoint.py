"""Checkpoints come back as they were, or are refused."""

import os
from pathlib import Path

import pytest
import torch
from torch import nn

from luna.run.errors import TrustError
from luna.train.checkpoint import (
    LAST,
    PREVIOUS,
    Checkpoint,
    keep_last,
    pack_optimizer,
    read_checkpoint,
    read_newest,
    unpack_optimizer,
    write_checkpoint,
)

OPTIMIZERS = {
    "adamw": lambda p: torch.optim.AdamW(p, lr=0.01),
    "sgd": lambda p: torch.optim.SGD(p, lr=0.01, momentum=0.9),
    "plain sgd": lambda p: torch.optim.SGD(p, lr=0.01),
}


def stepped(name: str, steps: int) -> tuple[nn.Linear, torch.optim.Optimizer]:
    torch.manual_seed(0)
    net = nn.Linear(3, 2)
    optimizer = OPTIMIZERS[name](net.parameters())
    step(net, optimizer, steps)
    return net, optimizer


def step(net: nn.Module, optimizer: torch.optim.Optimizer, steps: int) -> None:
    for _ in range(steps):
        optimizer.zero_grad()
        net(torch.ones(1, 3)).square().sum().backward()
        optimizer.step()


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_optimizer_goes_on_where_it_stood(name: str, tmp_path: Path) -> None:
    net, optimizer = stepped(name, 3)
    write_checkpoint(pack_optimizer(optimizer), tmp_path / LAST)
    other, fresh = stepped(name, 0)
    other.load_state_dict(net.state_dict())
    unpack_optimizer(fresh, read_checkpoint(tmp_path / LAST))
    step(net, optimizer, 2)
    step(other, fresh, 2)
    assert torch.equal(net.weight, other.weight)


def test_a_run_of_a_card_goes_on_on_a_cpu(tmp_path: Path) -> None:
    """A card's AdamW is fused and the CPU's is not: to the same steps, up to rounding."""
    net, other = (nn.Linear(3, 2) for _ in range(2))
    fused = torch.optim.AdamW(net.parameters(), lr=0.01, fused=True)
    step(net, fused, 3)
    other.load_state_dict(net.state_dict())
    fresh = OPTIMIZERS["adamw"](other.parameters())
    write_checkpoint(pack_optimizer(fused), tmp_path / LAST)
    unpack_optimizer(fresh, read_checkpoint(tmp_path / LAST))
    step(net, fused, 2)
    step(other, fresh, 2)
    torch.testing.assert_close(net.weight, other.weight)
    assert not fresh.param_groups[0]["fused"]


def test_a_folder_whose_name_is_no_text(tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"r\xff")
    folder.mkdir()
    written = Checkpoint({"a": torch.arange(3)}, {"step": 7})
    keep_last(written, folder)
    read, path = read_newest(folder)
    assert (path, read.values) == (folder / LAST, written.values)
    assert torch.equal(read.tensors["a"], written.tensors["a"])


def test_a_state_of_other_parameters_is_refused() -> None:
    _, optimizer = stepped("adamw", 1)
    other = torch.optim.AdamW(nn.Linear(3, 2, bias=False).parameters())
    with pytest.raises(TrustError, match="another network"):
        unpack_optimizer(other, pack_optimizer(optimizer))


def test_every_damaged_byte_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / LAST
    write_checkpoint(Checkpoint({"a": torch.arange(5.0)}, {"step": 3}), path)
    whole = path.read_bytes()
    for position in (*range(0, len(whole), 7), len(whole) - 1):
        damaged = bytearray(whole)
        damaged[position] ^= 1
        path.write_bytes(damaged)
        try:
            found = read_checkpoint(path)
        except TrustError:
            continue
        # Only a byte that means nothing, such as padding, may differ unnoticed.
        assert found.values == {"step": 3}
        assert found.tensors["a"].tolist() == [0, 1, 2, 3, 4]
    path.write_bytes(whole[:-4])
    with pytest.raises(TrustError):
        read_checkpoint(path)


def test_the_previous_one_stands_in_for_a_damaged_last(tmp_path: Path) -> None:
    keep_last(Checkpoint({"a": torch.zeros(1)}, {"step": 1}), tmp_path)
    keep_last(Checkpoint({"a": torch.ones(1)}, {"step": 2}), tmp_path)
    assert read_newest(tmp_path)[0].values == {"step": 2}
    (tmp_path / LAST).write_bytes(b"half")
    checkpoint, path = read_newest(tmp_path)
    assert checkpoint.values == {"step": 1}
    assert path.name == PREVIOUS
    (tmp_path / PREVIOUS).unlink()
    with pytest.raises(TrustError, match="last"):
        read_newest(tmp_path)
