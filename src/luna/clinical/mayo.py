"""The Mayo model of cancer in a solitary nodule.

Source: Swensen et al., Arch Intern Med 1997, 157:849.
"""

from __future__ import annotations

from luna.clinical.logistic import Term, probability
from luna.clinical.nodule import Nodule, Scope, cut_sizes
from luna.clinical.patient import Patient
from luna.clinical.statement import Fact, Probability

MODEL = "Mayo"
SOURCE = "Arch Intern Med 1997, 157:849"

CONSTANT = -6.8272
PER_YEAR = 0.0391
SMOKED = 0.7917
EARLIER_CANCER = 1.3388
PER_MM = 0.1274
SPICULATED = 1.0407
UPPER_LOBE = 0.7838


def mayo(nodule: Nodule, patient: Patient, scope: Scope) -> Probability:
    """The probability that a solitary nodule is cancer. The size is the long axis.

    Withheld without the age, in patients with a cancer now, and if the findings do not cover both
    lungs completely.
    """
    withheld = scope.obstacle()
    if patient.cancer:
        withheld = withheld or "the model is not for patients with a known cancer"
    if patient.age is None:
        withheld = withheld or "the age is not known"
    if withheld or patient.age is None:
        return Probability(model=MODEL, source=SOURCE, nodule=nodule.number, withheld=withheld)
    return probability(
        model=MODEL,
        source=SOURCE,
        nodule=nodule.number,
        known=CONSTANT + PER_YEAR * patient.age + PER_MM * nodule.long_axis_mm,
        terms=(
            Term("smokes or smoked", SMOKED, patient.smoker),
            Term("cancer more than 5 years ago", EARLIER_CANCER, patient.earlier_cancer),
            Term("spiculation", SPICULATED, nodule.spiculated),
            Term("upper lobe", UPPER_LOBE, nodule.upper_lobe),
        ),
        facts=(
            Fact("nodule", nodule.number),
            Fact("long axis", nodule.long_axis_mm, "mm"),
            Fact("age", patient.age, "years"),
        ),
        not_assessed=(
            *cut_sizes((nodule,)),
            *(() if patient.cancer is False else ("a cancer within 5 years",)),
        ),
    )
