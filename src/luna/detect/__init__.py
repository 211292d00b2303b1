"""From a Scan to Findings: segment, group, classify, measure."""
