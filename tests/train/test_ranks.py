"""Two processes do what one does."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from luna.run.errors import EnvironmentFault, LunaError
from luna.train.ranks import connection_fault

# Without batch norm, whose statistics on the CPU are each rank's own; see Ranks.wrap.
SCRIPT = """
import sys
from pathlib import Path

import numpy as np
import torch
from torch import nn

from luna.nets.bundle import Card
from luna.train.config import TrainConfig
from luna.train.loop import train
from luna.train.ranks import joined_ranks
from luna.train.runs import Run
from luna.train.tasks import NODULE, Data


class Samples:
    def __init__(self, count):
        self.count = count

    def __len__(self):
        return self.count

    def read(self, indices):
        hu = torch.stack([
            torch.randn(1, 4, 4, 4, generator=torch.Generator().manual_seed(i)) * 300 + i % 2 * 200
            for i in indices
        ])
        return hu.short(), torch.tensor([i % 2 for i in indices])


def augment(hu, target, seeds):
    return hu / 1000 + (seeds % 97).float().reshape(-1, 1, 1, 1, 1) / 970, target


data = Data(
    train=Samples(64), validation=Samples(13), augment=augment,
    order=lambda epoch: np.random.default_rng(epoch).permutation(64),
)
torch.manual_seed(0)
net = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 2))
card = Card(name="a", role="nodule", architecture="classifier", arguments={},
            training_data="noise", licence="CC0-1.0")
device = torch.device("cpu")
config = TrainConfig(epochs=2, batch_size=16, precision="float32", learning_rate=0.01)
folder = Path(sys.argv[1])
folder.mkdir(exist_ok=True)
with joined_ranks(device) as ranks:
    train(NODULE, data, net, config, device, Run(folder=folder, card=card), ranks)
"""


def start(folder: Path, rank: int, count: int) -> subprocess.Popen[bytes]:
    place = {"RANK": str(rank), "WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1"}
    port = {"MASTER_PORT": str(20000 + os.getpid() % 20000), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", SCRIPT, str(folder)]
    return subprocess.Popen(command, env=os.environ | place | port)


def test_two_ranks_equal_one(tmp_path: Path) -> None:
    processes = [
        start(tmp_path / str(count), rank, count) for count in (1, 2) for rank in range(count)
    ]
    assert [p.wait(timeout=120) for p in processes] == [0, 0, 0]
    one, two = (
        [line.split(",") for line in (tmp_path / n / "losses.csv").read_text().splitlines()[1:]]
        for n in ("1", "2")
    )
    assert len(one) == len(two) == 8
    for a, b in zip(one, two, strict=True):
        # The mean of two means rounds differently from one mean in float32.
        assert float(a[2]) == pytest.approx(float(b[2]), rel=1e-5)
    first, second = (
        [json.loads(t) for t in (tmp_path / n / "metrics.jsonl").read_text().splitlines()]
        for n in ("1", "2")
    )
    for a, b in zip(first, second, strict=True):
        assert a["train"] == pytest.approx(b["train"], rel=1e-4)
        assert a["validation"] == pytest.approx(b["validation"], rel=1e-4)


@pytest.mark.parametrize(
    ("said", "fault", "words"),
    [
        ("[1] is setting up NCCL communicator: Connection closed by peer", LunaError, "has ended"),
        ("gloo/transport/tcp/pair.cc: Connection reset by peer", LunaError, "has ended"),
        (
            "NCCL error in: NCCLUtils.cpp:94, invalid usage, ncclInvalidUsage\n"
            "Duplicate GPU detected : rank 1 and rank 0 both on CUDA device 1000",
            EnvironmentFault,
            "Duplicate GPU detected",
        ),
        ("CUDA error: an illegal memory access", None, ""),
        ("NCCL error: unhandled cuda error. Cuda failure 2 'out of memory'", None, ""),
    ],
)
def test_what_nccl_refuses_is_no_process_that_ended(
    said: str, fault: type[LunaError] | None, words: str
) -> None:
    found = connection_fault(RuntimeError(said))
    assert type(found) is (fault or type(None))
    assert words in str(found)
