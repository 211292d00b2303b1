"""The page is whole at every width and on paper, and says in words what it shows."""

import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from luna.clinical.patient import Patient
from luna.nets.card import Card
from luna.report.document import document
from luna.report.guidelines import Guidance
from luna.report.html import by_concern
from luna.report.words import probability_words, volume_words, whole
from luna.report.write import write_report

WIDTHS = (390, 768, 1280, 1920)
PAPERS = {"A4": (210.0, 297.0), "Letter": (215.9, 279.4)}
MARGIN_MM = 12
PX_PER_MM = 96 / 25.4

CUT = """
[...document.querySelectorAll("td, th, dd, p, li, h3")]
  // The head of a table that stands as a list is there for screen readers only.
  .filter((node) => getComputedStyle(node.closest("thead") ?? node).position !== "absolute")
  .filter((node) => node.checkVisibility() && (node.scrollWidth > node.clientWidth + 1
    || node.getBoundingClientRect().right > document.documentElement.clientWidth + 0.5))
  .map((node) => node.innerText.slice(0, 60))
"""


@pytest.fixture(scope="module")
def many(small_scan, small_findings, finding, with_opacity) -> Any:
    """Twelve findings of many sizes, with all that a card can say, and an opacity."""
    found = []
    for k in range(12):
        one = finding(k + 1, 0.99999 - k / 30)
        size = replace(
            one.measurement,
            long_axis_mm=106.7 - 7.3 * k,
            short_axis_mm=88.4 - 6.2 * k,
            diameter_mm=(195.1 - 13.5 * k) / 2,
            volume_mm3=123_456.7 / (k + 1) ** 3,
            hu_mean=-123.45 + k,
            hu_min=-1024,
            hu_max=3071,
        )
        found.append(replace(one, measurement=size, p_malignant=0.123 + k / 100))
    card = Card(
        name="c",
        role="nodule",
        architecture="classifier",
        arguments={},
        training_data="<i>two</i> scans",
        licence="none",
        metrics={"calibration": {"scans": 2}},
    )
    roles = ("segmentation", "nodule", "malignancy")
    case = replace(
        with_opacity(small_findings),
        findings=tuple(found),
        models={role: f"a-network-with-a-long-name-for-{role}" for role in roles},
        weights_sha256=dict.fromkeys(roles, "ab" * 32),
        cards={"nodule": card},
    )
    return document(small_scan, case, guidance=Guidance("both", Patient())), case


@pytest.fixture(scope="module")
def page(many, small_scan, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    write_report(small_scan, many[1], folder, guidance=Guidance("both", Patient()))
    return folder / "report.html"


@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_is_cut_at_any_width(browser, page: Path, tmp_path: Path, width: int) -> None:
    browser.open(page, width)
    browser.screenshot(tmp_path / "page.png")
    assert browser.value("document.documentElement.scrollWidth") <= width
    assert browser.value(CUT) == []
    assert browser.said == []


def numbers_of(many: Any) -> list[str]:
    """Every number of the table, as it must stand on paper."""
    content, _ = many
    numbers = []
    for f in content.findings:
        numbers += [f"{f.long_axis_mm:.1f}", f"{f.short_axis_mm:.1f}", f"{f.p_malignant:.3f}"]
        numbers += [f"{value:.1f}" for value in (*f.center_lps_mm, *f.center_ras_mm)]
        numbers += [str(f.slice_number), str(f.image_number), str(f.hu_min), str(f.hu_max)]
        numbers += [probability_words(f.p_nodule), volume_words(f.volume_mm3), whole(f.hu_mean)]
    return [*numbers, "about 62 × 4", "51 ml"]


@pytest.mark.parametrize("paper", PAPERS)
def test_paper_holds_every_number(
    browser, page: Path, many: Any, tmp_path: Path, paper: str
) -> None:
    if shutil.which("pdftotext") is None:
        pytest.skip("no pdftotext (poppler-utils) to read the printed page with")
    width_mm, height_mm = PAPERS[paper]
    browser.open(page)
    browser.pdf(tmp_path / "page.pdf", width_mm, height_mm)
    read = ["pdftotext", "-layout", tmp_path / "page.pdf", "-"]
    text = subprocess.run(read, check=True, capture_output=True, text=True).stdout
    assert [number for number in numbers_of(many) if number not in text] == []
    assert "show in the scan" not in text
    boxes = subprocess.run([*read[:1], "-bbox", *read[2:]], check=True, capture_output=True)
    words = re.findall(r'<word xMin="([\d.-]+)".* xMax="([\d.-]+)"', boxes.stdout.decode())
    points = 72 / 25.4
    edge = MARGIN_MM - 1
    assert len(words) > 200
    assert min(float(low) for low, _ in words) > edge * points
    assert max(float(high) for _, high in words) < (width_mm - edge) * points


@pytest.mark.parametrize("paper", PAPERS)
def test_nothing_is_cut_on_paper(browser, page: Path, paper: str) -> None:
    browser.open(page, int((PAPERS[paper][0] - 2 * MARGIN_MM) * PX_PER_MM))
    browser.call("Emulation.setEmulatedMedia", media="print")
    try:
        assert browser.value(CUT) == []
        assert browser.value("document.getElementById('view').checkVisibility()") is False
    finally:
        browser.call("Emulation.setEmulatedMedia", media="")


def test_text_stands_out_from_its_ground(browser, page: Path) -> None:
    browser.open(page)
    assert browser.value(browser.CONTRAST) == []


def test_everything_to_press_and_to_look_at_has_a_name(browser, page: Path) -> None:
    browser.open(page)
    nodes = browser.call("Accessibility.getFullAXTree")["nodes"]
    roles = {"button", "link", "slider", "spinbutton", "radio", "image", "application", "table"}
    named = [
        (node["role"]["value"], node.get("name", {}).get("value", ""))
        for node in nodes
        if not node["ignored"] and node["role"]["value"] in roles | {"img"}
    ]
    assert {role for role, _ in named} >= roles - {"table", "image"}
    assert [role for role, name in named if not name and role != "table"] == []


def test_opacities_come_first_then_category_then_size(browser, page: Path, many: Any) -> None:
    content, _ = many
    browser.open(page)
    rows = browser.value(
        "[...document.querySelectorAll('.findings tbody th')].map((cell) => cell.innerText)"
    )
    assert rows == ["A", *(str(f.number) for f in by_concern(content))]
    sizes = [f.diameter_mm for f in by_concern(content)]
    assert sizes == sorted(sizes, reverse=True)


def test_with_categories_a_small_suspicious_finding_comes_before_a_large_benign_one(
    small_scan, small_findings, finding
) -> None:
    benign, other = finding(1, 0.9), finding(2, 0.8)
    benign = replace(benign, measurement=replace(benign.measurement, diameter_mm=20.0))
    look = replace(other.description, calcification="none", kind="solid", solid_mm=None)
    case = replace(small_findings, findings=(benign, replace(other, description=look)))
    guidance = Guidance("lung-rads", Patient())
    content = document(small_scan, case, guidance=guidance)
    assert content.categories == {1: "1", 2: "2"}
    assert [f.number for f in by_concern(content)] == [2, 1]
    assert [f.number for f in by_concern(document(small_scan, case))] == [1, 2]


def test_a_scan_with_an_obstacle_has_no_category(small_scan, small_findings, with_opacity) -> None:
    guidance = Guidance("lung-rads", Patient())
    content = document(small_scan, with_opacity(small_findings), guidance=guidance)
    assert content.categories == {}


def test_probabilities_say_where_they_are_not_calibrated(page: Path) -> None:
    text = page.read_text()
    heads = re.findall(r"<th role=\"columnheader\"[^>]*>(.*?)</th>", text)
    (nodule,) = [head for head in heads if head.startswith("Nodule")]
    (malignancy,) = [head for head in heads if head.startswith("Malignancy")]
    assert "not calibrated" not in nodule
    assert "not calibrated" in malignancy
    assert "&lt;i&gt;two&lt;/i&gt; scans" in text


def test_without_a_calibration_every_probability_says_so(
    small_scan, small_findings, tmp_path: Path
) -> None:
    write_report(small_scan, small_findings, tmp_path)
    text = (tmp_path / "report.html").read_text()
    assert "a nodule probability of 0.5 (not calibrated)" in text
    assert "probability 0.900 (not calibrated)" in text
    assert 'data-label="Nodule probability, not calibrated"' in text


def test_the_header_names_nobody_unless_asked(small_scan, small_findings, tmp_path: Path) -> None:
    def header(folder: str, **options: Any) -> str:
        write_report(small_scan, small_findings, tmp_path / folder, **options)
        page = (tmp_path / folder / "report.html").read_text()
        return page[page.index("<header>") : page.index("</header>")]

    hidden = header("a")
    assert f"scan {small_findings.scan_fingerprint[:12]} <span>(pseudonym" in hidden
    assert "shown only with --include-phi" in hidden
    assert "1.2.3.4" in hidden
    named = header("b", include_phi=True)
    assert "DOE^JANE" in named
    assert "born 1950-12-31" in named
    assert "not in the file" in named  # a study date


def test_a_name_of_markup_is_text(small_scan, small_findings, tmp_path: Path) -> None:
    phi = {"PatientName": "<img src=x onerror=alert(1)>", "StudyDate": "2007<b>"}
    scan = replace(small_scan, provenance=replace(small_scan.provenance, phi=phi))
    write_report(scan, small_findings, tmp_path, include_phi=True)
    page = (tmp_path / "report.html").read_text()
    assert "&lt;img src=x onerror=alert(1)&gt;" in page
    assert "<img src=x" not in page
    assert "2007&lt;b&gt;" in page
    assert "2007<b>" not in page
