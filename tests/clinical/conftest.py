"""Nodules of a given size, for tables of rules."""

from typing import Any

import pytest

from luna.clinical.nodule import Kind, Nodule

FACTS_KNOWN = {"calcification": "none", "fat": False, "juxtapleural": False, "spiculated": False}


def round_nodule(
    kind: Kind | None, mm: float, solid_mm: float | None = None, **facts: Any
) -> Nodule:
    """A nodule whose axes are equal and whose features are all known."""
    facts = {"number": 1, **FACTS_KNOWN, **facts}
    return Nodule(kind=kind, long_axis_mm=mm, short_axis_mm=mm, solid_mm=solid_mm, **facts)


@pytest.fixture
def nodule() -> Any:
    return round_nodule
