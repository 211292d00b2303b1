"""Descriptions of findings for tests: a plain solid nodule, and what differs from it."""

from dataclasses import replace
from typing import Any

from luna.detect.findings import Description

PLAIN = Description(
    kind="solid",
    solid_mm=None,
    calcification="none",
    calcified_share=0.0,
    fat=False,
    fat_share=0.0,
    pleural_contact=0.0,
    juxtapleural=False,
    strands=0,
    third="upper",
)


def described(**changes: Any) -> Description:
    """The description of a plain solid nodule, with these changes."""
    return replace(PLAIN, **changes)
