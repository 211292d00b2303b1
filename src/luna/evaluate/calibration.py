"""Write bundles with a calibrated nodule network: a fitted temperature and a new threshold."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from luna.nets.bundle import Bundle, save_bundle
from luna.nets.card import CALIBRATION, Card
from luna.nets.models import Models
from luna.run.errors import InputError
from luna.score.calibration import Calibration, temper
from luna.score.evaluation import Evaluation
from luna.score.froc import OperatingPoint, next_threshold

ENDING = "-calibrated"
"""Added to the name of a calibrated nodule model, so that reports tell the two apart."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Calibrated:
    """The folders of the new bundles, and the new numbers on the nodule model's card."""

    folders: tuple[Path, ...]
    temperature: float
    threshold: float
    point: OperatingPoint


def write_calibrated(models: Models, evaluation: Evaluation, out: Path) -> Calibrated:
    """Write every bundle of `models`, the nodule model with a new card, into `out`/role.

    The temperature of the nodule model is fitted to the marks of the evaluation, its threshold
    the one for the config's false-positive rate. Raises InputError when the marks determine
    neither.
    """
    calibration, point = _determined(evaluation)
    # Half-way to the next lower mark: rounding in another batch or processor moves neither.
    lower = next_threshold(evaluation.froc, point.threshold)
    tempered = [temper(p, calibration.temperature) for p in (lower, point.threshold)]
    threshold = sum(tempered) / 2
    if not 0 < threshold < 1:
        raise InputError(
            "no threshold lies between the marks",
            why=f"their probabilities are {lower!r} and {point.threshold!r}",
        )
    card = _card(models.nodule.card, evaluation, calibration, point, threshold)
    bundles = replace(models, nodule=replace(models.nodule, card=card)).bundles()
    return Calibrated(
        folders=tuple(_save(bundle, out) for bundle in bundles),
        temperature=card.temperature,
        threshold=threshold,
        point=point,
    )


def _determined(evaluation: Evaluation) -> tuple[Calibration, OperatingPoint]:
    calibration, point = evaluation.calibration, evaluation.operating
    if calibration is None or calibration.temperature_at_bound:
        raise InputError(
            "these marks determine no temperature",
            why="there must be hits and false marks, and some false marks more probable than some "
            "hits",
            hint="calibrate on more scans",
        )
    if point is None:
        raise InputError(
            f"no threshold gives {evaluation.config.fp_per_scan:g} false positives per scan",
            why="even the most probable marks exceed this rate",
            hint="ask for a higher rate with --set fp_per_scan=…",
        )
    return calibration, point


def _card(
    card: Card,
    evaluation: Evaluation,
    calibration: Calibration,
    point: OperatingPoint,
    threshold: float,
) -> Card:
    """Return the card with the new numbers and with the data that they were fitted to."""
    curve = evaluation.froc
    fitted = {
        "scans": curve.scans,
        "nodules": curve.nodules,
        "marks": calibration.items,
        "fp_per_scan": point.fp_per_scan,
        "sensitivity": point.sensitivity,
        "ece_before": calibration.ece,
        "ece_after": calibration.ece_tempered,
    }
    return replace(
        card,
        name=card.name.removesuffix(ENDING) + ENDING,
        # The probabilities that were fitted had the old temperature already.
        temperature=card.temperature * calibration.temperature,
        threshold=threshold,
        metrics={**card.metrics, CALIBRATION: fitted},
    )


def _save(bundle: Bundle, out: Path) -> Path:
    folder = out / bundle.card.role
    save_bundle(bundle, folder)
    return folder
