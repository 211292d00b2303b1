"""The scanner of a phantom: grid, table, blanket, kernel, noise and padding."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from luna.phantom.breath import STILL, Breath
from luna.phantom.config import (
    MAX_SPACING_MM,
    MIN_SPACING_MM,
    REFERENCE_SIZE,
    Patient,
    PhantomConfig,
)

Image = NDArray[np.float32]

MARGIN_MM = 12.0
"""How far the scan reaches beyond the lungs, above and below."""


@dataclass(frozen=True)
class Scanner:
    """One acquisition: a grid in the body frame, and how it blurs and adds noise.

    `low_xyz` is voxel (0, 0, 0) in body mm. `cutoff` is the frequency per mm at which the
    kernel passes 10 %, `edge` its overshoot in the middle frequencies, `neighbour` the
    share that each adjacent slice adds, `noise_memory` the correlation of the noise between
    adjacent slices. `breath` is where the tissue stands while it scans.
    """

    low_xyz: NDArray[np.float64]
    spacing_xyz: NDArray[np.float64]
    shape_irc: tuple[int, int, int]
    cutoff: float
    edge: float
    neighbour: float
    noise_hu: float
    noise_memory: float
    table_y: float
    table_hu: float
    blanket: bool
    circle: bool
    breath: Breath = STILL


def draw_scanner(rng: np.random.Generator, config: PhantomConfig, patient: Patient) -> Scanner:
    """Draw a scanner with a field of view that fits the patient's lungs."""
    scale = REFERENCE_SIZE / config.size
    field = 2 * patient.half_width + rng.uniform(30, 130)
    pixel = float(np.clip(field / REFERENCE_SIZE, MIN_SPACING_MM, MAX_SPACING_MM)) * scale
    thickness = float(rng.uniform(*config.slice_mm))
    low, high = -0.66 * patient.height - MARGIN_MM, 0.52 * patient.height + MARGIN_MM
    if config.slab_mm:
        height = min(config.slab_mm, high - low)
        first, last = max(low, -0.4 * patient.height), min(high, 0.4 * patient.height) - height
        # A slab nearly as tall as the lungs fits in one place.
        low = min(rng.uniform(first, max(first, last)), high - height)
        high = low + height
    slices = max(int((high - low) / thickness), 3)
    soft = rng.random() < config.soft_kernel_share
    cutoff = rng.uniform(0.62, 0.8) if soft else rng.uniform(0.85, 1.2)
    noise = rng.uniform(*config.noise_hu) * (1.0 if soft else rng.uniform(1.5, 2.4))
    center = np.array([rng.uniform(-8, 8), rng.uniform(-4, 16)])
    corner = center - pixel * config.size / 2
    wall = patient.half_depth + 12 + patient.muscle + patient.fat
    return Scanner(
        low_xyz=np.array([corner[0], corner[1], low]),
        spacing_xyz=np.array([pixel, pixel, thickness]),
        shape_irc=(slices, config.size, config.size),
        cutoff=float(cutoff),
        edge=0.0 if soft else float(rng.uniform(0.1, 0.7)),
        neighbour=float(np.clip(0.3 - 0.1 * thickness, 0.06, 0.25)),
        noise_hu=float(noise * min(1.0, np.sqrt(1.5 / thickness) if thickness > 1.5 else 1.0)),
        noise_memory=float(np.clip(0.6 - 0.25 * thickness, 0.05, 0.5)),
        table_y=float(wall + rng.uniform(1, 4)),
        table_hu=float(rng.uniform(-250, 250)),
        blanket=bool(rng.random() < config.blanket_share),
        circle=bool(rng.random() < config.circle_share),
    )


def pixel_axes(scanner: Scanner) -> tuple[Image, Image]:
    """Coordinates x (1, C) and y (R, 1) of the pixels in body mm."""
    _, rows, cols = scanner.shape_irc
    x = scanner.low_xyz[0] + scanner.spacing_xyz[0] * np.arange(cols)
    y = scanner.low_xyz[1] + scanner.spacing_xyz[1] * np.arange(rows)
    return x.astype(np.float32)[None, :], y.astype(np.float32)[:, None]


def outside_circle(shape_rc: tuple[int, int]) -> NDArray[np.bool_]:
    """Mask (R, C), true outside the scanner's circle."""
    rows, cols = shape_rc
    r = (np.arange(rows) - (rows - 1) / 2)[:, None]
    c = (np.arange(cols) - (cols - 1) / 2)[None, :]
    return np.asarray(np.hypot(r, c) > min(rows, cols) / 2, dtype=np.bool_)


def table_image(scanner: Scanner) -> Image:
    """Image (R, C) in HU of air with a curved table, its shell and its foam, and a mattress."""
    x, y = pixel_axes(scanner)
    top = scanner.table_y - (np.abs(x) / 200) ** 2 * 45
    shell = np.float32(1.6)
    depth = y - top
    image = np.full((y.size, x.size), -1000, np.float32)
    foam = np.clip(depth, 0, 1) * np.clip(46 - depth, 0, 1)
    image += foam * 45
    for edge in (0, 46):
        image += np.clip(shell - np.abs(depth - edge), 0, 1) * (scanner.table_hu + 1000)
    mattress = np.clip(depth + 12, 0, 1) * np.clip(-depth, 0, 1)
    return np.asarray(image + mattress * 25, dtype=np.float32)


@dataclass(frozen=True)
class Kernel:
    """Frequency responses on the half plane of a real 2-D transform, (R, C // 2 + 1)."""

    transfer: Image
    noise: Image
    texture: Image


def build_kernel(scanner: Scanner) -> Kernel:
    """Compute the transfer of the anatomy, and amplitudes that give noise and texture an SD of 1.

    Reconstruction multiplies by a ramp, so noise power grows with frequency until the
    kernel cuts it (Riederer, Pelc, Chesler, Phys Med Biol 1978, 23:446). The texture is
    what lobules and capillaries leave at about 2 mm.
    """
    _, rows, cols = scanner.shape_irc
    pixel = scanner.spacing_xyz[0]
    fy = np.fft.fftfreq(rows, pixel)[:, None]
    fx = np.fft.rfftfreq(cols, pixel)[None, :]
    f = np.hypot(fx, fy)
    response = np.exp(-np.log(10) * (f / scanner.cutoff) ** 2)
    peak = (f / (0.45 * scanner.cutoff)) ** 2
    transfer = response * (1 + scanner.edge * peak * np.exp(1 - peak))
    noise = np.sqrt(f) * transfer
    texture = np.sqrt(f) * np.exp(-((f / 0.22) ** 2))
    return Kernel(transfer.astype(np.float32), _unit(noise, cols), _unit(texture, cols))


def _unit(amplitude: NDArray[np.float64], cols: int) -> Image:
    """Scale amplitudes so that the inverse transform of unit complex noise has variance 1."""
    rows, half = amplitude.shape
    twice = np.full(half, 2.0)
    twice[0] = 1
    if cols % 2 == 0:
        twice[-1] = 1
    power = (amplitude**2 * twice).sum() / (rows * cols) ** 2
    return np.asarray(amplitude / np.sqrt(power), dtype=np.float32)


FILTER_FLOOR = 0.01
"""Share of a filter's peak below which a frequency is left out: 40 dB."""


class Noise:
    """Successive slices of coloured noise (R, C) with mean 0, SD 1 and correlation along z."""

    def __init__(
        self, rng: np.random.Generator, amplitude: Image, size: int, memory: float
    ) -> None:
        self._rng, self._size = rng, size
        self._memory = np.float32(memory)
        # Where the filter passes next to nothing, no random numbers are drawn.
        self._passed = amplitude > amplitude.max() * FILTER_FLOOR
        self._amplitude = amplitude[self._passed]
        self._spectrum = np.zeros(amplitude.shape, np.complex64)
        self._state = self._white()

    def _white(self) -> NDArray[np.complex64]:
        pairs = self._rng.standard_normal((len(self._amplitude), 2), dtype=np.float32)
        pairs *= np.float32(np.sqrt(0.5))
        return pairs.view(np.complex64)[..., 0]

    def next(self) -> Image:
        """The next slice."""
        fresh = np.sqrt(1 - self._memory**2)
        self._state = self._memory * self._state + fresh * self._white()
        self._spectrum[self._passed] = self._state * self._amplitude
        shape = (self._size, self._size)
        return np.asarray(fft.irfft2(self._spectrum, shape), dtype=np.float32)


def blur(image: Image, kernel: Kernel) -> Image:
    """Apply the reconstruction kernel to an image (R, C)."""
    spectrum = fft.rfft2(image) * kernel.transfer
    return np.asarray(fft.irfft2(spectrum, image.shape), dtype=np.float32)
