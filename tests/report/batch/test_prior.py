"""The prior of a scan in a list takes the names of its nodules from its report, or says why not."""

from collections.abc import Callable
from pathlib import Path

import pytest

from luna.ct.listing.source import Source
from luna.ct.scan import Scan
from luna.detect.prior.fit import Tracked
from luna.phantom.cohort import write_metaimage
from luna.report.batch.prior import UNREAD, Earlier
from luna.report.origin import NAME, SCHEMA
from luna.run.checked import write_checked

NODULE = Tracked("0123456789abcdef" * 2, (1.0, 2.0, 3.0))


@pytest.fixture
def earlier(chest: Callable[..., Scan], tmp_path: Path) -> Earlier:
    """A chest, with a report that was made when its file lay elsewhere."""
    scan = chest()
    write_metaimage(tmp_path / "before.mhd", scan.hu, scan.geometry)
    source = Source(tmp_path / "before.mhd")
    (tmp_path / "report").mkdir()
    values = {
        "schema": SCHEMA,
        "path": "/gone/before.mhd",
        "series_uid": "before",
        "scan": source.read().fingerprint(),
        "nodules": [{"tracking_id": NODULE.tracking_id, "center_lps_mm": NODULE.center_xyz}],
    }
    write_checked(tmp_path / "report" / NAME, values)
    return Earlier(source, tmp_path / "report")


@pytest.mark.slow
def test_the_names_hold_though_the_archive_was_moved(earlier: Earlier, nodule_chest: Scan) -> None:
    fitted = earlier.fit(nodule_chest)
    assert fitted.reason == ""
    assert fitted.prior is not None
    assert fitted.prior.known == (NODULE,)


def test_a_report_that_is_damaged_or_of_the_scan_itself_is_said(
    earlier: Earlier, nodule_chest: Scan
) -> None:
    itself = earlier.fit(earlier.source.read())
    assert (itself.prior, itself.reason) == (None, "the prior is the scan itself")
    key = earlier.key()
    (earlier.folder / NAME).write_text("{}")
    damaged = earlier.fit(nodule_chest)
    assert damaged.prior is None
    assert "source.json: this is not a file of luna" in damaged.reason
    assert earlier.key() != key
    (earlier.source.path).write_text("ObjectType = Image\n")
    unread = earlier.fit(nodule_chest)
    assert (unread.content, unread.prior) == (UNREAD, None)
    assert unread.reason
