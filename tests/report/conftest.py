"""A small scan with a finding, and a headless Chromium to look at its report with."""

import base64
import json
import os
import select
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from luna.ct.geometry import Geometry
from luna.ct.mask import BoxMask
from luna.ct.scan import Provenance, Scan
from luna.detect.findings import (
    Candidates,
    Description,
    Finding,
    Findings,
    Measurement,
    Opacity,
)

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
ANSWER_S = 120
READY = "document.getElementById('view').dataset.ready"
INCH_MM = 25.4


class Browser:
    """One browser with one page, driven over a pipe by its DevTools protocol.

    What the page says on its console is kept in `said`.
    """

    def __init__(self, program: str, profile: Path) -> None:
        their_in, self._to = os.pipe()
        self._from, their_out = os.pipe()
        # The protocol wants these pipes as the files 3 and 4.
        script = f'exec "$@" 3<&{their_in} 4>&{their_out}'
        options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe"]
        self._process = subprocess.Popen(
            ["bash", "-c", script, "bash", program, *options, f"--user-data-dir={profile}"],
            pass_fds=(their_in, their_out),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(their_in)
        os.close(their_out)
        self._number, self._session, self._buffer = 0, "", b""
        self.said: list[str] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> Any:
        """Send a command and return its result."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while (answer := self._receive()).get("id") != self._number:
            if answer["method"] in ("Log.entryAdded", "Runtime.exceptionThrown"):
                self.said.append(json.dumps(answer["params"]))
        assert "error" not in answer, answer
        return answer["result"]

    def _receive(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._from], [], [], ANSWER_S)
            part = os.read(self._from, 1 << 20) if ready else b""
            assert part, "the browser does not answer"
            self._buffer += part
        message, self._buffer = self._buffer.split(b"\0", 1)
        return dict(json.loads(message))

    def open(self, page: Path, width: int = 1280, *, height: int = 900, fragment: str = "") -> None:
        """Show a report at a width in CSS pixels, and wait until its stack is decoded."""
        self.said.clear()
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 500,
        )
        self.call("Page.navigate", url="about:blank")
        self.call("Page.navigate", url=page.absolute().as_uri() + fragment)
        self.value(
            "new Promise((done) => {"
            "  const look = () => (document.readyState === 'complete' && "
            f"   {READY} ? requestAnimationFrame(() => done(true)) : setTimeout(look, 20));"
            "  look(); })"
        )

    def value(self, expression: str) -> Any:
        """The value of an expression, or of what it promises."""
        answer = self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def text(self, selector: str) -> str:
        """What a reader sees of an element, after the next frame is drawn."""
        found = f"document.querySelector({json.dumps(selector)}).innerText"
        return str(self.value(f"new Promise((done) => requestAnimationFrame(() => done({found})))"))

    def screenshot(self, out: Path, *, full: bool = True) -> None:
        """Write what is shown, or all of the page, as a PNG."""
        answer = self.call("Page.captureScreenshot", captureBeyondViewport=full)
        out.write_bytes(base64.b64decode(answer["data"]))

    def key(self, key: str, modifiers: int = 0) -> None:
        """Press a key."""
        text = {"text": key} if len(key) == 1 else {}
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, modifiers=modifiers, **text)
            text = {}

    def middle(self, selector: str) -> tuple[float, float]:
        """Scroll an element into view and return where its middle is."""
        element = f"document.querySelector({json.dumps(selector)})"
        self.value(f"{element}.scrollIntoView({{block: 'center', behavior: 'instant'}})")
        x, y = self.value(
            f"(({{x, y, width, height}}) => [x + width / 2, y + height / 2])"
            f"({element}.getBoundingClientRect())"
        )
        return x, y

    def mouse(self, kind: str, x: float, y: float, **more: Any) -> None:
        """Send a mouse event: mousePressed, mouseMoved, mouseReleased or mouseWheel."""
        self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, **more)

    def click(self, selector: str) -> None:
        """Click the middle of an element."""
        x, y = self.middle(selector)
        for kind in ("mousePressed", "mouseReleased"):
            self.mouse(kind, x, y, button="left", clickCount=1)

    def pdf(self, out: Path, width_mm: float, height_mm: float) -> None:
        """Print to paper of a size, by the page's own margins."""
        answer = self.call(
            "Page.printToPDF", paperWidth=width_mm / INCH_MM, paperHeight=height_mm / INCH_MM
        )
        out.write_bytes(base64.b64decode(answer["data"]))

    def close(self) -> None:
        """End the browser."""
        os.close(self._to)
        self._process.terminate()
        self._process.wait(ANSWER_S)
        os.close(self._from)


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        pytest.skip("no Chromium is installed to look at the page with")
    running = Browser(program, tmp_path_factory.mktemp("browser"))
    yield running
    running.close()


PHI = {"PatientName": "DOE^JANE", "PatientBirthDate": "19501231", "AccessionNumber": "A77"}
MARKUP = "<script>alert('x')</script>"


LOOK = Description(
    kind="part-solid",
    solid_mm=3.14159,
    calcification="central",
    calcified_share=0.25,
    fat=False,
    fat_share=0.0,
    pleural_contact=0.125,
    juxtapleural=True,
    strands=4,
    third="upper",
)


@pytest.fixture(name="small_scan", scope="session")
def small_scan_fixture() -> Scan:
    """A small volume with one bright box left of, behind and above the middle."""
    hu = np.full((20, 30, 40), -850, dtype=np.int16)
    hu[12:15, 18:22, 26:32] = 100
    return Scan(
        hu=hu,
        geometry=Geometry((-20.0, -15.0, 100.0), (1.0, 1.0, 2.0)),
        series_uid="1.2.3.4",
        provenance=Provenance(
            source="DOE_JANE",
            format="DICOM",
            metadata={"Manufacturer": MARKUP},
            phi=PHI,
            image_numbers=tuple(range(60, 40, -1)),
            padding_voxels=7,
        ),
    )


def make_finding(number: int = 1, p: float = 0.9) -> Finding:
    mask = BoxMask(start_irc=(12, 18, 26), voxels=np.ones((3, 4, 6), dtype=bool))
    size = Measurement(
        long_axis_mm=7.2,
        short_axis_mm=4.0,
        diameter_mm=5.6,
        volume_mm3=144.0,
        hu_mean=100.0,
        hu_min=100,
        hu_max=100,
        plane="axial",
        plane_index=13,
    )
    return Finding(
        number=number,
        center_irc=(13.0, 19.5, 28.5),
        center_xyz=(8.5, 4.5, 126.0),
        p_nodule=p,
        p_malignant=None,
        measurement=size,
        description=LOOK,
        side="left",
        mask=mask,
    )


@pytest.fixture(name="small_findings", scope="session")
def small_findings_fixture(small_scan: Scan) -> Findings:
    """One finding in it, and a warning with markup."""
    scan = small_scan
    return Findings(
        series_uid=scan.series_uid,
        scan_fingerprint=scan.fingerprint(),
        findings=(make_finding(),),
        candidates=Candidates(
            center_irc=np.array([[13.0, 19.5, 28.5], [13, 18, 28], [2, 3, 4]]),
            center_xyz=np.array([[8.5, 4.5, 126.0], [8, 3, 126], [-16, -12, 104]]),
            p_nodule=np.array([0.9, 0.4, 0.1]),
            nodule=np.array([5, 5, 2]),
        ),
        threshold=0.5,
        models={"segmentation": "s", "nodule": "n"},
        weights_sha256={"segmentation": "ab" * 32, "nodule": "cd" * 32},
        config={"threshold": None},
        device="cpu",
        lung_volume_ml=(2000.0, 1800.0),
        warnings=("Partial scan: " + MARKUP,),
        seconds={"lungs": 0.1},
    )


def add_opacity(findings: Findings) -> Findings:
    """The same, and an opacity above the finding."""
    one = findings.findings[0] if findings.findings else make_finding()
    opacity = Opacity(
        center_irc=(17.0, 19.5, 28.5),
        center_xyz=(8.5, 4.5, 134.0),
        measurement=replace(one.measurement, long_axis_mm=62.4, volume_mm3=51_000.0),
        side="left",
        mask=BoxMask((15, 16, 24), np.ones((4, 8, 9), dtype=bool)),
    )
    return replace(findings, opacities=(opacity,))


@pytest.fixture
def scan(small_scan: Scan) -> Scan:
    return small_scan


@pytest.fixture
def findings(small_findings: Findings) -> Findings:
    return small_findings


@pytest.fixture(name="finding", scope="session")
def finding_fixture() -> Callable[..., Finding]:
    """Make a finding of the small volume: (number, p)."""
    return make_finding


@pytest.fixture(name="with_opacity", scope="session")
def with_opacity_fixture() -> Callable[[Findings], Findings]:
    """Add an opacity above the finding."""
    return add_opacity
