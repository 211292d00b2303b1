"""What the user says about the patient."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from luna.run.errors import UsageError

Sex = Literal["F", "M"]
Risk = Literal["low", "high"]
OLDEST = 120


@dataclass(frozen=True, kw_only=True, slots=True)
class Patient:
    """Facts that no CT shows. None means not known.

    `risk` is the reader's judgement, as in the Fleischner table. `smoker`: smokes or ever did.
    `family_history`: of lung cancer. `earlier_cancer`: a cancer outside the chest more than 5
    years ago. `cancer`: a cancer that is known now. `immunosuppressed` as it says.
    """

    age: int | None = None
    sex: Sex | None = None
    risk: Risk | None = None
    smoker: bool | None = None
    family_history: bool | None = None
    emphysema: bool | None = None
    earlier_cancer: bool | None = None
    cancer: bool | None = None
    immunosuppressed: bool | None = None

    def __post_init__(self) -> None:
        if self.age is not None and not 0 <= self.age <= OLDEST:
            raise UsageError(f"age is {self.age}, not between 0 and {OLDEST}")
