"""Orders of samples: exact ratios, nobody twice before everybody once, nothing but the epoch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from luna.data.sampling import (
    Group,
    IntArray,
    SamplingConfig,
    crop_order,
    malignancy_order,
    nodule_order,
    pattern_order,
)
from luna.run.errors import InputError, UsageError

SIZES_AND_WEIGHTS = st.lists(
    st.tuples(st.integers(1, 30), st.integers(1, 4)), min_size=1, max_size=4
)


def groups_of(sizes_and_weights: list[tuple[int, int]]) -> list[Group]:
    return [
        Group(f"group {number}", 1000 * number + np.arange(size), weight)
        for number, (size, weight) in enumerate(sizes_and_weights)
    ]


@given(SIZES_AND_WEIGHTS, st.integers(0, 2**32), st.integers(1, 12), st.integers(0, 5))
def test_each_repetition_has_the_ratio(
    sizes_and_weights: list[tuple[int, int]], seed: int, repeats: int, epoch: int
) -> None:
    weights = [weight for _, weight in sizes_and_weights]
    order = pattern_order(groups_of(sizes_and_weights), repeats * sum(weights), seed)
    for repetition in order(epoch).reshape(repeats, -1) // 1000:
        assert np.bincount(repetition).tolist() == weights


@given(SIZES_AND_WEIGHTS, st.integers(0, 2**32), st.integers(1, 100))
def test_all_members_come_once_before_any_comes_again_across_epochs(
    sizes_and_weights: list[tuple[int, int]], seed: int, samples: int
) -> None:
    groups = groups_of(sizes_and_weights)
    order = pattern_order(groups, samples, seed)
    row = np.concatenate([order(epoch) for epoch in range(4)])
    for number, group in enumerate(groups):
        mine = row[row // 1000 == number]
        size = len(group.indices)
        for start in range(0, len(mine), size):
            once = mine[start : start + size]
            assert len(set(once.tolist())) == len(once)
        assert set(mine.tolist()) <= set(group.indices.tolist())


@given(st.integers(0, 2**32), st.integers(0, 50))
def test_an_epoch_depends_on_seed_and_number_alone(seed: int, epoch: int) -> None:
    groups = groups_of([(7, 1), (40, 3)])
    straight = pattern_order(groups, 30, seed)
    for earlier in range(3):
        straight(earlier)
    np.testing.assert_array_equal(straight(epoch), pattern_order(groups, 30, seed)(epoch))


def crops(count: int, config: SamplingConfig, seed: int) -> Callable[[int], IntArray]:
    return crop_order(np.ones(count, bool), (1, 0), config, seed)


def test_crops_around_other_candidates_come_in_their_ratio() -> None:
    is_nodule = np.arange(60) < 50
    order = crop_order(is_nodule, (3, 1), SamplingConfig(samples_per_epoch=400), 0)(0)
    assert is_nodule[order].sum() == 300


def test_epochs_and_seeds_differ() -> None:
    orders = [crops(100, SamplingConfig(), seed)(epoch) for seed in (0, 1) for epoch in (0, 1)]
    assert len({order.tobytes() for order in orders}) == 4
    for order in orders:
        assert sorted(order.tolist()) == list(range(100))


def test_an_order_is_not_changed_by_who_takes_it() -> None:
    order = crops(9, SamplingConfig(samples_per_epoch=4), 0)(0)
    assert order.dtype == np.int64
    with pytest.raises(ValueError, match="read-only"):
        order[0] = 3


def test_nodules_at_the_books_size() -> None:
    is_nodule = np.arange(551_065) % 408 == 0
    order = nodule_order(is_nodule, SamplingConfig(samples_per_epoch=200_000), 0)
    chosen = is_nodule[order(3)].reshape(-1, 2)
    assert (chosen.sum(axis=1) == 1).all()
    seen = Counter(order(3)[chosen.ravel()].tolist())
    assert len(seen) == is_nodule.sum()
    assert max(seen.values()) - min(seen.values()) <= 2  # parts of rounds at both ends


@pytest.mark.parametrize("negatives", [1, 2, 5])
def test_negatives_per_positive(negatives: int) -> None:
    is_nodule = np.arange(60) < 4
    config = SamplingConfig(samples_per_epoch=120, negatives_per_positive=negatives)
    positives = is_nodule[nodule_order(is_nodule, config, 1)(0)].sum()
    assert positives * (1 + negatives) == 120


def test_each_of_two_ranks_sees_both_classes() -> None:
    is_nodule = np.arange(400) % 2 == 0
    batches = nodule_order(is_nodule, SamplingConfig(), 0)(0).reshape(-1, 40)
    for rank in (0, 1):
        share = is_nodule[batches[:, rank::2]].mean()
        assert 0.4 < share < 0.6


def test_unbalanced_takes_every_sample_once() -> None:
    is_nodule = np.arange(50) < 3
    order = nodule_order(is_nodule, SamplingConfig(balanced=False), 0)
    assert sorted(order(0).tolist()) == list(range(50))
    assert order(0).tolist() != list(range(50))


def test_malignancy_is_two_to_one_to_one_and_leaves_out_the_unknown() -> None:
    is_nodule = np.arange(200) < 60
    malignant = np.where(np.arange(200) < 20, 1, np.where(np.arange(200) < 50, 0, -1))
    config = SamplingConfig(samples_per_epoch=400)
    order = malignancy_order(is_nodule, malignant.astype(np.int8), config, 0)(0)
    kinds = np.where(order < 20, 0, np.where(order < 50, 1, np.where(order < 60, 2, 3)))
    assert np.bincount(kinds).tolist() == [200, 100, 0, 100]


def test_a_weight_of_nought_needs_no_members() -> None:
    is_nodule = np.ones(6, bool)
    malignant = np.array([1, 1, 0, 0, 0, 0], np.int8)
    config = SamplingConfig(malignant_benign_other=(1, 1, 0))
    assert len(malignancy_order(is_nodule, malignant, config, 0)(0)) == 6


def test_unbalanced_leaves_out_the_unknown_and_what_has_no_weight() -> None:
    is_nodule = np.array([1, 1, 1, 0, 0], bool)
    malignant = np.array([1, 0, -1, -1, -1], np.int8)
    config = SamplingConfig(balanced=False)
    order = malignancy_order(is_nodule, malignant, config, 0)
    assert sorted(order(0).tolist()) == [0, 1, 3, 4]
    config = SamplingConfig(balanced=False, malignant_benign_other=(1, 1, 0))
    order = malignancy_order(is_nodule, malignant, config, 0)
    assert sorted(order(0).tolist()) == [0, 1]


@pytest.mark.parametrize(
    ("is_nodule", "name"),
    [(np.zeros(5, bool), "that are nodules"), (np.ones(5, bool), "that are not nodules")],
)
def test_a_class_without_members_is_named(is_nodule: np.ndarray, name: str) -> None:
    with pytest.raises(InputError, match=name):
        nodule_order(is_nodule, SamplingConfig(), 0)


def test_nothing_to_train_on_is_named() -> None:
    with pytest.raises(InputError, match="no crops"):
        crops(0, SamplingConfig(), 0)
    with pytest.raises(InputError, match="no candidates"):
        nodule_order(np.zeros(0, bool), SamplingConfig(balanced=False), 0)


@pytest.mark.parametrize(
    "wrong",
    [
        {"samples_per_epoch": 0},
        {"negatives_per_positive": 0},
        {"malignant_benign_other": (0, 0, 0)},
        {"malignant_benign_other": (1, -1, 1)},
    ],
)
def test_numbers_out_of_range_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        SamplingConfig(**wrong)
