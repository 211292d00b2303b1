"""`report.html`: one file, without network, for the eyes of a radiologist."""

from __future__ import annotations

import base64
import hashlib
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from luna.ct.scan import Scan
from luna.detect.findings import Findings
from luna.report.figures import SliceView, key_images, slice_view

TEMPLATES = files("luna.report") / "templates"


def render(scan: Scan, findings: Findings, said: dict[str, Any]) -> str:
    """The HTML of a report whose content is `said` (see `luna.report.document`).

    Every string is escaped by the template engine. The policy in the page's head allows its
    own script by hash, images from data URIs, and nothing else.
    """
    environment = Environment(
        loader=PackageLoader("luna.report"), autoescape=True, undefined=StrictUndefined
    )
    script = (TEMPLATES / "report.js").read_text(encoding="utf-8")
    view = slice_view(scan)
    return environment.get_template("report.html").render(
        said=said,
        images=[key_images(scan, finding) for finding in findings.findings],
        view=view,
        viewer=_viewer(scan, findings, view),
        style=(TEMPLATES / "report.css").read_text(encoding="utf-8"),
        script=script,
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii"),
    )


def _viewer(scan: Scan, findings: Findings, view: SliceView) -> dict[str, Any]:
    """What the script needs: slice positions, and where the findings are on them."""
    slices, rows, columns = scan.shape_irc
    middle = (rows / 2, columns / 2)
    z = scan.geometry.xyz_from_irc([(k, *middle) for k in range(slices)])[:, 2]
    return {
        "step": view.step,
        "slices": slices,
        "z": [round(float(v), 1) for v in z],
        "images": view.images,
        "findings": [
            {
                "number": f.number,
                "index": round(f.center_irc[0]),
                "first": f.mask.start_irc[0],
                "last": f.mask.start_irc[0] + f.mask.voxels.shape[0] - 1,
                # Pixel centres are at half steps of the drawing.
                "x": round((f.center_irc[2] + 0.5) / columns * view.width, 1),
                "y": round((f.center_irc[1] + 0.5) / rows * view.height, 1),
                "r": round(_radius(scan, f.measurement.long_axis_mm, view), 1),
            }
            for f in findings.findings
        ],
    }


def _radius(scan: Scan, long_axis_mm: float, view: SliceView) -> float:
    """Radius of the ring round a finding: clear of it, and large enough to be seen."""
    pixels_per_mm = view.width / (scan.shape_irc[2] * scan.geometry.spacing_irc[2])
    return max(10.0, 0.8 * long_axis_mm * pixels_per_mm)
