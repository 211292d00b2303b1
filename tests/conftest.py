"""What every test may ask for."""

import json
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

# As `luna` sets it; torch reads it when it loads.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from hypothesis import settings

from luna.ct.cache import Cache
from luna.ct.frames import unframe_arrays
from luna.ct.geometry import Geometry
from luna.ct.scan import Provenance, Scan
from luna.data.luna16.folder import read_luna16
from luna.data.prep.cohort import prep
from luna.data.prep.config import PrepConfig
from luna.data.prep.manifest import MANIFEST
from luna.nets.bundle import Bundle
from luna.nets.card import Card
from luna.nets.classifier import Classifier
from luna.nets.models import Models
from luna.nets.unet import UNet

from .browser import NAMES, Browser

# A shell that runs the tests in the background ignores Ctrl-C, and so would every luna they start.
signal.signal(signal.SIGINT, signal.default_int_handler)

# On a busy machine any example may take long; no test here is about time. The parent is the
# profile in force, which under CI draws the same examples every time.
settings.register_profile("luna", settings(), deadline=None)
settings.load_profile("luna")

# (index, row, column) of the centre and radius in voxels, in `nodule_chest`.
NODULES = [((12, 40, 34), 3), ((9, 56, 42), 2), ((14, 50, 90), 3), ((10, 40, 96), 2)]
CHEST_GEOMETRY = Geometry((-160.0, -120.0, -30.0), (2.5, 2.5, 2.5))
SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of reference data beside the checkout; a user's clone has none."""
    if not SHARED.is_dir():
        pytest.skip("no ../shared beside this checkout: real scans and goldens are not there")
    return SHARED


@pytest.fixture(scope="session")
def book_models(shared: Path) -> Path:
    """The checkpoints published with the book's code."""
    return shared / "book" / "models"


def scan_of(hu: np.ndarray, geometry: Geometry | None = None, uid: str = "1.2.3") -> Scan:
    geometry = geometry or Geometry((-100.0, -100.0, 0.0), (1.5, 1.5, 2.5))
    return Scan(
        hu=np.asarray(hu, dtype=np.int16),
        geometry=geometry,
        series_uid=uid,
        provenance=Provenance(source="test.mhd", format="MetaImage"),
    )


@pytest.fixture(name="scan_of", scope="session")
def scan_of_fixture() -> Callable[..., Scan]:
    """Wrap an array as a Scan: (hu, geometry=…, uid=…)."""
    return scan_of


def chest_hu(slices: int = 24, rows: int = 96, columns: int = 128, seed: int = 0) -> np.ndarray:
    """A crude chest at 2.5 mm: oval body, two lungs that taper at both ends, a trachea, noise."""
    rng = np.random.default_rng(seed)
    i, r, c = np.mgrid[:slices, :rows, :columns].astype(np.float32)
    y, x = r - rows / 2, c - columns / 2
    middle = (slices - 1) / 2
    taper = np.sqrt(np.clip(1 - ((i - middle) / middle) ** 2, 0, 1))
    hu = np.full(i.shape, -1000.0, dtype=np.float32)
    hu[(x / 56) ** 2 + (y / 40) ** 2 < 1] = 40
    for side in (-1, 1):
        lung = ((x - side * 26) / 18) ** 2 + (y / 28) ** 2 < taper**2
        hu[lung] = -850
    hu[(x**2 + (y + 4) ** 2 < 9) & (i > slices * 2 / 3)] = -1000
    return np.rint(hu + rng.normal(0, 15, hu.shape)).astype(np.int16)


@pytest.fixture(name="chest", scope="session")
def chest_fixture() -> Callable[..., Scan]:
    """A crude chest as a Scan with 2.5 mm voxels; keyword arguments as `chest_hu`."""

    def build(uid: str = "1.2.3", **shape: int) -> Scan:
        return scan_of(chest_hu(**shape), CHEST_GEOMETRY, uid)

    return build


def bundle(role: str, architecture: str, arguments: dict, net: torch.nn.Module) -> Bundle:
    card = Card(
        name=f"test-{role}",
        role=role,
        architecture=architecture,
        arguments=arguments,
        training_data="none",
        licence="Apache-2.0",
        threshold=0.01,
        notice="for tests",
    )
    return Bundle(card, net.eval())


def soft_tissue_unet(arguments: dict) -> UNet:
    """A U-Net whose logit is (HU + 400) / 100 of the middle slice: it marks soft tissue."""
    net = UNet(**arguments)
    middle = arguments["context_slices"] // 2
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.zero_()
        net.input_norm.running_mean.fill_(-400)
        net.input_norm.running_var.fill_(100.0**2)
        block = net.down[0]
        for norm in (net.input_norm, block.norm1, block.norm2):
            norm.weight.fill_(1)
        # Channel 0 carries the positive part, channel 1 the negative part, through the ReLUs.
        block.conv1.weight[0, middle, 1, 1] = 1
        block.conv1.weight[1, middle, 1, 1] = -1
        block.conv2.weight[0, 0, 1, 1] = block.conv2.weight[1, 1, 1, 1] = 1
        net.head.weight[0, :, 0, 0] = torch.tensor([1.0, -1.0])
    return net


@pytest.fixture(scope="session")
def models() -> Models:
    """The soft tissue U-Net and an untrained classifier that does not saturate."""
    torch.manual_seed(1)
    unet = {"context_slices": 3, "depth": 1, "width": 2}
    classifier = {"input_size": (16, 16, 16), "widths": (2, 4)}
    net = Classifier(**classifier)
    with torch.no_grad():
        net.input_norm.running_mean.fill_(-500)
        net.input_norm.running_var.fill_(400.0**2)
        net.head.weight.mul_(0.1)
    return Models(
        bundle("segmentation", "unet", unet, soft_tissue_unet(unet)),
        bundle("nodule", "classifier", classifier, net),
    )


@pytest.fixture(scope="session")
def nodule_chest(chest, scan_of) -> Scan:
    """The crude chest with a ball of soft tissue for each of NODULES."""
    scan = chest()
    return scan_of(with_nodules(scan.hu), scan.geometry)


def with_nodules(hu: np.ndarray) -> np.ndarray:
    """A copy with a ball of soft tissue for each of NODULES."""
    hu = hu.copy()
    grid = np.mgrid[tuple(slice(n) for n in hu.shape)]
    for irc, radius in NODULES:
        hu[((grid - np.reshape(irc, (3, 1, 1, 1))) ** 2).sum(axis=0) <= radius**2] = 40
    return hu


@pytest.fixture(scope="session")
def small_cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four crude chests with the balls of NODULES in LUNA16's layout, and nine false candidates.

    Every second nodule is malignant.
    """
    root = tmp_path_factory.mktemp("cohort")
    rng = np.random.default_rng(4)
    annotations, candidates, malignancy = [], [], []
    for number in range(4):
        uid, folder = f"1.2.3.{number}", root / f"subset{number}"
        folder.mkdir()
        hu, geometry = with_nodules(chest_hu(seed=number)), CHEST_GEOMETRY
        image = sitk.GetImageFromArray(hu)
        image.SetOrigin(geometry.origin_xyz)
        image.SetSpacing(geometry.spacing_xyz)
        sitk.WriteImage(image, str(folder / f"{uid}.mhd"))
        for k, (irc, radius) in enumerate(NODULES):
            xyz = ",".join(map(str, geometry.xyz_from_irc(irc)))
            annotations.append(f"{uid},{xyz},{5 * radius}")
            malignancy.append(f"{annotations[-1]},{k % 2 == 1}")
            candidates.append(f"{uid},{xyz},1")
        for irc in rng.uniform((4, 25, 25), (20, 75, 105), (9, 3)):
            xyz = ",".join(map(str, geometry.xyz_from_irc(irc)))
            candidates.append(f"{uid},{xyz},0")
    place = "seriesuid,coordX,coordY,coordZ"
    for name, head, rows in (
        ("annotations.csv", f"{place},diameter_mm", annotations),
        ("annotations_with_malignancy.csv", f"{place},diameter_mm,mal_bool", malignancy),
        ("candidates_V2.csv", f"{place},class", candidates),
    ):
        (root / name).write_text("\n".join([head, *rows]) + "\n")
    return root


@pytest.fixture(scope="session")
def small_cache(small_cohort: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `luna prep` makes of it. Not to be changed: copy it first."""
    cache = tmp_path_factory.mktemp("prepared") / "cache"
    prep(read_luna16(small_cohort), cache, PrepConfig(), workers=1)
    return cache


@pytest.fixture(scope="session")
def contents_of() -> Callable[[Path], dict[str, Any]]:
    """The manifest of a cache, and the bytes of everything that it names, by key."""

    def read(cache: Path) -> dict[str, Any]:
        manifest = json.loads((cache / MANIFEST).read_text(encoding="utf-8"))
        values: dict[str, Any] = {"manifest": manifest}
        store = Cache(cache)
        for key in manifest["records"].values():
            values[key] = store.get(key)
            head, _ = unframe_arrays(values[key])
            for kind in ("hu", "mask"):
                values[head[kind]] = store.get(head[kind])
        store.close()
        return values

    return read


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        pytest.skip("no Chromium is installed to look at the page with")
    running = Browser(program, tmp_path_factory.mktemp("browser"))
    yield running
    running.close()
