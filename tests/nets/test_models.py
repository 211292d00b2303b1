"""Which networks a list of paths stands for, and what is said of those that are not used."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from luna.nets import models as module
from luna.nets.bundle import Bundle, save_bundle
from luna.nets.inventory import list_bundles
from luna.nets.models import Models, import_states, load_each, load_models, load_network
from luna.nets.trained import overlap, range_of
from luna.run.errors import TrustError, UsageError


@pytest.fixture
def folder(models: Models, tmp_path: Path) -> Path:
    """A folder with a bundle for each role."""
    heads = {"malignancy": replace(models.nodule.card, role="malignancy", name="test-malignancy")}
    save_bundle(models.segmentation, tmp_path / "weights" / "a-seg")
    save_bundle(models.nodule, tmp_path / "weights" / "b-cls")
    save_bundle(replace(models.nodule, card=heads["malignancy"]), tmp_path / "weights" / "c-mal")
    return tmp_path / "weights"


def foreign_state(path: Path) -> Path:
    """A checkpoint whose network luna does not know."""
    torch.save({"model_state": {"odd.weight": torch.zeros(2, 2)}, "model_name": "Odd"}, path)
    return path


def test_a_folder_stands_for_every_network_in_it(folder: Path) -> None:
    found = load_models(folder)
    assert list(found.names()) == ["segmentation", "nodule", "malignancy"]
    assert found.left_out == ""
    assert found.notices() == ("for tests",)  # said once, though three cards say it
    assert set(found.hashes()) == set(found.names())
    each, left_out = load_each([folder])
    assert [bundle.card.role for bundle in each] == ["segmentation", "nodule", "malignancy"]
    assert left_out == []


def test_names_of_files_do_not_decide_the_role(folder: Path) -> None:
    (folder / "a-seg").rename(folder / "z")
    (folder / "b-cls").rename(folder / "segmentation")
    assert load_models([folder / "z", folder / "segmentation"]).malignancy is None
    assert load_models(folder).names()["nodule"] == "test-nodule"


def test_one_network_is_chosen_by_its_role(folder: Path) -> None:
    assert load_network(folder / "b-cls").card.role == "nodule"
    assert load_network(folder, "malignancy").card.name == "test-malignancy"
    with pytest.raises(UsageError, match="3 networks here") as error:
        load_network(folder)
    assert "segmentation, nodule, malignancy" in error.value.why
    with pytest.raises(UsageError, match="no malignancy model"):
        load_network(folder / "b-cls", "malignancy")


@pytest.mark.parametrize("missing", ["a-seg", "b-cls"])
def test_a_diagnosis_needs_both(folder: Path, missing: str) -> None:
    rest = [path for path in folder.iterdir() if path.name != missing]
    role = "segmentation" if missing == "a-seg" else "nodule"
    with pytest.raises(UsageError, match=f"no {role} model"):
        load_models(rest)


def test_two_of_one_role_are_not_chosen_from(folder: Path, models: Models) -> None:
    save_bundle(models.nodule, folder / "d-cls")
    with pytest.raises(UsageError, match="2 nodule models") as error:
        load_models(folder)
    assert error.value.why == "b-cls, d-cls"


def test_a_foreign_checkpoint_is_left_out_of_a_folder_and_said(folder: Path) -> None:
    foreign_state(folder / "odd.state")
    assert "odd.state left out" in load_models(folder).left_out
    foreign_state(folder / "odder.state")
    assert load_models(folder).left_out.startswith("2 files left out")
    with pytest.raises(TrustError):
        load_models([folder, folder / "odd.state"])  # named by itself it must load


def test_a_missing_role_is_not_trusted_away_when_files_were_left_out(folder: Path) -> None:
    foreign_state(folder / "odd.state")
    for path in (folder / "b-cls").iterdir():
        path.unlink()
    (folder / "b-cls").rmdir()
    with pytest.raises(TrustError, match="no nodule model"):
        load_models(folder)


def test_weights_without_their_card_are_not_passed_over(folder: Path) -> None:
    (folder / "b-cls" / "card.json").unlink()
    with pytest.raises(TrustError, match=r"no card\.json"):
        load_models(folder)


@pytest.mark.parametrize("name", ["nothing", "empty"])
def test_paths_without_weights_are_named(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError) as error:
        load_models(tmp_path / name)
    assert str(tmp_path / name) in str(error.value)


def test_a_path_named_as_luna_s_own_weights_is_ambiguous(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    (folder / "shipped").mkdir()
    with pytest.raises(UsageError, match="both a path here and the name"):
        load_models()
    (folder / "shipped").rmdir()
    monkeypatch.setattr(module, "SHIPPED_FOLDER", folder)
    assert load_models().names()["segmentation"] == "test-segmentation"


def test_the_range_is_what_both_networks_were_trained_for(models: Models) -> None:
    cards = (
        replace(models.segmentation.card, diameter_mm=(3.0, 30.0), slice_mm=(0.5, 2.5)),
        replace(models.nodule.card, diameter_mm=(5.0, 40.0)),
    )
    both = Models(*(Bundle(card, models.nodule.module) for card in cards))
    trained = both.trained()
    assert (trained.diameter_mm, trained.slice_mm, trained.pixel_mm) == ((5, 30), (0.5, 2.5), None)
    assert overlap([None, None]) is None


@pytest.mark.parametrize("value", [(1,), (1, 2, 3), (2, 1), (0, 1), (1, 1e6), (True, 2), ("1", 2)])
def test_a_range_that_cannot_be_is_refused(value: tuple[object, ...]) -> None:
    with pytest.raises(ValueError, match="slice_mm is not a pair"):
        range_of("slice_mm", value)  # type: ignore[arg-type]


def test_states_of_others_are_not_imported_and_those_of_a_folder_are_said(tmp_path: Path) -> None:
    states = tmp_path / "states"
    states.mkdir()
    foreign_state(states / "odd.state")
    found = import_states([states], tmp_path / "out", None, force=False, warn=print)
    assert found.folders == ()
    assert found.left_out[0].startswith("odd.state left out: ")
    with pytest.raises(TrustError):
        import_states([states / "odd.state"], tmp_path / "out", None, force=False, warn=print)
    foreign_state(states / "odder.state")
    with pytest.raises(UsageError, match="a role for 2 files"):
        import_states([states], tmp_path / "out", "nodule", force=False, warn=print)
    assert not (tmp_path / "out").exists()


def test_the_inventory_lists_runs_and_says_what_is_damaged(models: Models, tmp_path: Path) -> None:
    good = replace(models.nodule.card, metrics={"auc": 0.91234, "loss/all": 0.2})
    save_bundle(replace(models.nodule, card=good), tmp_path / "good" / "bundle")
    save_bundle(models.segmentation, tmp_path / "bad" / "bundle")
    (tmp_path / "bad" / "bundle" / "card.json").write_text("{")
    bad, fine = (entry for entry in list_bundles(tmp_path) if entry.origin == "trained")
    assert fine.cells()[1:4] == ("nodule", "test-nodule", "auc 0.912")
    assert bad.cells()[1:4] == ("?", "", "the card cannot be read")
    assert bad.facts()["fault"] == "the card cannot be read"
    assert fine.facts()["metrics"]["loss/all"] == 0.2
