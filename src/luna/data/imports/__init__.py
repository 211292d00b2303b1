"""Other people's scans and annotations, turned into a cohort that `luna prep` reads."""
