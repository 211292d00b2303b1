"""Split the series into training, validation and test.

A split depends on the full list of series, not on which of them are on disk: while a download
grows, no series moves from one part to another. Only the folder of a scan names its subset, so one
whose patient has a series elsewhere may wait, left out, until that one is there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from luna.run.errors import UsageError

SplitMethod = Literal["stride", "folds"]

FOLDS = 10
"""LUNA16's subsets."""

BOOK_STRIDE = 10
FEWEST = 3
"""Fewest series for validation in a small cohort; a single one may hold no nodule."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SplitConfig:
    """Choose how series are divided. Raises UsageError for numbers out of range."""

    method: SplitMethod = "stride"
    """`stride`: use every N-th series for validation, as in the book. `folds`: use LUNA16's
    subsets."""
    stride: int | None = None
    """Use one of this many series, in the order of their UIDs, for validation; "none" takes 10, as
    in the book, or fewer, so that at least three series are used."""
    test_fold: int = 9
    """The subset kept for the test; read by `folds` only."""
    more_test_folds: tuple[int, ...] = ()
    """Further subsets kept for the test: half of them, and the other half can be marked."""

    def __post_init__(self) -> None:
        if self.stride is not None and self.stride < 2:
            raise UsageError(f"stride is {self.stride}, must be at least 2")
        for fold in self.tested:
            if not 0 <= fold < FOLDS:
                raise UsageError(f"test_fold is {fold}, not between 0 and {FOLDS - 1}")

    @property
    def tested(self) -> frozenset[int]:
        """The subsets kept for the test."""
        return frozenset((self.test_fold, *self.more_test_folds))


@dataclass(frozen=True, kw_only=True, slots=True)
class Split:
    """Series UIDs, sorted; no series and no known patient is in two of the parts.

    `left_out` are series that would train but share a patient with the test, or with a series
    whose subset is not known and may be the test's.
    """

    train: tuple[str, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()


def make_split(
    series: Iterable[str],
    config: SplitConfig,
    fold_of: Mapping[str, int] | None = None,
    patient_of: Mapping[str, str] | None = None,
) -> Split:
    """Divide the full list of series.

    `fold_of` gives the subset of a series where it is known; with `folds`, series without
    one are in no part. `patient_of` keeps series of one patient together: they follow the
    patient's first series, in the order of UIDs.

    >>> make_split("abcdef", SplitConfig(stride=3))
    Split(train=('b', 'c', 'e', 'f'), validation=('a', 'd'), test=(), left_out=())
    """
    ordered = sorted(set(series))
    patients = patient_of or {}
    validating = _validating(ordered, config.stride or _stride(len(ordered)), patients)
    if config.method == "stride":
        return Split(
            train=tuple(uid for uid in ordered if uid not in validating),
            validation=tuple(uid for uid in ordered if uid in validating),
        )
    folds = fold_of or {}
    known = [uid for uid in ordered if uid in folds]
    test = [uid for uid in known if folds[uid] in config.tested]
    # What is not on disk yet may turn out to be of the test.
    perhaps = [uid for uid in ordered if folds.get(uid, config.test_fold) in config.tested]
    barred = {patients.get(uid, uid) for uid in perhaps}
    rest = [uid for uid in known if folds[uid] not in config.tested]
    clear = [uid for uid in rest if patients.get(uid, uid) not in barred]
    return Split(
        train=tuple(uid for uid in clear if uid not in validating),
        validation=tuple(uid for uid in clear if uid in validating),
        test=tuple(test),
        left_out=tuple(uid for uid in rest if patients.get(uid, uid) in barred),
    )


def _stride(series: int) -> int:
    """Return the book's stride, or the largest by which FEWEST series of a small cohort validate.

    >>> [_stride(n) for n in (3, 6, 8, 20, 21, 888)]
    [2, 2, 3, 9, 10, 10]
    """
    return min(BOOK_STRIDE, max(2, (series - 1) // (FEWEST - 1)))


def _validating(ordered: list[str], stride: int, patients: Mapping[str, str]) -> set[str]:
    """Return the validation series, chosen by the position of their patient's first series."""
    first: dict[str, int] = {}
    for rank, uid in enumerate(ordered):
        first.setdefault(patients.get(uid, uid), rank)
    return {uid for uid in ordered if first[patients.get(uid, uid)] % stride == 0}
