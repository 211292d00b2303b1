"""Choose the samples of an epoch and their order: groups of indices in a repeating ratio.

Everything is a pure function of the seed and the epoch, so a run goes on where it stopped and
every rank computes the same order. A group is gone through in a new random order each time,
and to its end before any member comes again, across epochs too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from luna.run.errors import InputError, UsageError

IntArray = NDArray[np.int64]

_PLACES, _MEMBERS = 0, 1
"""The use of a random stream: the group of each place, or the order of the members."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SamplingConfig:
    """Choose the samples of an epoch. Raises UsageError for numbers out of range."""

    samples_per_epoch: int | None = None
    """Samples of an epoch, all processes together; "none" takes as many as there are."""
    balanced: bool = True
    """Mix the kinds of samples by ratio; otherwise shuffle all together."""
    negatives_per_positive: int = 1
    """Ratio for nodules: negative candidates for each positive one."""
    malignant_benign_other: tuple[int, int, int] = (2, 1, 1)
    """Ratio for malignancy: malignant nodules, benign nodules, other candidates; 0 leaves a kind
    out."""

    def __post_init__(self) -> None:
        if self.samples_per_epoch is not None and self.samples_per_epoch < 1:
            raise UsageError(f"samples_per_epoch is {self.samples_per_epoch}, must be at least 1")
        if self.negatives_per_positive < 1:
            raise UsageError(
                f"negatives_per_positive is {self.negatives_per_positive}, must be at least 1",
                hint="balanced = false takes the samples as they are",
            )
        ratio = self.malignant_benign_other
        if min(ratio) < 0 or not any(ratio):
            raise UsageError(f"malignant_benign_other is {ratio}, must be counts, not all 0")


@dataclass(frozen=True, slots=True)
class Group:
    """Samples of one kind, and how many of them one repetition of the pattern takes.

    `indices` (N,), each once. A group of weight 0 is never taken from and may be empty.
    """

    name: str
    indices: IntArray
    weight: int


def nodule_order(
    is_nodule: NDArray[np.bool_], config: SamplingConfig, seed: int
) -> Callable[[int], IntArray]:
    """Return the order for classifying nodules against other candidates; `is_nodule` (N,).

    Source: book, chapter 12 (one to one, 200,000 samples per epoch).
    """
    groups = [
        Group("candidates that are nodules", np.flatnonzero(is_nodule), 1),
        Group(
            "candidates that are not nodules",
            np.flatnonzero(~is_nodule),
            config.negatives_per_positive,
        ),
    ]
    return _order(groups, config, seed)


def malignancy_order(
    is_nodule: NDArray[np.bool_], malignant: NDArray[np.int8], config: SamplingConfig, seed: int
) -> Callable[[int], IntArray]:
    """Return the order for classifying malignant nodules against everything else.

    `is_nodule` (N,); `malignant` (N,) is 1, 0 or -1 for unknown, and read for nodules alone.
    Nodules of unknown malignancy are left out. Source: book, chapter 14 (2:1:1).
    """
    kinds = {
        "malignant nodules": is_nodule & (malignant == 1),
        "benign nodules": is_nodule & (malignant == 0),
        "candidates that are not nodules": ~is_nodule,
    }
    weights = config.malignant_benign_other
    groups = [
        Group(name, np.flatnonzero(members), weight)
        for (name, members), weight in zip(kinds.items(), weights, strict=True)
    ]
    return _order(groups, config, seed)


def crop_order(
    is_nodule: NDArray[np.bool_], ratio: tuple[int, int], config: SamplingConfig, seed: int
) -> Callable[[int], IntArray]:
    """Return the order for segmentation: crops around nodules and other candidates in a ratio.

    `is_nodule` (N,). The book, chapter 13, takes crops around nodules alone: (1, 0).
    """
    groups = [
        Group("crops around nodules", np.flatnonzero(is_nodule), ratio[0]),
        Group("crops around other candidates", np.flatnonzero(~is_nodule), ratio[1]),
    ]
    return pattern_order(groups, config.samples_per_epoch, seed)


def _order(groups: Sequence[Group], config: SamplingConfig, seed: int) -> Callable[[int], IntArray]:
    if config.balanced:
        return pattern_order(groups, config.samples_per_epoch, seed)
    everything = np.sort(np.concatenate([group.indices for group in groups if group.weight > 0]))
    return pattern_order([Group("candidates", everything, 1)], config.samples_per_epoch, seed)


def pattern_order(
    groups: Sequence[Group], samples: int | None, seed: int
) -> Callable[[int], IntArray]:
    """Return the indices of an epoch as a function of its number from 0; they are read-only.

    An epoch repeats a pattern in which each group has its weight of places. Places are
    shuffled within each repetition: ranks that take every n-th sample of a batch would
    otherwise each see one group alone. Without `samples`, an epoch is as long as all groups
    of weight above 0 have members. Raises InputError naming a group that has none.

    >>> order = pattern_order([Group("a", np.arange(2), 1), Group("b", np.arange(5, 9), 2)], 6, 0)
    >>> sorted(order(0)[order(0) < 5].tolist()), len(order(1))
    ([0, 1], 6)
    """
    taken = [group for group in groups if group.weight > 0]
    for group in taken:
        if len(group.indices) == 0:
            raise InputError(
                f"there are no {group.name} to train on",
                hint="add scans that have some, or change how samples are balanced",
            )
    pattern = np.repeat(np.arange(len(taken)), [group.weight for group in taken])
    length = sum(len(group.indices) for group in taken) if samples is None else samples

    # The training loop asks for the same epoch more than once.
    @lru_cache(maxsize=2)
    def order(epoch: int) -> IntArray:
        places = _places(pattern, length, np.random.default_rng([seed, _PLACES, epoch]))
        indices = np.empty(length, np.int64)
        for number, group in enumerate(taken):
            mine = np.flatnonzero(places == number)
            indices[mine] = _members(group.indices, epoch * len(mine), len(mine), [seed, number])
        indices.setflags(write=False)
        return indices

    return order


def _places(pattern: IntArray, length: int, rng: np.random.Generator) -> IntArray:
    """Return the group of each place: as many of a group in every epoch of that length."""
    repeats, rest = divmod(length, len(pattern))
    whole = rng.permuted(np.tile(pattern, (repeats, 1)), axis=1)
    return np.concatenate([whole.ravel(), rng.permutation(pattern[:rest])])


def _members(members: IntArray, start: int, count: int, stream: list[int]) -> IntArray:
    """Return members `start` to `start + count` of an endless row of shufflings."""
    size = len(members)
    rounds = range(start // size, (start + count - 1) // size + 1)
    shuffled = [
        np.random.default_rng([*stream, _MEMBERS, number]).permutation(members) for number in rounds
    ]
    first = start - rounds.start * size
    return np.concatenate([members[:0], *shuffled])[first : first + count]
