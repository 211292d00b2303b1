"""Training steps: rates, what a step launches and waits for, feeding, and going on."""

from __future__ import annotations

import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from card.given import Given, Row
from luna.data.augment import Augment, AugmentConfig
from luna.nets.bundle import build_network
from luna.nets.card import Card
from luna.run.errors import LunaError
from luna.run.machine.precision import exact_float32, tuned_kernels
from luna.train.config import TrainConfig
from luna.train.loop import train
from luna.train.optimize import forward_pass, learn, memory_format, new_optimizer
from luna.train.ranks import Ranks
from luna.train.resident import Resident
from luna.train.runs import Run
from luna.train.tasks import NODULE, SEGMENTATION, Batch, Data, Task
from luna.train.trainer import Trainer, augmented, forward

AUGMENT = AugmentConfig(flip=True, offset=0.1, scale=0.2, rotate_degrees=180, noise_hu=25)
CUBE = (1, 32, 48, 48)
NETWORKS: dict[str, tuple[Task, dict[str, object], tuple[int, ...]]] = {
    "unet": (SEGMENTATION, {"context_slices": 7, "depth": 3, "width": 16}, (7, 96, 96)),
    "classifier": (NODULE, {"input_size": CUBE[1:], "widths": (8, 16, 32, 64)}, CUBE),
    "residual-classifier": (NODULE, {"input_size": CUBE[1:], "widths": (8, 16, 32, 64)}, CUBE),
}
"""The book's and luna's own sizes: task, arguments, and the shape of a sample."""

TINY: dict[str, tuple[Task, dict[str, object], tuple[int, ...]]] = {
    "unet": (SEGMENTATION, {"context_slices": 3, "depth": 2, "width": 2}, (3, 32, 32)),
    "classifier": (NODULE, {"input_size": (8, 8, 8), "widths": (2,)}, (1, 8, 8, 8)),
    "residual-classifier": (NODULE, {"input_size": (8, 8, 8), "widths": (2, 4)}, (1, 8, 8, 8)),
}


@dataclass(frozen=True)
class Noise:
    """Random samples as the cache gives them; every second one is a nodule."""

    shape: tuple[int, ...]
    masks: bool
    count: int

    def __len__(self) -> int:
        return self.count

    def read(self, indices: Sequence[int]) -> Batch:
        rng = np.random.default_rng(list(indices)[:1])
        shape = (len(indices), *self.shape)
        hu = torch.from_numpy(rng.integers(-1000, 400, shape, np.int16))
        odd = torch.tensor([i % 2 for i in indices])
        if not self.masks:
            return hu, odd
        mask = torch.zeros(len(indices), 1, *self.shape[1:], dtype=torch.uint8)
        mask[..., 12:20, 12:20] = odd.reshape(-1, 1, 1, 1).to(torch.uint8)
        return hu, mask


class Step:
    """One training step of a network, on samples that lie on the device."""

    def __init__(self, given: Given, name: str, config: TrainConfig) -> None:
        task, arguments, shape = (TINY if given.small else NETWORKS)[name]
        masks = task.role == "segmentation"
        samples = Resident(Noise(shape, masks, 2 * config.batch_size), given.device)
        augment = Augment(replace(AUGMENT, crop_vox=shape[-1] * 2 // 3 // 8 * 8 if masks else None))
        data = Data(train=samples, validation=samples, order=np.arange, augment=augment)
        self.trainer = Trainer(task, data, config, given.device, Ranks(), _run(Path()), 1)
        torch.manual_seed(0)
        net = build_network(name, arguments).to(given.device)
        self.net = net.to(memory_format=memory_format(net, config)).train()
        self.optimizer = new_optimizer(self.net, config)
        self.forward = forward_pass(self.net, config)
        self.batch = samples.read(range(config.batch_size))
        self.number = 0

    def __call__(self) -> torch.Tensor:
        config, self.number = self.trainer.config, self.number + 1
        with exact_float32(config.precision == "tf32"), tuned_kernels(self.trainer.device):
            hu, target = augmented(self.trainer, self.batch, self.number)
            losses = self.trainer.task.loss(forward(self.trainer, self.forward, hu), target)
            learn(self.net, self.optimizer, losses, config)
        return losses.detach().mean()


def _run(folder: Path) -> Run:
    card = Card(
        name="check", role="nodule", architecture="", arguments={}, training_data="", licence=""
    )
    return Run(folder=folder, card=card)


def rates(given: Given) -> Iterator[Row]:
    """Samples a second by network, precision and layout, then compiled."""
    on_card = given.device.type == "cuda"
    variants: list[dict[str, object]] = [
        {"precision": "float32"},
        *([{"precision": "tf32"}] if on_card else []),
        {"precision": "auto"},
        {"precision": "auto", "channels_last": False},
    ]
    steps = 2 if given.small else 30
    for name in NETWORKS:
        for size in (4,) if given.small else (32, 256):
            for variant in variants:
                yield _rate(given, name, TrainConfig(batch_size=size, **variant), steps)
    if on_card:
        for name in NETWORKS:
            yield _rate(given, name, TrainConfig(batch_size=256, compile=True), steps)
            with _graphs():
                config = TrainConfig(batch_size=256, compile=True)
                yield _rate(given, name, config, steps) | {"graphs": True}


def _graphs() -> object:
    """Compile with CUDA graphs in the block."""
    from unittest.mock import patch

    plain: Callable[..., object] = torch.compile
    return patch("torch.compile", lambda net: plain(net, mode="reduce-overhead"))


def _rate(given: Given, name: str, config: TrainConfig, steps: int) -> Row:
    given.peak_gib()
    step = Step(given, name, config)
    start = time.perf_counter()
    step()
    given.wait()
    first = time.perf_counter() - start
    took = given.seconds(step, steps)
    return {
        "network": name,
        "batch": config.batch_size,
        "precision": config.precision,
        "channels last": config.channels_last,
        "compiled": config.compile,
        "samples/s": round(config.batch_size / took, 1),
        "ms a step": round(1000 * took, 2),
        "loss": round(float(step()), 5),
        "peak GiB": given.peak_gib(),
        "first step s": round(first, 2),
    }


def profile(given: Given) -> Iterator[Row]:
    """What a step launches and waits for."""
    from torch.profiler import ProfilerActivity

    on_card = given.device.type == "cuda"
    kinds = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_card else [])]
    for name in NETWORKS:
        step, steps = Step(given, name, TrainConfig(batch_size=4 if given.small else 32)), 3
        for _ in range(3):
            step()
        given.wait()
        waits = _waits(step) if on_card else None
        with torch.profiler.profile(activities=kinds) as seen:
            for _ in range(steps):
                step()
        events = {event.key: event.count for event in seen.key_averages()}
        launches = sum(n for key, n in events.items() if "LaunchKernel" in key)
        syncs = sum(n for key, n in events.items() if "Synchronize" in key)
        yield {
            "network": name,
            "launches a step": launches / steps,
            "synchronisations a step": max(0, syncs - 1) / steps,  # the profiler's own at its end
            "warned of": waits,
            "operations a step": sum(n for k, n in events.items() if k.startswith("aten::"))
            / steps,
        }


def _waits(step: Step) -> list[str]:
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            step()
        return sorted({f"{Path(w.filename).name}:{w.lineno}" for w in caught})
    finally:
        torch.cuda.set_sync_debug_mode("default")


def _trained(
    given: Given, name: str, folder: Path, config: TrainConfig, most: int = 0
) -> list[str]:
    """Train in a folder, from where it stands; the lines of its losses. `most`: stop there."""
    task, arguments, shape = (TINY if given.small else NETWORKS)[name]
    masks, seen = task.role == "segmentation", 0
    augment = Augment(replace(AUGMENT, crop_vox=shape[-1] * 2 // 3 // 8 * 8 if masks else None))

    def stopping(hu: torch.Tensor, target: torch.Tensor, seeds: torch.Tensor) -> Batch:
        nonlocal seen
        seen += 1
        if seen == most:
            raise KeyboardInterrupt
        return augment(hu, target, seeds)

    steps = 6 if given.small else 30
    samples = Noise(shape, masks, steps * config.batch_size)
    data = Data(
        train=samples,
        validation=Noise(shape, masks, 4),
        order=lambda epoch: np.arange(len(samples)),
        augment=stopping,
    )
    torch.manual_seed(0)
    card = Card(
        name="check",
        role=task.role,
        architecture=name,
        arguments=arguments,
        training_data="noise",
        licence="none",
    )
    run = Run(folder=folder, card=card)
    with suppress(KeyboardInterrupt):
        train(task, data, build_network(name, arguments), config, given.device, run)
    return (folder / "losses.csv").read_text().splitlines()[1:]


def feed(given: Given) -> Iterator[Row]:
    """The whole loop with samples read anew, and kept: the share of a step spent waiting."""
    for name in ("classifier",) if given.small else ("classifier", "unet"):
        for threads in (2,) if given.small else (2, 8, 16):
            for resident in (0.0, 4.0):
                config = TrainConfig(
                    epochs=1,
                    batch_size=4 if given.small else 128,
                    threads=threads,
                    resident_gib=resident,
                )
                with tempfile.TemporaryDirectory() as place:
                    took = given.seconds(
                        lambda c=config, n=name: _trained(
                            given, n, Path(tempfile.mkdtemp(dir=place)), c
                        )
                    )
                steps = 6 if given.small else 30
                rate = steps * config.batch_size / took
                yield {
                    "network": name,
                    "threads": threads,
                    "resident": bool(resident),
                    "samples/s, validation and saving with them": round(rate, 1),
                }


def resume(given: Given) -> Iterator[Row]:
    """A run that was stopped beside one that was not."""
    config = TrainConfig(epochs=1, batch_size=4 if given.small else 32, save_every=2)
    for name in ("classifier",) if given.small else ("classifier", "unet"):
        with tempfile.TemporaryDirectory() as place:
            whole = _trained(given, name, Path(tempfile.mkdtemp(dir=place)), config)
            cut = Path(tempfile.mkdtemp(dir=place))
            _trained(given, name, cut, config, most=len(whole) // 2)
            again = _trained(given, name, cut, config)
        losses = [np.array([float(line.split(",")[2]) for line in run]) for run in (whole, again)]
        difference = float(np.abs(losses[0] - losses[1]).max())
        yield {"network": name, "steps": len(whole), "largest difference of a loss": difference}


def memory(given: Given) -> Iterator[Row]:
    """A card with almost no memory left: said in words, and done in smaller parts."""
    from luna.detect.pipeline import diagnose

    if given.device.type != "cuda":
        yield {"skipped": "a CPU's memory is not limited here"}
        return
    torch.cuda.empty_cache()
    for share in (0.02, 0.005):
        torch.cuda.set_per_process_memory_fraction(share, given.device)
        try:
            found = diagnose(given.scan, given.weights["shipped"], device=given.device)
            said: str | list[str] = [w for w in found.warnings if "memory" in w]
        except Exception as error:
            said = f"{type(error).__name__}: {error}"[:200]
        yield {"share of the card": share, "diagnose": said}
        try:
            with tempfile.TemporaryDirectory() as place:
                _trained(given, "unet", Path(place), TrainConfig(epochs=1, batch_size=2048))
            said = "fits"
        except LunaError as error:
            said = f"exit {error.exit_code}: {error}"[:200]
        yield {"share of the card": share, "train": said}
    torch.cuda.set_per_process_memory_fraction(1.0, given.device)
    found = diagnose(given.scan, given.weights["shipped"], device=given.device)
    yield {"afterwards": f"{len(found.findings)} findings, {found.warnings}"}
