"""What is said of a segmenter alone: voxels against annotated nodules."""

from __future__ import annotations

from dataclasses import asdict

from matplotlib.figure import Figure

from luna.evaluate.basis import counted, interval_words
from luna.evaluate.metrics import Json, interval_json
from luna.evaluate.networks.page import Subject, Told
from luna.evaluate.plots import BLUE, GREY, VERMILION, canvas, png, shares
from luna.evaluate.tables import Section, span
from luna.score.overlap import HALF, Cover, Overlap
from luna.score.ratios import Ratio

RULE = (
    "a nodule's voxels are made from its annotated centre and diameter (luna.data.nodule_mask); "
    "a voxel is called where its probability is above the threshold, and none where the pipeline "
    "does not look"
)
BY_SIZE_RULE = f"{RULE}; false voxels belong to no size, so no precision stands here"


def tell_overlap(found: Overlap, subject: Subject) -> Told:
    """Tables, plots and figures of a segmenter on annotated nodules."""
    intervals = interval_words(subject.config)
    counts = (
        f"{counted(found.scans, 'scan')}, {found.scans_with_nodules:,} with nodules; "
        f"{counted(found.nodules, 'nodule')}; {found.recall.whole:,.0f} voxels of nodules."
    )
    basis = f"{counts} Rule: {RULE}. {intervals}"
    by_size = f"{counts} Rule: {BY_SIZE_RULE}. {intervals}"
    return Told(
        title="The segmenter alone",
        headline=(
            "Dice of all voxels",
            _number(found.dice),
            f" (95 %: {span(found.dice.interval)}); {_number(found.cover.touched)} of the "
            "nodules are touched.",
        ),
        basis=basis,
        sections=(_main(found, subject, basis), _sizes(found, by_size)),
        images={
            "dice_by_threshold.png": png(_sweep(found, subject), basis),
            "size_bands.png": png(_by_size(found), by_size),
        },
        metrics=_metrics(found),
        scalars=_scalars(found),
        scans=found.scans,
        scans_with_items=found.scans_with_nodules,
    )


def _number(ratio: Ratio) -> str:
    return "–" if ratio.value is None else f"{ratio.value:.3f}"


def _main(found: Overlap, subject: Subject, basis: str) -> Section:
    sweep, best = found.sweep, found.sweep.best
    detail = (
        f"at {sweep.threshold[best]:.3f}: precision {sweep.precision[best]:.3f}, "
        f"recall {sweep.recall[best]:.3f}"
    )
    names = {
        "voxels: recall": found.recall,
        "voxels: precision": found.precision,
        "voxels: Dice": found.dice,
        "slices with a nodule: mean Dice": found.slice_dice,
        "nodules: touched by a voxel": found.cover.touched,
        f"nodules: covered by {HALF:.0%} or more": found.cover.covered,
    }
    rows = [(name, _number(ratio), span(ratio.interval)) for name, ratio in names.items()]
    rows.insert(3, ("voxels: best Dice", f"{sweep.dice[best]:.3f}", detail))
    return Section(
        title=f"{subject.card.name} at threshold {subject.config.threshold:g}",
        header=("", "value", "95 % or detail"),
        rows=tuple(rows),
        basis=basis,
    )


def _sizes(found: Overlap, basis: str) -> Section:
    rows = []
    for band in found.cover_by_size:
        cells = [_number(each) for each in (band.touched, band.covered, band.voxels)]
        spans = [span(each.interval) for each in (band.touched, band.covered, band.voxels)]
        pairs = [cell for pair in zip(cells, spans, strict=True) for cell in pair]
        rows.append((band.name, f"{band.touched.whole:,.0f}", *pairs))
    return Section(
        title="Nodules and their voxels by diameter",
        header=(
            "diameter",
            "nodules",
            "touched",
            "95 %",
            f"by {HALF:.0%}",
            "95 %",
            "voxels",
            "95 %",
        ),
        rows=tuple(rows),
        basis=basis,
    )


def _sweep(found: Overlap, subject: Subject) -> Figure:
    figure, axes = canvas("Voxels at or above a threshold")
    sweep, best = found.sweep, found.sweep.best
    label = f"Dice, best {sweep.dice[best]:.3f} at {sweep.threshold[best]:.3f}"
    axes.plot(sweep.threshold, sweep.dice, color=BLUE, lw=1.8, label=label)
    axes.plot(sweep.threshold, sweep.recall, color=VERMILION, lw=1.2, ls="--", label="recall")
    axes.plot(sweep.threshold, sweep.precision, color=GREY, lw=1.2, ls="-.", label="precision")
    axes.axvline(subject.config.threshold, color=GREY, lw=0.8, ls=":", label="threshold given")
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    axes.set_xlabel("threshold")
    axes.set_ylabel("share")
    axes.legend(loc="best")
    return figure


def _by_size(found: Overlap) -> Figure:
    figure, axes = canvas("Nodules and their voxels by diameter")
    bands = found.cover_by_size
    shares(
        axes,
        {
            "touched by a voxel": tuple((band.name, band.touched) for band in bands),
            f"covered by {HALF:.0%} or more": tuple((band.name, band.covered) for band in bands),
            "their voxels": tuple((band.name, band.voxels) for band in bands),
        },
    )
    return figure


def _ratio_json(ratio: Ratio) -> Json:
    return {**asdict(ratio), "interval": interval_json(ratio.interval)}


def _cover_json(cover: Cover) -> Json:
    parts = {"touched": cover.touched, "covered": cover.covered, "voxels": cover.voxels}
    return {"name": cover.name, **{name: _ratio_json(ratio) for name, ratio in parts.items()}}


def _metrics(found: Overlap) -> Json:
    sweep, best = found.sweep, found.sweep.best
    columns = (sweep.threshold, sweep.recall, sweep.precision, sweep.dice)
    names = ("threshold", "recall", "precision", "dice")
    return {
        "voxels": {
            "recall": _ratio_json(found.recall),
            "precision": _ratio_json(found.precision),
            "dice": _ratio_json(found.dice),
            "best_dice": {
                name: float(column[best]) for name, column in zip(names, columns, strict=True)
            },
        },
        "slice_dice": _ratio_json(found.slice_dice),
        "nodules": _cover_json(found.cover),
        "size_bands": [_cover_json(band) for band in found.cover_by_size],
    }


def _scalars(found: Overlap) -> dict[str, float]:
    ratios = {
        "voxels/recall": found.recall,
        "voxels/precision": found.precision,
        "voxels/dice": found.dice,
        "slices/dice": found.slice_dice,
        "nodules/touched": found.cover.touched,
        "nodules/covered": found.cover.covered,
    }
    return {name: ratio.value for name, ratio in ratios.items() if ratio.value is not None}
