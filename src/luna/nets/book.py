"""Bundles from the `.state` files that the book's code writes (chapters 11 to 14).

A `.state` file is a pickled dictionary with the network's tensors under `model_state`. It is
read with torch's `weights_only=True`, so nothing in it is executed.
"""

from __future__ import annotations

import hashlib
import io
import re
import warnings
import zipfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from luna.nets.bundle import WEIGHTS_BYTES_MAX, Bundle, rebuild_network
from luna.nets.card import Card, Role, check_arguments
from luna.nets.probe import refuse_useless
from luna.run.errors import TrustError, UsageError, naming
from luna.run.files import read_plain

Tensors = Mapping[str, torch.Tensor]

RENAMES = (
    # chapter 14's classifier
    (r"^tail_batchnorm\.", "input_norm."),
    (r"^block(\d+)\.", lambda m: f"blocks.{int(m[1]) - 1}."),
    (r"^head_linear\.", "head."),
    # chapter 13's U-Net: its blocks are conv, ReLU, norm, conv, ReLU, norm
    (r"^input_batchnorm\.", "input_norm."),
    (r"^unet\.down_path\.(\d+)\.block\.", r"down.\1."),
    (r"^unet\.up_path\.(\d+)\.up\.", r"up.\1.upsample."),
    (r"^unet\.up_path\.(\d+)\.conv_block\.block\.", r"up.\1.convs."),
    (r"^unet\.last\.", "head."),
)
UNET_LAYERS = {"0": "conv1", "2": "norm1", "3": "conv2", "5": "norm2"}

TRAINING_DATA = "LUNA16 (LIDC-IDRI), by the book's authors; validation series: every tenth"
LICENCE = "none stated by the publisher"
DIAMETER_MM, SLICE_MM, PIXEL_MM = (3.0, 30.0), (0.6, 2.5), (0.46, 0.98)
"""The range of LUNA16: nodules of 3 mm or more, and slices of up to 2.5 mm."""


def import_state(path: Path, role: Role | None = None) -> Bundle:
    """Read the bundle of one `.state` file.

    `role` overrides what the architecture implies (segmentation for a U-Net, nodule for a
    classifier): chapter 14's fine-tuned malignancy classifier looks like the nodule one.
    Raises UsageError for a role that the architecture cannot play, and TrustError for a file
    that is not such a checkpoint, or whose network luna cannot rebuild with certainty; the
    message then names the architecture.
    """
    content = _read_file(path)
    tensors = _read_tensors(path, content)
    with naming(path):
        try:
            architecture, arguments, implied = _recognise(tensors)
            check_arguments(arguments)
            renamed = {_rename(name): tensor for name, tensor in tensors.items()}
            module = rebuild_network(architecture, arguments, renamed)
        except (LookupError, TypeError, ValueError, AttributeError, RuntimeError) as error:
            why = f"{type(error).__name__}: {_first_line(error)}"
            raise TrustError("the tensors belong to no network of the book", why=why) from error
    if role and (role == "segmentation") != (implied == "segmentation"):
        raise UsageError(f"a {architecture} cannot be a {role} model", file=path)
    card = Card(
        name=_card_name(path),
        role=role or implied,
        architecture=architecture,
        arguments=arguments,
        diameter_mm=DIAMETER_MM,
        slice_mm=SLICE_MM,
        pixel_mm=PIXEL_MM,
        training_data=TRAINING_DATA,
        licence=LICENCE,
        source=f"imported from {path.name}",
        weights_sha256=hashlib.sha256(content).hexdigest(),
    )
    with naming(path):
        refuse_useless(module, card.hu_window)
    return Bundle(card, module)


def _read_file(path: Path) -> bytes:
    """Return the bytes of a checkpoint that would take no more memory than its file."""
    try:
        content = read_plain(path, WEIGHTS_BYTES_MAX)
        with suppress(zipfile.BadZipFile), zipfile.ZipFile(io.BytesIO(content)) as archive:
            declared = sum(member.file_size for member in archive.infolist())
            if declared > len(content):
                raise TrustError(
                    "the checkpoint would unpack to more than its file",
                    file=path,
                    why=f"{declared} bytes from {len(content)}",
                    hint="torch stores tensors as they are; get the file again from its publisher",
                )
    except (OSError, NotImplementedError) as error:
        raise TrustError("the checkpoint cannot be read", file=path, why=str(error)) from error
    return content


def _read_tensors(path: Path, content: bytes) -> Tensors:
    try:
        with warnings.catch_warnings():
            # torch warns of foreign pickle protocols; what matters is whether it can read them.
            warnings.simplefilter("ignore", UserWarning)
            checkpoint = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # torch's unpickler walks on over nonsense until any of them
        raise TrustError(
            "not a checkpoint that can be read safely",
            file=path,
            why=_first_line(error) or type(error).__name__,
            hint="nothing in it was executed; get the file again from its publisher",
        ) from error
    state = checkpoint.get("model_state") if isinstance(checkpoint, dict) else None
    if not isinstance(state, dict) or not all(isinstance(t, torch.Tensor) for t in state.values()):
        raise TrustError("no model_state with tensors in this checkpoint", file=path)
    if sum(t.numel() * t.element_size() for t in state.values()) > len(content):
        raise TrustError("the tensors are larger than their file", file=path)
    return state


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


def _recognise(tensors: Tensors) -> tuple[str, dict[str, Any], Role]:
    """Return architecture, arguments and role, from the names and shapes of the tensors."""
    if "block1.conv1.weight" in tensors:
        return "classifier", _classifier_arguments(tensors), "nodule"
    if "unet.last.weight" in tensors:
        return "unet", _unet_arguments(tensors), "segmentation"
    if "convAndPool_seq.1.weight" in tensors or "convAndPool_seq.0.weight" in tensors:
        raise _refuse_early_classifier(tensors)
    raise TrustError(
        "an architecture that luna does not know",
        why=f"tensors {', '.join(sorted(tensors)[:4])}, …",
    )


def _classifier_arguments(tensors: Tensors) -> dict[str, Any]:
    widths: list[int] = []
    while (name := f"block{len(widths) + 1}.conv1.weight") in tensors:
        widths.append(tensors[name].shape[0])
    return {"input_size": (32, 48, 48), "widths": tuple(widths)}


def _unet_arguments(tensors: Tensors) -> dict[str, Any]:
    width, channels = tensors["unet.down_path.0.block.0.weight"].shape[:2]
    depth = len({name.split(".")[2] for name in tensors if name.startswith("unet.down_path.")})
    if channels % 2 == 0:
        raise TrustError(
            f"a U-Net with {channels} input channels (depth {depth}, {width} filters)",
            why="an even number: beside the slices it takes a channel that the published code "
            "no longer makes",
            hint="use the checkpoint of chapter 14, which takes 7 slices",
        )
    return {"context_slices": channels, "depth": depth, "width": width}


def _refuse_early_classifier(tensors: Tensors) -> TrustError:
    """Return the error for convAndPool_seq classifiers: their crop size cannot be known.

    The linear layer fixes only how many features are left after four poolings of an unknown
    crop; 9 of them per channel can be 16 to 31 slices of 48 to 63 pixels.
    """
    convs = [t for name, t in tensors.items() if name.startswith("convAndPool") and t.dim() == 5]
    widths = "→".join(str(t.shape[0]) for t in convs)
    features = tensors["fullyConnected_layer.weight"].shape[1]
    return TrustError(
        f"an early convAndPool_seq classifier (channels {widths}, {features} features)",
        why="the crop it was trained on is not recorded, and the chapter-14 crop of 32×48×48 "
        f"would give it {2 * features} features",
        hint="use the checkpoint of chapter 14 (block1…block4, head_linear)",
    )


def _rename(name: str) -> str:
    for pattern, replacement in RENAMES:
        name = re.sub(pattern, replacement, name)
    return re.sub(
        r"^(down\.\d+|up\.\d+\.convs)\.(\d)\.", lambda m: f"{m[1]}.{UNET_LAYERS[m[2]]}.", name
    )


def _card_name(path: Path) -> str:
    """Return a name for a bundle's folder; a name of dots would be a folder above it."""
    stem = path.name.removesuffix(".state").removesuffix(".best")
    return re.sub(r"[^\w.-]+", "-", stem).strip(".") or "unnamed"
