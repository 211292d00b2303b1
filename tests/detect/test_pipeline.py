"""`diagnose` on a crude chest with untrained networks: order, bookkeeping and refusals."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from luna.ct.lungs.find import find_lungs
from luna.detect.classify import classify
from luna.detect.config import ClassifyConfig, DiagnoseConfig, faithful
from luna.detect.pipeline import diagnose
from luna.nets.classifier import Classifier
from luna.nets.models import Models
from luna.nets.unet import UNet
from luna.run.errors import InputError, TrustError, UsageError

CPU = torch.device("cpu")
# Where conftest's `nodule_chest` has its nodules (index, row, column) and their radius in voxels.
NODULES = [((12, 40, 34), 3), ((9, 56, 42), 2), ((14, 50, 90), 3), ((10, 40, 96), 2)]
EXACT = DiagnoseConfig()
EXACT = replace(EXACT, segment=replace(EXACT.segment, precision="float32"))


def test_findings_are_sorted_numbered_and_inside(nodule_chest, models: Models) -> None:
    scan = nodule_chest
    found = diagnose(scan, models, EXACT, CPU)
    assert len(found.findings) == len(NODULES)
    p = [f.p_nodule for f in found.findings]
    assert p == sorted(p, reverse=True)
    assert [f.number for f in found.findings] == list(range(1, len(p) + 1))
    lungs = find_lungs(scan)
    centers = sorted(tuple(np.rint(f.center_irc)) for f in found.findings)
    assert centers == sorted(irc for irc, _ in NODULES)
    for f in found.findings:
        assert lungs.label_at(f.center_irc) > 0
        np.testing.assert_allclose(scan.geometry.xyz_from_irc(f.center_irc), f.center_xyz)
        assert f.mask.voxels.any()
        assert f.p_malignant is None
    assert found.series_uid == scan.series_uid
    assert found.notices == ("for tests",)
    assert found.warnings == ()
    sides = {f.center_irc[2] < 64: f.side for f in found.findings}
    assert sides == {True: "right", False: "left"}


def test_threshold_of_the_card_or_of_the_user(nodule_chest, models: Models) -> None:
    scan = nodule_chest
    by_card = diagnose(scan, models, EXACT, CPU)
    assert by_card.threshold == 0.01
    middle = float(np.median(by_card.candidates.p_nodule))
    by_user = diagnose(scan, models, replace(EXACT, threshold=middle), CPU)
    assert 0 < len(by_user.findings) < len(by_card.findings)
    assert all(f.p_nodule >= middle for f in by_user.findings)
    np.testing.assert_array_equal(by_user.candidates.p_nodule, by_card.candidates.p_nodule)


def test_more_findings_than_a_patient_has_are_said_and_not_measured(
    nodule_chest, models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    everything = diagnose(nodule_chest, models, EXACT, CPU)
    monkeypatch.setattr("luna.detect.limits.MOST_FINDINGS", 2)
    monkeypatch.setattr("luna.detect.pipeline.MOST_FINDINGS", 2)
    found = diagnose(nodule_chest, models, EXACT, CPU)
    first = [f.center_irc for f in everything.findings[:2]]
    assert [f.center_irc for f in found.findings] == first
    assert len(found.candidates.p_nodule) == len(everything.candidates.p_nodule)
    (limit,) = set(found.limits) - set(everything.limits)
    assert limit.startswith("4 places reach the threshold")
    assert "The 2 most probable" in limit
    assert limit in found.warnings
    assert found.status == everything.status == "findings"


def test_one_finding_and_one_mark_per_nodule(nodule_chest, models: Models) -> None:
    found = diagnose(nodule_chest, models, EXACT, CPU)
    candidates = found.candidates
    marks = candidates.marks()
    assert len(marks) == len(set(candidates.nodule.tolist())) == len(found.findings)
    for mark in marks:
        same = candidates.nodule == candidates.nodule[mark]
        assert candidates.p_nodule[mark] == candidates.p_nodule[same].max()


def test_same_input_same_findings(nodule_chest, models: Models) -> None:
    first, second = (diagnose(nodule_chest, models, EXACT, CPU) for _ in range(2))
    np.testing.assert_array_equal(first.candidates.p_nodule, second.candidates.p_nodule)
    assert [f.center_irc for f in first.findings] == [f.center_irc for f in second.findings]


def test_malignancy_is_judged_when_a_model_is_there(nodule_chest, models: Models) -> None:
    card = replace(models.nodule.card, role="malignancy", name="untrained-malignancy")
    three = replace(models, malignancy=replace(models.nodule, card=card))
    found = diagnose(nodule_chest, three, EXACT, CPU)
    # The same network in both roles must say the same of the same crops.
    assert [f.p_malignant for f in found.findings] == pytest.approx(
        [f.p_nodule for f in found.findings]
    )
    assert found.models["malignancy"] == "untrained-malignancy"


def test_nothing_found_still_says_what_was_looked_at(nodule_chest, models: Models) -> None:
    found = diagnose(nodule_chest, models, replace(EXACT, threshold=0.999999), CPU)
    assert found.findings == ()
    assert min(found.lung_volume_ml) > 100
    assert len(found.candidates.p_nodule) > 0


def test_could_not_look_is_an_error_not_an_empty_list(scan_of, models: Models) -> None:
    with pytest.raises(InputError, match="no lungs"):
        diagnose(scan_of(np.full((20, 64, 64), 40)), models, EXACT, CPU)


def test_faithful_looks_everywhere_in_float32(nodule_chest, models: Models) -> None:
    config = faithful(DiagnoseConfig())
    everywhere = diagnose(nodule_chest, models, config, CPU)
    inside = diagnose(nodule_chest, models, EXACT, CPU)
    assert len(everywhere.candidates.p_nodule) > len(inside.candidates.p_nodule)
    assert config.segment.precision == "float32"


def test_stages_report_progress_in_order(nodule_chest, models: Models) -> None:
    stages: list[str] = []
    last: dict[str, tuple[int, int]] = {}

    def progress(stage: str, done: int, total: int) -> None:
        if stage not in stages:
            stages.append(stage)
        last[stage] = (done, total)

    diagnose(nodule_chest, models, EXACT, CPU, progress)
    assert stages == ["lungs", "segment", "group", "classify", "measure", "opacities"]
    assert all(done == total for done, total in last.values())


def test_measuring_counts_the_findings(nodule_chest, models: Models) -> None:
    counts: list[tuple[int, int]] = []

    def progress(stage: str, done: int, total: int) -> None:
        if stage == "measure":
            counts.append((done, total))

    found = len(diagnose(nodule_chest, models, EXACT, CPU, progress).findings)
    assert found == len(NODULES)
    assert counts == [(0, 1), *((k, found) for k in range(1, found + 1)), (1, 1)]


def test_batches_of_crops_equal_one_by_one(nodule_chest, models: Models) -> None:
    scan = nodule_chest
    centers = np.argwhere(find_lungs(scan).labels > 0)[::999].astype(float)
    together, alone = (
        classify(
            scan, centers, models.nodule, ClassifyConfig(batch_crops=n), CPU, lambda a, b: None
        )
        for n in (7, 1)
    )
    np.testing.assert_allclose(together, alone, atol=1e-6)


def test_sliding_crops_differ_only_at_the_border(nodule_chest, models: Models) -> None:
    scan = nodule_chest
    centers = np.array([[11.0, 48.0, 38.0], [6.0, 48.0, 38.0]])
    pad, shift = (
        classify(scan, centers, models.nodule, ClassifyConfig(border=b), CPU, lambda a, b: None)
        for b in ("pad", "shift")
    )
    assert pad[0] == shift[0]
    assert pad[1] != shift[1]


@pytest.mark.parametrize("threshold", [0.0, 1.0, -1.0])
def test_threshold_range(threshold: float) -> None:
    with pytest.raises(UsageError):
        DiagnoseConfig(threshold=threshold)


class Fragile(torch.nn.Module):
    """A network whose output is NaN."""

    input_size = (16, 16, 16)

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.shape = shape

    def forward(self, hu: torch.Tensor) -> torch.Tensor:
        return torch.full((len(hu), *self.shape), float("nan"))


@pytest.mark.parametrize("role", ["nodule", "malignancy"])
def test_an_output_that_is_no_number_is_no_finding(nodule_chest, models: Models, role) -> None:
    fragile = replace(models.nodule, module=Fragile((2,)))
    with pytest.raises(TrustError, match="not a number"):
        diagnose(nodule_chest, replace(models, **{role: fragile}), EXACT, CPU)


def test_a_segmenter_whose_output_is_no_number_is_refused(nodule_chest, models: Models) -> None:
    class FragileUNet(UNet):
        def forward(self, hu: torch.Tensor) -> torch.Tensor:
            return super().forward(hu) * float("nan")

    net = FragileUNet(**models.segmentation.card.arguments)
    fragile = replace(models.segmentation, module=net.eval())
    with pytest.raises(TrustError, match="not a number"):
        diagnose(nodule_chest, replace(models, segmentation=fragile), EXACT, CPU)


@pytest.mark.parametrize(
    "error",
    [torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("CUDNN_STATUS_ALLOC_FAILED")],
    ids=lambda error: type(error).__name__,
)
def test_what_does_not_fit_memory_is_computed_in_smaller_batches(
    nodule_chest, models: Models, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """Networks that take two samples at once and no more find what they always find."""
    expected = diagnose(nodule_chest, models, EXACT, CPU)

    def limited(forward):
        def call(self, x: torch.Tensor) -> torch.Tensor:
            if len(x) > 2:
                raise error
            return forward(self, x)

        return call

    for kind in (UNet, Classifier):
        monkeypatch.setattr(kind, "forward", limited(kind.forward))
    found = diagnose(nodule_chest, models, EXACT, CPU)
    assert found.warnings == (
        "memory was short: slices were computed in batches of 2",
        "memory was short: crops were computed in batches of 2",
    )
    np.testing.assert_allclose(found.candidates.p_nodule, expected.candidates.p_nodule, rtol=1e-5)
    assert [f.center_irc for f in found.findings] == [f.center_irc for f in expected.findings]


def test_memory_for_not_even_one_slice_is_an_error(
    nodule_chest, models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self, x: torch.Tensor) -> torch.Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(UNet, "forward", full)
    with pytest.raises(torch.OutOfMemoryError):
        diagnose(nodule_chest, models, EXACT, CPU)
