"""`luna diagnose` from files to table and report, with networks whose answer is known."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from luna.ct.scan import Scan
from luna.nets.bundle import Bundle, build_network, save_bundle
from luna.nets.card import Card

Luna = Callable[..., Any]

UNET = {"context_slices": 3, "depth": 1, "width": 2}
# Half is above 0.49: the lungs' box is one nodule, whose centre lies between the lungs.
SEEN = ("segment.threshold=0.49", "threshold=0.3", "lungs_only=false")
CLASSIFIER = {"input_size": [16, 16, 16], "widths": [2, 4]}


def write_bundle(folder: Path, role: Any, architecture: str, arguments: dict[str, Any]) -> None:
    """A bundle that hardly depends on its input: every probability is just below one half."""
    net = build_network(architecture, arguments)
    with torch.no_grad():
        net.head.weight.normal_(0, 1e-8, generator=torch.Generator().manual_seed(0))
        net.head.bias.copy_(torch.linspace(-0.001, -0.002, len(net.head.bias)))
    card = Card(
        name=f"half-{role}",
        role=role,
        architecture=architecture,
        arguments=arguments,
        training_data="none",
        licence="Apache-2.0",
    )
    save_bundle(Bundle(card, net), folder / card.name)


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weights")
    write_bundle(folder, "segmentation", "unet", UNET)
    write_bundle(folder, "nodule", "classifier", CLASSIFIER)
    return folder


@pytest.fixture
def scan_file(chest: Callable[..., Scan], tmp_path: Path) -> Path:
    scan = chest()
    image = sitk.GetImageFromArray(scan.hu)
    image.SetOrigin(scan.geometry.origin_xyz)
    image.SetSpacing(scan.geometry.spacing_xyz)
    sitk.WriteImage(image, str(tmp_path / "chest.mha"))
    return tmp_path / "chest.mha"


@pytest.fixture
def diagnose(luna: Luna, scan_file: Path, weights: Path, tmp_path: Path) -> Luna:
    """Run `luna diagnose` on the chest, into `tmp_path/out`."""
    return lambda *more: luna(
        "diagnose", scan_file, "--weights", weights, "--out", tmp_path / "out", *more
    )


def test_nothing_found_is_said(diagnose: Luna, tmp_path: Path) -> None:
    outcome = diagnose()
    assert outcome.code == 0
    assert "found nothing at or above p = 0.5" in outcome.out
    assert outcome.out.endswith(f"report: {tmp_path / 'out' / 'report.html'}\n")
    stages = [line.split()[0] for line in outcome.err.splitlines() if line.endswith(" s")]
    assert stages == [
        "read",
        "lungs",
        "segment",
        "group",
        "classify",
        "measure",
        "opacities",
        "report",
    ]


def test_findings_are_a_table(diagnose: Luna, tmp_path: Path) -> None:
    outcome = diagnose(*(word for change in SEEN for word in ("--set", change)))
    assert outcome.code == 0
    header, first, *_ = outcome.out.splitlines()
    row = dict(zip(header.split("\t"), first.split("\t"), strict=True))
    assert (row["no"], row["p"], row["malig"]) == ("1", "0.500", "–")
    assert row["side"] in {"left", "right"}


def test_the_table_has_the_numbers_of_the_page(diagnose: Luna, tmp_path: Path) -> None:
    outcome = diagnose(*(word for change in SEEN for word in ("--set", change)))
    header, first, told, *_ = outcome.out.splitlines()
    cells = first.replace("≥", "").split("\t")  # the scan cuts it, and the page says so, too
    row = dict(zip(header.split("\t"), cells, strict=True))
    page = (tmp_path / "out" / "report.html").read_text()
    for name in ("p", "mean", "HU"):
        assert re.search(rf">[^<]*\b{re.escape(row[name])}\b", page)
    assert row["axes mm"].replace("×", " × ") in page
    assert told == "Not calibrated: p."
    assert "Nodule<br>probability,<br>not calibrated" in page


def test_what_the_networks_want_said_is_said_before_computing_and_once(
    luna: Luna, scan_file: Path, original: Path, tmp_path: Path
) -> None:
    outcome = luna(
        "diagnose", scan_file, "--weights", original / "weights", "--out", tmp_path / "o"
    )
    lines = outcome.err.splitlines()
    assert [line for line in lines if "for tests" in line] == ["warning: for tests"]
    begun = [line.split()[0] for line in lines].index("lungs")
    assert lines.index("warning: for tests") < begun


def test_shipped_weights_say_what_they_are_before_computing(
    luna: Luna, scan_file: Path, tmp_path: Path
) -> None:
    outcome = luna("diagnose", scan_file, "--out", tmp_path / "o", "--dry-run")
    assert outcome.code == 0
    assert "trained on synthetic scans only" in outcome.err
    assert "never for patients" in outcome.err


@pytest.mark.shared_data
def test_networks_that_are_left_out_take_one_line(
    luna: Luna, book_models: Path, scan_file: Path, tmp_path: Path
) -> None:
    outcome = luna(
        "diagnose", scan_file, "--weights", book_models, "--out", tmp_path / "o", "--dry-run"
    )
    (line,) = [line for line in outcome.err.splitlines() if "left out" in line]
    assert line.startswith("3 files left out")


def test_json_is_the_report_and_nothing_else(diagnose: Luna, tmp_path: Path) -> None:
    outcome = diagnose("--json", "--quiet")
    assert (outcome.code, outcome.err) == (0, "")
    assert json.loads(outcome.out) == json.loads((tmp_path / "out" / "report.json").read_text())


def test_an_earlier_report_is_not_overwritten(diagnose: Luna, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "report.json").write_text("mine")
    assert diagnose().code == 2
    assert (tmp_path / "out" / "report.json").read_text() == "mine"
    assert diagnose("--force").code == 0
    assert (tmp_path / "out" / "report.json").read_text() != "mine"


def test_a_dry_run_writes_nothing(diagnose: Luna, tmp_path: Path) -> None:
    outcome = diagnose("--dry-run")
    assert outcome.code == 0
    assert "24 × 96 × 128 voxels" in outcome.out
    assert "half-nodule for nodule" in outcome.out
    assert not (tmp_path / "out").exists()


def test_a_dry_run_says_which_dicom_objects_there_would_be(diagnose: Luna, tmp_path: Path) -> None:
    assert "without DICOM results" in diagnose("--dry-run").out
    refused = diagnose("--dry-run", "--dicom", "all")
    assert refused.code == diagnose("--dicom", "all").code != 0
    assert "DICOM" in refused.err
    assert not (tmp_path / "out" / "report.html").exists()


def test_a_report_folder_is_no_scan(
    luna: Luna, diagnose: Luna, weights: Path, tmp_path: Path
) -> None:
    assert diagnose().code == 0
    again = ("--weights", weights, "--out", tmp_path / "again", "--dry-run")
    outcome = luna("diagnose", tmp_path / "out", *again)
    assert outcome.code == 2
    assert "this is a report folder of luna, not a scan" in outcome.err
    assert "give the scan" in outcome.err
    assert str(tmp_path / "out") in outcome.err
    (tmp_path / "chest.mha").rename(tmp_path / "out" / "chest.mha")
    assert "report folder of luna" not in luna("diagnose", tmp_path / "out", *again).err


def test_faithful_and_config_file(diagnose: Luna, tmp_path: Path) -> None:
    config = tmp_path / "mine.toml"
    config.write_text("threshold = 0.6  # to see less\n")
    outcome = diagnose("--faithful", "--config", config)
    assert outcome.code == 0
    assert "p = 0.6" in outcome.out


@pytest.mark.parametrize(
    ("more", "code", "message"),
    [
        (["--set", "segment.regoin=whole"], 2, "did you mean segment.region?"),
        (["--set", "threshold=2"], 2, "threshold is 2"),
        (["--device", "tpu"], 2, "unknown device 'tpu'"),
        (["--device", "cuda:9"], 4, "device cuda:9 is not there"),
    ],
)
def test_mistakes_are_found_before_computing(
    diagnose: Luna, tmp_path: Path, more: list[str], code: int, message: str
) -> None:
    outcome = diagnose(*more)
    assert (outcome.code, outcome.out) == (code, "")
    assert message in outcome.err
    assert not (tmp_path / "out").exists()


def test_a_volume_without_lungs_is_no_empty_report(
    luna: Luna, weights: Path, tmp_path: Path
) -> None:
    image = sitk.GetImageFromArray(np.full((20, 64, 64), 40, dtype=np.int16))
    sitk.WriteImage(image, str(tmp_path / "water.mha"))
    outcome = luna(
        "diagnose", tmp_path / "water.mha", "--weights", weights, "--out", tmp_path / "out"
    )
    assert (outcome.code, outcome.out) == (3, "")
    assert not (tmp_path / "out").exists()


def test_weights_that_do_not_suit(luna: Luna, scan_file: Path, tmp_path: Path) -> None:
    wrong = tmp_path / "weights.bin"
    wrong.write_bytes(b"\x80\x04.")
    out = tmp_path / "out"
    assert luna("diagnose", scan_file, "--weights", wrong, "--out", out).code == 6
    assert luna("diagnose", scan_file, "--weights", tmp_path / "no", "--out", out).code == 2


def test_without_out_the_report_goes_beside_and_is_named(
    luna: Luna, scan_file: Path, original: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    outcome = luna("diagnose", scan_file, "--weights", original / "weights")
    assert outcome.code == 0, outcome.err
    assert "report to chest-luna" in outcome.err
    assert outcome.out.endswith(f"report: {Path('chest-luna') / 'report.html'}\n")
    assert (tmp_path / "here" / "chest-luna" / "report.html").is_file()
    again = luna("diagnose", scan_file, "--weights", original / "weights")
    assert (again.code, "chest-luna: this folder already holds files" in again.err) == (2, True)


def test_the_config_in_force_is_printed_without_a_scan(luna: Luna, tmp_path: Path) -> None:
    outcome = luna("diagnose", "--print-config", "--set", "segment.batch_slices=2")
    assert outcome.code == 0, outcome.err
    (tmp_path / "again.toml").write_text(outcome.out)
    again = luna("diagnose", "--config", tmp_path / "again.toml", "--print-config")
    assert again.out == outcome.out
    assert "batch_slices = 2" in outcome.out
    assert luna("diagnose", "--print-config", "--set", "nonsense=1").code == 2


def test_guidelines_are_stated_for_what_was_found(diagnose: Luna, tmp_path: Path) -> None:
    changes = [word for change in SEEN for word in ("--set", change)]
    outcome = diagnose(
        "--guideline", "both", "--age", "65", "--sex", "F", "--risk", "high", *changes
    )
    assert outcome.code == 0
    assert "Lung-RADS v2022: " in outcome.out
    assert "Fleischner Society 2017: " in outcome.out
    section = json.loads((tmp_path / "out" / "report.json").read_text())["guidelines"]
    assert [s["guideline"] for s in section["statements"]] == [
        "Lung-RADS v2022",
        "Fleischner Society 2017",
    ]
    facts = {f["name"]: f["value"] for f in section["statements"][1]["facts"]}
    if section["statements"][1]["category"]:
        assert (facts["age"], facts["risk"]) == (65, "high")


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--age", "65"], "--age is used by guidelines only, and no guideline was chosen"),
        (["--no-family-history"], "--family-history is used by guidelines only"),
        (["--guideline", "lung-rads", "--age", "130"], "age is 130, not between 0 and 120"),
        (["--guideline", "bts"], "lung-rads"),
    ],
)
def test_facts_that_cannot_be_used_are_refused(
    diagnose: Luna, tmp_path: Path, more: list[str], words: str
) -> None:
    outcome = diagnose(*more)
    assert outcome.code == 2
    assert words in outcome.err
    assert not (tmp_path / "out").exists()


def test_lobes_are_named_and_the_share_of_thin_lung_told(
    diagnose: Luna, scan_file: Path, tmp_path: Path
) -> None:
    image = sitk.ReadImage(str(scan_file))
    hu = sitk.GetArrayFromImage(image)
    left = np.arange(hu.shape[2]) >= hu.shape[2] // 2
    labels = np.where((hu < -700) & (hu > -950), np.where(left, 10, 12), 0).astype(np.uint8)
    mask = sitk.GetImageFromArray(labels)
    mask.CopyInformation(image)
    sitk.WriteImage(mask, str(tmp_path / "lobes.nii.gz"))
    seen = [word for change in SEEN for word in ("--set", change)]
    outcome = diagnose("--lobes", tmp_path / "lobes.nii.gz", *seen)
    assert outcome.code == 0, outcome.err
    assert "lobes by the labels of TotalSegmentator 2" in outcome.err
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert {finding["lobe"] for finding in report["findings"]} <= {"left upper", "right upper"}
    assert report["looked_at"]["right_below_950_hu"] < 0.001
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "below −950 HU" in page
    assert f"{report['findings'][0]['lobe']} lobe" in page


def test_lobes_that_do_not_fit_are_refused_before_computing(
    diagnose: Luna, scan_file: Path, tmp_path: Path
) -> None:
    outcome = diagnose("--lobes", scan_file)
    assert (outcome.code, outcome.out) == (3, "")
    assert "the values are not labels" in outcome.err
    assert not (tmp_path / "out").exists()
    assert diagnose("--lobes", tmp_path / "none.nii").code == 2
