"""Name the lobe of each finding, where the user gave the lobes of the scan."""

from __future__ import annotations

from dataclasses import replace

from luna.ct.geometry import Triple
from luna.ct.lungs.lobes import Lobes
from luna.detect.findings import Finding, Findings


def with_lobes(findings: Findings, lobes: Lobes, spacing_irc: Triple) -> Findings:
    """Add to each finding the lobe that it lies in; `spacing_irc` is the scan's."""
    return replace(
        findings, findings=tuple(_named(one, lobes, spacing_irc) for one in findings.findings)
    )


def _named(finding: Finding, lobes: Lobes, spacing_irc: Triple) -> Finding:
    lobe = lobes.of(finding.mask, spacing_irc)
    return replace(finding, description=replace(finding.description, lobe=lobe))
