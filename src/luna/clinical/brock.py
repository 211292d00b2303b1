"""The Brock (PanCan) models of cancer in a nodule that a screening CT shows.

Source: McWilliams et al., N Engl J Med 2013, 369:910, table 2: 1a and 1b are the parsimonious
models without and with spiculation, 2a and 2b the full ones.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import sqrt
from typing import Literal

from luna.clinical.logistic import Term, probability
from luna.clinical.nodule import KINDS, Kind, Nodule, Scope, cut_sizes
from luna.clinical.patient import Patient
from luna.clinical.statement import Fact, Probability

SOURCE = "N Engl J Med 2013, 369:910, table 2"

Variant = Literal["1a", "1b", "2a", "2b"]

MEAN_AGE = 62
MEAN_COUNT = 4
MEAN_SIZE = 1.58113883
"""(4 mm / 10)^-1/2: what the models call a nodule of usual size."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Weights:
    """The coefficients of one model; 0 for a term that it lacks. `size` is the weight of
    (mm/10)^-1/2."""

    constant: float
    female: float
    size: float
    upper_lobe: float
    spiculation: float = 0
    age: float = 0
    family_history: float = 0
    emphysema: float = 0
    ground_glass: float = 0
    part_solid: float = 0
    count: float = 0

    def of_kind(self, kind: Kind) -> float:
        """The weight of a kind of nodule, relative to a solid one."""
        return {"solid": 0.0, "part-solid": self.part_solid, "ground-glass": self.ground_glass}[
            kind
        ]


MODELS: dict[Variant, Weights] = {
    "1a": Weights(constant=-6.5929, female=0.5806, size=-5.8616, upper_lobe=0.6439),
    "1b": Weights(
        constant=-6.6144, female=0.6467, size=-5.5537, upper_lobe=0.6009, spiculation=0.9309
    ),
    "2a": Weights(
        constant=-6.8071,
        age=0.0321,
        female=0.5635,
        family_history=0.3013,
        emphysema=0.3462,
        size=-5.6693,
        ground_glass=-0.3005,
        part_solid=0.3395,
        upper_lobe=0.7116,
        count=-0.0803,
    ),
    "2b": Weights(
        constant=-6.7892,
        age=0.0287,
        female=0.6011,
        family_history=0.2961,
        emphysema=0.2953,
        size=-5.3854,
        ground_glass=-0.1276,
        part_solid=0.3770,
        upper_lobe=0.6581,
        count=-0.0824,
        spiculation=0.7729,
    ),
}


def brock(
    variant: Variant, nodule: Nodule, patient: Patient, scope: Scope, count: int
) -> Probability:
    """The probability that a nodule is cancer, of `count` nodules in the scan.

    The size is the long axis. A kind that is not known widens the range. Withheld without the
    age, if the model uses it, and if the findings do not cover both lungs completely.
    """
    weights = MODELS[variant]
    model = f"Brock {variant}"
    withheld = scope.obstacle()
    if weights.age and patient.age is None:
        withheld = withheld or "the age is not known"
    if withheld:
        return Probability(model=model, source=SOURCE, nodule=nodule.number, withheld=withheld)
    readings = [_with_kind(variant, nodule.taken_as(k), patient, count) for k in KINDS]
    first = readings[0]
    if nodule.kind or not weights.ground_glass:
        return first
    return replace(
        first,
        lowest=min(r.lowest for r in readings if r.lowest is not None),
        highest=max(r.highest for r in readings if r.highest is not None),
        not_assessed=("kind", *first.not_assessed),
    )


def _with_kind(variant: Variant, nodule: Nodule, patient: Patient, count: int) -> Probability:
    weights = MODELS[variant]
    return probability(
        model=f"Brock {variant}",
        source=SOURCE,
        nodule=nodule.number,
        known=_known(weights, nodule, MEAN_AGE if patient.age is None else patient.age, count),
        terms=_terms(weights, nodule, patient),
        facts=_facts(weights, nodule, patient, count),
        not_assessed=cut_sizes((nodule,)),
    )


def _known(weights: Weights, nodule: Nodule, age: int, count: int) -> float:
    return (
        weights.constant
        + weights.age * (age - MEAN_AGE)
        + weights.size * (sqrt(10 / nodule.long_axis_mm) - MEAN_SIZE)
        + weights.of_kind(nodule.kind or "solid")
        + weights.count * (count - MEAN_COUNT)
    )


def _terms(weights: Weights, nodule: Nodule, patient: Patient) -> tuple[Term, ...]:
    female = None if patient.sex is None else patient.sex == "F"
    terms = (
        Term("female", weights.female, female),
        Term("family history of lung cancer", weights.family_history, patient.family_history),
        Term("emphysema", weights.emphysema, patient.emphysema),
        Term("upper lobe", weights.upper_lobe, nodule.upper_lobe),
        Term("spiculation", weights.spiculation, nodule.spiculated),
    )
    return tuple(term for term in terms if term.weight)


def _facts(weights: Weights, nodule: Nodule, patient: Patient, count: int) -> tuple[Fact, ...]:
    facts = (Fact("nodule", nodule.number), Fact("long axis", nodule.long_axis_mm, "mm"))
    if not weights.age or patient.age is None:
        return facts
    kinds = () if nodule.assumed else (Fact("kind", nodule.kind_words),)
    return (*facts, *kinds, Fact("age", patient.age, "years"), Fact("nodules in the scan", count))
