"""The choices that the sender of a scan makes: series, prior, guidelines."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Annotated, Literal

from fastapi import Query

from luna.clinical.patient import OLDEST, Patient, Risk, Sex
from luna.report.guidelines import Guidance

LONGEST_DAYS = 36_500


@dataclass(frozen=True, kw_only=True, slots=True)
class ScanRequest:
    """The series, the prior scan, and what guidelines need; all of it may be left out."""

    series: Annotated[
        str | None,
        Query(max_length=64, description="UID of the series, the beginning of it, or its number"),
    ] = None
    prior: Annotated[
        str | None, Query(max_length=64, description="id of an earlier scan to compare with")
    ] = None
    interval: Annotated[
        int | None, Query(ge=1, le=LONGEST_DAYS, description="days since the prior scan")
    ] = None
    guideline: Annotated[
        Literal["none", "lung-rads", "fleischner", "both"],
        Query(description="which guidelines the report states"),
    ] = "none"
    age: Annotated[int | None, Query(ge=0, le=OLDEST, description="years")] = None
    sex: Sex | None = None
    risk: Annotated[Risk | None, Query(description="of lung cancer, as Fleischner means it")] = None
    smoker: Annotated[bool | None, Query(description="smokes or smoked")] = None
    family_history: Annotated[bool | None, Query(description="lung cancer in the family")] = None
    emphysema: Annotated[bool | None, Query(description="emphysema on CT")] = None
    cancer: Annotated[bool | None, Query(description="a known cancer")] = None

    def guidance(self) -> Guidance | None:
        """Return the chosen guidelines and the patient's facts, or None."""
        if self.guideline == "none":
            return None
        patient = Patient(
            age=self.age,
            sex=self.sex,
            risk=self.risk,
            smoker=self.smoker,
            family_history=self.family_history,
            emphysema=self.emphysema,
            cancer=self.cancer,
        )
        return Guidance(self.guideline, patient)

    def text(self) -> str:
        """Return the request as JSON, for the list of scans."""
        return json.dumps(asdict(self))


def request_from(text: str) -> ScanRequest:
    """Read a request from the JSON that `ScanRequest.text` wrote."""
    return ScanRequest(**json.loads(text))
