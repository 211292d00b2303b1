"""The equipment that made the objects: luna, its version and its networks' weights."""

from __future__ import annotations

from typing import TypedDict

from luna import __version__
from luna.detect.findings import Findings

SERIAL_DIGITS = 16


class Equipment(TypedDict):
    """The equipment module's values. Source: DICOM PS3.3 C.7.5.1, C.7.5.2."""

    manufacturer: str
    manufacturer_model_name: str
    software_versions: str
    device_serial_number: str


def equipment(findings: Findings) -> Equipment:
    """Return the equipment of a run.

    The standard requires a serial number; luna uses the hash of the segmenter's weights.
    """
    return Equipment(
        manufacturer="luna",
        manufacturer_model_name="luna diagnose",
        software_versions=__version__,
        device_serial_number=findings.weights_sha256["segmentation"][:SERIAL_DIGITS],
    )


def weights_used(findings: Findings) -> list[tuple[str, str]]:
    """Return the networks' roles, each with name and SHA-256 of the weights."""
    return [
        (f"{role} network", f"{name}; weights SHA-256 {findings.weights_sha256[role]}")
        for role, name in findings.models.items()
    ]
