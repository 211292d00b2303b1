"""Networks on scans: are they what a CPU computes, and how fast are they."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch

from card.given import Given, Row
from luna.ct.scan import Scan
from luna.detect.config import DiagnoseConfig
from luna.detect.pipeline import diagnose
from luna.nets.bundle import Bundle
from luna.run.machine.precision import exact_float32, fast_type

CPU = torch.device("cpu")
MODES = ("float32", "tf32", "16 bits")


def _mode(name: str, device: torch.device) -> tuple[AbstractContextManager[object], ...]:
    half = fast_type(device) or torch.bfloat16
    cast = torch.autocast(device.type, half) if name == "16 bits" else nullcontext()
    return exact_float32(name == "tf32"), cast


def _inputs(bundle: Bundle, scan: Scan, count: int) -> torch.Tensor:
    """Network inputs cut from the middle of a scan: stacks of slices, or crops."""
    hu = torch.from_numpy(scan.hu.copy()).float().clamp(*bundle.card.hu_window)
    net = bundle.module
    if bundle.card.role == "segmentation":
        k, side = net.context_slices, net.alignment
        rows, columns = (n // side * side for n in hu.shape[1:])
        starts = np.linspace(0, len(hu) - k, count).astype(int)
        return torch.stack([hu[i : i + k, :rows, :columns] for i in starts])
    rng, size = np.random.default_rng(0), net.input_size
    centers = [rng.integers(0, scan.shape_irc) for _ in range(count)]
    crops = np.stack([scan.crop(center, size) for center in centers])
    return torch.from_numpy(crops).float().clamp(*bundle.card.hu_window)[:, None]


def _probability(bundle: Bundle, inputs: torch.Tensor, device: torch.device) -> np.ndarray:
    net = bundle.module.to(device).eval()
    with torch.inference_mode():
        parts = [net(part.to(device)).float().cpu() for part in inputs.split(4)]
    logits = torch.cat(parts).double()
    p = logits.sigmoid() if bundle.card.role == "segmentation" else logits.softmax(1)[:, 1]
    return p.numpy()


def parity(given: Given) -> Iterator[Row]:
    """Probabilities beside a CPU's float32: carried ones where they are, else computed here."""
    for name, models in given.weights.items():
        for bundle in models.bundles():
            count = 2 if given.small else (12 if bundle.card.role == "segmentation" else 200)
            inputs = _inputs(bundle, given.scan, count)
            expected = _reference(given, f"{name}-{bundle.card.role}", bundle, inputs)
            for mode in MODES:
                exact, cast = _mode(mode, given.device)
                with exact, cast:
                    p = _probability(bundle, inputs, given.device)
                yield {
                    "weights": name,
                    "network": bundle.card.role,
                    "arithmetic": mode,
                    "largest difference": float(np.abs(p - expected).max()),
                    "cross the threshold": int(
                        ((p > bundle.card.threshold) != (expected > bundle.card.threshold)).sum()
                    ),
                    "of": int(p.size),
                }


def _reference(given: Given, name: str, bundle: Bundle, inputs: torch.Tensor) -> np.ndarray:
    carried = given.references and given.references / f"{name}.npz"
    if carried and carried.exists():
        with np.load(carried) as values:
            if json.loads(str(values["of"])) == [bundle.card.weights_sha256, list(inputs.shape)]:
                return values["p"].astype(np.float64)
    with exact_float32():
        p = _probability(bundle, inputs, CPU)
    if carried:
        carried.parent.mkdir(parents=True, exist_ok=True)
        of = json.dumps([bundle.card.weights_sha256, list(inputs.shape)])
        np.savez_compressed(Path(carried), p=p.astype(np.float32), of=of)
    return p


def speed(given: Given) -> Iterator[Row]:
    """Whole diagnoses: a cold one, then warm ones by batch; and the same findings as a CPU's."""
    models, config = given.weights["shipped"], DiagnoseConfig()
    for slices in (24,) if given.small else (99, 300):
        scan, runs = given.scan_of(slices), []
        for batch in (4, 4) if given.small else (4, 4, 16, 32):
            chosen = replace(config, segment=replace(config.segment, batch_slices=batch))
            found = diagnose(scan, models, chosen, given.device)
            runs.append(found)
            yield {
                "slices": slices,
                "batch": batch,
                "first": len(runs) == 1,
                **{stage: round(s, 3) for stage, s in found.seconds.items()},
                "total s": round(sum(found.seconds.values()), 3),
                "findings": len(found.findings),
                "peak GiB": given.peak_gib(),
                "device": str(given.device),
            }
        same = [_alike(a, b) for a, b in pairwise(runs)]
        yield {"slices": slices, "batches agree": all(same)}
    if given.device != CPU:
        on_cpu = diagnose(scan, models, config, CPU)
        yield {"slices": slices, "a CPU finds the same": _alike(runs[0], on_cpu)}


def _alike(a: object, b: object) -> bool:
    """The same places, whatever the last digits of the probabilities."""
    places = [[f.center_irc for f in found.findings] for found in (a, b)]
    return np.shape(places[0]) == np.shape(places[1]) and np.allclose(*map(sorted, places), atol=1)
