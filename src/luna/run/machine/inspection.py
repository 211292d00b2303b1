"""What this machine has, and what luna needs and misses on it."""

from __future__ import annotations

import importlib
import platform
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from luna import __version__
from luna.run.machine.limits import cores, memory_bytes

GIB = 1 << 30

MIN_MEMORY_GIB = 4.0
"""A 600×512×512 scan takes up to 3 GiB; the system wants the rest."""
MIN_DISK_GIB = 1.0
"""Reports take tens of MiB; with less than this the next one may not fit."""
MIN_SHM_GIB = 1.0
"""Data workers pass batches through /dev/shm; containers often give it 64 MiB."""

DISTRIBUTIONS = ("luna-ct", "luna")
"""What luna is called where packages are installed; a checkout may have the older name still."""

DRIVER = Path("/proc/driver/nvidia/version")
"""There where Linux has loaded the driver of an NVIDIA card."""

MODULES = {"simpleitk": "SimpleITK", "pillow": "PIL"}
"""Import names that are not the package's name in lower case."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Package:
    """One requirement: the version found (None when absent) and what is wrong with it."""

    name: str
    found: str | None
    wanted: str
    problem: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Machine:
    """What `luna doctor` reports. `missing` is essential; `advice` is what could be better."""

    luna: str
    python: str
    platform: str
    packages: tuple[Package, ...]
    devices: tuple[str, ...]
    bf16: bool
    cores: int
    memory_gib: float | None
    disk_free_gib: float
    temporary_free_gib: float
    shm_gib: float | None
    missing: tuple[str, ...]
    advice: tuple[str, ...]


def inspect_machine() -> Machine:
    """Look at packages, devices, memory and disks; nothing is changed."""
    packages = tuple(_packages())
    devices, bf16, problems = _devices()
    memory = memory_bytes()
    memory_gib = None if memory is None else memory / GIB
    disk, temporary = _free_gib(Path.cwd()), _temporary_gib()
    shm = _total_gib(Path("/dev/shm"))  # noqa: S108 - looked at, not written
    return Machine(
        luna=__version__,
        python=platform.python_version(),
        platform=platform.platform(),
        packages=packages,
        devices=devices,
        bf16=bf16,
        cores=cores(),
        memory_gib=memory_gib,
        disk_free_gib=disk,
        temporary_free_gib=temporary,
        shm_gib=shm,
        missing=tuple(_missing(packages, disk, temporary)),
        advice=(*problems, *_advice(devices, memory_gib, shm)),
    )


def _missing(packages: tuple[Package, ...], disk: float, temporary: float) -> Iterator[str]:
    for package in packages:
        if package.problem:
            yield f"{package.name}: {package.problem}"
    for place, free in (("this folder", disk), ("the temporary folder", temporary)):
        if free < MIN_DISK_GIB:
            yield f"{free:.2f} GiB free in {place}, less than {MIN_DISK_GIB:g}"


def _advice(devices: tuple[str, ...], memory: float | None, shm: float | None) -> Iterator[str]:
    if not any(d.startswith("cuda") and not d.endswith("(cannot be used)") for d in devices):
        yield "no CUDA card: diagnosis takes longer, and training full networks hours to days"
    if memory is not None and memory < MIN_MEMORY_GIB:
        yield f"{memory:.1f} GiB of memory: scans of 600 slices need {MIN_MEMORY_GIB:g}"
    if shm is not None and shm < MIN_SHM_GIB:
        yield f"{shm:.2f} GiB of shared memory: training with worker processes may fail"
    if shutil.which("git") is None:
        yield "no git: run records cannot name the commit of a checkout"


def _packages() -> Iterator[Package]:
    """Yield every runtime requirement of luna, imported for a test."""
    for line in _requirements():
        requirement, _, marker = line.partition(";")
        match = re.match(r"[\w.-]+", requirement)
        if match is None or "extra" in marker:
            continue
        yield _package(match[0], requirement[match.end() :].strip())


def _requirements() -> list[str]:
    """Return the requirements in luna's metadata, under its name on PyPI or its former one."""
    for name in DISTRIBUTIONS:
        with suppress(PackageNotFoundError):
            return requires(name) or []
    return []


def _package(name: str, wanted: str) -> Package:
    try:
        found = version(name)
    except PackageNotFoundError:
        return Package(name=name, found=None, wanted=wanted, problem="not installed")
    lower = re.search(r">=\s*([\d.]+)", wanted)
    if lower and _numbers(found) < _numbers(lower[1]):
        return Package(name=name, found=found, wanted=wanted, problem=f"{found} is not {wanted}")
    return Package(name=name, found=found, wanted=wanted, problem=_import_problem(name))


def _import_problem(name: str) -> str:
    """Return why an installed package does not import, or nothing."""
    try:
        importlib.import_module(MODULES.get(name.lower(), name.lower()))
    except Exception as error:  # what it says of the variables that it reads, too
        return f"does not import: {error}"
    return ""


def _numbers(text: str) -> tuple[int, ...]:
    match = re.match(r"\d+(\.\d+)*", text)
    return tuple(int(part) for part in match[0].split(".")) if match else ()


def _devices() -> tuple[tuple[str, ...], bool, tuple[str, ...]]:
    """Names of the devices, whether `--device auto` has bfloat16, and what is wrong with cards."""
    processor = f"cpu {platform.machine()}"
    try:
        import torch
    except Exception:  # the package has been named among those that do not import
        return (processor,), False, ()
    from luna.run.device import card_problem, choose_device, cuda_problem
    from luna.run.machine.precision import bf16_is_native

    names, problems = [], []
    for index in range(torch.cuda.device_count()):
        problem = card_problem(index)
        names.append(f"cuda:{index} {_card_name(index)}" + (" (cannot be used)" if problem else ""))
        if problem:
            problems.append(f"cuda:{index} cannot be used: {problem}")
    if not names and (DRIVER.exists() or torch.version.cuda is not None):
        problems.append(f"no CUDA card can be used: {cuda_problem()}")
    bf16 = bf16_is_native(choose_device("auto", lambda message: None))
    return (*names, processor), bf16, tuple(problems)


def _card_name(index: int) -> str:
    """Return a card's name, where its driver gives it."""
    import torch

    try:
        return str(torch.cuda.get_device_name(index))
    except (RuntimeError, AssertionError):
        return "of unknown name"


def _free_gib(folder: Path) -> float:
    return shutil.disk_usage(folder).free / GIB


def _temporary_gib() -> float:
    """Return the free space for temporary files; 0 where there is no folder for them."""
    try:
        return _free_gib(Path(tempfile.gettempdir()))
    except OSError:
        return 0.0


def _total_gib(folder: Path) -> float | None:
    return shutil.disk_usage(folder).total / GIB if folder.is_dir() else None
