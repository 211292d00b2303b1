"""On what the numbers of an evaluation rest, in words that stand under every table and plot."""

from __future__ import annotations

from luna.score.evaluation import Evaluation, EvaluationConfig
from luna.score.matching import HIT_RULE


def footnote(evaluation: Evaluation, rule: str = HIT_RULE, intervals: str | None = None) -> str:
    """What every number rests on: scans, nodules, folds, the hit rule and the interval."""
    curve, folds = evaluation.froc, evaluation.folds
    pooled = f"{folds} folds pooled" if folds > 1 else "one file of marks"
    return (
        f"{counted(curve.scans, 'scan')}, {curve.scans_with_nodules:,} with nodules; "
        f"{counted(curve.nodules, 'nodule')}; {pooled}. Rule: {rule}. "
        f"{intervals or interval_words(evaluation.config)}"
    )


def marks_rule(evaluation: Evaluation) -> str:
    """When a mark is right, for the tables and plots that take marks for decisions."""
    matching = evaluation.matching
    right = int((matching.counted & matching.on_nodule).sum())
    wrong = int(matching.is_false.sum())
    return (
        "a mark is positive when distance < radius of a nodule, negative else, excluded "
        f"findings ignored ({right:,} positive, {wrong:,} negative)"
    )


def interval_words(config: EvaluationConfig) -> str:
    """How the intervals were made."""
    if not config.samples:
        return "No bootstrap intervals were asked for."
    return f"Intervals: 95 %, {config.samples:,} bootstrap samples over scans, seed {config.seed}."


def counted(number: int, noun: str) -> str:
    """A number with its noun, in the plural where it must be."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")
