"""What a program can do with the API: send, follow, find, compare, cancel, delete."""

import json
import re
import shutil
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from luna.ct.scan import Scan
from luna.nets.models import Models
from luna.phantom.cohort import write_metaimage

from ..dicom_chest import write_series


def test_a_zip_is_looked_at_and_its_report_can_be_had(busy, archive: Path) -> None:
    sent = busy.send(archive, guideline="lung-rads", age=66)
    assert (sent["label"], sent["files"]) == ("chest.zip", 1)
    assert sent["state"] in ("queued", "running")
    done = busy.wait(sent["id"])
    assert (done["state"], done["result"]["status"], done["result"]["findings"]) == (
        ("done", "findings", 4)
    )
    names = busy.ask("GET", f"/api/scans/{sent['id']}/files").json()["files"]
    assert {"report.html", "report.json", "nodules.csv", "detections.csv", "nodules.nii.gz"} == (
        set(names)
    )
    report = busy.ask("GET", f"/api/scans/{sent['id']}/files/report.json").json()
    assert len(report["findings"]) == 4
    assert report["guidelines"]["statements"][0]["guideline"].startswith("Lung-RADS")
    assert report["scan"]["series_uid"] == "1.2.840"
    page = busy.ask("GET", done["report"])
    assert page.text == (busy.folder.report(sent["id"]) / "report.html").read_text()
    assert page.headers["content-security-policy"].startswith("sandbox allow-scripts;")


def test_files_of_a_folder_make_one_scan_and_keep_their_names(busy, volume: list[Path]) -> None:
    names = {path: f"Müller chest/{path.name}" for path in volume}
    sent = busy.send(*volume, names=names)
    assert (sent["label"], sent["files"]) == ("Müller chest", 2)
    assert sent["bytes"] == sum(path.stat().st_size for path in volume)
    assert busy.wait(sent["id"])["result"]["series_uid"] == "1.2.840"


def test_of_a_study_the_thinnest_series_is_taken_or_the_one_that_is_asked_for(
    busy, nodule_chest: Scan, tmp_path: Path
) -> None:
    study = {"StudyInstanceUID": "1.9", "FrameOfReferenceUID": "1.9.1"}
    folder = write_series(tmp_path / "study", nodule_chest, "1.9.2", SeriesNumber=2, **study)
    for old in write_series(tmp_path / "b", nodule_chest, "1.9.3", **study).iterdir():
        if int(old.stem[-3:]) % 2 == 0:
            shutil.copy(old, folder / old.name)
    files = sorted(folder.iterdir())
    plain = busy.send(*files)
    asked = busy.send(*files, series="1.9.3")
    wrong = busy.send(*files, series="7.7")
    assert busy.wait(plain["id"])["result"]["series_uid"] == "1.9.2"
    assert busy.wait(asked["id"])["result"]["series_uid"] == "1.9.3"
    assert "no series 7.7" in busy.wait(wrong["id"])["error"]
    names = busy.ask("GET", f"/api/scans/{plain['id']}/files").json()["files"]
    assert {"nodules.seg.dcm", "measurements.sr.dcm"} <= set(names)


def test_what_is_wrong_with_a_scan_is_told_by_the_names_its_sender_knows(
    busy, volume: list[Path], tmp_path: Path
) -> None:
    broken = tmp_path / "broken.zip"
    broken.write_bytes(b"PK, but no archive")
    text = tmp_path / "notes.txt"
    text.write_text("nothing to see")
    header = next(path for path in volume if path.suffix == ".mhd")
    told = {
        "archive is damaged": busy.send(broken),
        "no scan in this upload": busy.send(text),
        "1.2.840": busy.send(header),  # its data did not come
    }
    for words, sent in told.items():
        row = busy.wait(sent["id"])
        assert row["state"] == "failed"
        assert words in row["error"]
        assert str(busy.folder.root) not in json.dumps(row)
        assert "luna-" not in row["error"]
        assert row["report"] is None
        assert busy.ask("GET", f"/scans/{row['id']}/report").status_code == 404


def test_two_scans_in_one_upload_are_refused_with_their_names(
    busy, volume: list[Path], nodule_chest: Scan, tmp_path: Path
) -> None:
    write_metaimage(tmp_path / "1.2.841.mhd", nodule_chest.hu, nodule_chest.geometry)
    sent = busy.send(*volume, *sorted(tmp_path.glob("1.2.841*")))
    row = busy.wait(sent["id"])
    assert "2 scans in one upload (1.2.840, 1.2.841)" in row["error"]
    assert "one study at a time" in row["hint"]


def test_scans_are_found_by_what_is_told_of_them(client, archive: Path, volume: list[Path]) -> None:
    one, two = (
        client.send(archive),
        client.send(*volume, names={p: f"100%_x/{p.name}" for p in volume}),
    )

    def found(search: str) -> list[str]:
        answer = client.ask("GET", "/api/scans", params={"search": search}).json()
        return [scan["id"] for scan in answer["scans"]]

    assert found("") == [two["id"], one["id"]]
    assert found("CHEST") == [one["id"]]
    assert found("100%_x") == [two["id"]]
    assert found("%") == [two["id"]]  # a sign, not a pattern
    assert found("' OR 1=1 --") == []
    assert client.ask("GET", "/api/scans", params={"most": 1}).json()["waiting"] == 2


def test_the_queue_is_in_order_and_a_place_can_be_given_up(client, archive: Path) -> None:
    ids = [client.send(archive)["id"] for _ in range(3)]
    assert [client.get(scan)["place"] for scan in ids] == [0, 1, 2]
    cancelled = client.ask("POST", f"/api/scans/{ids[1]}/cancel").json()
    assert (cancelled["state"], cancelled["place"]) == ("cancelled", None)
    assert client.get(ids[2])["place"] == 1
    again = client.ask("POST", f"/api/scans/{ids[1]}/again").json()
    assert again["label"] == "chest.zip"
    assert client.get(again["id"])["place"] == 2


def test_a_running_scan_is_cancelled_at_its_next_step(
    client, archive: Path, models: Models, working, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = client.send(archive)

    def cancel_and_go_on(self: object, row: object, progress: Callable[..., None]) -> None:
        progress("segment", 0, 4)
        client.ask("POST", f"/api/scans/{sent['id']}/cancel")
        assert client.get(sent["id"])["stopping"]
        progress("classify", 0, 4)
        raise AssertionError("it went on")

    monkeypatch.setattr("luna.serve.examine.Examiner.examine", cancel_and_go_on)
    with working(client.folder, models):
        assert client.wait(sent["id"])["state"] == "cancelled"
    assert client.get(sent["id"])["stopping"] is False


def test_deleting_removes_all_that_was_kept(busy, archive: Path) -> None:
    sent = busy.send(archive)
    busy.wait(sent["id"])
    kept = busy.folder.scan(sent["id"])
    assert (kept / "upload.zip").is_file()
    assert busy.ask("DELETE", f"/api/scans/{sent['id']}").status_code == 204
    assert not kept.exists()
    for method, path in (("GET", ""), ("DELETE", ""), ("POST", "/cancel"), ("POST", "/again")):
        answer = busy.ask(method, f"/api/scans/{sent['id']}{path}")
        assert answer.status_code == 404
        assert answer.json()["error"] == "no such scan"


def test_deleting_a_running_scan_stops_it_first(
    client, archive: Path, models: Models, working, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent, other = client.send(archive), client.send(archive)

    def delete_and_go_on(self: object, row: object, progress: Callable[..., None]) -> None:
        progress("segment", 0, 4)
        assert client.ask("DELETE", f"/api/scans/{sent['id']}").status_code == 204
        assert client.ask("GET", f"/api/scans/{sent['id']}").status_code == 404
        monkeypatch.undo()
        progress("classify", 0, 4)

    monkeypatch.setattr("luna.serve.examine.Examiner.examine", delete_and_go_on)
    with working(client.folder, models):
        assert client.wait(other["id"])["state"] == "done"
    assert not client.folder.scan(sent["id"]).exists()
    assert client.folder.store.ids() == {other["id"]}


@pytest.mark.slow
def test_a_prior_is_offered_and_compared(
    client, nodule_chest: Scan, scan_of, models: Models, working, tmp_path: Path
) -> None:
    """The tiny networks have no say in it: the prior is the same chest with other noise."""
    noise = np.random.default_rng(3).normal(0, 5, nodule_chest.hu.shape)
    before = scan_of(nodule_chest.hu + noise, nodule_chest.geometry)
    sent = {}
    for name, scan, day in (("now", nodule_chest, "20260301"), ("before", before, "20250301")):
        folder = write_series(tmp_path / name, scan, f"1.5.{len(sent)}", StudyDate=day)
        sent[name] = client.send(*sorted(folder.iterdir()))["id"]
    with working(client.folder, models, include_phi=True):
        for scan in sent.values():
            client.wait(scan)
        offered = client.ask("GET", f"/api/scans/{sent['now']}/priors").json()["scans"]
        assert [(one["id"], one["study_date"]) for one in offered] == [
            (sent["before"], "2025-03-01")
        ]
        assert offered[0]["patient_name"] == "DOE^JANE"
        path = f"/api/scans/{sent['now']}/again"
        again = client.ask("POST", path, params={"prior": sent["before"]}).json()
        row = client.wait(again["id"])
    assert row["state"] == "done", row
    report = client.ask("GET", f"/api/scans/{again['id']}/files/report.json").json()
    assert report["prior"]["days"] == 365
    assert len(report["prior"]["changes"]) >= 4


def test_a_prior_that_is_gone_or_does_not_fit_is_said(busy, archive: Path) -> None:
    first = busy.send(archive)["id"]
    busy.wait(first)
    itself = busy.send(archive, prior=first)
    assert "the prior is the scan itself" in busy.wait(itself["id"])["error"]
    for query in ({"prior": "0" * 32}, {"prior": "../../etc"}, {"interval": 3}):
        answer = busy.ask("POST", f"/api/scans/{first}/again", params=query)
        assert answer.status_code in (400, 404)
        assert answer.json()["error"]


def test_names_are_kept_only_where_they_are_asked_for(
    client, nodule_chest: Scan, models: Models, working, tmp_path: Path
) -> None:
    files = sorted(write_series(tmp_path / "s", nodule_chest, "1.7").iterdir())
    with working(client.folder, models):
        sent = client.send(*files)
        row = client.wait(sent["id"])
    assert (row["patient_name"], row["study_date"]) == ("", "")
    assert "DOE" not in json.dumps(row)
    assert b"DOE" not in (client.folder.root / "scans.sqlite3").read_bytes()


@pytest.mark.parametrize(
    "query", ["age=300", "age=x", "guideline=all", "sex=X", "interval=0", f"series={'1' * 65}"]
)
def test_nonsense_that_is_asked_for_is_refused(client, archive: Path, query: str) -> None:
    files = [("files", (archive.name, archive.read_bytes()))]
    answer = client.ask("POST", f"/api/scans?{query}", files=files)
    assert answer.status_code == 400
    assert query.partition("=")[0] in answer.json()["error"]
    assert client.folder.store.ids() == set()


def test_the_api_describes_itself(client) -> None:
    answer = client.ask("GET", "/openapi.json").json()
    paths = {(method.upper(), path) for path, item in answer["paths"].items() for method in item}
    assert paths == {
        *(("GET", "/api/scans"), ("POST", "/api/scans"), ("POST", "/api/scans/{scan}/again")),
        *(("GET", "/api/scans/{scan}"), ("DELETE", "/api/scans/{scan}")),
        *(("GET", "/api/scans/{scan}/priors"), ("POST", "/api/scans/{scan}/cancel")),
        *(("GET", "/api/scans/{scan}/files"), ("GET", "/api/scans/{scan}/files/{name}")),
        *(("GET", "/api/health"), ("POST", "/api/session"), ("DELETE", "/api/session")),
    }
    send = answer["paths"]["/api/scans"]["post"]
    assert "multipart/form-data" in send["requestBody"]["content"]
    assert {p["name"] for p in send["parameters"]} >= {"series", "prior", "guideline", "age"}
    fields = answer["components"]["schemas"]["ScanAnswer"]["properties"]
    assert {"state", "place", "seconds_left", "result", "error"} <= set(fields)
    assert not re.search(r"https?://", json.dumps(answer))


def test_only_its_user_may_enter_the_folder(busy, archive: Path) -> None:
    sent = busy.send(archive)
    busy.wait(sent["id"])
    for path in (busy.folder.root, busy.folder.scan(sent["id"]), busy.folder.work):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
    assert list(busy.folder.incoming.iterdir()) == []


def test_an_upload_stays_what_it_was(client, archive: Path, volume: list[Path]) -> None:
    sent = client.send(archive)
    assert client.folder.upload(sent["id"]).read_bytes() == archive.read_bytes()
    sent = client.send(*volume)
    with zipfile.ZipFile(client.folder.upload(sent["id"])) as kept:
        assert {name: kept.read(name) for name in kept.namelist()} == {
            path.name: path.read_bytes() for path in volume
        }
