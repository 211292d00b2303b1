"""The book's checkpoints become bundles or are refused by name; nothing in them runs."""

import io
import os
import pickle
from pathlib import Path

import pytest
import torch

from luna.nets.book import import_state
from luna.nets.bundle import load_bundle, save_bundle
from luna.nets.models import import_states, load_models
from luna.run.errors import TrustError, UsageError


def book_state(tmp_path: Path, name: str = "cls.state") -> Path:
    """A small checkpoint under the names that the book's classifier uses."""
    shapes = {
        "tail_batchnorm.weight": (1,),
        "tail_batchnorm.bias": (1,),
        "tail_batchnorm.running_mean": (1,),
        "tail_batchnorm.running_var": (1,),
        "block1.conv1.weight": (2, 1, 3, 3, 3),
        "block1.conv1.bias": (2,),
        "block1.conv2.weight": (2, 2, 3, 3, 3),
        "block1.conv2.bias": (2,),
        "head_linear.weight": (2, 2 * 16 * 24 * 24),
        "head_linear.bias": (2,),
    }
    state = {key: torch.rand(shape) for key, shape in shapes.items()}
    state["tail_batchnorm.num_batches_tracked"] = torch.tensor(0)
    torch.save({"model_state": state, "epoch": 1}, tmp_path / name)
    return tmp_path / name


def test_imports_a_classifier(tmp_path: Path) -> None:
    bundle = import_state(book_state(tmp_path))
    assert bundle.card.role == "nodule"
    assert bundle.card.arguments == {"input_size": (32, 48, 48), "widths": (2,)}
    assert bundle.module(torch.zeros(1, 1, 32, 48, 48)).shape == (1, 2)


@pytest.mark.parametrize("name", ["..state", "...state", "..best.state"])
def test_a_bundle_stays_in_its_folder(tmp_path: Path, name: str) -> None:
    path, out = book_state(tmp_path, name), tmp_path / "deep" / "out"
    (folder,) = import_states([path], out, None, force=True, warn=pytest.fail).folders
    assert folder.resolve().parent == out.resolve()


def test_role_can_be_named(tmp_path: Path) -> None:
    assert import_state(book_state(tmp_path), role="malignancy").card.role == "malignancy"


def test_a_classifier_cannot_segment(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="classifier cannot be a segmentation model"):
        import_state(book_state(tmp_path), role="segmentation")


def test_imported_bundle_survives_the_disk(tmp_path: Path) -> None:
    bundle = import_state(book_state(tmp_path))
    save_bundle(bundle, tmp_path / "b")
    hu = torch.randn(1, 1, 32, 48, 48)
    torch.testing.assert_close(load_bundle(tmp_path / "b").module(hu), bundle.module(hu))


class VoxelStream:
    """Unpickled, it would make a file; it stands for any command."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (os.mkdir, (str(self.target),))


@pytest.mark.parametrize("writer", ["torch", "pickle"])
def test_a_planted_payload_is_refused_and_does_not_run(tmp_path: Path, writer: str) -> None:
    planted, path = tmp_path / "executed", tmp_path / "evil.state"
    content = {"model_state": {"block1.conv1.weight": VoxelStream(planted)}}
    if writer == "torch":
        torch.save(content, path)
    else:
        path.write_bytes(pickle.dumps(content))
    with pytest.raises(TrustError, match="not a checkpoint that can be read safely") as error:
        import_state(path)
    assert error.value.exit_code == 6
    assert not planted.exists()


def test_damaged_and_foreign_files_are_refused(tmp_path: Path) -> None:
    whole = book_state(tmp_path).read_bytes()
    path = tmp_path / "x.state"
    for content in (b"", b"hello", whole[: len(whole) // 2]):
        path.write_bytes(content)
        with pytest.raises(TrustError):
            import_state(path)
    for content in ([1, 2], {"model_state": {"a": 1}}, {"model_state": {"a": torch.ones(1)}}):
        torch.save(content, path)
        with pytest.raises(TrustError):
            import_state(path)


def test_files_of_nonsense_are_refused(tmp_path: Path) -> None:
    """Any byte may come first, where the unpickler takes it for what to do."""
    path = tmp_path / "x.state"
    old_format = io.BytesIO()
    torch.save({"model_state": {}}, old_format, _use_new_zipfile_serialization=False)
    after = (b"", b"\xff" * 9, old_format.getvalue()[1:])
    for content in (bytes([first]) + rest for first in range(256) for rest in after):
        path.write_bytes(content)
        with pytest.raises(TrustError) as error:
            import_state(path)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "odd",
    [
        torch.zeros(2).to_sparse(),
        torch.zeros(2, device="meta"),
        torch.zeros(2, dtype=torch.complex64),
        torch.zeros(2).to(torch.float8_e4m3fn),
    ],
    ids=["sparse", "meta", "complex", "float8"],
)
def test_tensors_of_another_kind_are_refused(tmp_path: Path, odd: torch.Tensor) -> None:
    path = book_state(tmp_path)
    checkpoint = torch.load(path)
    checkpoint["model_state"]["head_linear.bias"] = odd
    torch.save(checkpoint, path)
    with pytest.raises(TrustError) as error:
        import_state(path)
    assert "\n" not in str(error.value)


def test_two_models_of_one_role_are_ambiguous(tmp_path: Path) -> None:
    book_state(tmp_path, "a.state")
    book_state(tmp_path, "b.state")
    with pytest.raises(UsageError, match="2 nodule models"):
        load_models([tmp_path])


def test_a_missing_role_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no segmentation model"):
        load_models([book_state(tmp_path)])


def test_missing_and_empty_paths_are_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such weights"):
        load_models([tmp_path / "nowhere"])
    with pytest.raises(UsageError, match="no weights in this folder"):
        load_models([tmp_path])


@pytest.mark.shared_data
def test_all_five_published_files_load_or_are_refused_by_architecture(book_models: Path) -> None:
    outcome = {}
    for path in sorted(book_models.glob("*.state")):
        try:
            outcome[path.name.split("_")[0] + path.name[-30:-6]] = import_state(
                path
            ).card.architecture
        except TrustError as error:
            outcome[path.name] = error.what
    assert sorted(outcome.values()) == [
        "a U-Net with 8 input channels (depth 4, 8 filters)",
        "an early convAndPool_seq classifier (channels 64→32→32→16→16→8→8→4, 36 features)",
        "an early convAndPool_seq classifier (channels 8→8→16→16→32→32→64→64, 576 features)",
        "classifier",
        "unet",
    ]


@pytest.mark.shared_data
def test_the_folder_of_published_files_gives_chapter_14(book_models: Path) -> None:
    models = load_models([book_models])
    assert models.segmentation.card.name.startswith("seg_2020-01-26")
    assert models.nodule.card.name.startswith("cls_2020-02-06")
    assert models.malignancy is None
    assert models.left_out.startswith("3 files left out")
