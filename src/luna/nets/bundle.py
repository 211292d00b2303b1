"""A network outside training: safetensors and a JSON card, in one folder.

    NAME/card.json            what it is, for people and for `load_bundle`
    NAME/model.safetensors    the tensors; their SHA-256 stands on the card

Nothing in a bundle is executed: the architecture is looked up in `ARCHITECTURES`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import nn

from luna.nets.card import CARD_NAME, Card, read_card
from luna.nets.classifier import Classifier
from luna.nets.probe import refuse_useless
from luna.nets.residual import ResidualClassifier
from luna.nets.unet import UNet
from luna.nets.unet3d import UNet3d
from luna.run.errors import TrustError, naming
from luna.run.files import read_plain, replace_file

ARCHITECTURES: dict[str, type[nn.Module]] = {
    "classifier": Classifier,
    "residual-classifier": ResidualClassifier,
    "unet": UNet,
    "unet-3d": UNet3d,
}

WEIGHTS_NAME = "model.safetensors"
WEIGHTS_BYTES_MAX = 4 << 30
"""Hundreds of times the largest network that luna knows by name."""


@dataclass(frozen=True, slots=True)
class Bundle:
    """A card and the network it describes, in evaluation mode."""

    card: Card
    module: nn.Module

    def facts(self) -> dict[str, Any]:
        """The card, and how many parameters the network has."""
        count = sum(tensor.numel() for tensor in self.module.parameters())
        return self.card.values() | {"parameters": count}


def build_network(architecture: str, arguments: Mapping[str, Any]) -> nn.Module:
    """Build the untrained network of a name. Raises TrustError for an unknown one."""
    if architecture not in ARCHITECTURES:
        known = ", ".join(sorted(ARCHITECTURES))
        raise TrustError(f"unknown architecture {architecture!r}", hint=f"luna knows: {known}")
    tuples = {k: tuple(v) if isinstance(v, list) else v for k, v in arguments.items()}
    try:
        return ARCHITECTURES[architecture](**tuples)
    except (TypeError, ValueError) as error:
        raise TrustError(f"the arguments do not fit {architecture!r}", why=str(error)) from error


def rebuild_network(
    architecture: str, arguments: Mapping[str, Any], tensors: Mapping[str, torch.Tensor]
) -> nn.Module:
    """Rebuild the network that tensors were taken from, in evaluation mode.

    No memory is taken before the tensors are known to fit. Raises TrustError when they do not,
    or when there is no such network.
    """
    with torch.device("meta"):
        module = build_network(architecture, arguments)
    refuse_differences(module, tensors)
    module.load_state_dict(dict(tensors), assign=True)
    return module.eval()


def fit_tensors(module: nn.Module, tensors: Mapping[str, torch.Tensor]) -> None:
    """Load tensors into a network, or raise TrustError naming every one that differs."""
    refuse_differences(module, tensors)
    module.load_state_dict(dict(tensors))


def refuse_differences(module: nn.Module, tensors: Mapping[str, torch.Tensor]) -> None:
    """Raise TrustError, naming those that differ, unless tensors fit a network and are finite."""
    wanted = module.state_dict()
    differences = [f"missing {name}" for name in sorted(wanted.keys() - tensors.keys())]
    differences += [f"unexpected {name}" for name in sorted(tensors.keys() - wanted.keys())]
    both = sorted(wanted.keys() & tensors.keys())
    differences += [
        f"{name} is {tuple(tensors[name].shape)}, not {tuple(wanted[name].shape)}"
        for name in both
        if tensors[name].shape != wanted[name].shape
    ]
    differences += [
        f"{name} is of {tensors[name].dtype}, not {wanted[name].dtype}"
        for name in both
        if tensors[name].dtype != wanted[name].dtype
    ]
    if differences:
        shown = "; ".join(differences[:6]) + ("; …" if len(differences) > 6 else "")
        raise TrustError("the tensors do not fit the architecture", why=shown)
    if not all(bool(t.isfinite().all()) for t in tensors.values()):
        raise TrustError("the tensors hold NaN or infinity")


def save_bundle(bundle: Bundle, folder: Path) -> Card:
    """Write a bundle; the card comes last, so a folder with a card is complete.

    Returns the card as written, with the SHA-256 of the weights.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {
        name: t.detach().cpu().contiguous() for name, t in bundle.module.state_dict().items()
    }
    stream = safetensors.torch.save(tensors)
    values = bundle.card.values() | {"weights_sha256": hashlib.sha256(stream).hexdigest()}
    with replace_file(folder / WEIGHTS_NAME) as path:
        path.write_bytes(stream)
    with replace_file(folder / CARD_NAME) as path:
        text = json.dumps(values, indent=2, ensure_ascii=False) + "\n"
        # A name may be bytes that are no text; a backslash makes them what JSON calls an escape.
        path.write_text(text, encoding="utf-8", errors="backslashreplace")
    return Card(**values)


def load_bundle(folder: Path) -> Bundle:
    """Load a bundle from its folder and check its hash, its tensors and its answers to a probe.

    Raises TrustError for a missing or damaged card or weights, a hash mismatch, tensors that do
    not fit the architecture, and a network whose answers are not finite or always the same.
    """
    card = read_card(folder)
    path = folder / WEIGHTS_NAME
    try:
        stream = read_plain(path, WEIGHTS_BYTES_MAX)
    except OSError as error:
        raise TrustError(
            "the bundle's weights cannot be read", file=path, why=str(error)
        ) from error
    if hashlib.sha256(stream).hexdigest() != card.weights_sha256:
        raise TrustError(
            "the weights are not the ones on the card",
            file=path,
            why="SHA-256 differs",
            hint="copy the bundle again",
        )
    try:
        tensors = safetensors.torch.load(stream)
    except SafetensorError as error:
        raise TrustError("the weights are damaged", file=path, why=str(error)) from error
    with naming(path):
        module = rebuild_network(card.architecture, card.arguments, tensors)
        refuse_useless(module, card.hu_window)
    return Bundle(card, module)
