"""The page in a real browser: what a user drops, and what the page then says."""

import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from luna.nets.models import Models
from luna.serve.access import Access
from luna.serve.examine import Examiner
from luna.serve.rows import Outcome

SHOWN = "!document.getElementById('desk').hidden && document.querySelector('#empty, .scan')"


def drop(browser: Any, *paths: Path) -> None:
    """Drop files or folders onto the page, as a user does."""
    x, y = browser.middle("#drop")
    files = [str(path) for path in paths]
    data = {"items": [], "files": files, "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver", "drop"):
        browser.call("Input.dispatchDragEvent", type=kind, x=x, y=y, data=data)


def words(browser: Any) -> list[str]:
    """The sentences of the cards, from the top."""
    found = "[...document.querySelectorAll('.scan .words')].map((p) => p.innerText)"
    return list(browser.value(found))


def cards(count: int) -> str:
    return f"document.querySelectorAll('.scan').length === {count}"


def says(text: str) -> str:
    return f"document.querySelector('#scans').innerText.includes({text!r})"


@pytest.fixture
def held_up(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Every scan stops in the middle until the event is set."""
    go_on = threading.Event()
    examine = Examiner.examine

    def slowly(self: Examiner, row: Any, progress: Callable[..., None]) -> Any:
        progress("segment", 1, 4)
        go_on.wait(60)
        return examine(self, row, progress)

    monkeypatch.setattr("luna.serve.examine.Examiner.examine", slowly)
    yield go_on
    go_on.set()


def test_from_a_drop_to_the_report(
    client, browser, archive: Path, volume: list[Path], models: Models, working, held_up, tmp_path
) -> None:
    browser.visit(client.url, ready=SHOWN)
    assert "No scan was sent yet." in browser.text("main")
    drop(browser, archive)
    browser.wait(cards(1))
    drop(browser, volume[0].parent)  # a folder
    browser.wait(cards(2))
    assert words(browser) == ["Waiting, one scan before it.", "Waiting, next."]
    titles = "[...document.querySelectorAll('.scan h3')].map((h) => h.innerText)"
    assert browser.value(titles) == [volume[0].parent.name, "chest.zip"]
    with working(client.folder, models):
        browser.wait(says("Marking voxels"))
        browser.visit(client.url, 390, ready=cards(2))  # a reload in the middle
        assert "Marking voxels" in words(browser)[1]
        assert browser.value("document.querySelectorAll('progress')[1].value") == 0.25
        assert browser.value("document.title") == "luna (2)"
        held_up.set()
        browser.wait("document.querySelectorAll('.scan.done').length === 2")
    assert all(re.match(r"4 findings; the largest [\d.]+ × [\d.]+ mm", w) for w in words(browser))
    assert "chest.zip: done. 4 findings" in browser.text("#said") or "volume" in browser.text(
        "#said"
    )
    assert browser.value("document.documentElement.scrollWidth") <= 390
    assert browser.said == []
    report = browser.value("document.querySelector('.open').href")
    assert browser.value("document.querySelector('.open').target") == "_blank"
    browser.visit(report, ready="document.getElementById('view').dataset.ready")
    assert "4 findings" in browser.text("main")
    assert browser.value("window.origin") == "null"  # a sandbox: no way back to the server
    assert browser.said == []


def test_what_is_wrong_stays_on_the_card_until_it_is_deleted(busy, browser, tmp_path: Path) -> None:
    broken = tmp_path / "broken <b>scan.zip"
    broken.write_bytes(b"PK, but no archive")
    browser.visit(busy.url, ready=SHOWN)
    drop(browser, broken)
    browser.wait("document.querySelector('.scan.failed')")
    assert words(browser) == ["No result: the archive is damaged (File is not a zip file)"]
    assert browser.text(".scan h3") == "broken <b>scan.zip"
    assert browser.value("document.querySelectorAll('#scans b').length") == 0
    browser.click(".scan .delete")
    assert browser.text(".scan .delete") == "Delete scan and report for good"
    assert len(busy.folder.store.ids()) == 1
    browser.click(".scan .delete")
    browser.wait(cards(0))
    assert busy.folder.store.ids() == set()
    assert browser.said == []


def test_choices_search_and_the_buttons_of_a_card(client, browser, archive: Path) -> None:
    first = client.send(archive)
    client.folder.store.claim()
    entry = {"status": "clear", "findings": 0, "opacities": 0, "worst": None, "limits": []}
    client.folder.store.finish(first["id"], Outcome(state="done", entry=entry))
    browser.visit(client.url, ready=cards(1))
    assert words(browser) == ["Looked at both lungs, and found no nodule."]
    assert browser.text(".scan .state") == "clear"
    browser.value("document.getElementById('choices').open = true")
    browser.value(f"document.querySelector('[name=prior]').value = '{first['id']}'")
    browser.value("document.querySelector('[name=guideline]').value = 'lung-rads'")
    browser.value("document.querySelector('[name=age]').value = '66'")
    drop(browser, archive)
    browser.wait(cards(2))
    asked = client.folder.store.find()[0].asked
    assert (asked.prior, asked.guideline, asked.age) == (first["id"], "lung-rads", 66)
    assert browser.value("document.querySelector('[name=age]').value") == ""  # for one scan only
    browser.click(".scan .cancel")
    browser.wait("document.querySelector('.scan.cancelled')")
    browser.click(".scan .again")
    browser.wait(cards(3))
    assert client.folder.store.find()[0].asked == asked
    browser.value(
        "{ const box = document.getElementById('search'); box.value = 'nowhere';"
        " box.dispatchEvent(new Event('input')); }"
    )
    browser.wait(cards(0))
    assert "No scan has “nowhere”." in browser.text("main")
    assert browser.said == []


def test_a_token_is_asked_for_once(start, browser, archive: Path) -> None:
    token = "0123456789abcdef"  # noqa: S105 - of no server
    client = start(access=Access(token=token))
    browser.visit(client.url, ready="!document.getElementById('sign-in').hidden")
    browser.said.clear()  # that the first question was refused
    for given in ("wrong", token):
        browser.value(f"document.getElementById('token').value = '{given}'")
        browser.click("#sign-in button")
        if given == "wrong":
            browser.wait("!document.getElementById('trouble').hidden")
            assert "not the token" in browser.text("#trouble")
    browser.wait("!document.getElementById('desk').hidden")
    browser.visit(client.url, ready="!document.getElementById('desk').hidden")
    drop(browser, archive)
    browser.wait(cards(1))
    browser.wait("!document.getElementById('uploads').children.length")  # else it asks to stay
    browser.click("#sign-out")
    browser.visit(client.url, ready="!document.getElementById('sign-in').hidden")


def test_the_page_can_be_used_without_eyes_or_a_mouse(client, browser, archive: Path) -> None:
    client.send(archive)
    browser.visit(client.url, ready=cards(1))
    browser.value("document.getElementById('choices').open = true")
    nodes = browser.call("Accessibility.getFullAXTree")["nodes"]
    kinds = {"button", "link", "textbox", "searchbox", "combobox", "spinbutton", "progressbar"}
    named = [
        (node["role"]["value"], node.get("name", {}).get("value", ""))
        for node in nodes
        if not node["ignored"] and node["role"]["value"] in kinds
    ]
    assert len(named) > 12
    assert [role for role, name in named if not name] == []
    assert browser.value("document.getElementById('said').ariaLive") == "polite"
    stops = set()
    for _ in range(30):
        browser.key("Tab")
        stops.add(browser.value("document.activeElement.name || document.activeElement.innerText"))
    assert {"choose files", "choose a folder", "Cancel", "Delete", "guideline"} <= stops
    assert browser.value(browser.CONTRAST) == []


def test_a_server_that_is_gone_is_said(start, browser) -> None:
    client = start()
    browser.visit(client.url, ready=SHOWN)
    browser.call(
        "Network.emulateNetworkConditions",
        offline=True,
        latency=0,
        downloadThroughput=-1,
        uploadThroughput=-1,
    )
    try:
        browser.wait("!document.getElementById('trouble').hidden")
        assert "The server does not answer. Is luna serve running?" in browser.text("#trouble")
    finally:
        browser.call(
            "Network.emulateNetworkConditions",
            offline=False,
            latency=0,
            downloadThroughput=-1,
            uploadThroughput=-1,
        )
    browser.wait("document.getElementById('trouble').hidden")
