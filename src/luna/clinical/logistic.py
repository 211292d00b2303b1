"""Logistic models of cancer in a nodule, with or without unknown facts."""

from __future__ import annotations

from dataclasses import dataclass
from math import exp

from luna.clinical.statement import Fact, Probability


@dataclass(frozen=True, slots=True)
class Term:
    """A yes-or-no fact of a model and its weight; `present` is None where it is not known."""

    name: str
    weight: float
    present: bool | None


def logistic(x: float) -> float:
    """Return the logistic function 1 / (1 + e^-x)."""
    return 1 / (1 + exp(-x))


def probability(
    *,
    model: str,
    source: str,
    nodule: int,
    known: float,
    terms: tuple[Term, ...],
    facts: tuple[Fact, ...],
    not_assessed: tuple[str, ...] = (),
) -> Probability:
    """The probability of a sum of `known` and the terms, between its bounds over unknown ones."""
    sure = known + sum(t.weight for t in terms if t.present)
    unknown = [t for t in terms if t.present is None]
    return Probability(
        model=model,
        source=source,
        nodule=nodule,
        lowest=logistic(sure + sum(min(t.weight, 0) for t in unknown)),
        highest=logistic(sure + sum(max(t.weight, 0) for t in unknown)),
        facts=(*facts, *(Fact(t.name, t.present) for t in terms if t.present is not None)),
        not_assessed=(*(t.name for t in unknown), *not_assessed),
    )
