"""The statement of a guideline on a scan or a nodule, with the facts that led to it."""

from __future__ import annotations

from dataclasses import dataclass

Value = str | float | int | bool


@dataclass(frozen=True, slots=True)
class Fact:
    """One value that a statement used. `unit` is empty where there is none."""

    name: str
    value: Value
    unit: str = ""

    def __str__(self) -> str:
        if isinstance(self.value, bool):
            return f"{self.name}: {'yes' if self.value else 'no'}"
        return f"{self.name}: {self.value}{f' {self.unit}' if self.unit else ''}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Statement:
    """A category, or the reason why there is none.

    `category` is None exactly if `withheld` gives the reason. `source` names the document and the
    table, `row` the line of it. `nodule` is the number of the nodule that decides, None where
    there is no nodule.
    """

    guideline: str
    source: str
    category: str | None = None
    withheld: str = ""
    row: str = ""
    management: str = ""
    nodule: int | None = None
    facts: tuple[Fact, ...] = ()
    not_assessed: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Probability:
    """A model's probability of cancer for one nodule, or the reason why there is none.

    `lowest` and `highest` are equal where every fact is known; otherwise the least and the most
    that the facts in `not_assessed` can make of it. Both are None exactly if `withheld` gives the
    reason.
    """

    model: str
    source: str
    nodule: int
    lowest: float | None = None
    highest: float | None = None
    withheld: str = ""
    facts: tuple[Fact, ...] = ()
    not_assessed: tuple[str, ...] = ()


def nodule_facts(
    number: int, kind: str, mean_mm: float, solid_mm: float | None = None
) -> tuple[Fact, ...]:
    """Return the facts about a nodule that every guideline uses."""
    facts = (
        Fact("nodule", number),
        Fact("kind", kind),
        Fact("mean diameter", mean_mm, "mm"),
    )
    return facts if solid_mm is None else (*facts, Fact("solid part", solid_mm, "mm"))
