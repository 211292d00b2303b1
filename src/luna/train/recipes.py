"""What can be configured of a training: the roots of `luna train-cls` and `luna train-seg`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from luna.ct.resample import wrong_spacing
from luna.data.augment import Augment, AugmentConfig
from luna.data.chunks import CandidateChunks, MaskedSlices, masked_crops
from luna.data.luna16.folder import MALIGNANCY as VERDICTS
from luna.data.prep.config import CONTEXT_SLICES, CROP_RC
from luna.data.prepared import Prepared, open_prepared
from luna.data.sampling import SamplingConfig, crop_order, malignancy_order, nodule_order
from luna.data.splits import Split, SplitConfig, make_split
from luna.nets.bundle import ARGUMENT_MAX, Erosion
from luna.nets.losses import FALSE_NEGATIVE_WEIGHT, segmentation_loss
from luna.run.errors import InputError, UsageError
from luna.train.config import TrainConfig
from luna.train.launch import Job
from luna.train.tasks import MALIGNANCY, NODULE, SEGMENTATION, Data, IntArray, new_network

MALIGNANT = 1

MOST_BLOCKS = 5
"""Poolings that a crop of 32 slices survives."""

MOST_LEVELS = 6
"""From 64 rows down to 2."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassifierNetConfig:
    """The classifier; the defaults are the book's."""

    architecture: Literal["classifier", "residual-classifier"] = "classifier"
    """The book's, or luna's own with residual blocks and batch norm."""
    widths: tuple[int, ...] = (8, 16, 32, 64)
    """Channels of each block."""
    spacing_mm: float | None = None
    """Judge crops of cubic voxels of this size (mm); "none" takes the scan's own voxels."""
    mirrored: bool = False
    """`luna diagnose` judges what is no clear negative by the mean over its mirror images too."""

    def __post_init__(self) -> None:
        most = ARGUMENT_MAX["widths"]
        fit = all(1 <= width <= most for width in self.widths)
        if not fit or not 1 <= len(self.widths) <= MOST_BLOCKS:
            raise UsageError(
                f"widths is {self.widths}, must be 1 to {MOST_BLOCKS} counts of at most {most}"
            )
        if wrong := wrong_spacing(self.spacing_mm):
            raise UsageError(wrong)


@dataclass(frozen=True, kw_only=True, slots=True)
class UNetConfig:
    """The size of the U-Net; the defaults are the book's."""

    depth: int = 3
    """Levels, from full resolution to the deepest."""
    width: int = 16
    """Channels at full resolution; they double at each level."""
    erosion: Erosion = "cross"
    """How `luna diagnose` parts its marks: eroded across slices too, or within each "slice"."""

    def __post_init__(self) -> None:
        most = ARGUMENT_MAX["width"]
        if not (1 <= self.depth <= MOST_LEVELS and 1 <= self.width <= most):
            raise UsageError(f"depth must be 1 to {MOST_LEVELS} and width 1 to {most}")

    @property
    def alignment(self) -> int:
        """Rows and columns must be a multiple of this."""
        return 1 << (self.depth - 1)


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassifierRecipe:
    """How a classifier is trained. Raises UsageError for numbers out of range."""

    command: ClassVar[str] = "train-cls"

    task: Literal["nodule", "malignancy"] = "nodule"
    """Nodule or not; or malignant or not, best started from a nodule classifier."""
    init: Path | None = None
    """Bundle to start from, with a new head; a relative path is made absolute."""
    unfreeze: int = 1
    """With `init`: how many of the last parts learn, the head counted."""
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
        if self.unfreeze < 1:
            raise UsageError(f"unfreeze is {self.unfreeze}, must be at least 1")
        if self.init is not None:
            # A run may be resumed from another folder.
            object.__setattr__(self, "init", self.init.absolute())

    def job(self, cache: Path) -> Job:
        """The candidates in a cache, and a network to tell them apart."""
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
                description=_description(prepared, split),
            ),
            net=new_network(architecture, arguments, self.unfreeze if self.init else None),
            init=self.init,
            architecture=architecture,
            arguments=arguments,
            fingerprint=prepared.fingerprint,
            spacing_mm=self.network.spacing_mm,
            mirrored=self.network.mirrored,
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
        side = self.augment.crop_vox or CROP_RC[0]
        if side % self.network.alignment:
            raise UsageError(
                f"augment.crop_vox is {side}, no multiple of {self.network.alignment}",
                why=f"a U-Net of depth {self.network.depth} halves its input that often, less one",
            )

    def job(self, cache: Path) -> Job:
        """The slices in a cache, and a network to mark nodule voxels in them."""
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
                description=_description(prepared, split),
            ),
            net=new_network("unet", arguments),
            architecture="unet",
            arguments=arguments,
            fingerprint=prepared.fingerprint,
            erosion=self.network.erosion,
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
    """Raise InputError when validation could not tell how well the kinds are told apart."""
    if labels.all() or not labels.any():
        raise InputError(
            f"the series that validate do not hold both kinds of sample of task {task}",
            file=cache,
            why=f"{int(labels.sum())} of {len(labels)} are positive",
            hint="prepare more scans, or let more of them validate: --set split.stride=…",
        )


def _description(prepared: Prepared, split: Split) -> str:
    left_out = f"{len(split.left_out)} left out for their patients, " if split.left_out else ""
    return (
        f"{prepared.folder.name}: {_counted(split.train, 'series to train', prepared)}, {left_out}"
        f"{_counted(split.validation, 'to validate', prepared)} "
        f"(fingerprint {prepared.fingerprint[:12]})"
    )


def _counted(uids: Sequence[str], what: str, prepared: Prepared) -> str:
    """How many of the series are prepared, and how many would be in the whole cohort."""
    missing = len(set(uids) - set(prepared.series))
    told = f"{len(uids) - missing} {what}"
    return f"{told} (of {len(uids)}; {missing} not prepared)" if missing else told
