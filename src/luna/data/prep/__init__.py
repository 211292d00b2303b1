"""A cohort into the cache: each scan is read once, and what training needs of it is stored."""
