"""What can be configured of a training: the roots of `luna train-cls` and `luna train-seg`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from luna.ct.resample import cubes_of
from luna.data.augment import Augment, AugmentConfig
from luna.data.chunks import CandidateChunks, MaskedCrops, MaskedSlices, masked_crops
from luna.data.luna16.folder import MALIGNANCY as VERDICTS
from luna.data.patches import Patches, training_patches, validation_patches
from luna.data.prep.config import CHUNK_IRC, CROP_RC, CUBE_IRC
from luna.data.prepared import Prepared, open_prepared
from luna.data.sampling import SamplingConfig, crop_order, malignancy_order, nodule_order
from luna.data.splits import Split, SplitConfig, make_split
from luna.nets.card import Card
from luna.nets.losses import FALSE_NEGATIVE_WEIGHT, segmentation_loss
from luna.run.errors import InputError, UsageError
from luna.train.cards import card_values
from luna.train.config import TrainConfig
from luna.train.launch import Job
from luna.train.metrics import FIRST_NODULE, candidate_metrics
from luna.train.networks import ClassifierNetConfig, UNetConfig
from luna.train.tasks import MALIGNANCY, NODULE, SEGMENTATION, Data, IntArray, new_network

MALIGNANT = 1


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
        task = replace(NODULE, metrics=partial(candidate_metrics, scans=len(split.validation)))
        labels = table.is_nodule
        if self.task == "malignancy":
            _refuse_unknown_malignancy(prepared)
            task, labels = MALIGNANCY, table.malignancy == MALIGNANT
            # Judged on nodules that are known to be one or the other. Source: book, chapter 14.
            validating = validating[table.malignancy[validating] >= 0]
        _refuse_one_sided(labels[validating], self.task, cache)
        net, label = self.network, labels.astype(np.int64)
        cubes = cubes_of(CUBE_IRC, net.spacing_mm, net.scales_mm, net.antialias)
        size_irc, spacings_mm = (cubes.size_irc, cubes.spacings_mm) if cubes else (CHUNK_IRC, (1,))
        which = np.where(table.is_nodule, FIRST_NODULE + table.nodule, 0)  # which nodule
        judged = label if self.task == "malignancy" else which
        arguments = net.arguments(size_irc)
        return Job(
            task=task,
            data=Data(
                train=CandidateChunks(prepared, training, label[training], cubes),
                validation=CandidateChunks(prepared, validating, judged[validating], cubes),
                order=self._order(prepared, training),
                augment=Augment(
                    self.augment, tuple(min(spacings_mm) / size for size in spacings_mm)
                ),
            ),
            net=new_network(net.architecture, arguments, self.unfreeze if self.init else None),
            init=self.init,
            fingerprint=prepared.fingerprint,
            card=Card(
                role=task.role,
                architecture=net.architecture,
                arguments=arguments,
                spacing_mm=net.spacing_mm,
                scales_mm=net.scales_mm,
                antialias=net.antialias,
                mirrored=net.mirrored,
                **card_values(self.train, prepared, split),
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
    hard_share: float = 0.0
    """Of the pixels in the cross entropy, the share that is hardest counts as much as the rest
    together; 0 counts all alike, as the book."""
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
        if not 0 <= self.hard_share < 1:
            raise UsageError(f"hard_share is {self.hard_share}, must be in [0, 1)")
        if self.every_slice and self.network.spacing_mm is not None:
            raise UsageError(
                "every_slice is set with network.spacing_mm",
                why="a network that sees one voxel size is validated on patches of it",
            )
        if self.network.architecture == "unet-3d":
            if self.augment.crop_vox is not None:
                raise UsageError(
                    f"augment.crop_vox is {self.augment.crop_vox}, but a unet-3d sees it all",
                    hint='--set augment.crop_vox="none"; network.patch_vox is their side',
                )
            return
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
        crops, validation = self._samples(prepared, split)
        loss = partial(
            segmentation_loss,
            false_negative_weight=self.false_negative_weight,
            cross_entropy_weight=self.cross_entropy_weight,
            hard_share=self.hard_share,
        )
        network, arguments = self.network, self.network.arguments()
        return Job(
            task=replace(SEGMENTATION, loss=loss),
            data=Data(
                train=crops,
                validation=validation,
                order=crop_order(crops.is_nodule, self.background, self.sampling, self.train.seed),
                augment=Augment(self.augment),
            ),
            net=new_network(network.architecture, arguments),
            fingerprint=prepared.fingerprint,
            card=Card(
                role="segmentation",
                architecture=network.architecture,
                arguments=arguments,
                spacing_mm=network.spacing_mm,
                antialias=network.antialias,
                erosion=network.erosion,
                **card_values(self.train, prepared, split),
            ),
        )

    def _samples(
        self, prepared: Prepared, split: Split
    ) -> tuple[MaskedCrops | Patches, MaskedSlices | Patches]:
        """Return the training and validation samples, in the scan's own voxels or on a grid."""
        kind, background = self.network.kind, self.background[1] > 0
        if kind is not None:
            train = training_patches(prepared, kind, split.train, background=background)
            return train, validation_patches(prepared, kind, split.validation)
        crops = masked_crops(prepared, split.train, background=background)
        slices = MaskedSlices(
            prepared,
            split.validation,
            every=self.every_slice,
            alignment=self.network.alignment,
        )
        return crops, slices


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
