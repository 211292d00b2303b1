"""Check luna on a CUDA card in one go of at most eight minutes.

    python scripts/check_cuda.py [--out FOLDER] [--references FOLDER] [--book FOLDER]
    python scripts/check_cuda.py --device cpu --small       the same in small, on any machine

Blocks run one after another, each within its own time, and none ends the others: a JSON line for
each row as it comes, and a table of all at the end; both are in FOLDER too. --references holds
probabilities that a CPU computed, made where they are missing, so that they can be carried to the
card's machine; --book is the folder of the book's checkpoints. The scan is synthetic and needs
neither pydicom nor SimpleITK; the training blocks need what `luna train-cls` imports.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import torch

from card.given import Given, Row

TOTAL_S = 480
MATRIX = 8192


def environment(given: Given) -> Iterator[Row]:
    """The card, what torch was built for, and the rates that nothing can exceed."""
    device = given.device
    yield {"torch": torch.__version__, "python": platform.python_version(), "device": str(device)}
    if device.type == "cuda":
        from luna.run.device import card_problem

        facts = torch.cuda.get_device_properties(device)
        yield {
            "card": facts.name,
            "compute capability": f"{facts.major}.{facts.minor}",
            "memory GiB": round(facts.total_memory / 2**30, 1),
            "built for": torch.cuda.get_arch_list(),
            "CUDA": torch.version.cuda,
            "cuDNN": torch.backends.cudnn.version(),
            "problem": card_problem(device.index or 0),
        }
    side = 256 if given.small else MATRIX
    for name, dtype, precision in (
        ("float32", torch.float32, "ieee"),
        ("tf32", torch.float32, "tf32"),
        ("bfloat16", torch.bfloat16, "ieee"),
        ("float16", torch.float16, "ieee"),
    ):
        a = torch.randn(side, side, device=device).to(dtype)
        before = torch.backends.cuda.matmul.fp32_precision
        torch.backends.cuda.matmul.fp32_precision = precision
        took = given.seconds(lambda a=a: a @ a, 5)
        torch.backends.cuda.matmul.fp32_precision = before
        yield {"product": name, "TFLOP/s": round(2 * side**3 / took / 1e12, 2)}
    block = torch.empty((1 if given.small else 256) << 20, dtype=torch.int16, device=device)
    took = given.seconds(block.clone, 5)
    yield {"copy": "within the device", "GB/s": round(2 * block.nbytes / took / 1e9, 1)}
    if device.type == "cuda":
        home = torch.empty_like(block, device="cpu").pin_memory()
        took = given.seconds(lambda: block.copy_(home, non_blocking=True), 5)
        yield {"copy": "to the card, pinned", "GB/s": round(block.nbytes / took / 1e9, 1)}


def probes(given: Given) -> Iterator[Row]:
    """What later networks would need: a 3-D U-Net, and resampling a scan."""
    from torch.nn import functional as F

    side, device = (16 if given.small else 128), given.device
    x = torch.randn(1, 16, side, side, side, device=device)
    layers = torch.nn.Sequential(*(torch.nn.Conv3d(16, 16, 3, padding=1) for _ in range(4))).to(
        device
    )
    half = torch.autocast(device.type, torch.bfloat16)

    def through() -> torch.Tensor:
        with half:
            return layers(x).float().mean()

    yield {"probe": f"four 3-D convolutions of {side}³", "s": given.seconds(through, 3)}
    yield {"probe": "with gradients", "s": given.seconds(lambda: through().backward(), 3)}
    volume = torch.randn(1, 1, *([24] * 3 if given.small else [300, 512, 512]), device=device)
    take = lambda: F.interpolate(volume, scale_factor=0.67, mode="trilinear")  # noqa: E731
    yield {"probe": "resampling", "voxels": volume.numel(), "s": given.seconds(take, 3)}


def blocks() -> dict[str, tuple[int, Callable[[Given], Iterator[Row]]]]:
    """The blocks by name, each with its seconds; those that lack a package say so."""
    from card import inference, processes

    found: dict[str, tuple[int, Callable[[Given], Iterator[Row]]]] = {
        "environment": (20, environment),
        "parity": (50, inference.parity),
        "diagnose": (90, inference.speed),
    }
    try:
        from card import training
    except ImportError as error:
        lacking = str(error)

        def missing(given: Given) -> Iterator[Row]:
            yield {"skipped": lacking}

        return found | {"train": (5, missing)}
    return found | {
        "train": (110, training.rates),
        "profile": (35, training.profile),
        "feed": (60, training.feed),
        "resume": (30, training.resume),
        "processes": (45, processes.processes),
        "memory": (30, training.memory),
        "probes": (20, probes),
    }


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Raise TimeoutError in the block after so many seconds."""

    def late(number: int, frame: FrameType | None) -> None:
        raise TimeoutError(f"not done within {seconds:.0f} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, max(seconds, 0.1))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def run(given: Given, chosen: list[str], tell: Callable[[Row], None]) -> int:
    """Run the blocks; how many failed."""
    failed, began = 0, time.monotonic()
    for name, (limit_s, block) in blocks().items():
        if chosen and name not in chosen:
            continue
        start = time.monotonic()
        try:
            with within(min(limit_s, TOTAL_S - (start - began))):
                for row in block(given):
                    tell({"block": name, **row})
        except Exception as error:
            failed += 1
            tell({"block": name, "failed": f"{type(error).__name__}: {error}"[:300]})
        tell({"block": name, "took s": round(time.monotonic() - start, 1)})
    return failed


def table(rows: list[Row]) -> str:
    """All rows as Markdown, a table for each block and set of columns."""
    lines: list[str] = []
    last: tuple[str, ...] = ()
    for row in rows:
        columns = tuple(row)
        if (row["block"], *columns) != last:
            last = (row["block"], *columns)
            heads = columns[1:]
            lines += ["", f"**{row['block']}**", "", f"| {' | '.join(heads)} |"]
            lines.append("|" + "---|" * len(heads))
        cells = (f"{v:.3g}" if isinstance(v, float) else str(v) for v in list(row.values())[1:])
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines).strip() + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("blocks", nargs="*", help="names of blocks; all without them")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--small", action="store_true", help="sizes for a CPU and a few seconds")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--references", type=Path)
    parser.add_argument("--book", type=Path)
    asked = parser.parse_args()
    given = Given(torch.device(asked.device), asked.small, asked.references, asked.book)
    rows: list[Row] = []

    def tell(row: Row) -> None:
        rows.append(row)
        print(json.dumps(row), flush=True)
        if asked.out is not None:
            asked.out.mkdir(parents=True, exist_ok=True)
            (asked.out / "check.jsonl").write_text("".join(f"{json.dumps(r)}\n" for r in rows))
            (asked.out / "check.md").write_text(table(rows))

    failed = run(given, asked.blocks, tell)
    print(table(rows))
    return 1 if failed else 0


if __name__ == "__main__":
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    sys.exit(main())
