"""Find lung nodules in chest CT scans, end to end.

    import luna

    scan = luna.read_scan("scan.mhd")
    findings = luna.diagnose(scan, luna.load_models())
    luna.write_report(scan, findings, "report")

`__all__` is the public interface. Its names are imported when they are first used, so that
`import luna` alone loads neither torch nor numpy.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from luna.ct.geometry import Geometry
    from luna.ct.read import read_scan
    from luna.ct.scan import Scan
    from luna.detect.config import DiagnoseConfig
    from luna.detect.findings import Candidates, Finding, Findings, Measurement
    from luna.detect.pipeline import diagnose
    from luna.nets.models import Models, load_models
    from luna.report.write import write_report
    from luna.run.errors import LunaError

__version__ = "0.2.0"

__all__ = [
    "Candidates",
    "DiagnoseConfig",
    "Finding",
    "Findings",
    "Geometry",
    "LunaError",
    "Measurement",
    "Models",
    "Scan",
    "diagnose",
    "load_models",
    "read_scan",
    "write_report",
]

_MODULES = {
    "Candidates": "luna.detect.findings",
    "DiagnoseConfig": "luna.detect.config",
    "Finding": "luna.detect.findings",
    "Findings": "luna.detect.findings",
    "Geometry": "luna.ct.geometry",
    "LunaError": "luna.run.errors",
    "Measurement": "luna.detect.findings",
    "Models": "luna.nets.models",
    "Scan": "luna.ct.scan",
    "diagnose": "luna.detect.pipeline",
    "load_models": "luna.nets.models",
    "read_scan": "luna.ct.read",
    "write_report": "luna.report.write",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    if name not in _MODULES:
        raise AttributeError(f"module 'luna' has no attribute {name!r}")
    value = getattr(import_module(_MODULES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
