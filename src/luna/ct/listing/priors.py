"""The prior of each scan of a list: the patient's latest earlier study in it.

No sentence here quotes what a header says: lists travel further than scans.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date

from luna.ct.listing.source import Source, Visit

RULE = (
    "each scan is compared with the latest earlier study of its patient in this list (same "
    "PatientID and issuer, by study date and time); of several series there, with the one that "
    "--choose thinnest takes"
)

NOBODY = re.compile(
    "0*|X+|ANON|ANONYM|ANONYMOUS|ANONYMI[SZ]ED|(ANON|ANONYMOUS|ANONYMI[SZ]ED)?PATIENT|NOID|NONE|NULL"
    "|NA|UNKNOWN|UNDEFINED|DEIDENTIFIED|REMOVED|REDACTED"
)
"""IDs without a letter or figure of their own: programs that anonymise give them to everybody."""

TIME = re.compile("[0-9]{2}(?:[0-9]{2}(?:[0-9]{2}(?:[.][0-9]{1,6})?)?)?")

NO_VISIT = "not DICOM, or a file or archive named by itself: no patient is known"
NO_PATIENT = "without a patient ID"
NO_PERSON = "with a patient ID that stands for nobody (such as ANONYMOUS or 0)"
NO_DATE = "without a valid study date"
FIRST = "without an earlier study of the patient"


@dataclass(frozen=True, kw_only=True, slots=True)
class Priors:
    """The name of each scan's prior, and how many scans have none, by reason.

    `patients` has a text for each scan that is the same for all scans of a patient; it is a
    patient's ID, or the scan's own name where nobody knows the patient.
    """

    of: Mapping[str, str]
    without: Mapping[str, int] = field(default_factory=dict)
    patients: Mapping[str, str] = field(default_factory=dict)

    def sentences(self) -> list[str]:
        """Return the rule, and how many scans it gave no prior, for people."""
        counts = ", ".join(f"{count} {why}" for why, count in sorted(self.without.items()))
        lines = [f"{len(self.of)} scans have a prior: {RULE}"]
        return [*lines, f"no prior: {counts}"] if counts else lines


def find_priors(sources: Mapping[str, Source]) -> Priors:
    """Return the prior of each scan that has one. Scans without a patient's ID have none."""
    without: Counter[str] = Counter()
    patients: dict[str, str] = {}
    groups: dict[tuple[str, str], dict[str, Visit]] = {}
    for name, source in sources.items():
        patients[name] = name
        visit = source.visit
        why = _why_alone(visit)
        if visit is None or why:
            without[why] += 1
            continue
        patients[name] = f"{visit.issuer}\n{visit.patient}"
        groups.setdefault((visit.issuer, visit.patient), {})[name] = visit
    of = {name: prior for group in groups.values() for name, prior in _pairs(group)}
    firsts = sum(map(len, groups.values())) - len(of)
    without.update({FIRST: firsts} if firsts else {})
    return Priors(of=of, without=dict(without), patients=patients)


def _why_alone(visit: Visit | None) -> str:
    """Return why a scan is compared with none; nothing where it may be."""
    if visit is None:
        return NO_VISIT
    if not visit.patient:
        return NO_PATIENT
    if NOBODY.fullmatch(re.sub(r"[\W_]+", "", visit.patient).upper()):
        return NO_PERSON
    return "" if _day(visit) else NO_DATE


def _day(visit: Visit) -> date | None:
    text = visit.date
    try:
        return date(int(text[:4]), int(text[4:6]), int(text[6:8]))
    except ValueError:
        return None


def _pairs(group: Mapping[str, Visit]) -> Iterator[tuple[str, str]]:
    """Yield the scans of one patient that have a prior, with it."""
    for name, visit in group.items():
        earlier = {key: other for key, other in group.items() if _is_before(other, visit)}
        if not earlier:
            continue
        latest = max(map(_when, earlier.values()))
        last = {key: other for key, other in earlier.items() if _when(other) == latest}
        yield name, min(last, key=lambda key: (last[key].preference, key))


def _when(visit: Visit) -> tuple[date, str]:
    """Return day and time; where the time is not known, the day's beginning."""
    day = _day(visit)
    assert day is not None  # noqa: S101 - scans without a date are in no group
    return day, visit.time if TIME.fullmatch(visit.time) else ""


def _is_before(other: Visit, visit: Visit) -> bool:
    """Return whether another scan is surely of an earlier study: on one day both times are known.

    The series of one study are no priors of each other.
    """
    if other.study == visit.study:
        return False
    (day, time), (own_day, own_time) = _when(other), _when(visit)
    return day < own_day or (day == own_day and bool(time) and time < own_time)
