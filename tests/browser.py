"""A headless Chromium, driven by its DevTools protocol."""

import base64
import json
import os
import select
import subprocess
import time
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
ANSWER_S = 120
READY = "document.getElementById('view').dataset.ready"
INCH_MM = 25.4

CONTRAST = """
(() => {
  const light = (rgb) => rgb.map((v) => v / 255)
    .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
    .reduce((sum, v, k) => sum + v * [0.2126, 0.7152, 0.0722][k], 0);
  const colour = (text) => text.match(/[\\d.]+/g).map(Number);
  const behind = (node) => {
    const rgba = colour(getComputedStyle(node).backgroundColor);
    return rgba[3] === 0 && node.parentElement ? behind(node.parentElement) : rgba;
  };
  const poor = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const parent = node.parentElement;
    if (!node.data.trim() || !parent.checkVisibility() || parent.closest("svg, script")) continue;
    const [a, b] = [colour(getComputedStyle(parent).color), behind(parent)]
      .map((rgb) => light(rgb.slice(0, 3)) + 0.05).sort((x, y) => y - x);
    if (a / b < 4.5) poor.push([node.data.trim().slice(0, 40), a / b]);
  }
  return poor;
})()
"""


class Browser:
    """One browser with one page, driven over a pipe by its DevTools protocol.

    What the page says on its console is kept in `said`.
    """

    CONTRAST = CONTRAST

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
        deadline = time.monotonic() + ANSWER_S
        while (answer := self._receive()).get("id") != self._number:
            assert time.monotonic() < deadline, f"{method} is not answered: {parameters}"
            if answer.get("method") in ("Log.entryAdded", "Runtime.exceptionThrown"):
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
        self.visit(page.absolute().as_uri() + fragment, width, height, ready=READY)

    def visit(self, url: str, width: int = 1280, height: int = 900, ready: str = "true") -> None:
        """Show a page at a width in CSS pixels, and wait until it is loaded and `ready`."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 500,
        )
        self.call("Page.navigate", url="about:blank")
        self.wait("location.href === 'about:blank'")
        self.said.clear()
        self.call("Page.navigate", url=url)
        self.wait(f"document.readyState === 'complete' && {ready}")

    def wait(self, condition: str) -> None:
        """Wait until a condition holds and the next frame is drawn."""
        self.value(
            "new Promise((done) => {"
            f"  const look = () => ({condition} "
            "   ? requestAnimationFrame(() => done(true)) : setTimeout(look, 20));"
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
