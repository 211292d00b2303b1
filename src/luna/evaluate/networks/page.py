"""The evaluation of one network alone: what a folder of it holds, whatever the network."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import luna
from luna.evaluate.basis import interval_words
from luna.evaluate.metrics import SCHEMA, Json
from luna.evaluate.page import Page, write_page
from luna.evaluate.tables import Section
from luna.nets.bundle import Card
from luna.score.evaluation import FEWEST_SCANS, EvaluationConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class Subject:
    """What was evaluated: the network, how it was scored, and the scans without a result.

    `config.threshold` is the one in force; `tables` are files by their role.
    """

    card: Card
    config: EvaluationConfig
    failures: Mapping[str, str]
    tables: Mapping[str, Path]


@dataclass(frozen=True, kw_only=True, slots=True)
class Told:
    """What is said of a network, ready to be printed and written.

    `metrics`: everything for programs; `scalars`: the main figures; `counts`: the scans that
    have a result, and those of them that hold what is scored.
    """

    title: str
    headline: tuple[str, str, str]
    basis: str
    sections: tuple[Section, ...]
    images: Mapping[str, bytes]
    metrics: Json
    scalars: Mapping[str, float]
    scans: int
    scans_with_items: int


def warnings_of(told: Told, subject: Subject) -> tuple[str, ...]:
    """Sentences about what the numbers leave unsaid."""
    found = []
    if subject.failures:
        total = told.scans + len(subject.failures)
        found.append(f"{len(subject.failures)} of {total} scans have no result and are left out")
    if told.scans_with_items < FEWEST_SCANS:
        found.append(
            f"only {told.scans_with_items} scans have nodules: the intervals are narrower than "
            "the truth"
        )
    return tuple(found)


def write_alone(told: Told, subject: Subject, out: Path) -> None:
    """Write metrics.json, the plots, TensorBoard's events and evaluation.html into `out`."""
    warnings, card = warnings_of(told, subject), subject.card
    sources = [
        {"role": role, "name": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
        for role, path in subject.tables.items()
    ]
    network = {"role": card.role, "name": card.name, "sha256": card.weights_sha256}
    record = {
        "schema": SCHEMA,
        "luna": luna.__version__,
        "network": network,
        "intervals": interval_words(subject.config),
        "config": asdict(subject.config),
        "cohort": {
            "scans": told.scans + len(subject.failures),
            "scans_with_nodules": told.scans_with_items,
            "scans_without_result": len(subject.failures),
        },
        **told.metrics,
        "warnings": list(warnings),
        "inputs": sources,
    }
    page = Page(
        title=told.title,
        headline=told.headline,
        basis=told.basis,
        warnings=(*warnings, *([card.notice.rstrip(".")] if card.notice else [])),
        images=told.images,
        sections=(*told.sections, *_failures(subject)),
        galleries=(),
        sources=(network, *sources),
    )
    write_page(out, page, record, told.scalars)


def _failures(subject: Subject) -> tuple[Section, ...]:
    if not subject.failures:
        return ()
    return (
        Section(
            title="Scans without a result",
            header=("scan", "meaning"),
            rows=tuple(subject.failures.items()),
            basis="They are left out of every number.",
        ),
    )
