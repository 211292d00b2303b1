"""Networks for other programs: ONNX and torch.export files that carry their own card.

The graph is the network alone, from Hounsfield units to logits. What has to be done before and
after stands in the file's metadata, and again in a text file beside it.
"""

from __future__ import annotations

import io
import json
import logging
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Literal

import torch
from torch.export import Dim, ExportedProgram

from luna.nets.bundle import Bundle
from luna.nets.card import Card
from luna.nets.probe import probe_inputs
from luna.nets.unet import UNet
from luna.nets.unet3d import UNet3d
from luna.run.errors import TrustError
from luna.run.extras import require_extra
from luna.run.files import replace_file

Format = Literal["onnx", "pt2"]
Run = Callable[[torch.Tensor], torch.Tensor]

ONNX_PACKAGES = ("onnx", "onnxscript", "onnxruntime")

OPSET = 18
"""Of ONNX; runtimes since 2023 read it."""

MOST_DIFFERENT = 1e-4
"""Logits may differ by this much, or by this share of those above 1: both sides are float32."""

RUNS = 5
"""Times that each is run to tell how long it takes."""

MOST_IMAGES, MOST_TILES = 1 << 16, 1 << 9
TILES = ("tiles_across", "tiles_down", "tiles_deep")
"""Names of the sizes that may vary, from the last axis on."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Exported:
    """An exported network: its file, and how it compares with luna's own on the built-in probe.

    Milliseconds are of one crop, or of one slice of the probe's size.
    """

    role: str
    file: Path
    bytes: int
    largest_difference: float
    own_ms: float
    exported_ms: float


def export_network(bundle: Bundle, folder: Path, form: Format) -> Exported:
    """Write a network into a folder as ROLE.onnx or ROLE.pt2, run it, and compare.

    Raises EnvironmentFault without the packages that it needs, and TrustError when the file
    computes anything else than the network.
    """
    if form == "onnx":
        require_extra("export", ONNX_PACKAGES, "ONNX export needs packages that are not installed")
    inputs = [hu.clamp(*bundle.card.hu_window) for hu in probe_inputs(bundle.module)]
    with _quiet():
        program = _program(bundle.module, torch.cat(inputs))
        notes = usage(bundle)
        data = _as_onnx(program, notes) if form == "onnx" else _as_pt2(program, notes)
        run = _onnx_runner(data) if form == "onnx" else _pt2_runner(data)
        with torch.inference_mode():
            pairs = [(run(hu), bundle.module(hu)) for hu in inputs]
    difference = max(largest_difference(a, b) for a, b in pairs)
    file = folder / f"{bundle.card.role}.{form}"
    if not difference <= MOST_DIFFERENT:
        raise TrustError(
            "the exported network does not compute what luna's does",
            file=file,
            why=f"logits differ by {difference:.2g} on the built-in probe",
        )
    with replace_file(file) as temporary:
        temporary.write_bytes(data)
    with replace_file(file.with_suffix(f".{form}.json")) as temporary:
        temporary.write_text(json.dumps(notes, indent=2, ensure_ascii=False) + "\n")
    return Exported(
        role=bundle.card.role,
        file=file,
        bytes=len(data),
        largest_difference=difference,
        own_ms=_milliseconds(bundle.module, inputs[0]),
        exported_ms=_milliseconds(run, inputs[0]),
    )


def largest_difference(logits: torch.Tensor, expected: torch.Tensor) -> float:
    """Return by how much logits differ at most, relative to those above 1."""
    return float(((logits - expected).abs() / expected.abs().clamp(min=1)).max())


def usage(bundle: Bundle) -> dict[str, str]:
    """Say how a network is used: its input and output, and its card as JSON."""
    card, low_high = bundle.card, "…".join(str(hu) for hu in bundle.card.hu_window)
    return {
        "input": f"hu: float32 {_input_words(bundle)}, HU clipped to {low_high}; no other scaling",
        "output": _output_words(card),
        "card": json.dumps(card.values(), ensure_ascii=False),
    }


def _input_words(bundle: Bundle) -> str:
    module, axes = (
        bundle.module,
        "from feet to head, rows to the back, columns to the patient's left",
    )
    if isinstance(module, UNet):
        return (
            f"(N, {module.context_slices}, H, W): {module.context_slices} neighbouring axial "
            f"slices {axes}, the judged one in the middle, of {_voxel_words(bundle.card)}; H and W "
            f"are multiples of {module.alignment}; beyond the scan's ends the last slice is "
            "repeated"
        )
    if isinstance(module, UNet3d):
        return (
            f"(N, 1, D, H, W): {_voxel_words(bundle.card)}, slices {axes}; D, H and W are "
            f"multiples of {module.alignment}, in training {module.input_size[0]}; -1000 HU "
            "outside the scan"
        )
    depth, height, width = module.input_size  # type: ignore[misc]
    cubes = bundle.card.cubes((depth, height, width))
    return (
        f"(N, {len(cubes.spacings_mm) if cubes else 1}, {depth}, {height}, {width}): "
        f"{_voxel_words(bundle.card)}, slices {axes}; the candidate is voxel ({depth // 2}, "
        f"{height // 2}, {width // 2}); -1000 HU outside the scan"
    )


def _voxel_words(card: Card) -> str:
    """Say which voxels a network sees."""
    means = ", each a mean over what it covers," * card.antialias
    if card.scales_mm:
        sides = ", ".join(f"{side:g}" for side in card.scales_mm)
        return f"cubic voxels{means} of cubes with sides of {sides} mm, a channel each"
    if card.spacing_mm is not None:
        return f"cubic voxels{means} of {card.spacing_mm:g} mm"
    return "the scan's own voxels"


def _output_words(card: Card) -> str:
    if card.role == "segmentation":
        place = "each voxel" if card.architecture == "unet-3d" else "the middle slice"
        shape = "(N, 1, D, H, W)" if card.architecture == "unet-3d" else "(N, 1, H, W)"
        return f"logits: float32 {shape}; p = 1 / (1 + exp(-logit)) of {place}"
    mirrors = "; luna takes the mean of p over the crop and its mirror images" * card.mirrored
    return (
        f"logits: float32 (N, 2), no and yes; p = softmax(logits / {card.temperature:g})[1]"
        f"{mirrors}; luna reports from p = {card.threshold:g}"
    )


def _program(module: torch.nn.Module, example: torch.Tensor) -> ExportedProgram:
    """Trace a network with a batch of any size and, for a U-Net, slices or patches of any size."""
    sizes: dict[int, Any] = {0: Dim("images", min=1, max=MOST_IMAGES)}
    if isinstance(module, UNet | UNet3d):
        # Sizes that are equal would be taken for one and the same.
        for axis, tiles in zip((-1, -2, -3)[: example.dim() - 2], TILES, strict=False):
            sizes[example.dim() + axis] = module.alignment * Dim(tiles, min=1, max=MOST_TILES)
        example = _unequal(example, module.alignment)
    return torch.export.export(module, (example,), dynamic_shapes=(sizes,))


def _unequal(example: torch.Tensor, step: int) -> torch.Tensor:
    """Lengthen all but the first of the spatial axes, each by one step more than the last."""
    for more, axis in enumerate(range(3, example.dim()), start=1):
        example = torch.cat([example, example.narrow(axis, 0, more * step)], dim=axis)
    return example


def _as_onnx(program: ExportedProgram, notes: dict[str, str]) -> bytes:
    import onnx

    made: Any = torch.onnx.export(
        program,
        dynamo=True,
        opset_version=OPSET,
        input_names=["hu"],
        output_names=["logits"],
        verbose=False,
    )
    model = made.model_proto
    onnx.helper.set_model_props(model, notes)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def _as_pt2(program: ExportedProgram, notes: dict[str, str]) -> bytes:
    stream = io.BytesIO()
    torch.export.save(program, stream, extra_files={f"{k}.txt": v for k, v in notes.items()})
    return stream.getvalue()


def _onnx_runner(data: bytes) -> Run:
    import onnxruntime

    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    return lambda hu: torch.from_numpy(session.run(None, {"hu": hu.numpy()})[0])


def _pt2_runner(data: bytes) -> Run:
    return torch.export.load(io.BytesIO(data)).module()


def _milliseconds(run: Run | torch.nn.Module, hu: torch.Tensor) -> float:
    seconds = []
    with torch.inference_mode():
        for _ in range(RUNS):
            begun = time.perf_counter()
            run(hu)
            seconds.append(time.perf_counter() - begun)
    return 1000 * median(seconds)


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence what torch's exporters say about packages and versions that are none of ours."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
