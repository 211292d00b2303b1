"""All scores of a set of marks: from marks and truth to one record."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from luna.run.errors import InputError, UsageError
from luna.run.nodules import Nodules
from luna.score.breakdown import Fate, Group, fates, kinds, size_bands, subsets
from luna.score.calibration import Calibration, calibrate
from luna.score.confusion import DEFAULT_THRESHOLD, Confusion, confusion
from luna.score.curves import Auc, Curves, auc_of, curves
from luna.score.froc import (
    Comparison,
    Froc,
    FrocItems,
    OperatingPoint,
    at_threshold,
    compare,
    froc,
    froc_items,
    operating_point,
)
from luna.score.marks import Cohort, Marks
from luna.score.matching import Matching, match
from luna.score.warnings import warnings_of

FEWEST_SAMPLES = 100
"""With fewer samples a 95 % interval depends on only two or three of them."""

MOST_SAMPLES = 100_000
"""With more samples the ends of an interval move by less than a hundredth of its width."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluationConfig:
    """How marks are scored. The rules of the LUNA16 challenge are fixed."""

    threshold: float = DEFAULT_THRESHOLD
    """Count marks from this probability on as reported: in the book's table, F1 and losses."""
    fp_per_scan: float = 1.0
    """Find the operating threshold for this many false positives per scan."""
    samples: int = 1000
    """Number of bootstrap samples over scans; 0 leaves the intervals out."""
    seed: int = 0
    """Seed of the bootstrap; equal seeds give equal intervals."""

    def __post_init__(self) -> None:
        if not 0 <= self.threshold <= 1:
            raise UsageError(f"threshold is {self.threshold}, not within 0..1")
        if not (self.fp_per_scan > 0 and np.isfinite(self.fp_per_scan)):
            raise UsageError(f"fp_per_scan is {self.fp_per_scan}, not above 0")
        if self.samples != 0 and not FEWEST_SAMPLES <= self.samples <= MOST_SAMPLES:
            raise UsageError(
                f"samples is {self.samples}",
                hint=f"take {FEWEST_SAMPLES} to {MOST_SAMPLES}, or 0 for no intervals",
            )
        if self.seed < 0:
            raise UsageError(f"seed is {self.seed}, below 0")


@dataclass(frozen=True, kw_only=True, slots=True)
class ScoreConfig:
    """How marks are scored; the threshold may still be open."""

    threshold: float | None = None
    """Count marks from this probability on as reported; none takes the threshold of the
    evaluation whose folder is scored, and 0.5 for a file of marks."""
    fp_per_scan: float = 1.0
    """Find the operating threshold for this many false positives per scan."""
    samples: int = 1000
    """Number of bootstrap samples over scans; 0 leaves the intervals out."""
    seed: int = 0
    """Seed of the bootstrap; equal seeds give equal intervals."""

    def __post_init__(self) -> None:
        self.scoring()

    def scoring(self, threshold: float = DEFAULT_THRESHOLD) -> EvaluationConfig:
        """Return the config with its own threshold, or this one where it has none.

        Raises UsageError for a value that cannot be.
        """
        return EvaluationConfig(
            threshold=threshold if self.threshold is None else self.threshold,
            fp_per_scan=self.fp_per_scan,
            samples=self.samples,
            seed=self.seed,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Malignancy:
    """How well malignant nodules are distinguished from benign ones.

    `diameter` ranks all annotated nodules by diameter alone. `head` ranks the nodules found
    by their best mark's probability of malignancy, and `diameter_found` the same nodules by
    diameter; both are None without such probabilities, or where one kind is missing. Nodules
    without a verdict, and marks without a probability of malignancy, stand aside.
    """

    diameter: Auc
    head: Auc | None
    diameter_found: Auc | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Evaluation:
    """The scores of one system on one cohort, and the arrays they were computed from.

    `classifier` and `calibration` are over the marks that count, positive on a nodule, negative
    where false; None when one of the two is missing. `at_threshold` is the config's threshold,
    `operating` the one for its false-positive rate, None if even the most probable marks have more.
    """

    config: EvaluationConfig
    matching: Matching
    folds: int
    froc: Froc
    at_threshold: OperatingPoint
    operating: OperatingPoint | None
    classifier: Curves | None
    calibration: Calibration | None
    confusion: Confusion
    size_bands: tuple[Group, ...]
    kinds: tuple[Group, ...]
    subsets: tuple[Group, ...]
    fate: Fate
    malignancy: Malignancy | None
    versus: Froc | None
    comparison: Comparison | None
    warnings: tuple[str, ...]


def score_detections(
    cohort: Cohort,
    marks: Marks,
    nodules: Nodules,
    excluded: Nodules,
    *,
    config: EvaluationConfig,
    versus: Marks | None = None,
    fragments: Marks | None = None,
    folds: int = 1,
) -> Evaluation:
    """Score marks against nodules; `versus` is a second system for a paired comparison.

    `fragments`: the parts that marks stand for, where they are known; `folds`: from how many
    test folds the marks were pooled. Raises InputError without a nodule.
    """
    _refuse_no_nodules(cohort, nodules)
    samples, seed = config.samples, config.seed
    matching = match(cohort, marks, nodules, excluded)
    items = froc_items(matching)
    curve = froc(items, samples=samples, seed=seed)
    rival = match(cohort, versus, nodules, excluded) if versus is not None else None
    rival_curve, comparison = _against(items, rival, config)
    return Evaluation(
        config=config,
        matching=matching,
        folds=folds,
        froc=curve,
        at_threshold=at_threshold(curve, config.threshold),
        operating=operating_point(curve, config.fp_per_scan),
        classifier=_classifier(matching, config),
        calibration=_calibration(matching),
        confusion=confusion(marks, nodules, threshold=config.threshold),
        size_bands=size_bands(matching, samples, seed),
        kinds=kinds(matching, samples, seed),
        subsets=subsets(matching, samples, seed),
        fate=fates(matching, config.threshold, fragments),
        malignancy=_malignancy(matching, config),
        versus=rival_curve,
        comparison=comparison,
        warnings=warnings_of(matching, rival, config.threshold),
    )


def _refuse_no_nodules(cohort: Cohort, nodules: Nodules) -> None:
    if len(nodules) == 0:
        raise InputError(
            f"none of the {len(cohort)} scans has an annotated nodule, so there is no sensitivity",
            hint="check that the annotations and the list of series belong together",
        )


def _against(
    items: FrocItems, rival: Matching | None, config: EvaluationConfig
) -> tuple[Froc | None, Comparison | None]:
    """Return the second system's curve, and the paired comparison unless `samples` is 0."""
    if rival is None:
        return None, None
    samples, seed = config.samples, config.seed
    other = froc_items(rival)
    verdict = compare(items, other, samples=samples, seed=seed) if samples else None
    return froc(other, samples=samples, seed=seed), verdict


def _classifier(matching: Matching, config: EvaluationConfig) -> Curves | None:
    marks, counted, positive = matching.marks, matching.counted, matching.on_nodule
    if not _has_both(positive[counted]):
        return None
    return curves(
        marks.p_nodule[counted],
        positive[counted],
        marks.series[counted],
        threshold=config.threshold,
        samples=config.samples,
        seed=config.seed,
    )


def _calibration(matching: Matching) -> Calibration | None:
    counted, positive = matching.counted, matching.on_nodule
    if not _has_both(positive[counted]):
        return None
    return calibrate(matching.marks.p_nodule[counted], positive[counted])


def _malignancy(matching: Matching, config: EvaluationConfig) -> Malignancy | None:
    nodules, p_malignant = matching.nodules, matching.marks.p_malignant
    malignant, known = nodules.is_malignant, nodules.has_verdict
    if not _has_both(malignant[known]):
        return None

    def auc(score: NDArray[np.float64], of: NDArray[np.bool_]) -> Auc:
        series, samples, seed = nodules.series[of], config.samples, config.seed
        return auc_of(score[of], malignant[of], series, samples=samples, seed=seed)

    head = diameter_found = None
    if p_malignant is not None:
        p_nodules = np.full(len(nodules), np.nan)
        p_nodules[matching.found] = p_malignant[matching.best_mark[matching.found]]
        judged = known & np.isfinite(p_nodules)
        if _has_both(malignant[judged]):
            head, diameter_found = auc(p_nodules, judged), auc(nodules.diameter_mm, judged)
    return Malignancy(
        diameter=auc(nodules.diameter_mm, known), head=head, diameter_found=diameter_found
    )


def _has_both(positive: NDArray[np.bool_]) -> bool:
    return bool(positive.any() and not positive.all())
