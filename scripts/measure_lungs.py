"""Compare the lungs of scans by numbers: attenuation, noise, and vessels by depth.

Each argument is a folder of one DICOM series, an image file, or `phantom:SEED:NUMBER`.
Prints Markdown:

    python scripts/measure_lungs.py ../shared/real/cptac-c3n-00247 phantom:1:0 phantom:1:1
"""

import sys
from pathlib import Path

import numpy as np
import SimpleITK
from scipy import ndimage

from luna.phantom.config import PhantomConfig
from luna.phantom.phantom import make_scan

IN_PLANE = ndimage.generate_binary_structure(2, 1)[None]
DEPTHS_MM = ((4, 10), (10, 20), (20, 35), (35, 70))
VESSEL_HU = -650
SMOOTHING_MM = 0.8
"""Evens out kernels and noise before vessels are told from lung by a threshold."""

WINDOW = (1, 9, 9)


def main() -> None:
    depths = " | ".join(f"{a}–{b} mm" for a, b in DEPTHS_MM)
    print(f"| scan | slice mm | 5 / 50 / 95 % HU | noise HU | lag 1, 2, z | {depths} |")
    print("|---|---|---|---|---|" + "---|" * len(DEPTHS_MM))
    for name in sys.argv[1:]:
        hu, spacing_irc = load(name)
        depth_mm = lung_depth(hu, spacing_irc)
        low, middle, high = np.percentile(hu[depth_mm > 8], (5, 50, 95))
        sd, lags = noise(hu, depth_mm)
        shares = " | ".join(f"{100 * s:.1f} %" for s in vessels(hu, depth_mm, spacing_irc))
        lag_text = ", ".join(f"{lag:.2f}" for lag in lags)
        print(
            f"| {Path(name).name} | {spacing_irc[0]:.2f} | {low:.0f} / {middle:.0f} / {high:.0f} "
            f"| {sd:.0f} | {lag_text} | {shares} |",
            flush=True,
        )


def load(name: str) -> tuple[np.ndarray, tuple[float, float, float]]:
    """HU (index, row, column) float32 and voxel size in mm."""
    if name.startswith("phantom:"):
        _, seed, number = name.split(":")
        scan = make_scan(int(seed), PhantomConfig(), int(number)).scan
        return np.maximum(scan.hu, -1024).astype(np.float32), scan.geometry.spacing_irc
    path = Path(name)
    if path.is_dir():
        reader = SimpleITK.ImageSeriesReader()
        reader.SetFileNames(reader.GetGDCMSeriesFileNames(name))
        image = reader.Execute()
    else:
        image = SimpleITK.ReadImage(name)
    x, y, z = image.GetSpacing()
    return np.maximum(SimpleITK.GetArrayFromImage(image), -1024).astype(np.float32), (z, y, x)


def lung_depth(hu: np.ndarray, spacing_irc: tuple[float, float, float]) -> np.ndarray:
    """Distance in mm to the lung's border within each slice; 0 outside the lungs."""
    body = ndimage.binary_opening(hu > -400, IN_PLANE, iterations=3)
    filled = np.stack([ndimage.binary_fill_holes(s) for s in body])
    labels, _ = ndimage.label(ndimage.binary_opening(filled & (hu < -500), IN_PLANE, 2))
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    lungs = np.isin(labels, np.flatnonzero(sizes > 0.2 * sizes.max()))
    lungs = ndimage.binary_closing(lungs, IN_PLANE, iterations=6)
    return np.stack([ndimage.distance_transform_edt(s, spacing_irc[1:]) for s in lungs])


def noise(hu: np.ndarray, depth_mm: np.ndarray) -> tuple[float, list[float]]:
    """SD of what varies within 9 pixels where no vessel is, and its correlations."""
    rough = hu - ndimage.uniform_filter(hu, WINDOW)
    calm = (depth_mm > 8) & (ndimage.maximum_filter(hu, WINDOW) < -600)
    variance = rough[calm].var()
    lags = [(rough * np.roll(rough, k, axis))[calm].mean() for k, axis in ((1, 2), (2, 2), (1, 0))]
    return float(np.sqrt(variance)), [float(lag / variance) for lag in lags]


def vessels(
    hu: np.ndarray, depth_mm: np.ndarray, spacing_irc: tuple[float, float, float]
) -> list[float]:
    """Share of the lung over VESSEL_HU after smoothing, by depth under its border."""
    smooth = ndimage.gaussian_filter(hu, [SMOOTHING_MM / s for s in spacing_irc])
    return [float((smooth[(depth_mm > a) & (depth_mm <= b)] > VESSEL_HU).mean())
            for a, b in DEPTHS_MM]  # fmt: skip


if __name__ == "__main__":
    main()
