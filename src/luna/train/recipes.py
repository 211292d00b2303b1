"""What can be configured of a training: the roots of `luna train-cls` and `luna train-seg`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from luna.data.augment import Augment, AugmentConfig
from luna.data.chunks import CandidateChunks, MaskedSlices, masked_crops
from luna.data.luna16.folder import MALIGNANCY as VERDICTS
from luna.data.prep.config import CONTEXT_SLICES, CROP_RC
from luna.data.prepared import Prepared, open_prepared
from luna.data.sampling import SamplingConfig, crop_order, malignancy_order, nodule_order
from luna.data.splits import Split, SplitConfig, make_split
from luna.nets.card import Card
from luna.nets.losses import FALSE_NEGATIVE_WEIGHT, segmentation_loss
from luna.nets.trained import Range
from luna.run.errors import InputError, UsageError
from luna.train.config import TrainConfig
from luna.train.launch import Job
from luna.train.networks import ClassifierNetConfig, UNetConfig
from luna.train.tasks import MALIGNANCY, NODULE, SEGMENTATION, Data, IntArray, new_network

MALIGNANT = 1

LICENCE = "not stated; the trainer decides"


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassifierRecipe:
    """How a classifier is trained. Raises UsageError for numbers out of range."""

    command: ClassVar[str] = "train-cls"

    task: Literal["nodule", "malignancy"] = "nodule"
    """Nodule or not; or malignant or not, best started from a nodule classifier."""
    init: Path | None = None
    """Bundle to start from, with a new head; a relative path is made absolute."""
    unfreeze: int = 1
    """With `init`: how many of the last blocks learn, the head counted."""
    split: SplitConfig = field(default_factory=SplitConfig)
    """Which series validate."""
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    """Which samples make an epoch."""
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    """How training samples are changed at random."""
    network: ClassifierNetConfig = field(default_factory=ClassifierNetConfig)
    """The size of the network."""
    train: TrainConfig = field(default_factory=TrainConfig)
    """The loop."""

    def __post_init__(self) -> None:
        if self.augment.crop_vox is not None:
            raise UsageError(
                f"augment.crop_vox is {self.augment.crop_vox}",
                why="a classifier judges whole crops of one size",
                hint='leave it at "none"; it is for luna train-seg',
            )
        if self.unfreeze < 1:
            raise UsageError(f"unfreeze is {self.unfreeze}, must be at least 1")
        if self.init is not None:
            # A run may be resumed from another folder.
            object.__setattr__(self, "init", self.init.absolute())

    def job(self, cache: Path) -> Job:
        """Return the job of learning to tell the candidates in a cache apart."""
        prepared = open_prepared(cache)
        table, split = prepared.candidates, split_of(prepared, self.split)
        training = prepared.rows_in(table.series, split.train)
        validating = prepared.rows_in(table.series, split.validation)
        task, labels = NODULE, table.is_nodule
        if self.task == "malignancy":
            _refuse_unknown_malignancy(prepared)
            task, labels = MALIGNANCY, table.malignancy == MALIGNANT
            # Judged on nodules that are known to be one or the other. Source: book, chapter 14.
            validating = validating[table.malignancy[validating] >= 0]
        _refuse_one_sided(labels[validating], self.task, cache)
        train, validation = (
            CandidateChunks(prepared, rows, labels[rows].astype(np.int64), self.network.spacing_mm)
            for rows in (training, validating)
        )
        arguments = {"input_size": train.size_irc, "widths": self.network.widths}
        architecture = self.network.architecture
        return Job(
            task=task,
            data=Data(
                train=train,
                validation=validation,
                order=self._order(prepared, training),
                augment=Augment(self.augment),
            ),
            net=new_network(architecture, arguments, self.unfreeze if self.init else None),
            init=self.init,
            fingerprint=prepared.fingerprint,
            card=Card(
                role=task.role,
                architecture=architecture,
                arguments=arguments,
                spacing_mm=self.network.spacing_mm,
                mirrored=self.network.mirrored,
                **_card_values(self.train, prepared, split),
            ),
        )

    def _order(self, prepared: Prepared, rows: IntArray) -> Callable[[int], IntArray]:
        is_nodule = prepared.candidates.is_nodule[rows]
        if self.task == "nodule":
            return nodule_order(is_nodule, self.sampling, self.train.seed)
        known = prepared.candidates.malignancy[rows]
        return malignancy_order(is_nodule, known, self.sampling, self.train.seed)


@dataclass(frozen=True, kw_only=True, slots=True)
class SegmenterRecipe:
    """How a U-Net is trained: on crops around nodules, validated on whole slices.

    Raises UsageError for numbers out of range.
    """

    command: ClassVar[str] = "train-seg"

    split: SplitConfig = field(default_factory=SplitConfig)
    """Which series validate."""
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    """Which samples make an epoch."""
    augment: AugmentConfig = field(default_factory=lambda: AugmentConfig(crop_vox=64))
    """How training crops are changed at random, and how large the part is that is used."""
    network: UNetConfig = field(default_factory=UNetConfig)
    """The size of the network."""
    background: tuple[int, int] = (1, 0)
    """Ratio of crops around nodules and around the other candidates; the book takes none."""
    false_negative_weight: float = FALSE_NEGATIVE_WEIGHT
    """How much more a missed nodule pixel costs; less leaves fewer false marks."""
    cross_entropy_weight: float = 0.0
    """How much of the mean cross entropy of the pixels the loss has beside Dice; the book none."""
    every_slice: bool = False
    """Validate on every slice, not only on those with nodule."""
    train: TrainConfig = field(default_factory=lambda: TrainConfig(validation_batch_size=4))
    """The loop."""

    def __post_init__(self) -> None:
        if min(self.background) < 0 or not self.background[0]:
            raise UsageError(f"background is {self.background}, must be counts, the first not 0")
        for name in ("false_negative_weight", "cross_entropy_weight"):
            if not getattr(self, name) >= 0:
                raise UsageError(f"{name} is {getattr(self, name)}, below 0")
        side, least = self.augment.crop_vox or CROP_RC[0], 2 * self.network.alignment
        if not least <= side <= min(CROP_RC):
            raise UsageError(
                f"augment.crop_vox is {side}, must be {least} to {min(CROP_RC)}",
                why="two pixels must be left at the deepest level of the U-Net",
            )
        if side % self.network.alignment:
            raise UsageError(
                f"augment.crop_vox is {side}, no multiple of {self.network.alignment}",
                why=f"a U-Net of depth {self.network.depth} halves its input that often, less one",
            )

    def job(self, cache: Path) -> Job:
        """Return the job of learning to mark nodule voxels in the slices in a cache."""
        prepared = open_prepared(cache)
        split = split_of(prepared, self.split)
        crops = masked_crops(prepared, split.train, background=self.background[1] > 0)
        loss = partial(
            segmentation_loss,
            false_negative_weight=self.false_negative_weight,
            cross_entropy_weight=self.cross_entropy_weight,
        )
        arguments = {
            "context_slices": 2 * CONTEXT_SLICES + 1,
            "depth": self.network.depth,
            "width": self.network.width,
        }
        return Job(
            task=replace(SEGMENTATION, loss=loss),
            data=Data(
                train=crops,
                validation=MaskedSlices(
                    prepared,
                    split.validation,
                    every=self.every_slice,
                    alignment=self.network.alignment,
                ),
                order=crop_order(crops.is_nodule, self.background, self.sampling, self.train.seed),
                augment=Augment(self.augment),
            ),
            net=new_network("unet", arguments),
            fingerprint=prepared.fingerprint,
            card=Card(
                role="segmentation",
                architecture="unet",
                arguments=arguments,
                erosion=self.network.erosion,
                **_card_values(self.train, prepared, split),
            ),
        )


def split_of(prepared: Prepared, config: SplitConfig) -> Split:
    """The split of a prepared cohort; its full list of series decides, not what was prepared."""
    return make_split(prepared.all_series, config, prepared.fold_of, prepared.patient_of)


def _refuse_unknown_malignancy(prepared: Prepared) -> None:
    """Raise InputError when the malignancy of no nodule is known."""
    if (prepared.nodules.malignancy < 0).all():
        raise InputError(
            "no nodule in this cache is known to be malignant or benign",
            file=prepared.folder,
            hint=f"put {VERDICTS} beside the other tables and run `luna prep` again",
        )


def _refuse_one_sided(labels: NDArray[np.bool_], task: str, cache: Path) -> None:
    """Raise InputError when the validation series hold one kind of sample only."""
    if labels.all() or not labels.any():
        raise InputError(
            f"the validation series lack one kind of sample of task {task}",
            file=cache,
            why=f"{int(labels.sum())} of {len(labels)} are positive",
            hint="prepare more scans, or use more of them for validation: --set split.stride=…",
        )


def _card_values(config: TrainConfig, prepared: Prepared, split: Split) -> dict[str, Any]:
    """Return what the cards of all networks hold; the run adds its name."""
    return {
        "name": "",
        "training_data": _description(prepared, split),
        "licence": LICENCE,
        "hu_window": config.hu_window,
        "threshold": config.threshold,
        **_trained_range(prepared, split.train),
    }


def _trained_range(prepared: Prepared, uids: Sequence[str]) -> dict[str, Range | None]:
    """Return the sizes of nodules and voxels in the training series, as a card states them."""
    nodules = prepared.rows_in(prepared.nodules.series, uids)
    spacing_irc = [
        spacing
        for uid, spacing in zip(prepared.series, prepared.spacing_irc, strict=True)
        if uid in set(uids)
    ]
    return {
        "diameter_mm": _outward(prepared.nodules.diameter_mm[nodules]),
        "slice_mm": _outward([spacing[0] for spacing in spacing_irc]),
        "pixel_mm": _outward([size for spacing in spacing_irc for size in spacing[1:]]),
    }


def _outward(values_mm: ArrayLike) -> Range | None:
    """The smallest and largest length, rounded to hundredths so that both lie within."""
    found = np.asarray(values_mm, dtype=np.float64)
    found = found[found > 0]
    if not found.size:
        return None
    low, high = np.floor(found.min() * 100) / 100, np.ceil(found.max() * 100) / 100
    return max(float(low), 0.01), float(high)


def _description(prepared: Prepared, split: Split) -> str:
    left_out = f"{len(split.left_out)} left out for their patients, " if split.left_out else ""
    return (
        f"{prepared.folder.name}: {_counted(split.train, 'series to train', prepared)}, {left_out}"
        f"{_counted(split.validation, 'to validate', prepared)} "
        f"(fingerprint {prepared.fingerprint[:12]})"
    )


def _counted(uids: Sequence[str], what: str, prepared: Prepared) -> str:
    """Return how many of the series are prepared, and how many the whole cohort has."""
    missing = len(set(uids) - set(prepared.series))
    count = f"{len(uids) - missing} {what}"
    return f"{count} (of {len(uids)}; {missing} not prepared)" if missing else count
