"""How a network is trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from luna.run.config import INTEGER_MAX
from luna.run.errors import UsageError


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainConfig:
    """The settings of a run. Raises UsageError for numbers out of range."""

    epochs: int = 20
    """Number of epochs."""
    batch_size: int = 32
    """Samples of one step, over all processes together."""
    validation_batch_size: int = 32
    """Samples per batch in validation; 1 for whole slices on a small machine."""
    optimizer: Literal["adamw", "sgd"] = "adamw"
    """AdamW, or SGD with `momentum`."""
    learning_rate: float = 1e-3
    """The highest rate, reached after warm-up."""
    momentum: float = 0.9
    """Momentum of SGD; AdamW has its own."""
    weight_decay: float = 1e-4
    """Decay of weights per step, times the rate."""
    decay: Literal["all", "matrices"] = "all"
    """What decays: every parameter, as in the book, or no norm and no bias."""
    schedule: Literal["cosine", "constant"] = "cosine"
    """`cosine` falls to zero at the last step."""
    warmup: float = 0.05
    """Share of all steps during which the rate rises from zero."""
    clip_norm: float | None = 1.0
    """Largest gradient norm; "none" does not clip."""
    precision: Literal["auto", "float32", "tf32", "bfloat16"] = "auto"
    """`auto` is bfloat16 where the hardware has it, else float32; `tf32` is for CUDA cards."""
    channels_last: bool = True
    """Memory layout with channels innermost: the faster one for convolutions."""
    compile: bool = False
    """Let torch.compile fuse the operations between convolutions; needs a C++ compiler."""
    best_by: Literal[
        "auto", "auc", "average_precision", "cpm", "precision", "recall", "f1", "dice"
    ] = "auto"
    """Keep the validation with the highest value of this metric; `auto` is AUC for classifiers and
    recall for the U-Net, `cpm` that of the candidates, for the nodule classifier."""
    validate_every: int = 1
    """Validate the epochs, counted from 1, that it divides, and always the first and the last."""
    save_every: int = 200
    """Steps between checkpoints; each epoch also ends with one."""
    resident_gib: float = 4.0
    """Keep the samples in the device's memory after the first read, if all fit in this many GiB."""
    threads: int = 2
    """Threads that read batches ahead."""
    threshold: float = 0.5
    """Probability from which a prediction counts as yes in metrics and on a classifier's card."""
    hu_window: tuple[int, int] = (-1000, 1000)
    """HU to which input is clipped, in training and in every later use."""
    seed: int = 0
    """Decides the first weights and all augmentation."""

    def __post_init__(self) -> None:
        at_least_one = ("epochs", "batch_size", "validation_batch_size", "validate_every")
        for name in (*at_least_one, "save_every", "threads"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} is {getattr(self, name)}, must be at least 1")
        if not self.learning_rate > 0 or (self.clip_norm is not None and not self.clip_norm > 0):
            raise UsageError("learning_rate and clip_norm must be above 0")
        if not (0 <= self.momentum < 1 and self.weight_decay >= 0 and 0 <= self.warmup < 1):
            raise UsageError("momentum and warmup must be in [0, 1), weight_decay at least 0")
        if not 0 <= self.seed <= INTEGER_MAX:
            raise UsageError(f"seed is {self.seed}, must be at least 0")
        if not self.resident_gib >= 0:
            raise UsageError(f"resident_gib is {self.resident_gib}, must be at least 0")
        if not (0 < self.threshold < 1 and self.hu_window[0] < self.hu_window[1]):
            raise UsageError("threshold must lie between 0 and 1, hu_window must rise")

    def validates(self, number: int) -> bool:
        """Whether an epoch, counted from 1, ends with a validation. Source: book, chapter 12.

        >>> [n for n in range(1, 13) if TrainConfig(epochs=12, validate_every=5).validates(n)]
        [1, 5, 10, 12]
        """
        return number in (1, self.epochs) or number % self.validate_every == 0
