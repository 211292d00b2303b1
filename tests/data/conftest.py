"""A cohort and a cache of it that a test may change."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from luna.data.luna16.folder import read_luna16
from luna.data.prep.cohort import PrepReport, prep
from luna.data.prep.config import PrepConfig
from luna.run.progress import Listener


@pytest.fixture
def cohort(small_cohort: Path, tmp_path: Path) -> Path:
    """A copy of the small cohort."""
    return Path(shutil.copytree(small_cohort, tmp_path / "cohort"))


@pytest.fixture
def cache(small_cache: Path, tmp_path: Path) -> Path:
    """A copy of the small cohort's cache."""
    return Path(shutil.copytree(small_cache, tmp_path / "cache"))


@pytest.fixture
def prepare(cohort: Path, cache: Path) -> Callable[..., tuple[PrepReport, list[str]]]:
    """Prepare the copy into the cache, or elsewhere; the report, and the damage that was told."""

    def call(where: Path = cache, workers: int = 1, **config: Any) -> tuple[PrepReport, list[str]]:
        told: list[str] = []
        data = read_luna16(cohort)
        return prep(data, where, PrepConfig(**config), workers, Listener(warn=told.append)), told

    return call
