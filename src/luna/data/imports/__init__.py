"""Turn your own scans and annotations into a cohort that `luna prep` reads."""
