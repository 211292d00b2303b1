"""A prepared cohort keeps as many volumes open as the process may, and no more."""

import resource
from pathlib import Path

import numpy as np
import pytest

from luna.data.prep.manifest import MANIFEST
from luna.data.prepared import SPARE_FILES, Prepared, open_prepared, open_volumes
from luna.run.checked import read_checked, write_checked
from luna.run.errors import TrustError

WHOLE_LUNA16 = 888


def allow(monkeypatch: pytest.MonkeyPatch, files: int) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda which: (files, files))


@pytest.mark.parametrize("files", [1024, 1 << 20, resource.RLIM_INFINITY])
def test_all_of_luna16_stays_open_where_it_may(monkeypatch, files):
    allow(monkeypatch, files)
    assert WHOLE_LUNA16 <= open_volumes() <= 2048


def open_files() -> int:
    return len(list(Path("/dev/fd").iterdir()))


def first_voxels(prepared: Prepared) -> list[np.ndarray]:
    """Around the first nodule of each series that has one."""
    series, rows = np.unique(prepared.nodules.series, return_index=True)
    centers = prepared.nodules.center_irc[rows]
    return [
        prepared.volumes.crop("mask", int(s), c, (9, 9, 9))
        for s, c in zip(series, centers, strict=True)
    ]


def test_more_volumes_than_may_be_open(monkeypatch, small_cache):
    expected = first_voxels(open_prepared(small_cache))
    allow(monkeypatch, SPARE_FILES + 1)
    prepared = open_prepared(small_cache)
    before = open_files()
    for _ in range(2):
        found = first_voxels(prepared)
        assert len(found) > 1
        assert all(f.any() and np.array_equal(f, e) for f, e in zip(found, expected, strict=True))
    assert open_files() <= before + 1


def test_an_edited_manifest_is_refused_and_prep_mends_it(cache, prepare):
    path = cache / MANIFEST
    whole = path.read_text()
    path.write_text(whole.replace('"bounded"', '"<script>alert(1)</script>"'))
    with pytest.raises(TrustError, match=r"prepared\.json: .* was edited"):
        open_prepared(cache)
    report, _ = prepare()
    assert report.kept == report.scans
    assert path.read_text() == whole


@pytest.mark.parametrize("text", ["", "[" * 50_000, "null", "[]", "{}", '{"format": 1}'])
def test_a_manifest_that_luna_did_not_write_is_refused(cache, text):
    (cache / MANIFEST).write_text(text)
    with pytest.raises(TrustError, match=r"prepared\.json"):
        open_prepared(cache)


@pytest.mark.parametrize(
    "change",
    [
        {"config": {}},
        {"config": {"nodule_mask": 3, "candidates": {}, "more": 1}},
        {"records": []},
        {"records": {"1.2.3.0": None}},
        {"format": 99},
        {"series": 3},
    ],
)
def test_a_forged_manifest_with_the_right_checksum_is_refused(cache, change):
    values = read_checked(cache / MANIFEST)
    write_checked(cache / MANIFEST, values | change)
    with pytest.raises(TrustError):
        open_prepared(cache)
