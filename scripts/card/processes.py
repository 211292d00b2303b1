"""Several processes: a group of one with the parts of several, and two on one card."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

from card.given import Given, Row

ONE = """
import os, sys, torch, torch.distributed as dist
from luna.nets.bundle import build_network
from luna.train.ranks import Ranks
device = torch.device(sys.argv[1])
if device.type == "cuda":
    torch.cuda.set_device(device)
card = device if device.type == "cuda" else None
dist.init_process_group("nccl" if card else "gloo", rank=0, world_size=1, device_id=card)
arguments = {"context_slices": 3, "depth": 2, "width": 4}
net = Ranks(0, 2).wrap(build_network("unet", arguments).to(device), device)
if sys.argv[2] == "compiled":
    net = torch.compile(net)
optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
for _ in range(3):
    optimizer.zero_grad()
    loss = net(torch.randn(4, 3, 32, 32, device=device)).square().mean()
    loss.backward()
    optimizer.step()
print(float(loss), type(net).__name__)
dist.destroy_process_group()
"""

TWO = """
import sys
from luna.run.device import choose_device
from luna.train.ranks import joined_ranks
from luna.run.errors import LunaError
try:
    with joined_ranks(choose_device(sys.argv[1])) as ranks:
        print(ranks)
except LunaError as error:
    print(f"exit {error.exit_code}: {error}")
"""


def _asked(code: str, *given: str, **variables: str) -> str:
    """What a process says, within 20 seconds of its own; it is ended after them."""
    try:
        done = subprocess.run(
            [sys.executable, "-c", code, *given],
            env=os.environ | {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29641"} | variables,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return "no answer within 60 s"
    lines = [line for line in (done.stdout or done.stderr).splitlines() if line.strip()]
    return lines[-1][:200] if lines else f"exit {done.returncode}"


def processes(given: Given) -> Iterator[Row]:
    """NCCL on a card, gloo on a CPU."""
    for how in ("as it is",) if given.small else ("as it is", "compiled"):
        yield {"group of one": how, "said": _asked(ONE, str(given.device), how)}
    if given.device.type == "cuda":
        ranks = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "RANK": "0", "LOCAL_RANK": "0"}
        for name in ("cuda", "cuda:0"):
            visible = {"CUDA_VISIBLE_DEVICES": "0"}
            yield {"two ranks, one card": name, "said": _asked(TWO, name, **ranks, **visible)}
