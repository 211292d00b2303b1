"""The note below every table and plot: scans, nodules, the rule and the intervals."""

from __future__ import annotations

from luna.score.evaluation import Evaluation, EvaluationConfig
from luna.score.matching import HIT_RULE


def footnote(evaluation: Evaluation, rule: str = HIT_RULE, intervals: str | None = None) -> str:
    """Return the note: scans, nodules, folds, the hit rule and how intervals were made."""
    curve, folds = evaluation.froc, evaluation.folds
    pooled = f"{folds} folds pooled" if folds > 1 else "one file of marks"
    return (
        f"{counted(curve.scans, 'scan')}, {curve.scans_with_nodules:,} with nodules; "
        f"{counted(curve.nodules, 'nodule')}; {pooled}. Rule: {rule}. "
        f"{intervals or interval_words(evaluation.config)}"
    )


def marks_rule(evaluation: Evaluation) -> str:
    """Return the rule for a right mark, for tables that treat marks as decisions."""
    matching = evaluation.matching
    right = int((matching.counted & matching.on_nodule).sum())
    wrong = int(matching.is_false.sum())
    return (
        "a mark is positive when distance < radius of a nodule, negative else, excluded "
        f"findings ignored ({right:,} positive, {wrong:,} negative)"
    )


def interval_words(config: EvaluationConfig) -> str:
    """Return how the intervals were made."""
    if not config.samples:
        return "No bootstrap intervals were asked for."
    return f"Intervals: 95 %, {config.samples:,} bootstrap samples over scans, seed {config.seed}."


def counted(number: int, noun: str) -> str:
    """Return a number with its noun, in the plural unless it is one."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")
