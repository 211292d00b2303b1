"""`luna weights` on the book's checkpoints and on files that are none."""

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from luna.nets.bundle import save_bundle

Luna = Callable[..., Any]

SEGMENTER = "seg_2020-01-26_19.45.12_w4d3c1-bal_1_nodupe-label_pos-d1_fn8-adam"


class Planted:
    """Unpickling it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


@pytest.mark.shared_data
def test_a_folder_of_checkpoints_is_imported(luna: Luna, book_models: Path, tmp_path: Path) -> None:
    outcome = luna("weights", "import", book_models, "--out", tmp_path)
    assert outcome.code == 0
    folders = [Path(line) for line in outcome.out.splitlines()]
    assert folders == sorted(path for path in tmp_path.iterdir())
    assert len(folders) == 2
    assert outcome.err.count("left out:") == 3
    assert "convAndPool_seq classifier" in outcome.err
    again = luna("weights", "import", book_models, "--out", tmp_path)
    assert again.code == 2
    assert "already holds files" in again.err
    assert luna("weights", "import", book_models, "--out", tmp_path, "--force").code == 0


@pytest.mark.shared_data
def test_info_prints_the_card(luna: Luna, book_models: Path, tmp_path: Path) -> None:
    path = book_models / f"{SEGMENTER}.best.state"
    assert luna("weights", "import", path, "--out", tmp_path, "--quiet").err == ""
    facts = json.loads(luna("weights", "info", tmp_path / SEGMENTER, "--json").out)
    assert (facts["role"], facts["architecture"], facts["parameters"]) == (
        "segmentation",
        "unet",
        118271,
    )
    assert "role: segmentation\n" in luna("weights", "info", tmp_path / SEGMENTER).out
    weights = tmp_path / SEGMENTER / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    outcome = luna("weights", "info", tmp_path / SEGMENTER)
    assert (outcome.code, outcome.out) == (6, "")
    assert "SHA-256 differs" in outcome.err


@pytest.mark.shared_data
def test_a_role_is_for_one_file(luna: Luna, book_models: Path, tmp_path: Path) -> None:
    outcome = luna("weights", "import", book_models, "--out", tmp_path, "--role", "nodule")
    assert outcome.code == 2
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_checkpoint_is_not_trusted(luna: Luna, tmp_path: Path) -> None:
    evil = tmp_path / "evil.state"
    evil.write_bytes(pickle.dumps({"model_state": Planted(tmp_path / "executed")}))
    outcome = luna("weights", "import", evil, "--out", tmp_path / "out")
    assert (outcome.code, outcome.out) == (6, "")
    assert "nothing in it was executed" in outcome.err
    assert not (tmp_path / "executed").exists()
    assert not (tmp_path / "out").exists()


def test_what_is_not_there_is_a_usage_error(luna: Luna, tmp_path: Path) -> None:
    assert luna("weights", "import", tmp_path / "a", "--out", tmp_path / "out").code == 2
    assert luna("weights", "info", tmp_path / "a").code == 2


def test_info_knows_the_names_of_weights(
    luna: Luna, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    roles = [card["role"] for card in json.loads(luna("weights", "info", "shipped", "--json").out)]
    assert roles == ["malignancy", "nodule", "segmentation"]
    assert luna("weights", "info", "shipped").out.count("\n\nname: ") == 2
    unfetched = luna("weights", "info", "book")
    assert unfetched.code == 2
    assert "run `luna weights fetch book`" in unfetched.err


@pytest.mark.shared_data
def test_info_takes_what_diagnose_takes(luna: Luna, book_models: Path) -> None:
    folder = luna("weights", "info", book_models, "--json")
    assert folder.code == 0
    assert [card["role"] for card in json.loads(folder.out)] == ["nodule", "segmentation"]
    assert folder.err.count("left out:") == 3
    both = luna("weights", "info", book_models / f"{SEGMENTER}.best.state", "shipped", "--json")
    assert len(json.loads(both.out)) == 4
    assert json.loads(luna("weights", "info", "--json").out) == json.loads(both.out)[1:]


@pytest.mark.filterwarnings("ignore")
def test_exported_networks_are_listed_with_how_they_compare(luna, models, tmp_path):
    pytest.importorskip("onnxruntime", reason="the extra luna-ct[export] is not installed")
    save_bundle(models.nodule, tmp_path / "mine")
    out = tmp_path / "exported"
    done = luna("weights", "export", tmp_path / "mine", "--out", out, "--json")
    assert done.code == 0, done.err
    (line,) = json.loads(done.out)
    assert line["file"] == str(out / "nodule.onnx")
    assert line["largest_difference"] <= 1e-4
    again = luna("weights", "export", tmp_path / "mine", "--out", out)
    assert again.code == 2
    assert "already holds files" in again.err
    twice = (tmp_path / "mine", tmp_path / "mine")
    both = luna("weights", "export", *twice, "--out", tmp_path / "both")
    assert both.code == 2
