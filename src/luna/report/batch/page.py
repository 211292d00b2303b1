"""`index.html`: the index of many scans, the most suspicious first, in one offline file."""

from __future__ import annotations

import base64
import hashlib
from datetime import UTC, datetime
from pathlib import Path

from luna import __version__
from luna.report.batch.entry import Entry
from luna.report.batch.scan import RESULT
from luna.report.batch.summary import Summary
from luna.report.document import NOTICE
from luna.report.html import page_environment, template_text
from luna.run.checked import DamagedError, read_checked
from luna.run.files import replace_file

ROWS_MAX = 5000
"""Scans in the table; a longer page is slow, and `summary.csv` holds them all."""

PICTURED_MAX = 500
"""Scans with a picture, the worst first: each takes 3 kB of a page that may be mailed."""

LIMITS_MAX = 3
"""Sentences on what could not be judged that the list shows of a scan; its report has them all."""

POLICY = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{}'; "
    "base-uri 'none'; form-action 'none'"
)


def write_page(summary: Summary, path: Path, notices: tuple[str, ...] = ()) -> None:
    """Write the index; `notices` are those of the networks' cards."""
    script = template_text("index.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    rows = summary.ordered()[:ROWS_MAX]
    text = (
        page_environment()
        .get_template("index.html")
        .render(
            policy=POLICY.format(digest),
            notice=NOTICE,
            notices=notices,
            summary=summary,
            counts=summary.counts(),
            rows=rows,
            pictures=[_picture(path.parent, entry) for entry in rows[:PICTURED_MAX]],
            created=f"{datetime.now(UTC):%Y-%m-%d %H:%M}",
            LIMITS_MAX=LIMITS_MAX,
            version=__version__,
            style=template_text("page.css", "index.css"),
            script=script,
        )
    )
    with replace_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def _picture(out: Path, entry: Entry) -> str:
    """Return the thumbnail that lies beside a report; none where it was lost since."""
    try:
        return str(read_checked(out / entry.folder / RESULT)["thumbnail"])
    except DamagedError:
        return ""
