"""Many scans: a report for each, and one list of them all."""
