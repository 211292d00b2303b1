"""`luna diagnose`: of one scan or of many, and what may be given beside a scan."""
