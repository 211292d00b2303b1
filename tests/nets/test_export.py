"""Exported networks compute what luna's do, and say how they are used."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from luna.nets import export as export_module
from luna.nets.export import MOST_DIFFERENT, export_network, largest_difference
from luna.nets.models import load_each
from luna.run.errors import EnvironmentFault, TrustError

onnx = pytest.importorskip("onnx", reason="the extra luna-ct[export] is not installed")
onnxruntime = pytest.importorskip("onnxruntime", reason="luna-ct[export] is not installed")


def runner(path: Path):
    if path.suffix == ".pt2":
        return torch.export.load(path).module()
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return lambda hu: torch.from_numpy(session.run(None, {"hu": hu.numpy()})[0])


def random_hu(*shape: int) -> torch.Tensor:
    rng = np.random.default_rng(1)
    return torch.from_numpy(rng.uniform(-1000, 400, shape).astype(np.float32))


@pytest.mark.parametrize("form", ["onnx", "pt2"])
@pytest.mark.filterwarnings("ignore")
def test_any_number_and_size_of_images(models, tmp_path, form):
    for bundle, shapes in (
        (models.segmentation, [(1, 3, 16, 24), (3, 3, 40, 24)]),
        (models.nodule, [(1, 1, 16, 16, 16), (5, 1, 16, 16, 16)]),
    ):
        done = export_network(bundle, tmp_path, form)
        assert done.file == tmp_path / f"{bundle.card.role}.{form}"
        assert done.bytes == done.file.stat().st_size
        assert done.largest_difference <= MOST_DIFFERENT
        run = runner(done.file)
        for shape in shapes:
            hu = random_hu(*shape)
            with torch.inference_mode():
                expected = bundle.module(hu)
                assert largest_difference(run(hu), expected) <= MOST_DIFFERENT


@pytest.mark.filterwarnings("ignore")
def test_the_file_says_how_it_is_used(models, tmp_path):
    export_network(models.nodule, tmp_path, "onnx")
    model = onnx.load(tmp_path / "nodule.onnx")
    notes = {entry.key: entry.value for entry in model.metadata_props}
    assert notes == json.loads((tmp_path / "nodule.onnx.json").read_text())
    card = json.loads(notes["card"])
    assert card["arguments"] == {"input_size": [16, 16, 16], "widths": [2, 4]}
    assert "(N, 1, 16, 16, 16)" in notes["input"]
    assert "-1000…1000" in notes["input"]
    assert "softmax" in notes["output"]
    assert [entry.version for entry in model.opset_import if entry.domain == ""] == [18]


@pytest.mark.filterwarnings("ignore")
def test_a_file_that_computes_something_else_is_not_written(models, tmp_path, monkeypatch):
    monkeypatch.setattr(export_module, "_pt2_runner", lambda data: lambda hu: hu.new_ones(1, 2))
    with pytest.raises(TrustError, match="does not compute what luna's does"):
        export_network(models.nodule, tmp_path, "pt2")
    assert list(tmp_path.iterdir()) == []


def test_missing_packages_are_named(models, tmp_path, monkeypatch):
    monkeypatch.setattr("luna.run.extras.find_spec", lambda name: None)
    with pytest.raises(EnvironmentFault, match="packages that are not installed") as caught:
        export_network(models.nodule, tmp_path, "onnx")
    assert caught.value.hint == 'pip install "luna-ct[export]"'


def test_a_difference_is_relative_to_logits_above_1():
    expected = torch.tensor([0.0, 0.5, -100.0])
    assert largest_difference(expected + torch.tensor([0, 3e-5, 2e-3]), expected) == pytest.approx(
        3e-5, rel=1e-2
    )
    assert largest_difference(expected + 1e-3, expected) == pytest.approx(1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("weights", ["shipped", "book"])
@pytest.mark.filterwarnings("ignore")
def test_real_crops_and_slices(shared, book_models, tmp_path, weights):
    """ONNX Runtime against torch on what the goldens hold of real scans."""
    golden = next((shared / "goldens").glob("1.3.6.1.4.1.14519.*.npz"))
    crops = torch.from_numpy(np.load(golden)["chunk_hu"].astype(np.float32))[:, None]
    bundles, _ = load_each([Path("shipped") if weights == "shipped" else book_models])
    for bundle in bundles:
        run = runner(export_network(bundle, tmp_path, "onnx").file)
        if bundle.card.role == "segmentation":
            hu = crops[:8, 0, : bundle.module.context_slices].clamp(-1000, 1000).contiguous()
        else:
            size = bundle.module.input_size
            low = [(a - b) // 2 for a, b in zip(crops.shape[2:], size, strict=True)]
            i, r, c = (slice(a, a + n) for a, n in zip(low, size, strict=True))
            hu = crops[:64, :, i, r, c].clamp(-1000, 1000).contiguous()
        with torch.inference_mode():
            assert largest_difference(run(hu), bundle.module(hu)) <= MOST_DIFFERENT
