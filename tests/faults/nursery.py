"""Runs luna commands, each in a process of its own: python nursery.py

Importing torch takes seconds, so this process imports luna once and forks for every command
that it reads as a line of JSON; the answer is a line of JSON, too. A child has a memory limit
and a deadline; a crash or a hang of one does not touch the others.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import time
from pathlib import Path
from typing import Any

MEMORY_BYTES = 6 << 30
DEADLINE_S = 120


def be_luna(asked: dict[str, Any]) -> None:
    """The child: what a shell would start."""
    for stream, path in ((1, asked["stdout"]), (2, asked["stderr"])):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), stream)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.chdir(asked["cwd"])
    os.environ.update(asked["environment"])
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    sys.stdout = os.fdopen(1, "w", encoding="utf-8", closefd=False)
    sys.stderr = os.fdopen(2, "w", encoding="utf-8", closefd=False)
    sys.argv = ["luna", *asked["arguments"]]
    try:
        app.main()
    except SystemExit as end:
        code = end.code
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else 1)


def wait(child: int, strike: dict[str, Any] | None) -> int:
    """The exit code; minus the signal's number for a crash, -9 for a hang.

    With `strike`, a `signal` is sent once the files that match `pattern` come to an `amount`
    of a `unit`; to a worker of luna rather than to luna when `worker` is set.
    """
    end = time.monotonic() + DEADLINE_S
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        if strike and amount_of(strike["pattern"], strike["unit"]) >= strike["amount"]:
            struck = workers_of(child) if strike["worker"] else [child]
            for process in struck[:1]:
                os.kill(process, strike["signal"])
                strike = None
        time.sleep(0.005)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return -signal.SIGKILL


def amount_of(pattern: str, unit: str) -> int:
    """Files that match, their bytes, or their lines; temporary ones, which may go, are left out."""
    matching = Path("/").glob(pattern.lstrip("/"))
    paths = [path for path in matching if not path.name.startswith(".tmp-")]
    if unit == "files":
        return len(paths)
    if unit == "bytes":
        return sum(path.stat().st_size for path in paths)
    return sum(path.read_bytes().count(b"\n") for path in paths)


def workers_of(process: int) -> list[int]:
    """The processes that multiprocessing has spawned for a process."""
    children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    return [int(c) for c in children if b"spawn_main" in Path(f"/proc/{c}/cmdline").read_bytes()]


if __name__ == "__main__":
    import torch

    from luna.cli import app

    # What commands import late is imported here, too.
    app.run(["diagnose", "nothing", "--weights", "nothing", "--out", "nothing"])
    app.run(["prep", "nothing", "--cache", "nothing"])
    app.run(["train-cls", "nothing"])
    app.run(["evaluate", "nothing", "--weights", "nothing", "--out", "nothing"])
    torch.optim.SGD([torch.zeros(1, requires_grad=True)])
    for line in sys.stdin:
        asked = json.loads(line)
        child = os.fork()
        if child == 0:
            be_luna(asked)
        print(json.dumps(wait(child, asked["strike"])), flush=True)
