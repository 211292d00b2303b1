"""Networks look at scans on a card: everything on one device, in the arithmetic that it has."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from luna.ct.lungs.find import find_lungs
from luna.ct.scan import Scan
from luna.detect.classify import ClassifyConfig, classify
from luna.detect.config import SegmentConfig
from luna.detect.segment import segment
from luna.nets.bundle import Bundle
from luna.nets.models import Models
from luna.run.errors import EnvironmentFault

from .conftest import CARD, Card

Fresh = Callable[[Bundle], Bundle]
HALF = {(7, 5): torch.float16, (9, 0): torch.bfloat16}


def silent(done: int, total: int) -> None:
    """Nobody looks."""


@pytest.fixture(scope="module")
def lungs(nodule_chest: Scan) -> object:
    return find_lungs(nodule_chest)


@pytest.mark.parametrize("region", ["lungs", "whole"])
def test_a_scan_is_segmented_on_the_card(
    region: str, card: Card, nodule_chest: Scan, lungs: object, models: Models, fresh: Fresh
) -> None:
    bundle, config = fresh(models.segmentation), SegmentConfig(region=region, precision="auto")
    found = segment(nodule_chest, lungs, bundle, config, CARD, silent)
    whole = nodule_chest.shape_irc
    shape = whole if region == "whole" else tuple(s.stop - s.start for s in lungs.box())
    assert found.voxels.shape == shape
    assert found.voxels.dtype == bool
    assert card.halves == {HALF[card.capability]}


@pytest.mark.parametrize("architecture", ["classifier", "residual-classifier"])
@pytest.mark.parametrize("mirrored", [False, True])
def test_candidates_are_judged_on_the_card(
    architecture: str, mirrored: bool, card: Card, nodule_chest: Scan, models: Models, fresh: Fresh
) -> None:
    found = replace(models.nodule.card, architecture=architecture, mirrored=mirrored)
    bundle = fresh(Bundle(found, models.nodule.module))
    centers = np.array([[12.0, 40.0, 34.0]] * 20)
    p = classify(nodule_chest, centers, bundle, ClassifyConfig(), CARD, silent)
    assert (p.shape, p.dtype) == ((20,), np.float64)
    assert not card.halves  # a score is the same on every machine


def test_float32_is_float32_on_the_card(
    card: Card, nodule_chest: Scan, lungs: object, models: Models, fresh: Fresh,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """TF32, which torch allows in convolutions unless told otherwise, is off while they run."""
    seen, forward = set(), torch.nn.Conv2d.forward

    def watched(self: torch.nn.Conv2d, x: torch.Tensor) -> torch.Tensor:
        backends = (torch.backends.cudnn.conv, torch.backends.cuda.matmul)
        seen.update(backend.fp32_precision for backend in backends)
        return forward(self, x)

    monkeypatch.setattr(torch.nn.Conv2d, "forward", watched)
    before = torch.backends.cudnn.conv.fp32_precision
    bundle, config = fresh(models.segmentation), SegmentConfig(precision="float32")
    segment(nodule_chest, lungs, bundle, config, CARD, silent)
    assert seen == {"ieee"}
    assert not card.halves
    assert torch.backends.cudnn.conv.fp32_precision == before


def test_bfloat16_is_refused_where_the_card_has_none(
    card: Card, nodule_chest: Scan, lungs: object, models: Models, fresh: Fresh
) -> None:
    bundle, config = fresh(models.segmentation), SegmentConfig(precision="bfloat16")
    if card.capability == (9, 0):
        segment(nodule_chest, lungs, bundle, config, CARD, silent)
        assert card.halves == {torch.bfloat16}
        return
    with pytest.raises(EnvironmentFault, match="does not compute bfloat16") as caught:
        segment(nodule_chest, lungs, bundle, config, CARD, silent)
    assert caught.value.why == "its compute capability is 7.5; 8.0 and later do"
