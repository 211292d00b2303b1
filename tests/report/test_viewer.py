"""The viewer in a real browser: what the reader does, and what the page then says and shows."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from luna.ct.geometry import Geometry
from luna.detect.findings import Findings
from luna.report.write import write_report

NOTCH = 100
CTRL = 2


@pytest.fixture(scope="module")
def page(
    tmp_path_factory: pytest.TempPathFactory, small_scan, small_findings, with_opacity
) -> Path:
    """The report of the small scan, with an opacity A above finding 1."""
    folder = tmp_path_factory.mktemp("viewer")
    write_report(small_scan, with_opacity(small_findings), folder)
    return folder / "report.html"


@pytest.fixture
def shown(browser, page: Path) -> Any:
    """The browser with the report open, and nothing said on its console at the end."""
    browser.open(page)
    yield browser
    assert browser.said == []


PLANES = ("axial", "coronal", "sagittal")


def slice_of(browser: Any) -> int:
    return int(re.match(r"slice (\d+) of 20", browser.text("#readout"))[1])


def test_it_begins_at_what_concerns_most_and_says_where_that_is(shown) -> None:
    text = shown.text("#readout")
    # Opacity A: index (17, 19.5, 28.5); the slice's instance number is 43.
    assert text.startswith("slice 18 of 20 from the feet (image 43)")
    assert "LPS 8.0, 5.0, 134.0 mm" in text or "LPS 9.0, 5.0, 134.0 mm" in text
    assert text.endswith("opacity A")


def test_hu_at_the_cursor_are_those_of_the_scan(shown) -> None:
    shown.click("a[data-finding='1']")
    match = re.search(r"about (-?\d+) HU", shown.text("#readout"))
    assert abs(int(match[1]) - 100) <= 40
    shown.key("PageDown")  # 10 mm below the bright box
    match = re.search(r"about (-?\d+) HU", shown.text("#readout"))
    assert abs(int(match[1]) + 850) <= 40


def test_a_link_leads_to_its_finding_and_the_keys_act_there(shown) -> None:
    shown.click("a[data-finding='1']")
    assert shown.value("document.activeElement.id") == "axial"
    assert slice_of(shown) == 14
    assert "finding 1" in shown.text("#readout")
    shown.key("ArrowUp")
    assert slice_of(shown) == 15
    shown.key("Home")
    assert slice_of(shown) == 1
    shown.key("n")
    shown.key("p")
    assert slice_of(shown) == 18


@pytest.mark.parametrize("plane", PLANES)
def test_keys_act_on_the_plane_that_was_pointed_at(shown, plane: str) -> None:
    x, y = shown.middle(f"#{plane}")
    shown.mouse("mouseMoved", x - 9, y)
    shown.mouse("mouseMoved", x, y)
    slider = f"Number(document.getElementById('{plane}-slice').value)"
    before = shown.value(slider)
    shown.value("document.getElementById('reset').focus()")
    shown.key("ArrowUp")
    shown.text("#readout")
    assert shown.value(slider) == before + 1


def test_the_wheel_steps_by_distance(shown) -> None:
    x, y = shown.middle("#axial")
    shown.click("a[data-finding='1']")
    x, y = shown.middle("#axial")
    shown.value("new Promise((done) => setTimeout(done, 300))")
    for _ in range(9):
        shown.mouse("mouseWheel", x, y, deltaX=0, deltaY=NOTCH / 10)
    assert slice_of(shown) == 14  # nine tenths of a slice
    shown.mouse("mouseWheel", x, y, deltaX=0, deltaY=NOTCH / 10)
    assert slice_of(shown) == 13
    shown.mouse("mouseWheel", x, y, deltaX=0, deltaY=-2 * NOTCH)
    assert slice_of(shown) == 15


def test_a_drag_goes_through_slices(shown) -> None:
    shown.click("[name=tool][value=slices]")
    x, y = shown.middle("#axial")
    shown.mouse("mousePressed", x, y, button="left", clickCount=1)
    for down in (20, 40, 60, 80):  # eight pixels a slice, counted on from event to event
        shown.mouse("mouseMoved", x, y + down, button="left")
    shown.mouse("mouseReleased", x, y + 80, button="left", clickCount=1)
    assert slice_of(shown) == 8


def test_a_wheel_that_scrolls_the_page_is_not_caught(shown) -> None:
    shown.value("window.scrollTo(0, 0)")
    shown.mouse("mouseWheel", 600, 40, deltaX=0, deltaY=NOTCH)
    x, y = shown.middle("#axial")
    before = slice_of(shown)
    shown.mouse("mouseWheel", x, y, deltaX=0, deltaY=5 * NOTCH)
    assert slice_of(shown) == before


def test_the_planes_are_linked(shown) -> None:
    x, y = shown.middle("#coronal")
    for kind in ("mousePressed", "mouseReleased"):
        shown.mouse(kind, x, y, button="left", clickCount=1)
    # The middle of the coronal plane is the middle of the stack's slices and columns.
    assert slice_of(shown) in (10, 11)
    values = [shown.value(f"document.getElementById('{n}-slice').value") for n in PLANES]
    assert int(values[0]) in (9, 10)
    assert int(values[2]) in (19, 20)


def test_zoom_keeps_what_lies_under_the_pointer(shown) -> None:
    x, y = shown.middle("#axial")
    x, y = x + 60, y - 40

    def under() -> str:
        for kind in ("mousePressed", "mouseReleased"):
            shown.mouse(kind, x, y, button="left", clickCount=1)
        return shown.text("#readout").split(" · ")[1]

    before = under()
    shown.mouse("mouseWheel", x, y, deltaX=0, deltaY=-2 * NOTCH, modifiers=CTRL)
    assert under() == before
    shown.mouse("mousePressed", x, y, button="middle", clickCount=1)
    shown.mouse("mouseMoved", x + 90, y, button="middle")
    shown.mouse("mouseReleased", x + 90, y, button="middle", clickCount=1)
    x += 90
    assert under() == before  # it went along
    shown.click("#reset")
    x, y = shown.middle("#axial")
    x, y = x + 60, y - 40
    assert under() == before


def test_zoom_by_key_brings_the_finding_to_the_middle_of_every_plane(shown, tmp_path) -> None:
    shown.click("a[data-finding='1']")
    shown.key("o")
    shown.click("[data-window=soft]")
    for _ in range(8):
        shown.key("+")
    for plane in PLANES:
        pixels = grey(shown, tmp_path, plane)
        height, width = pixels.shape[:2]
        # The bright box is right of and below the crosshair's voxel, on which the view centres.
        near = pixels[height // 2 - 30 : height // 2 + 30, width // 2 - 30 : width // 2 + 30]
        assert np.median(near) > 150


def grey(browser: Any, tmp_path: Path, plane: str = "axial") -> np.ndarray:
    """The pixels of a plane, as they are on the screen."""
    browser.middle(f"#{plane}")
    box = browser.value(
        f"(({{x, y, width, height}}) => [x, y, width, height])"
        f"(document.getElementById('{plane}').getBoundingClientRect())"
    )
    browser.text("#readout")
    browser.screenshot(tmp_path / "shown.png", full=False)
    left, top, width, height = box
    image = Image.open(tmp_path / "shown.png").convert("RGB")
    return np.asarray(image.crop((left, top, left + width, top + height))).astype(int)


def test_windows_change_what_is_white(shown, tmp_path: Path) -> None:
    shown.click("a[data-finding='1']")
    shown.key("o")  # no outlines in the way
    lung = grey(shown, tmp_path)
    middle = tuple(n // 2 for n in lung.shape[:2])
    assert lung[middle][0] == pytest.approx(255 * (-850 + 1350) / 1500, abs=8)
    shown.click("[data-window=soft]")
    assert grey(shown, tmp_path)[middle][0] == 0
    assert shown.value("document.querySelector('[data-window=soft]').ariaPressed") == "true"
    for name, value in (("level", -850), ("width", 200)):
        shown.value(
            f"(() => {{ const n = document.getElementById('{name}'); n.value = {value};"
            " n.dispatchEvent(new Event('change')); })()"
        )
    assert grey(shown, tmp_path)[middle][0] == pytest.approx(128, abs=24)
    x, y = shown.middle("#axial")
    shown.mouse("mousePressed", x, y, button="right", clickCount=1)
    shown.mouse("mouseMoved", x, y + 100, button="right")
    shown.mouse("mouseReleased", x, y + 100, button="right", clickCount=1)
    assert shown.value("document.getElementById('level').value") == "-800"


def test_outlines_lie_round_the_finding_and_can_be_hidden(shown, tmp_path: Path) -> None:
    shown.click("a[data-finding='1']")

    def orange() -> np.ndarray:
        pixels = grey(shown, tmp_path)
        red, green, blue = np.moveaxis(pixels, -1, 0)
        return np.argwhere((red > 200) & (abs(green - 170) < 40) & (blue < 90))

    seen = orange()
    height, width = grey(shown, tmp_path).shape[:2]
    scale = min(width / 40, height / 30)
    # The mask is 4 rows from 18 on and 6 columns from 26 on; the picture is centred.
    low = np.array([(18 - 15) * scale + height / 2, (26 - 20) * scale + width / 2])
    high = low + np.array([4, 6]) * scale
    np.testing.assert_allclose(seen.min(axis=0), low, atol=4)
    np.testing.assert_allclose(seen.max(axis=0), high, atol=4)
    shown.click("#marks")
    assert len(orange()) == 0


def test_two_fingers_zoom_and_one_does_not_hold_the_page(shown) -> None:
    shown.click("a[data-finding='1']")
    x, y = shown.middle("#axial")
    style = "getComputedStyle(document.getElementById('axial')).touchAction"
    assert shown.value(style) == "pan-y"
    shown.click("[name=tool][value=pan]")
    assert shown.value(style) == "none"
    x, y = shown.middle("#axial")

    def touch(kind: str, *xs: float) -> None:
        points = [{"x": x + dx, "y": y, "id": k} for k, dx in enumerate(xs)]
        shown.call("Input.dispatchTouchEvent", type=kind, touchPoints=points)

    wide = "document.getElementById('view').dataset.zoom"
    assert shown.value(wide) == "1.00"
    touch("touchStart", -20, 20)
    touch("touchMove", -40, 40)
    touch("touchEnd")
    shown.text("#readout")
    assert float(shown.value(wide)) == pytest.approx(2, rel=0.1)


def test_a_slice_can_be_named_in_the_address(browser, page: Path) -> None:
    browser.open(page, fragment="#slice=5")
    assert slice_of(browser) == 5


def test_an_oblique_scan_states_its_own_places(
    browser, small_scan, small_findings, tmp_path: Path
) -> None:
    old = small_scan.geometry
    turned = (0.8, -0.6, 0, 0.6, 0.8, 0, 0, 0, 1)
    scan = replace(small_scan, geometry=Geometry(old.origin_xyz, old.spacing_xyz, turned))
    write_report(scan, small_findings, tmp_path)
    browser.open(tmp_path / "report.html")
    place = re.search(r"LPS (\S+), (\S+), (\S+) mm", browser.text("#readout")).groups()
    near = [scan.geometry.xyz_from_irc((13, r, c)) for r in (19, 20) for c in (28, 29)]
    assert min(np.abs(xyz - [float(v) for v in place]).max() for xyz in near) < 0.06


def test_a_scan_without_findings_begins_in_its_middle(
    browser, small_scan, small_findings: Findings, tmp_path: Path
) -> None:
    write_report(small_scan, replace(small_findings, findings=()), tmp_path)
    browser.open(tmp_path / "report.html")
    assert slice_of(browser) in (10, 11)
    assert browser.value("document.getElementById('next').checkVisibility()") is False
    assert browser.said == []


def test_coarse_and_cut_stacks_say_so(
    browser, small_scan, small_findings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("luna.report.stack.VOXELS_MAX", 300)
    monkeypatch.setattr("luna.report.stack.MARGIN_MM", 2.0)
    case = replace(small_findings, lungs_box=(slice(6, 20), slice(10, 25), slice(20, 40)))
    write_report(small_scan, case, tmp_path)
    browser.open(tmp_path / "report.html")
    note = browser.text("#view > .note")
    assert "cut to the lungs and what was found" in note
    assert re.search(r"Voxels of \d+\.\d\d × .* for 1\.00 × 1\.00 × 2\.00 mm in the scan", note)
    assert re.search(r"each slice the mean of \d", note)
    assert re.match(r"slices \d+ to \d+ of 20", browser.text("#readout"))


def test_a_browser_that_hides_pixels_is_told_apart(browser, page: Path) -> None:
    """As with Firefox's protection against tracking: what canvases answer is noise."""
    script = (
        "const real = CanvasRenderingContext2D.prototype.getImageData;"
        "CanvasRenderingContext2D.prototype.getImageData = function (...box) {"
        "  const image = real.apply(this, box); image.data[5] ^= 64; return image; };"
    )
    added = browser.call("Page.addScriptToEvaluateOnNewDocument", source=script)
    try:
        browser.open(page)
        assert "hides the pixels" in browser.text("#loading")
    finally:
        browser.call("Page.removeScriptToEvaluateOnNewDocument", **added)
